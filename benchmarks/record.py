"""Collect what trainings have found in `docs/results/`, for the tables of `docs/results.md`.

Run as ``python -m benchmarks.record FILE...`` and then ``python -m benchmarks.tables``. A file may be

* weights of `fer_demo.train` that were scored, of any seed: `trainings.json` gets a row;
* `results.json` of `fer_demo.cv`: `folds.json` gets a row per model;
* `ablation.json` or `paper.json` of the commands of these names: `ablation.json` gets a row, `paper.json` is
  replaced;
* `search.json` of `fer_demo.search`: the file of that name gets a row per trial that has ended;
* lines of JSON (`.jsonl`) about what else was tried: `search.json` gets a row of each. `SEARCH` names their
  fields; whatever failed belongs there too, with an accuracy of null and a note.

``--search`` takes weights as something that was tried. A row takes the place of an earlier one of the same
training, so that a file may be recorded twice.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import tinycnn as tc
from benchmarks.markdown import Row
from fer_demo import cli, report
from fer_demo.classifier import SHIPPED
from fer_demo.errors import DataError
from fer_demo.report.ablation import KIND as ABLATION
from fer_demo.report.paper import KIND as PAPER
from fer_demo.report.search import KIND as TRIALS

RESULTS = Path(__file__).parents[1] / "docs" / "results"

#: Fields of a row of `search.json`; the first four must be given. `scored_on` is a part or a share, accuracy
#: lies between 0 and 1, `seconds` is wall time, `changes` says what is other than in the recipe.
SEARCH: tuple[str, ...] = ("model", "recipe", "epochs", "accuracy", "changes", "batch_size", "seed")
SEARCH += ("scored_on", "flip_accuracy", "train_accuracy", "seconds", "note")
#: What may differ in a training that is run again.
_MEASURED = {"accuracy", "macro_f1", "flip_accuracy", "train_accuracy", "per_class", "seconds", "environment"}
_MEASURED |= {"note", "variants", "faces", "command"}


def main(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Weights, .json or .jsonl.")],
    search: Annotated[bool, typer.Option("--search", help="Weights are of something tried.")] = False,
    note: Annotated[str, typer.Option(help="Of weights with --search: what to say about them.")] = "",
    into: Annotated[Path, typer.Option(help="Folder of the collected results.")] = RESULTS,
) -> None:
    """Collect results of trainings."""
    console, found = Console(markup=False), [(path, _read(path, search, note)) for path in files]
    into.mkdir(parents=True, exist_ok=True)
    for path, (name, rows) in found:
        target = into / f"{name}.json"
        kept = [] if name == "paper" else _rows(target)
        report.write_results({"rows": _merged(kept, rows)}, target)
        console.print(f"{path}: {len(rows)} rows in {name}.json", soft_wrap=True)


def command(training: Row, name: str, module: str = "fer_demo.train", data: str = "fer2013.csv") -> str:
    """The command of a run, as its options tell it.

    Files that it needs beside the data are named by digests, or as shipped weights if they are those.

    Args:
        training: options by name; None stands for one that was not given.
        name: of the results, without an ending.
        module: which command it was.
        data: name of the file with the faces.
    """
    given = {
        key: value
        for key, value in training.items()
        if value is not None and value is not False and key not in _NO_OPTIONS
    }
    taught = given.pop("teacher", {})
    teachers, more = taught.get("sha256", []), given.pop("extra").split("+") if "extra" in given else []
    of_folds = bool(teachers) and module == "fer_demo.cv"  # each teaches its own, out of a folder of results
    files = {"extra": more} if of_folds else {"teacher": teachers, "extra": more}
    given |= {f"teacher_{key}": value for key, value in taught.items() if key != "sha256"}
    options, comments = [word for key, value in given.items() for word in _option(key, value)], []
    shipped = _shipped()
    for option, digests in files.items():
        for digest in digests:
            options += [f"--{option}", shipped.get(digest, f"{digest[:8]}{_ENDING[option]}")]
            comments.append(f"# {digest[:8]} begins the SHA-256 of --{option}")
    if of_folds:
        options += ["--teacher", "teachers"]
        begin = ", ".join(digest[:8] for digest in teachers)
        comments.append(f"# {begin} begin the SHA-256 of the networks in teachers/folds")
    out = f"{name}.safetensors" if module == "fer_demo.train" else name
    words = ["python", "-m", module, "--data", data.removesuffix(".gz"), *options, "--out", out]
    return "".join(f"{line}\n" for line in (shlex.join(words), *comments))


def _shipped() -> dict[str, str]:
    """The names of shipped weights by the digests of their files."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): name for name, path in SHIPPED.items()}


