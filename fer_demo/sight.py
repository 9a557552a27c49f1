"""What the network sees in a face: the maps that each of its blocks makes, and where the evidence is."""

import numpy as np

from fer_demo.classifier import EmotionClassifier
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE
from tinycnn.errors import ConfigError
from tinycnn.explain import feature_maps, resize
from tinycnn.explain.cam import split, weigh
from tinycnn.explain.twin import Twin, score_gradient
from tinycnn.inference import compile_for_inference
from tinycnn.kernels import one_thread_pool
from tinycnn.layers import Concat, Conv2D, DepthwiseConv2D, Residual, SeparableConv2D, Sequential

#: A block begins with one of these, and goes on with norms, ReLUs and pooling.
_BEGINNINGS = (Conv2D, DepthwiseConv2D, SeparableConv2D, Residual, Concat, Sequential)
#: So many percent of the darkest and of the brightest numbers of a block are all black or all white.
_CLIPPED = 1


def blocks_of(model: Sequential) -> dict[str, str]:
    """Return the blocks whose output is a map: name of the first layer -> path of the last one."""
    blocks: dict[str, str] = {}
    shape: tuple[int, ...] = (IMAGE_SIZE, IMAGE_SIZE, 1)
    name = ""
    for path, layer in model.children().items():
        shape = layer.output_shape(shape)
        if isinstance(layer, _BEGINNINGS):
            name = path
        if len(shape) == 3 and shape[0] > 1:
            blocks[name or path] = path
    return blocks


def block_maps(classifier: EmotionClassifier, face: np.ndarray) -> dict[str, np.ndarray]:
    """Return each block's maps, uint8 (C, h, w), by name of the block.

    All maps of a block share one scale, from black, its least numbers, to white, its greatest.

    Args:
        classifier: has the network.
        face: uint8, (48, 48).
    """
    blocks = blocks_of(classifier.model)
    outputs = feature_maps(classifier.model, _input(classifier, face), blocks.values())
    return {name: _to_grey(outputs[path][0].transpose(2, 0, 1)) for name, path in blocks.items()}


class Evidence:
    """Tells where in a face the evidence for each of `EMOTIONS` is, by Grad-CAM.

    Args:
        classifier: has the network.
    """

    def __init__(self, classifier: EmotionClassifier) -> None:
        self._classifier = classifier
        front, self._rest = split(classifier.model, (IMAGE_SIZE, IMAGE_SIZE, 1))
        self._front = compile_for_inference(front)

    def __call__(self, face: np.ndarray) -> np.ndarray:
        """Return uint8, (7, 48, 48).

        All seven share one scale, from 0, none, to 255, the most that there is for any of them.

        Args:
            face: uint8, (48, 48).
        """
        maps = np.repeat(self._front(_input(self._classifier, face)), len(EMOTIONS), axis=0)
        with one_thread_pool():
            gradients = score_gradient(Twin(self._rest), maps, np.array(self._classifier.columns))
        heat = resize(weigh(maps, gradients), IMAGE_SIZE, IMAGE_SIZE)
        return np.rint(heat * (255 / max(heat.max(), 1e-12))).astype(np.uint8)


def check_sight(classifier: EmotionClassifier) -> None:
    """Refuse an int8 network, which has neither maps in float32 nor gradients.

    Raises:
        ConfigError: it is one.
    """
    if classifier.quantized:
        raise ConfigError(
            f"{classifier.path}: an int8 network cannot be looked into: use the float32 weights behind it"
        )


def _input(classifier: EmotionClassifier, face: np.ndarray) -> np.ndarray:
    check_sight(classifier)
    return classifier.normalise(face[np.newaxis, :, :, np.newaxis])


def _to_grey(maps: np.ndarray) -> np.ndarray:
    least, greatest = np.percentile(maps, [_CLIPPED, 100 - _CLIPPED])
    scaled = (maps - least) * (255 / max(greatest - least, 1e-12))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
