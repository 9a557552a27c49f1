"""`python -m fer_demo.ablation`: measure what each part of a recipe does, over several seeds."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data, report
from fer_demo.ablation.plan import Plan, run
from fer_demo.ablation.variants import CHANGES
from fer_demo.data.extra import load_extra
from fer_demo.recipes import RECIPES
from fer_demo.record import take_over
from fer_demo.report.ablation import KIND, print_ablation
from fer_demo.training import default_batch_size, part_to_score
from fer_demo.trial_files import own_folder

EXAMPLES = """
Examples:

  python -m fer_demo.ablation --data fer2013.csv --recipe modern --epochs 30 --seeds 3

  python -m fer_demo.ablation --data fer2013.csv --only extra --extra disgust.csv.gz
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Change(StrEnum):
    """What ``--only`` takes: `CHANGES`."""

    no_flip = "no_flip"
    no_augmentation = "no_augmentation"
    every_augmentation = "every_augmentation"
    vertical_flip = "vertical_flip"
    extra = "extra"
    class_weights = "class_weights"
    oversampling = "oversampling"


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.ablation")
def main(
    source: cli.Source = None,
    model: Annotated[
        cli.ModelName, typer.Option(metavar="NAME", help="Which model to train.")
    ] = cli.ModelName.mini_xception,
    recipe: cli.RecipeOption = cli.RecipeName.modern,
    only: Annotated[
        list[Change] | None,
        typer.Option(metavar="CHANGE", help=f"{', '.join(CHANGES)}; may be repeated. Default: all."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the data.")] = 8,
    seeds: Annotated[int, typer.Option(min=1, metavar="K", help="Trainings of each variant.")] = 3,
    batch_size: cli.BatchSize = None,
    validation: cli.Validation = None,
    extra: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="More faces, for the change extra.")
    ] = None,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("ablation-results"),
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
) -> None:
    """Train a model as a recipe says, and again with one thing changed at a time, with the same seeds.

    Trainings that --out has are not repeated, so that seeds and changes may be added later.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.
    """
    console = Console()
    cli.check_outputs({"--out": out}, [source, *(extra or ())])
    if backend is not None:
        tc.backend(backend)
    if only and "extra" in only and not extra:
        raise tc.ConfigError("--only extra: expected --extra FILE too, the faces to add")
    if extra and only and "extra" not in only:
        raise tc.ConfigError("--extra: no training would see these faces; add --only extra")
    dataset, more = data.load(source), load_extra(extra or ())
    plan = Plan(
        str(model),
        RECIPES[recipe],
        tuple(map(str, only or CHANGES)),
        epochs,
        batch_size or default_batch_size(RECIPES[recipe], len(dataset)),
        seeds,
        validation or part_to_score(dataset, "PublicTest"),
    )
    path = out / "ablation.json"
    with own_folder(out):
        take_over(path, resume, cli.resuming("fer_demo.ablation"), **KIND)
        try:
            results = run(dataset, plan, out, console, more, checkpoint_every)
        except KeyboardInterrupt:
            print_ablation(report.read_results(path, **KIND), console)
            raise
        print_ablation(results, console)
        console.print(f"Results: {path}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    cli.run(app)
