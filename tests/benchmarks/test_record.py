"""Results of trainings become rows, and rows become tables; nothing else does."""

import hashlib
import json

import pytest

import tinycnn as tc
from benchmarks import record, result_tables
from fer_demo.classifier import SHIPPED
from fer_demo.data.dataset import EMOTIONS
from fer_demo.errors import DataError
from fer_demo.report import environment, write_results

SPREAD = {"mean": 0.55, "std": 0.01, "folds": [0.54, 0.56]}
DATA = {"name": "fer.csv", "sha256": "9f", "images": 9, "synthetic": False, "class_counts": {"angry": 9}}
OVER_SEEDS = {"mean": 0.5, "std": 0.1, "interval": [0.3, 0.7], "seeds": [0.4, 0.6]}


def weights(path, seed=0, accuracy=0.6, data=DATA, **training):
    model = tc.Sequential([tc.Flatten(), tc.Dense(48 * 48, 7, rng=0), tc.Softmax()], input_shape=(48, 48, 1))
    options = {"model": "compact", "recipe": "modern", "epochs": 2, "seed": seed, "batch_size": 64}
    tc.save(
        model,
        path,
        metrics={"validation_accuracy": accuracy, "validation_macro_f1": 0.5, "train_accuracy": 0.7},
        training={**options, "validation": "PublicTest", "data": "9f", **training},
        history={"learning_rate": [0.0097, 0.001], "seconds": [60.0, 60.0]},
        data=data,
        environment=environment(),
    )
    return path


@pytest.fixture
def collect(tmp_path):
    """Record files into a folder; return its rows and its table by name."""

    def collect(*files, name, **options):
        record.main(files, **{"search": False, "note": "", **options}, into=tmp_path / "results")
        saved = json.loads((tmp_path / "results" / f"{name}.json").read_text())
        return saved["rows"], result_tables.TABLES[name](saved)

    return collect


def results(tmp_path, name, **parts):
    path = tmp_path / f"{name}.json"
    write_results({"finished": True, "data": DATA, "environment": environment(), **parts}, path)
    return path


def test_seeds_of_one_training_become_one_row_of_the_table(collect, tmp_path):
    files = [weights(tmp_path / f"{seed}.st", seed, 0.6 + seed / 100) for seed in (0, 1)]
    rows, _ = collect(files[0], files[0], weights(tmp_path / "other.st", epochs=3), name="trainings")
    assert len(rows) == 2  # the same training twice is one row
    rows, table = collect(files[1], name="trainings")
    assert len(rows) == 3
    line = next(line for line in table.splitlines() if "| 0, 1 |" in line)
    assert "| `compact` | modern, rate 0.01 | PublicTest | 16,135 | 2 | 64 | 0, 1 |" in line
    assert "| 0.6050 ± 0.0071 | 0.5415 to 0.6685 | – | 0.5000 | 0.7000 | 2 |" in line
    assert "python -m fer_demo.train --data fer.csv --model compact --recipe modern --epochs 2" in table


def test_what_a_recipe_says_of_other_models_parts_no_seeds(collect, tmp_path):
    parts = (
        "learning_rates={'compact': 0.1}",
        "learning_rates={'compact': 0.1, 'alexnet': 1}, dropout={'alexnet': 0}",
    )
    other = "learning_rates={'compact': 0.1}, dropout={'compact': 0}"
    files = [
        weights(tmp_path / f"{seed}.st", seed, details=f"Recipe(name='modern', {part})")
        for seed, part in enumerate((*parts, other))
    ]
    _, table = collect(*files, name="trainings")
    assert "| 64 | 0, 1 |" in table
    assert "| 64 | 2 |" in table


def test_a_command_says_all_options_and_names_files_by_their_digests():
    training = {"model": "compact", "details": "Recipe()", "seed": 0, "keep_copies_together": True}
    training |= {"teacher": {"sha256": ["0123456789abcdef"], "share": 0.5}, "extra": "f" * 64, "data": "9f"}
    assert record.command(training, "c") == (
        "python -m fer_demo.train --data fer2013.csv --model compact --seed 0 --keep-copies-together "
        "--teacher-share 0.5 --teacher 01234567.safetensors --extra ffffffff.csv --out c.safetensors\n"
        "# 01234567 begins the SHA-256 of --teacher\n"
        "# ffffffff begins the SHA-256 of --extra\n"
    )


def test_a_teacher_that_is_shipped_goes_by_its_name():
    digest = hashlib.sha256(SHIPPED["compact"].read_bytes()).hexdigest()
    found = record.command({"model": "mini_xception", "teacher": {"sha256": [digest]}}, "m")
    assert "--teacher compact --out" in found


def test_the_teachers_of_folds_are_a_folder():
    options = {"model": "mini_xception", "teacher": {"sha256": ["0123456789", "abcdef0123"], "share": 0.7}}
    assert record.command(options, "cv-results", "fer_demo.cv") == (
        "python -m fer_demo.cv --data fer2013.csv --model mini_xception --teacher-share 0.7 "
        "--teacher teachers --out cv-results\n"
        "# 01234567, abcdef01 begin the SHA-256 of the networks in teachers/folds\n"
    )


