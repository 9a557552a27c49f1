"""`python -m fer_demo.augment_sheet`: draw faces as each augmentation changes them."""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fer_demo import cli
from fer_demo.augment import (
    Affine,
    Augmentation,
    BrightnessContrast,
    Compose,
    GaussianNoise,
    HorizontalFlip,
    RandomErasing,
    VerticalFlip,
)
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face

#: What the rows show. Flips and erasing leave half of the faces as they are, as in training.
ROWS: dict[str, Augmentation] = {
    "horizontal flip": HorizontalFlip(),
    "vertical flip": VerticalFlip(),
    "rotation, 10°": Affine(degrees=10),
    "scale, 0.9-1.1": Affine(scale=(0.9, 1.1)),
    "shift, 4 pixels": Affine(shift=4),
    "brightness, contrast": BrightnessContrast(),
    "Gaussian noise": GaussianNoise(),
    "random erasing": RandomErasing(),
    "flip and one warp": Compose((HorizontalFlip(), Affine(degrees=10, scale=(0.9, 1.1), shift=4))),
}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Argument(metavar="OUT.png", dir_okay=False, help="The picture to write.")],
) -> None:
    """Draw what each augmentation makes of faces that this program draws."""
    canvas = FigureCanvasAgg(augmentation_sheet())
    canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[..., 0]  # a third of the bytes of Matplotlib's own file
    out.write_bytes(cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())


def augmentation_sheet(seed: int = 0) -> Figure:
    """The first row shows a face of every emotion as stored; each row below, one augmentation of them."""
    rng = np.random.default_rng(seed)
    faces = np.stack([draw_face(emotion, rng, difficulty=0) for emotion in EMOTIONS])[..., None]
    rows = {"as stored": faces} | {name: augment(faces, rng) for name, augment in ROWS.items()}
    figure = Figure(figsize=(5.6, 5.8), layout="constrained")
    for (name, images), axes in zip(rows.items(), figure.subplots(len(rows), len(faces)), strict=True):
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for image, axis in zip(images, axes, strict=True):
            axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
    return figure


if __name__ == "__main__":
    cli.run(app)
