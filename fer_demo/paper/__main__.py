"""`python -m fer_demo.paper`: give the paper's sections, beside what it prints itself."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data, report
from fer_demo.crossval import split
from fer_demo.data.extra import load_extra
from fer_demo.data.held_out import load_held_out
from fer_demo.errors import DataError
from fer_demo.paper.sections import SECTIONS, Reproduction
from fer_demo.record import take_over
from fer_demo.report.paper import KIND, print_paper, write_paper
from fer_demo.report.results import read_finished
from fer_demo.training import describe_data
from fer_demo.trial_files import own_folder
from tinycnn.sealed import check_belongs


class SectionName(StrEnum):
    """What ``--sections`` takes: `SECTIONS`."""

    data = "data"
    folds = "folds"
    full = "full"
    augmentation = "augmentation"


#: Recipe, epochs of the long trainings, and seeds of the augmentation experiment: by whether faces are drawn.
DEFAULTS = {False: ("paper", 100, 3), True: ("default", 20, 1)}

EXAMPLES = """
Examples:

  python -m fer_demo.paper                              drawn faces, minutes

  python -m fer_demo.paper --data fer2013.csv --photos photos --out paper

  python -m fer_demo.paper --data fer2013.csv --sections folds --out paper
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.paper")
def main(
    source: cli.Source = None,
    photos: Annotated[
        Path | None, typer.Option(help="New faces to score on: photos in folders by emotion, or a .csv.")
    ] = None,
    recipe: Annotated[
        cli.RecipeName | None, typer.Option(metavar="NAME", help="As for train. Default: paper.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Of the folds and of augmentation.")] = 8,
    full_epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of the full training set. Default: 100.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Of augmentation. Default: 3.")
    ] = None,
    sections: Annotated[
        list[SectionName] | None,
        typer.Option(metavar="NAME", help=f"{', '.join(SECTIONS)}; may be repeated. Default: all."),
    ] = None,
    cv: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of a finished fer_demo.cv, to take the folds from.")
    ] = None,
    extra: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="More faces, for the section augmentation.")
    ] = None,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("paper-results"),
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
) -> None:
    """Reproduce the paper: the data, 5 folds, a long training, both models compared, augmentation.

    Sections that --out has stay there, so that they may be run one by one.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.

    They are few, so the defaults are others: recipe default, 20 epochs on the full training set, one seed.
    """
    console = Console()
    wanted = [name for name in SECTIONS if not sections or name in sections]
    for option, given, user in (("--photos", photos, "full"), ("--extra", extra, "augmentation")):
        if given and user not in wanted:
            raise tc.ConfigError(f"{option}: only the section {user} uses it; add --sections {user}")
    cli.check_outputs({"--out": out}, [source, photos, cv, *(extra or ())])
    if backend is not None:
        tc.backend(backend)
    dataset = data.load(source)
    default_recipe, default_epochs, default_seeds = DEFAULTS[dataset.synthetic]
    work = Reproduction(
        dataset,
        load_extra(extra or ()),
        load_held_out(photos) if photos else None,
        str(recipe or default_recipe),
        epochs,
        full_epochs or default_epochs,
        seeds or default_seeds,
        out,
        cv or out / "cv",
        checkpoint_every,
    )
    if work.photos and not len(work.photos.dataset):
        raise DataError(f"{photos}: no face is left to score; python -m fer_demo.evaluate says why")
    if work.photos:
        cli.warn_of_unused(work.photos)
    if "folds" in wanted:
        if cv is not None:
            read_finished(cv)
        split(dataset, work.protocol)  # refuses data that are too few before there is a run to be resumed
    with own_folder(out):
        results = _begin(work, out / "paper.json", resume)
        try:
            for name in wanted:
                console.rule(name)
                results["sections"][name] = SECTIONS[name](work, console)
                report.write_results(results, out / "paper.json")
        except KeyboardInterrupt:
            print_paper(results, console)
            raise
        print_paper(results, console)
        page = write_paper(results, dataset.images, out)
        results["finished"] = True
        report.write_results(results, out / "paper.json")
        console.print(f"Report: {page}", soft_wrap=True, markup=False)


def _begin(work: Reproduction, path: Path, resume: bool) -> report.Results:
    """Return what `paper.json` holds when the run begins: the sections that are there already.

    Raises:
        ConfigError: they are of other options or data, or of an unfinished run that shall not be resumed.
    """
    described = {"protocol": work.describe(), "data": describe_data(work.dataset)}
    earlier = take_over(path, resume, cli.resuming("fer_demo.paper"), **KIND)
    if earlier:
        unused = {
            option
            for option, users in {"epochs": {"folds", "augmentation"}, "full_epochs": {"full"}}.items()
            if not users & earlier["sections"].keys()
        }
        then, now = (
            {"data": found["data"]["sha256"]}
            | {name: value for name, value in found["protocol"].items() if name not in unused}
            for found in (earlier, described)
        )
        check_belongs(path, then, now)
    results = {
        "finished": False,
        **described,
        "environment": report.environment(),
        "sections": earlier["sections"] if earlier else {},
    }
    report.write_results(results, path)
    return results


if __name__ == "__main__":
    cli.run(app)
