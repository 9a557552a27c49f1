"""A trained network together with all that turns a face into probabilities of emotions."""

from pathlib import Path

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE
from fer_demo.preprocess import Normalisation
from tinycnn.checks import is_number, refuse

#: Weights that come with the package, by the name of their model.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parent / "weights").glob("*.safetensors"))}


class EmotionClassifier:
    """Tells which emotion strangers would read in a face.

    Args:
        weights: a file that `python -m fer_demo.train` wrote, or the name of a model in `SHIPPED`.
        flip_average: classify each face and its mirror image, and take the mean: slower by half, a little
            better.

    Attributes:
        name: the file's, without its ending.
        info: all that the file says beside its weights; see `tinycnn.load_info`.
        temperature: what logits are divided by, so that of the faces of which it is 80 % sure, 80 % are
            right (Guo et al. 2017, "On calibration of modern neural networks"); 1 in files that have none.

    Raises:
        ConfigError: there is neither such a file nor such a model.
        FileFormatError: the file is damaged, or no classifier of FER2013's emotions in grey 48x48 faces.
        OSError: it cannot be read.
    """

    def __init__(self, weights: str | Path = "mini_xception", flip_average: bool = False) -> None:
        path = SHIPPED.get(str(weights), Path(weights))
        if not path.is_file():
            refuse("weights", str(weights), f"a file, or one of {', '.join(SHIPPED)}")
        self.name, self.flip_average = path.stem, flip_average
        self.info = tc.load_info(path)
        model = tc.load(path)
        self._columns = _columns(path, model, self.info)
        self._normalise = _normalisation(path, self.info)
        self.temperature = _temperature(path, self.info)
        self._network = tc.compile_for_inference(model)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 (N, 7), in the order of `EMOTIONS`.

        Args:
            faces: uint8, (N, 48, 48, 1); N may be 0.

        Raises:
            ShapeError, DTypeError: they are not.
        """
        shape = (IMAGE_SIZE, IMAGE_SIZE, 1)
        if not isinstance(faces, np.ndarray) or faces.dtype != np.uint8:
            found = getattr(faces, "dtype", type(faces).__name__)
            raise tc.DTypeError(f"faces are {found}: expected an array of uint8")
        if faces.shape[1:] != shape:
            raise tc.ShapeError(f"expected faces (N, {', '.join(map(str, shape))}), found {faces.shape}")
        if not len(faces):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        probabilities = self._probabilities(faces)
        if self.flip_average:
            probabilities = (probabilities + self._probabilities(np.flip(faces, axis=2))) / 2
        return probabilities

    def _probabilities(self, faces: np.ndarray) -> np.ndarray:
        batches = [self._network(self._normalise(faces[i : i + 64])) for i in range(0, len(faces), 64)]
        tempered = np.concatenate(batches)[:, self._columns] ** np.float32(1 / self.temperature)
        return tempered / tempered.sum(axis=1, keepdims=True)


def _columns(path: Path, model: tc.Sequential, info: dict) -> list[int]:
    """Where the model's output has each of `EMOTIONS`."""
    labels = info.get("labels") or []
    shape = (IMAGE_SIZE, IMAGE_SIZE, 1)
    try:
        outputs = model.output_shape(shape)
    except tc.ShapeError as error:
        raise tc.FileFormatError(f"{path}: cannot take grey faces of 48x48 pixels: {error}") from error
    if sorted(map(str, labels)) != sorted(EMOTIONS) or outputs != (len(EMOTIONS),):
        raise tc.FileFormatError(
            f"{path}: has the labels {labels} and outputs {outputs}, expected {', '.join(EMOTIONS)}: train a "
            "model with python -m fer_demo.train"
        )
    *_, last = model.children().values()
    if not isinstance(last, tc.Softmax):
        raise tc.FileFormatError(f"{path}: its last layer is {last}, expected a Softmax")
    return [labels.index(name) for name in EMOTIONS]


def _normalisation(path: Path, info: dict) -> Normalisation:
    found = info.get("preprocessing")
    numbers = [found.get(key) for key in ("mean", "std")] if isinstance(found, dict) else [None]
    if not all(map(is_number, numbers)) or numbers[1] <= 0:
        raise tc.FileFormatError(
            f"{path}: its preprocessing is {found}, expected a mean and a std above 0, in grey levels"
        )
    return Normalisation(*map(float, numbers))


def _temperature(path: Path, info: dict) -> float:
    found = (info.get("calibration") or {"temperature": 1.0}).get("temperature")
    if not is_number(found) or not 0.01 <= found <= 100:
        raise tc.FileFormatError(f"{path}: its temperature is {found}, expected a number from 0.01 to 100")
    return float(found)