#: What the data were, and what the recipe was made of at that time.
_NO_OPTIONS = ("data", "learning_rate", "details")
_ENDING = {"teacher": ".safetensors", "extra": ".csv"}


def _option(key: str, value: Any) -> list[str]:
    flag = f"--{key.replace('_', '-')}"
    if value is True:
        return [flag]
    values = value if isinstance(value, list) else [value]
    return [word for item in values for word in (flag, str(item))]


def _read(path: Path, search: bool, note: str) -> tuple[str, list[Row]]:
    """The name of the file that the rows belong into, and the rows."""
    if path.suffix == ".jsonl":
        return "search", [_search_row(f"{path}: line {n}", line) for n, line in _lines(path)]
    if path.suffix != ".json":
        row = _training(path)
        return ("search", [_tried(row, note)]) if search else ("trainings", [row])
    for kind, name, rows in _KINDS:
        try:
            results = report.read_results(path, **kind)
        except tc.FileFormatError:
            continue
        if not results["finished"]:
            raise DataError(f"{path}: the run is not finished; end it with --resume")
        _check_real(path, results["data"])
        return name, rows(results)
    raise DataError(f"{path}: expected a file that fer_demo.cv, .ablation, .paper or .search wrote")


def _training(path: Path) -> Row:
    """The row of a file of weights."""
    info = tc.load_info(path)
    training, metrics, history = (info.get(part) or {} for part in ("training", "metrics", "history"))
    if "validation_accuracy" not in metrics or "recipe" not in training or "seconds" not in history:
        raise DataError(
            f"{path}: does not say how it was trained and scored; train it with python -m fer_demo.train "
            "--validation PublicTest"
        )
    _check_real(path, info["data"])
    return {
        **{name: training.get(name) for name in ("model", "recipe", "details")},
        "learning_rate": training.get("learning_rate") or _peak(history["learning_rate"]),
        **{name: training.get(name) for name in ("epochs", "batch_size", "seed", "validation")},
        **{name: training.get(name) for name in ("keep_copies_together", "teacher", "extra")},
        "parameters": _parameters(path),
        "accuracy": metrics["validation_accuracy"],
        "macro_f1": metrics.get("validation_macro_f1"),
        "flip_accuracy": metrics.get("validation_flip_accuracy"),
        "train_accuracy": metrics.get("train_accuracy"),
        "seconds": sum(history["seconds"]),
        "data": _data(info["data"]),
        "environment": _environment(info["environment"]),
        "command": command(training, training["model"], data=info["data"]["name"]),
    }


def _peak(rates: list[float]) -> float:
    """The schedule's highest rate, to one digit: old files have the rates after each epoch alone."""
    return float(f"{max(rates):.1g}")


def _folds(results: report.Results) -> list[Row]:
    """The rows of a cross-validation."""
    protocol = results["protocol"]
    shared = ("recipe", "details", "folds", "epochs", "batch_size", "seed", "keep_copies_together")
    scores = ("parameters", "accuracy", "macro_f1", "train_accuracy", "per_class", "seconds")
    more = {"teacher": protocol.get("teacher"), "extra": (results.get("extra") or {}).get("sha256")}
    rows = []
    for name, model in results["models"].items():
        options = {"model": name, **{key: protocol.get(key) for key in shared}, **more}
        rows.append(
            {
                **options,
                "learning_rate": protocol["learning_rate"][name],
                **{key: model[key] for key in scores},
                "data": _data(results["data"]),
                "environment": _environment(results["environment"]),
                "command": command(options, "cv-results", "fer_demo.cv", results["data"]["name"]),
            }
        )
    return rows


