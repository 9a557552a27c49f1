"""What layers make of an image, and which pixels a score hangs on."""

from collections.abc import Iterable

import numpy as np

from tinycnn.explain.twin import ClassIndex, Twin, score_gradient
from tinycnn.kernels import one_thread_pool
from tinycnn.layers import Sequential


def feature_maps(
    model: Sequential, x: np.ndarray, paths: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the layers' outputs for a batch, in evaluation: path -> array of its own.

    Args:
        model: any `Sequential`; a final `Softmax` is a layer like the others here.
        x: (N, H, W, C) or (N, features), of the parameters' dtype.
        paths: which layers, as `model.walk()` names them, such as ``module1.main.sep1``; all by default.

    Raises:
        ConfigError: there is no layer of that path.
        ShapeError, DTypeError: x does not fit the model.

    >>> features = {"conv": tc.Conv2D(1, 4, 3, rng=0), "relu": tc.ReLU(), "mean": tc.GlobalAvgPool2D()}
    >>> model = tc.Sequential({**features, "dense": tc.Dense(4, 2, rng=1)})
    >>> x = np.ones((3, 8, 8, 1), np.float32)
    >>> {path: maps.shape for path, maps in feature_maps(model, x, ["conv", "mean"]).items()}
    {'conv': (3, 6, 6, 4), 'mean': (3, 4)}
    """
    chosen = [path for path, _ in model.walk() if path] if paths is None else list(paths)
    twin = Twin(model, chosen, scores=False)
    with one_thread_pool():
        twin.forward(x)
    return {path: twin.outputs[path] for path in chosen}


def saliency(model: Sequential, x: np.ndarray, class_index: ClassIndex) -> np.ndarray:
    """Return the gradient of a class's score with respect to the image, of x's shape (N, H, W, C).

    How much the score would change if a pixel changed a little (Simonyan, Vedaldi & Zisserman 2014, "Deep
    inside convolutional networks"). Their picture is the largest absolute value over the channels:
    ``np.abs(saliency(...)).max(axis=-1)``.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, H, W, C) or (N, features), of the parameters' dtype.
        class_index: from 0 to K - 1, one for all images or one for each.

    Raises:
        ShapeError, DTypeError, ConfigError: x or the class does not fit the model.

    >>> features = {"conv": tc.Conv2D(1, 4, 3, rng=0), "relu": tc.ReLU(), "mean": tc.GlobalAvgPool2D()}
    >>> model = tc.Sequential({**features, "dense": tc.Dense(4, 2, rng=1)})
    >>> x = np.ones((3, 8, 8, 1), np.float32)
    >>> saliency(model, x, class_index=1).shape
    (3, 8, 8, 1)
    """
    with one_thread_pool():
        return score_gradient(Twin(model), x, class_index)


def guided_backpropagation(model: Sequential, x: np.ndarray, class_index: ClassIndex) -> np.ndarray:
    """Return saliency with a backward pass that follows positive evidence alone, of x's shape.

    On its way back the gradient is cut to 0 at every ReLU where the ReLU's input was not positive, as in any
    backward pass, and also where the gradient itself is negative (Springenberg, Dosovitskiy, Brox &
    Riedmiller 2015, "Striving for simplicity"). Contours come out clearly; but the pictures depend more on
    the image than on the class (Adebayo et al. 2018, "Sanity checks for saliency maps"), so they show which
    details the network sees rather than why it chose a class.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, H, W, C) or (N, features), of the parameters' dtype.
        class_index: from 0 to K - 1, one for all images or one for each.

    Raises:
        ShapeError, DTypeError, ConfigError: x or the class does not fit the model.

    >>> features = {"conv": tc.Conv2D(1, 4, 3, rng=0), "relu": tc.ReLU(), "mean": tc.GlobalAvgPool2D()}
    >>> model = tc.Sequential({**features, "dense": tc.Dense(4, 2, rng=1)})
    >>> x = np.ones((3, 8, 8, 1), np.float32)
    >>> guided_backpropagation(model, x, class_index=1).shape
    (3, 8, 8, 1)
    """
    with one_thread_pool():
        return score_gradient(Twin(model, guided=True), x, class_index)
