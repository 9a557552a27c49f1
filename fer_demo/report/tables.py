"""The results in a terminal, or in the file that it is redirected to."""

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fer_demo.report.content import (
    GAP_SENTENCE,
    RESPONSIBLE_USE,
    SYNTHETIC_NOTICE,
    SYNTHETIC_TITLE,
    TableContent,
    best_model,
    comparison_table,
    duration,
    emotion_table,
    finished_folds,
    fold_table,
    mean_and_sd,
)
from fer_demo.report.results import Results


def print_results(results: Results, console: Console) -> None:
    """Print every model's tables, then the models compared; all fits 80 columns and reads without colour.

    Args:
        results: as `fer_demo.report.results` describes them; models and folds may be missing.
        console: where to print.
    """
    data, models = results["data"], results["models"]
    print_notice(data["synthetic"], console)
    for name, model in models.items():
        heading = f"{name}, {finished_folds(results, name)} of {data['name']}"
        print_parts(
            console,
            Text(heading, style="bold"),
            rich_table(emotion_table(model["per_class"], model["macro_f1"]["mean"])),
            rich_table(fold_table(model)),
        )
    best = best_model(models)
    if best is None:
        print_parts(console, Text("No model has finished a fold."), Text(RESPONSIBLE_USE, style="dim"))
        return
    accuracy = mean_and_sd(models[best]["accuracy"])
    run = f"{data['images']:,} images, seed {results['protocol']['seed']}, {duration(results['seconds'])}"
    print_parts(
        console,
        rich_table(comparison_table(models)),
        Text(GAP_SENTENCE, style="dim"),
        Text.assemble((f"Best: {best}, accuracy {accuracy} on held-out faces", "bold"), f"\n{run}"),
        Text(RESPONSIBLE_USE, style="dim"),
    )


def print_notice(synthetic: bool, console: Console) -> None:
    """Say loudly that faces are drawn, if they are."""
    if synthetic:
        notice = Text(SYNTHETIC_NOTICE, justify="center")
        print_parts(
            console, Panel(notice, title=SYNTHETIC_TITLE, style="bold black on yellow", box=box.HEAVY)
        )


def print_parts(console: Console, *parts: RenderableType) -> None:
    """Print each part with an empty line after it."""
    for part in parts:
        console.print(part)
        console.print()


def rich_table(content: TableContent) -> Table:
    """Give a table its look."""
    table = Table(
        title=content.caption,
        title_justify="left",
        title_style="italic",
        box=box.SIMPLE,
        show_edge=False,
        padding=(0, 1, 0, 0),  # tight, for seven columns in 80 characters
        show_footer=bool(content.summary),
    )
    for number, column in enumerate(content.columns):
        footer = Text(content.summary[number] if content.summary else "")
        table.add_column(column, footer, justify="right" if number else "left")
    for row in content.rows:
        table.add_row(*map(Text, row))
    return table
