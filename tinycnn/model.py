"""The model: a `Sequential` with what one does to a whole network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinycnn import layers, train
from tinycnn.checks import check_shape
from tinycnn.errors import ConfigError
from tinycnn.html import model_tree
from tinycnn.layers.base import Layer, Shape
from tinycnn.reuse import Kept
from tinycnn.summary import summary
from tinycnn.train import Evaluation, History, Prepare


class Sequential(layers.Sequential):
    """Layers one after another; a model is one of these.

    Args:
        layers: a list (names "0", "1", ...) or a dict from name to layer.
        input_shape: of one image, (H, W, C) or (features,). If given, it is checked at once and `summary` and
            files know it.

    Raises:
        ConfigError: no layers, a name with a dot, something that is not a layer, or one layer twice.
        ShapeError: a layer cannot take what the one before it makes of `input_shape`.

    >>> import tinycnn as tc
    >>> model = tc.Sequential([tc.Flatten(), tc.Dense(4, 3, rng=0), tc.Softmax()], input_shape=(2, 2, 1))
    >>> print(model.summary())
    layer  kind     output  parameters  multiply-adds
    -------------------------------------------------
    0      Flatten  4                0              0
    1      Dense    3               15             12
    2      Softmax  3                0              0
    -------------------------------------------------
    total                           15             12
    """

    def __init__(
        self, layers: Sequence[Layer] | Mapping[str, Layer], input_shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(layers)
        self._kept = Kept()
        self.input_shape: Shape | None = None
        if input_shape is not None:
            self.input_shape = check_shape(input_shape, "input_shape")
            self.output_shape(self.input_shape)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle takes along: all but what was made ready for inference."""
        return {**vars(self), "_kept": Kept()}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().config(), "input_shape": self.input_shape}

    def summary(self, input_shape: Sequence[int] | None = None) -> str:
        """Return a table of layers, output shapes, parameters and multiply-adds, for one image.

        Raises:
            ConfigError: no input shape, here or in the constructor.
            ShapeError: a layer cannot take what it is given.
        """
        shape = self.input_shape if input_shape is None else check_shape(input_shape, "input_shape")
        if shape is None:
            raise ConfigError("the input's shape is unknown: use model.summary((48, 48, 1)) or the like")
        return summary(self, shape)

    def _repr_html_(self) -> str:
        """Show a notebook a tree of the layers."""
        return model_tree(self, self.input_shape)

    def fit(self, x: np.ndarray, labels: np.ndarray, **options: Any) -> History:
        """Train on images x (N, H, W, C) and labels (N,) or (N, K); `tinycnn.train.fit` lists the options."""
        return train.fit(self, x, labels, **options)

    def predict(self, x: np.ndarray, batch_size: int = 64, prepare: Prepare | None = None) -> np.ndarray:
        """Return the outputs for x (N, ...), usually probabilities (N, K); see `tinycnn.train.predict`."""
        return train.predict(self, x, batch_size, prepare)

    def evaluate(
        self, x: np.ndarray, labels: np.ndarray, batch_size: int = 64, prepare: Prepare | None = None
    ) -> Evaluation:
        """Return loss (nats) and accuracy on x (N, ...) and labels; see `tinycnn.train.evaluate`."""
        return train.evaluate(self, x, labels, batch_size=batch_size, prepare=prepare)
