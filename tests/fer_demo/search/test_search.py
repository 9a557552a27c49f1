"""The search as its user runs it, with a tiny network."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import train
from fer_demo.data.convert import write_csv
from fer_demo.models import MODELS, resnet
from fer_demo.report.search import draw_search, trial_table
from fer_demo.search.space import FAMILIES, Choice

pytest.importorskip("optuna", reason="the search needs Optuna, of the extra 'search'")
from fer_demo.search import __main__ as search
from fer_demo.search import study

SMALL = ["--data", "faces.csv", "--backend", "numpy", "--validation", "0.3", "--checkpoint-every", "0"]


@pytest.fixture
def call(run_command, count_trainings, monkeypatch):
    """Call the command with a tiny network and 42 faces; trained numbers are kept in `call.trained`."""
    backend, rng = tc.backend_name(), np.random.default_rng(0)
    monkeypatch.setitem(MODELS, "resnet", partial(resnet, widths=(8, 8), blocks=(1, 1)))
    write_csv(Path("faces.csv"), rng.integers(0, 256, (42, 48, 48, 1), np.uint8), np.arange(42) % 7)

    def call(*arguments):
        return run_command(search, *SMALL, *arguments)

    yield count_trainings(call)
    tc.backend(backend)


def trials(folder):
    """What was chosen and found, without what a clock says."""
    found = json.loads(Path(folder, "search.json").read_text())["trials"].values()
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in found]


def test_interrupted_it_goes_on_as_if_nothing_had_been(call):
    whole = ["--epochs", "1", "--trials", "3"]
    assert call(*whole, "--out", "once")[0] == 0
    call.trained.clear()
    call.interrupt_at = 2
    code, output, error = call(*whole, "--out", "out")
    assert code == 130
    assert "Trials of resnet" in output
    assert "--resume" in error
    assert [trial["state"] for trial in trials("out")] == ["complete"]
    code, _, error = call(*whole, "--out", "out")
    assert code == 2
    assert "out holds an unfinished run" in error
    code, output, error = call(*whole, "--out", "out", "--resume")
    assert code == 0, error
    assert len(call.trained) == 4
    assert trials("out") == trials("once")
    assert "Best: trial" in output
    best = max(trials("out"), key=lambda trial: trial["accuracy"])
    model, info = tc.load("out/best.safetensors"), tc.load_info("out/best.safetensors")
    assert sum(array.size for array in model.params.values()) == best["parameters"]
    assert info["metrics"]["validation_accuracy"] == best["accuracy"][-1]
    assert not [*Path("out").glob("*.checkpoint*")]


def test_cut_short_before_the_first_choice_it_chooses_the_same(call, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    whole = ["--epochs", "1", "--trials", "1"]
    assert call(*whole, "--out", "once")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(study, "choose", killed)
        assert call(*whole, "--out", "out")[0] == 130
    assert call(*whole, "--out", "out", "--resume")[0] == 0
    assert trials("out") == trials("once")


def test_a_finished_search_is_not_lost_and_teaches_nobody_what_is_held_out(call, in_process, monkeypatch):
    options = ["--epochs", "1", "--trials", "1", "--seed", "5", "--out", "what?now%2F"]
    assert call(*options)[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["cache", "faces.csv", "what?now%2F"]
    best = Path("what?now%2F/best.safetensors")
    before = best.read_bytes()
    code, _, error = call(*options)
    assert code == 2
    assert "what?now%2F holds a finished run on faces.csv" in error
    assert "add --resume" in error
    assert best.read_bytes() == before
    # The search holds out by seed 0, whatever its own is.
    student = ["--data", "faces.csv", "--seed", "5", "--validation", "0.3", "--backend", "numpy"]
    code, _, error = in_process(train, *student, "--epochs", "1", "--teacher", best)
    assert code == 2
    assert "has trained on faces that are held out here" in error


def test_more_trials_may_be_asked_for_but_nothing_else_changed(call):
    assert call("--epochs", "1", "--trials", "1", "--out", "out")[0] == 0
    first = trials("out")
    assert call("--epochs", "1", "--trials", "2", "--out", "out", "--resume")[0] == 0
    assert trials("out")[:1] == first
    assert len(call.trained) == 2
    code, _, error = call("--epochs", "2", "--trials", "2", "--out", "out", "--resume")
    assert code == 2
    assert "study.db belongs to another run: epochs was 1, is 2" in error


def test_a_damaged_record_is_named(call):
    Path("out").mkdir()
    Path("out/study.db").write_bytes(b"no database" * 100)
    code, _, error = call("--out", "out", "--resume")
    assert code == 2
    assert "study.db: not a record of a search (file is not a database): delete it" in error


def test_the_hopeless_are_given_up_and_the_diverged_do_not_stop_it(call, monkeypatch):
    def fit(model, x, labels, *, callbacks, checkpoint, **options):
        call.trained.append(len(x))
        number, history = len(call.trained), tc.History()
        if number == 6:
            raise tc.NonFiniteError("step 3: the loss is not finite")
        for _ in range(options["epochs"]):
            history.val_accuracy.append(0.5 - number / 100)  # each worse than all before it
            history.seconds.append(1.0)
            try:
                for callback in callbacks:
                    callback(model, history)
            except tc.StopTraining:
                break
        return history

    monkeypatch.setattr(tc.Sequential, "fit", fit)
    code, output, error = call("--epochs", "3", "--trials", "6", "--out", "out")
    assert code == 0, error
    found = trials("out")
    assert [trial["state"] for trial in found] == ["complete"] * 4 + ["pruned"] * 2
    assert [len(trial["accuracy"]) for trial in found] == [3, 3, 3, 3, 1, 0]
    assert found[5]["diverged"] == "step 3: the loss is not finite"
    assert "given up after 1 of 3 epochs" in output
    assert "diverged" in output
    results = json.loads(Path("out/search.json").read_text())
    numbers = [row[0] for row in trial_table(results).rows]
    assert numbers == ["0", "1", "2", "3", "4", "5"]
    upper, lower = draw_search(results).axes
    assert [line.get_ydata().tolist() for line in upper.lines] == [[0.49] * 4]
    assert len(lower.lines) == 4
    assert Path("out/search.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--validation", "0"], "validation='0': expected some faces to score on"),
        (["--model", "alexnet"], "--model"),
        (["--trials", "0"], "--trials"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(call, arguments, message):
    code, _, error = call(*arguments)
    assert code == 2
    assert message in error
    assert call.trained == []


def test_without_optuna_the_error_names_the_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, error = call()
    assert code == 2
    assert "this needs optuna, which is not installed: pip install 'tinycnn[search]'" in error


def test_a_choice_becomes_a_network_and_a_recipe():
    choice = Choice("vggnet", "modern", rate=2.0, batch_size=32, depth=-1, width=0.75)
    assert choice.network == {"widths": (16, 24, 48, 96, 192), "blocks": (1, 1, 1, 1, 1)}
    recipe = choice.changed()
    assert recipe.learning_rates == {"vggnet": 0.1}
    assert recipe.batch_size == 32


@pytest.mark.parametrize("name", FAMILIES)
def test_in_the_middle_of_the_space_is_the_network_as_it_is(name):
    network = Choice(name, "default", rate=1.0, batch_size=32, depth=0, width=1.0).network
    assert MODELS[name](**network).summary() == MODELS[name]().summary()


def test_a_refused_search_leaves_an_earlier_one_as_it_was(call):
    assert call("--epochs", "1", "--trials", "1", "--out", "out")[0] == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir() if path.is_file()}
    code, _, error = call("--epochs", "1", "--trials", "1", "--out", "out", "--validation", "Publictest")
    assert code == 2
    assert "Publictest" in error
    assert {path: path.read_bytes() for path in before} == before