def test_a_cross_validation_gives_a_row_per_model(collect, tmp_path):
    scores = dict.fromkeys(("accuracy", "macro_f1", "train_accuracy"), SPREAD)
    model = {**scores, "parameters": 1234, "per_class": {}, "seconds": 600}
    protocol = {
        "recipe": "paper",
        "details": "Recipe()",
        "folds": 2,
        "epochs": 8,
        "batch_size": 64,
        "seed": 0,
    }
    protocol |= {"learning_rate": {"mini_xception": 0.001}, "keep_copies_together": True}
    protocol |= {"teacher": {"sha256": ["0123456789"] * 2, "share": 0.7, "temperature": 2.0}}
    path = results(tmp_path, "results", protocol=protocol, models={"mini_xception": model})
    rows, table = collect(path, name="folds")
    assert rows[0]["accuracy"] == SPREAD
    taught = "paper, rate 0.001, teacher 0.7 at temperature 2"
    assert f"| {taught} | in one fold | 1,234 | 8 | 64 | 0 | 0.5500 ± 0.0100 |" in table
    assert "| 0.5882 | 10 |" in table  # what the paper prints, and minutes
    assert "--folds 2 --epochs 8 --batch-size 64 --seed 0 --keep-copies-together --teacher-share 0.7" in table
    assert "--teacher-share 0.7 --teacher-temperature 2.0" in table


def test_an_ablation_and_the_paper_become_the_tables_of_their_reports(collect, tmp_path):
    entry = dict.fromkeys(("accuracy", "macro_f1", "disgust_recall"), OVER_SEEDS)
    variants = {name: {"says": name, **entry, "difference": entry} for name in ("baseline", "no_flip")}
    protocol = {
        "model": "compact",
        "recipe": "modern",
        "details": "Recipe()",
        "changes": ["no_flip", "extra"],
    }
    protocol |= {"epochs": 8, "batch_size": 64, "seeds": 2, "validation": "PublicTest", "threads": 1}
    faces = [{"index": 5, "emotion": "disgust", "probabilities": {"no_flip": [1 / 7] * 7}}]
    ablation = {"protocol": protocol, "variants": variants, "faces": faces}
    _, table = collect(results(tmp_path, "ablation", **ablation), name="ablation")
    assert "| no_flip | +0.500 [+0.300, +0.700] |" in table
    assert "--only no_flip --epochs 8" in table
    assert "Probabilities for face 5" in table

    counts = dict.fromkeys(EMOTIONS, 10)
    sections = {"data": {"class_counts": counts}, "augmentation": ablation}
    protocol = {"epochs": 8, "full_epochs": 100}
    rows, table = collect(results(tmp_path, "paper", protocol=protocol, sections=sections), name="paper")
    assert len(rows) == 1
    assert "### 1  The data" in table
    assert "| all | 70 |  |" in table
    assert "Not run" not in table


def test_what_was_tried_is_kept_failures_included(collect, tmp_path):
    lines = tmp_path / "tried.jsonl"
    failed = {"model": "alexnet", "recipe": "paper", "epochs": 4, "accuracy": None, "changes": "rate 1|2"}
    lines.write_text(json.dumps({**failed, "note": "NaN in epoch 2"}) + "\n\n")
    rows, table = collect(lines, weights(tmp_path / "w.st"), name="search", search=True, note="slow")
    assert [row["model"] for row in rows] == ["alexnet", "compact"]
    assert r"| `alexnet` | paper | rate 1\|2 | NaN in epoch 2 | – | 4 | – | failed | – | – | – |" in table
    assert "| `compact` | modern | learning rate 0.01 | slow | PublicTest | 2 | 64 | 0.6000 |" in table


def test_a_searchs_trials_were_tried_too(collect, tmp_path):
    choice = {"recipe": "modern", "rate": 0.5, "batch_size": 64, "depth": -1, "width": 1.25}
    whole = {"state": "complete", "choice": choice, "diverged": None, "accuracy": [0.5, 0.6], "seconds": 60}
    trials = {
        "0": whole,
        "1": {**whole, "state": "pruned", "choice": {**choice, "depth": 0}, "accuracy": [0.4]},
        "2": {**whole, "state": "pruned", "choice": {**choice, "depth": 1}, "diverged": "?", "accuracy": []},
        "3": {**whole, "state": "running", "accuracy": []},
    }
    protocol = {"model": "resnet", "epochs": 2, "seed": 0, "validation": "PublicTest"}
    rows, table = collect(results(tmp_path, "search", protocol=protocol, trials=trials), name="search")
    assert len(rows) == 3
    line = "| `resnet` | modern | rate ×0.5, depth -1, width ×1.25 |  | PublicTest | 2 | 64 | 0.6000 |"
    assert line in table
    assert "| given up | PublicTest | 1 | 64 | 0.4000 |" in table
    assert "| diverged | PublicTest | 0 | 64 | failed |" in table


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: .*expected one JSON object a line"),
        ('{"model": "compact"}', "found no accuracy, epochs, recipe; expected model, recipe"),
        ('{"modle": "compact"}', "found modle; expected model, recipe"),
        ("[]", "found .*; expected model, recipe"),
    ],
)
def test_a_broken_line_is_named(collect, tmp_path, line, message):
    path = tmp_path / "tried.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=message):
        collect(path, name="search")


def test_what_is_no_result_is_refused(collect, tmp_path):
    drawn = weights(tmp_path / "drawn.st", data={**DATA, "synthetic": True})
    with pytest.raises(DataError, match="its faces were drawn by a program"):
        collect(drawn, name="trainings")
    tc.save(tc.Sequential([tc.ReLU()]), tmp_path / "bare.st")
    with pytest.raises(DataError, match="does not say how it was trained and scored"):
        collect(tmp_path / "bare.st", name="trainings")
    unfinished = results(tmp_path, "results", finished=False, protocol={}, models={})
    with pytest.raises(DataError, match="the run is not finished; end it with --resume"):
        collect(unfinished, name="folds")
    with pytest.raises(DataError, match=r"expected a file that fer_demo\.cv"):
        collect(results(tmp_path, "other"), name="folds")


@pytest.mark.parametrize("name", result_tables.TABLES)
def test_without_rows_a_table_says_so(name):
    assert result_tables.TABLES[name]({"rows": []}) == "Nothing is recorded yet.\n"
