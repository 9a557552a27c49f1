"""`python -m fer_demo.search`: look for a recipe, a depth and a width that suit a network better."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data, report
from fer_demo.record import refuse_finished, take_over
from fer_demo.report.search import KIND, print_search, save_picture
from fer_demo.search.space import FAMILIES
from fer_demo.search.study import Plan, Search
from fer_demo.training import hold_out_some, part_to_score
from fer_demo.trial_files import own_folder

EXAMPLES = """
Examples:

  python -m fer_demo.search --data fer2013.csv --model resnet --trials 30 --epochs 8

  python -m fer_demo.search --data fer2013.csv --model resnet --trials 60 --epochs 8 --resume
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Family(StrEnum):
    """What ``--model`` takes: `FAMILIES`."""

    compact = "compact"
    vggnet = "vggnet"
    inception = "inception"
    resnet = "resnet"


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.search")
def main(
    source: cli.Source = None,
    model: Annotated[
        Family, typer.Option(metavar="NAME", help=f"Whose depth and width: {', '.join(FAMILIES)}.")
    ] = Family.resnet,
    recipes: Annotated[
        list[cli.RecipeName] | None,
        typer.Option(
            "--recipe", metavar="NAME", help="To choose from; may be repeated. Default: default, modern."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="Trainings, with those given up.")] = 30,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the data.")] = 8,
    seed: cli.Seed = 0,
    validation: cli.Validation = None,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("search-results"),
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
) -> None:
    """Train a network again and again, with another recipe, learning rate, batch size, depth and width.

    Optuna chooses what has promise after what was found before; a trial whose best accuracy so far is below
    the median, at that epoch, of those trained to the end is given up. The best model is kept. --resume may
    be given with more --trials.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.
    """
    console = Console()
    cli.check_outputs({"--out": out}, [source])
    if backend is not None:
        tc.backend(backend)
    dataset = data.load(source)
    plan = Plan(
        str(model),
        tuple(map(str, dict.fromkeys(recipes or (cli.RecipeName.default, cli.RecipeName.modern)))),
        trials,
        epochs,
        seed,
        validation or part_to_score(dataset, "PublicTest"),
    )
    indices = hold_out_some(dataset, plan.validation)  # what is refused must not cost an earlier search
    path = out / "search.json"
    with own_folder(out):
        search = Search(plan, out, checkpoint_every)
        earlier = take_over(path, resume, cli.resuming("fer_demo.search"), **KIND)
        if not resume:
            if earlier:
                refuse_finished(out, earlier, "; to go on with more --trials, add --resume")
            search.forget()
        try:
            results = search.run(dataset, indices, console)
        except KeyboardInterrupt:
            print_search(report.read_results(path, **KIND), console)
            raise
        print_search(results, console)
        console.print(f"Results: {path}, {save_picture(results, out)}", soft_wrap=True, markup=False)
        if search.best.exists():
            console.print(f"Model: {search.best}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    cli.run(app)
