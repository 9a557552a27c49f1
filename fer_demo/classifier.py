"""A trained network together with all that turns a face into probabilities of emotions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.calibration import TEMPERATURES, temper
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, display_name
from fer_demo.preprocess import Normalisation
from tinycnn.checks import is_number, refuse
from tinycnn.finite import all_finite

__all__ = ["SHIPPED", "EmotionClassifier"]

#: Weights that come with the package, by the name of their model.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parent / "weights").glob("*.safetensors"))}

_FACE = (IMAGE_SIZE, IMAGE_SIZE, 1)


def weights_path(weights: str | Path) -> Path:
    """Return the file of shipped weights, by their name, or else of that path, whether it exists or not."""
    return SHIPPED.get(str(weights), Path(weights))


def existing_weights(weights: str | Path) -> Path:
    """Return the file as `weights_path` does, or raise a ConfigError if there is none."""
    if not isinstance(weights, str | Path) or not weights_path(weights).is_file():
        refuse("weights", str(weights), f"a file, or one of {', '.join(SHIPPED)}")
    return weights_path(weights)


class EmotionClassifier:
    """Tells which emotion strangers would read in a face.

    Args:
        weights: a file that `python -m fer_demo.train` or `fer_demo.quantize` wrote, or the name of a model
            in `SHIPPED`.
        flip_average: classify each face and its mirror image, and take the mean, which takes twice as long.
            Networks from short trainings gain about a point, those that are shipped nothing.

    Attributes:
        path: the file.
        name: the file's, without its ending.
        info: all that the file says beside its weights; see `tinycnn.load_info`.
        quantized: whether the network is one in int8.
        model: the network, in float32, to look into; its outputs are in the file's order. Of one in int8 only
            the layers, without weights.
        columns: which of its outputs each of `EMOTIONS` is.
        normalise: makes of uint8 (N, 48, 48, 1) what the network takes.
        temperature: what logits are divided by, so that of the faces of which it is 80 % sure, 80 % are
            right; see `fer_demo.calibration`. 1 in files that have none.

    Raises:
        ConfigError: there is neither such a file nor such a model.
        FileFormatError: the file is damaged, or no classifier of FER2013's emotions in grey 48x48 faces.
        OSError: it cannot be read.

    >>> classify = EmotionClassifier("mini_xception")
    >>> classify(np.zeros((2, 48, 48, 1), np.uint8)).shape
    (2, 7)
    """

    def __init__(self, weights: str | Path = "mini_xception", flip_average: bool = False) -> None:
        self.path = existing_weights(weights)
        self.name, self.flip_average = display_name(self.path.stem), flip_average
        self.info, self.quantized = tc.load_info(self.path), tc.is_quantized(self.path)
        if self.quantized:
            int8 = tc.load_quantized(self.path)
            self.model = int8.architecture
            self._network: Callable[[np.ndarray], np.ndarray] = int8.predict
        else:
            self.model = tc.load(self.path).astype(np.float32)
            self._network = tc.compile_for_inference(self.model)
        try:
            self.columns = _columns(self.model, self.info.get("labels"))
            self.normalise = _normalisation(self.info.get("preprocessing"))
            self.temperature = _temperature(self.info.get("calibration"))
        except tc.ConfigError as error:
            raise tc.FileFormatError(
                f"{self.path}: {error}; train a model with python -m fer_demo.train"
            ) from error

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Return probabilities, float32 (N, 7), in the order of `EMOTIONS`.

        Args:
            faces: uint8, (N, 48, 48, 1); N may be 0.

        Raises:
            ShapeError, DTypeError: they are not.
            NonFiniteError: the file's weights, or its preprocessing, make NaN of them.
        """
        if not isinstance(faces, np.ndarray) or faces.dtype != np.uint8:
            found = getattr(faces, "dtype", type(faces).__name__)
            raise tc.DTypeError(f"faces are {found}: expected an array of uint8")
        if faces.shape[1:] != _FACE:
            raise tc.ShapeError(f"expected faces (N, {', '.join(map(str, _FACE))}), found {faces.shape}")
        if not len(faces):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        probabilities = self._probabilities(faces)
        if self.flip_average:
            probabilities = (probabilities + self._probabilities(np.flip(faces, axis=2))) / 2
        return probabilities

    def _probabilities(self, faces: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # numbers that are no use are noticed below
            batches = [self._network(self.normalise(faces[i : i + 64])) for i in range(0, len(faces), 64)]
            probabilities = temper(np.concatenate(batches)[:, self.columns], self.temperature)
        if not all_finite(probabilities):
            raise tc.NonFiniteError(
                f"{self.path}: a face's probabilities are NaN: its weights or its preprocessing are no use; "
                "train a model with python -m fer_demo.train"
            )
        return probabilities


def _columns(model: tc.Sequential, labels: Any) -> list[int]:
    """Where the model's output has each of `EMOTIONS`."""
    if model.input_shape not in (None, _FACE):
        raise tc.ConfigError(f"it takes images of {model.input_shape}, expected grey faces of {_FACE}")
    try:
        outputs = model.output_shape(_FACE)
    except tc.ShapeError as error:
        raise tc.ConfigError(f"it cannot take grey faces of 48x48 pixels: {error}") from error
    if outputs != (len(EMOTIONS),):
        raise tc.ConfigError(f"its outputs are {outputs}, expected {len(EMOTIONS)} probabilities")
    *_, last = model.children().values()
    if not isinstance(last, tc.Softmax):
        raise tc.ConfigError(f"its last layer is {last}, expected a Softmax")
    if not isinstance(labels, list) or sorted(map(str, labels)) != sorted(EMOTIONS):
        refuse("labels", labels, f"in any order {', '.join(EMOTIONS)}")
    return [labels.index(name) for name in EMOTIONS]


def _normalisation(found: Any) -> Normalisation:
    mean, std = (found.get("mean"), found.get("std")) if isinstance(found, dict) else (None, None)
    if not is_number(mean) or not is_number(std) or std <= 0:
        refuse("preprocessing", found, "a mean and a std above 0, in grey levels")
    return Normalisation(float(mean), float(std))


def _temperature(found: Any) -> float:
    if found is None:
        return 1.0
    temperature = found.get("temperature") if isinstance(found, dict) else None
    low, high = TEMPERATURES
    if not is_number(temperature) or not low <= temperature <= high:
        refuse("calibration", found, f"a temperature from {low:g} to {high:g}")
    return float(temperature)
