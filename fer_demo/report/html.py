"""The results as one self-contained page: style and pictures inside, no script, no request to anywhere."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_demo.report import content
from fer_demo.report.content import TableContent
from fer_demo.report.results import Results
from tinycnn.files import replace_file


def write_report(results: Results, figures: Mapping[str, Path], path: Path) -> Path:
    """Write the page.

    Args:
        results: as `fer_demo.report.results` describes them; models and folds may be missing.
        figures: name -> PNG, as `fer_demo.report.figures.save_figures` returns them; others are not missed.
        path: where the page goes.

    Returns:
        `path`.
    """
    return write_page(
        "report.html.j2",
        results,
        figures,
        path,
        best=content.best_model(results["models"]),
        extra=_facts("Extra faces, trained on and never scored on", _told(results.get("extra") or {})),
        paper=content.PRINTED["folds"],
    )


def write_page(template: str, results: Results, figures: Mapping[str, Path], path: Path, **more: Any) -> Path:
    """Fill a template of this folder that extends ``page.html.j2``.

    Args:
        template: its file's name.
        results: hold at least `protocol`, `data` and `environment`, which become tables of facts.
        figures: name -> PNG; they go into the page.
        path: where the page goes.
        more: whatever else the template names.

    Returns:
        `path`.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template(template).render(
        results=results,
        content=content,
        protocol=_facts("Protocol", results["protocol"]),
        data=_facts("Data", _told(results["data"])),
        environment=_facts("Environment", results["environment"]),
        pictures={name: _data_uri(figure) for name, figure in figures.items()},
        **more,
    )
    replace_file(path, page.encode())
    return path


def _told(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a data set in words; how many images each emotion has is shown in a picture."""
    return {key: value for key, value in data.items() if key != "class_counts"}


def _facts(caption: str, facts: Mapping[str, Any]) -> TableContent:
    rows: list[tuple[str, ...]] = [(key.replace("_", " "), _fact(value)) for key, value in facts.items()]
    return TableContent(caption, columns=("", ""), rows=rows)


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):  # one value per model
        return ", ".join(f"{name} {_fact(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return content.UNKNOWN if value is None else str(value)


def _data_uri(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode("ascii")
