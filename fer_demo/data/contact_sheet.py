"""`python -m fer_demo.data.contact_sheet`: draw some of the synthetic faces, an emotion a row."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure

from fer_demo import cli
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Argument(metavar="OUT.png", dir_okay=False, help="The picture to write.")],
) -> None:
    """Draw faces of every emotion, clean ones and as hard as photographs."""
    contact_sheet().savefig(out, format="png")


def contact_sheet(seed: int = 0, columns: int = 5) -> Figure:
    """A row of faces for every emotion: `columns` clean ones, then as many of the default difficulty."""
    rng = np.random.default_rng(seed)
    figure = Figure(figsize=(1.35 * columns + 1, 5.2), layout="constrained")
    clean, default = figure.subfigures(1, 2, squeeze=False, width_ratios=(columns + 1, columns))[0]
    for half, difficulty, title in ((clean, 0, "clean"), (default, 1, "default difficulty")):
        half.suptitle(f"synthetic faces, {title}")
        axes = half.subplots(len(EMOTIONS), columns, squeeze=False)
        for emotion, row in zip(EMOTIONS, axes, strict=True):
            for axis in row:
                axis.imshow(draw_face(emotion, rng, difficulty), cmap="gray", vmin=0, vmax=255)
                axis.set(xticks=[], yticks=[])
            if difficulty == 0:
                row[0].set_ylabel(emotion, rotation=0, ha="right", va="center")
    return figure


if __name__ == "__main__":
    cli.run(app)