def _ablation(results: report.Results) -> list[Row]:
    """The row of an ablation."""
    protocol = {key: value for key, value in results["protocol"].items() if key not in ("backend", "threads")}
    # Asked for was perhaps more: extra faces where there were none, or what is no change to this recipe.
    protocol["changes"] = [name for name in protocol["changes"] if name in results["variants"]]
    options = {"only" if key == "changes" else key: value for key, value in protocol.items()}
    extra = (results.get("extra") or {}).get("sha256")
    options["extra"] = extra
    return [
        {
            **protocol,
            "extra": extra,
            "variants": results["variants"],
            "faces": results["faces"],
            "data": _data(results["data"]),
            "environment": _environment(results["environment"]),
            "command": command(options, "ablation-results", "fer_demo.ablation", results["data"]["name"]),
        }
    ]


def _paper(results: report.Results) -> list[Row]:
    """The only row of `paper.json`."""
    return [
        {
            **results,
            "data": _data(results["data"]),
            "environment": _environment(results["environment"]),
        }
    ]


def _trials(results: report.Results) -> list[Row]:
    """The rows of a search: its trials that have ended."""
    protocol, rows = results["protocol"], []
    for trial in results["trials"].values():
        if trial["state"] == "running":
            continue
        choice, epochs = trial["choice"], len(trial["accuracy"])
        note = "diverged" if trial["diverged"] else "" if epochs == protocol["epochs"] else "given up"
        row = {**protocol, **choice, "epochs": epochs, "scored_on": protocol["validation"], "note": note}
        row["changes"] = f"rate ×{choice['rate']:.3g}, depth {choice['depth']:+d}, width ×{choice['width']:g}"
        row |= {
            "accuracy": None if trial["diverged"] else trial["accuracy"][-1],
            "seconds": trial.get("seconds"),
        }
        rows.append({name: row.get(name) for name in SEARCH})
    return rows


#: Kinds of results: how they are read, the name of the file that they belong into, and how they become rows.
_KINDS: Sequence[tuple[dict[str, Any], str, Callable[[report.Results], list[Row]]]] = (
    ({}, "folds", _folds),
    (ABLATION, "ablation", _ablation),
    (PAPER, "paper", _paper),
    (TRIALS, "search", _trials),
)


def _tried(row: Row, note: str) -> Row:
    """A row of `search.json` about a file of weights."""
    changes = [f"learning rate {row['learning_rate']:.3g}"]
    if taught := row["teacher"]:
        shipped = _shipped()
        teachers = " and ".join(shipped.get(digest, digest[:8]) for digest in taught["sha256"])
        changes.append(f"{taught['share']:.0%} teacher {teachers} at temperature {taught['temperature']:g}")
    changes += ["extra faces"] if row["extra"] else []
    told = {**row, "changes": ", ".join(changes), "scored_on": row["validation"], "note": note}
    return {name: told.get(name) for name in SEARCH}


def _search_row(place: str, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: {error}; expected one JSON object a line") from error
    unknown = set(row) - set(SEARCH) if isinstance(row, dict) else {str(row)}
    missing = set(SEARCH[:4]) - set(row) if not unknown else set()
    if unknown or missing:
        raise DataError(
            f"{place}: found {', '.join(sorted(unknown)) or 'no ' + ', '.join(sorted(missing))}; expected "
            f"{', '.join(SEARCH)}, of which the first four must be there"
        )
    return {name: row.get(name) for name in SEARCH}


def _lines(path: Path) -> list[tuple[int, str]]:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return [(number, line) for number, line in lines if line.strip()]


def _rows(target: Path) -> list[Row]:
    return json.loads(target.read_text(encoding="utf-8"))["rows"] if target.exists() else []


def _merged(kept: list[Row], new: list[Row]) -> list[Row]:
    """Old and new rows, in an order that does not depend on when they were recorded."""
    rows = {_key(row): row for row in (*kept, *new)}
    return [rows[key] for key in sorted(rows)]


def _key(row: Row) -> str:
    return json.dumps([(name, value) for name, value in row.items() if name not in _MEASURED])


def _check_real(path: Path, data: Row) -> None:
    if data["synthetic"]:
        raise DataError(f"{path}: its faces were drawn by a program; results are collected of real ones")


def _parameters(path: Path) -> int:
    return sum(array.size for array in tc.load(path).params.values())


def _data(data: Row) -> Row:
    return {name: data[name] for name in ("name", "sha256", "images")}


def _environment(environment: Row) -> Row:
    return {name: environment.get(name) for name in ("cpu", "cores", "numpy", "numba", "commit")}


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    cli.run(app)
