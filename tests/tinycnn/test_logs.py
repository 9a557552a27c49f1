"""Figures of every epoch in files."""

import csv
import json
import sys

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.logs import CSVLog, JSONLinesLog, TensorBoardLog, log_to


@pytest.fixture(autouse=True, scope="module")
def _numpy():
    with tc.backend("numpy"):
        yield


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def train(epochs, callbacks, validation=True, checkpoint=None):
    x, labels = np.eye(4, dtype=np.float32), np.arange(4)
    model = tc.Sequential([tc.Dense(4, 4, rng=0)])
    held_out = (x, labels) if validation else None
    return model.fit(
        x,
        labels,
        epochs=epochs,
        validation=held_out,
        callbacks=callbacks,
        checkpoint=checkpoint,
        progress=False,
    )


@pytest.mark.parametrize("validation", [True, False])
def test_files_hold_the_history(tmp_path, validation):
    logs = [log_to(tmp_path / "log.csv"), log_to(str(tmp_path / "log.JSONL"))]
    assert [type(log) for log in logs] == [CSVLog, JSONLinesLog]
    history = train(3, logs, validation)
    columns = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    columns = [name for name in columns if validation or not name.startswith("val")]
    cells = table(tmp_path / "log.csv")
    lines = [json.loads(line) for line in (tmp_path / "log.JSONL").read_text().splitlines()]
    assert [list(row) for row in (*cells, *lines)] == [["epoch", *columns]] * 6
    for number in range(3):
        assert int(cells[number]["epoch"]) == lines[number]["epoch"] == number + 1
        for name in columns:
            assert float(cells[number][name]) == lines[number][name] == getattr(history, name)[number]


def test_a_loss_of_one_s_own_may_return_numpys_number(tmp_path):
    class Own(tc.SoftmaxCrossEntropy):
        def __call__(self, logits, labels):
            value, gradient = super().__call__(logits, labels)
            return np.float32(value), gradient

    history = tc.Sequential([tc.Dense(2, 2, rng=0)]).fit(
        np.eye(2, dtype=np.float32),
        np.arange(2),
        epochs=2,
        loss=Own(),
        callbacks=[JSONLinesLog(tmp_path / "log.jsonl")],
        progress=False,
    )
    assert {type(loss) for loss in history.loss} == {float}


def test_a_training_that_goes_on_has_each_epoch_once(tmp_path):
    log, checkpoint = CSVLog(tmp_path / "log.csv"), tc.Checkpoint(tmp_path / "checkpoint", every=0)

    def interrupt(model, history):
        if len(history.loss) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(4, [log, interrupt], checkpoint=checkpoint)
    assert [row["epoch"] for row in table(log.path)] == ["1", "2"]
    train(4, [log], checkpoint=checkpoint)
    assert [row["epoch"] for row in table(log.path)] == ["1", "2", "3", "4"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="writes for TensorBoard, of the extra 'logs'")
    log = log_to(tmp_path / "runs")
    assert isinstance(log, TensorBoardLog)
    history = train(2, [log])
    log.close()
    scalars = {(value.tag, step): value.simple_value for step, value in events(tmp_path / "runs")}
    assert len(scalars) == 12
    for number in (1, 2):
        assert scalars["val_loss", number] == pytest.approx(history.val_loss[number - 1])


def test_tensorboard_logs_each_training_whole(tmp_path):
    pytest.importorskip("tensorboardX", reason="writes for TensorBoard, of the extra 'logs'")
    log = TensorBoardLog(tmp_path / "runs")
    for epochs in (2, 2, 1, 3):
        train(epochs, [log])
    log.close()
    losses = [step for step, value in events(tmp_path / "runs") if value.tag == "loss"]
    assert losses == [1, 2, 1, 2, 1, 1, 2, 3]


def events(folder):
    """The scalars in a folder of event files."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    data, place = path.read_bytes(), 0
    while place < len(data):  # a record: length (8 bytes) and its checksum (4), content, checksum (4)
        length = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + length])
        yield from ((event.step, value) for value in event.summary.value)
        place += length + 16


def test_a_missing_package_or_folder_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        train(1, [CSVLog(tmp_path / "none" / "log.csv")])
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(tc.MissingPackageError, match=r"tensorboardX, .*: pip install 'tinycnn\[logs\]'"):
        log_to(tmp_path / "runs")


def test_a_history_without_epochs_is_an_empty_file(tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    log(tc.Sequential([tc.ReLU()]), tc.History())
    assert log.path.read_text() == ""
