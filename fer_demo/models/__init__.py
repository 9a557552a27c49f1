"""The networks, as lists of layers: the paper's two, the three that it names as future work, and our own."""

from collections.abc import Callable
from functools import partial

import tinycnn as tc
from fer_demo.models.googlenet import inception
from fer_demo.models.paper import alexnet, mini_xception
from fer_demo.models.parts import FACE
from fer_demo.models.residual import compact, resnet
from fer_demo.models.vgg import vggnet

__all__ = [
    "FACE",
    "MODELS",
    "PAPERS",
    "alexnet",
    "compact",
    "inception",
    "mini_xception",
    "resnet",
    "vggnet",
]

#: The two that the paper compares.
PAPERS = ("mini_xception", "alexnet")

#: Models by the names used on command lines and in results.
MODELS: dict[str, Callable[..., tc.Sequential]] = {
    "mini_xception": mini_xception,
    "alexnet": alexnet,
    "alexnet_bn": partial(alexnet, batch_norm=True),
    "compact": compact,
    "vggnet": vggnet,
    "inception": inception,
    "resnet": resnet,
}
