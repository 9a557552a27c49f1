"""The same two networks in PyTorch, run as its users run them, and exported to ONNX Runtime and OpenCV.

All are optional: install them in an environment of their own, see `benchmarks/README.md`. PyTorch takes the
number of threads from the environment variable OMP_NUM_THREADS.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

#: Trained numbers of our two models, which these must have as well; a test compares them with ours.
PARAMETERS = {"mini_xception": 56_951, "alexnet": 5_073_927}
CLASSES = 7
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def separable(channels: int, wider: int) -> list[nn.Module]:
    """Depthwise 3x3, then 1x1, then batch norm, which makes a bias needless."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return [depthwise, nn.Conv2d(channels, wider, 1, bias=False), nn.BatchNorm2d(wider)]


class XceptionModule(nn.Module):
    """Two separable convolutions and a max-pool, around them a 1x1 shortcut; maps are halved."""

    def __init__(self, channels: int, wider: int) -> None:
        super().__init__()
        first, second = separable(channels, wider), separable(wider, wider)
        self.main = nn.Sequential(*first, nn.ReLU(), *second, nn.MaxPool2d(3, 2, 1))
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, wider, 1, stride=2, bias=False), nn.BatchNorm2d(wider)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, wider, H/2, W/2)."""
        return self.main(x) + self.shortcut(x)


class MiniXception(nn.Sequential):
    """As `fer_demo.models.mini_xception`, up to the scores."""

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 64, 128)) -> None:
        stem: list[nn.Module] = []
        for channels in (1, widths[0]):
            stem += [nn.Conv2d(channels, widths[0], 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        modules = [XceptionModule(channels, wider) for channels, wider in pairwise(widths)]
        super().__init__(*stem, *modules, nn.Conv2d(widths[-1], CLASSES, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, 1, 48, 48) to scores (N, 7)."""
        return super().forward(x).mean((2, 3))


class AlexNet(nn.Sequential):
    """As `fer_demo.models.alexnet`, up to the scores."""

    def __init__(self, widths: tuple[int, ...] = (64, 192, 256, 256, 256), features: int = 960) -> None:
        layers: list[nn.Module] = []
        windows = [(5, 2), (5, 1), (3, 1), (3, 1), (3, 1)]  # kernel size, stride
        for index, (channels, wider) in enumerate(pairwise((1, *widths))):
            size, stride = windows[index]
            layers += [nn.Conv2d(channels, wider, size, stride, padding=size // 2), nn.ReLU()]
            if index in (0, 1, 4):
                layers.append(nn.MaxPool2d(3, 2, 1))
        layers.append(nn.Flatten())
        for inputs in (3 * 3 * widths[-1], features):
            layers += [nn.Dropout(0.5), nn.Linear(inputs, features), nn.ReLU()]
        super().__init__(*layers, nn.Linear(features, CLASSES))


def network(model: str) -> nn.Module:
    """Return a model by the name that ours has."""
    made = {"mini_xception": MiniXception, "alexnet": AlexNet}[model]()
    found = sum(parameter.numel() for parameter in made.parameters())
    assert found == PARAMETERS[model], f"{model} of the peers has {found} parameters, not {PARAMETERS[model]}"
    return made


def faces(batch: int) -> torch.Tensor:
    """Return random images, (batch, 1, 48, 48)."""
    return torch.randn(batch, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def training_step(model: str, batch: int, layout: str, compiled: bool) -> Callable[[], object]:
    """Return a training step: forward, cross-entropy, backward, Adam over all parameters at once."""
    net = network(model).to(memory_format=LAYOUTS[layout])
    x = faces(batch).contiguous(memory_format=LAYOUTS[layout])
    labels = torch.randint(0, CLASSES, (batch,), generator=torch.Generator().manual_seed(1))
    adam = torch.optim.Adam(net.parameters(), 1e-3, foreach=True)
    forward = torch.compile(net) if compiled else net

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(forward(x), labels).backward()
        adam.step()

    return step


def torch_inference(model: str, batch: int) -> Callable[[], object]:
    """Return a call of the PyTorch model on one batch, in inference mode and channels-last layout."""
    net = network(model).eval().to(memory_format=torch.channels_last)
    x = faces(batch).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> None:
        net(x)

    return call


def onnxruntime_inference(model: str, batch: int) -> Callable[[], object]:
    """Return a call of ONNX Runtime on one batch, with the exported model."""
    import onnxruntime  # not at the top: PyTorch can be measured without it

    x = faces(batch)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with exported(model, x) as path:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)


def opencv_inference(model: str, batch: int) -> Callable[[], object]:
    """Return a call of OpenCV's DNN module on one batch, with the exported model."""
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    x = faces(batch)
    with exported(model, x) as path:
        net = cv2.dnn.readNetFromONNX(path)

    def call() -> None:
        net.setInput(x.numpy())
        net.forward()

    return call


@contextmanager
def exported(model: str, x: torch.Tensor) -> Iterator[str]:
    """Have the PyTorch model in an ONNX file, by opset 17, within the block."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter that needs no further packages
        path = str(Path(folder, "model.onnx"))
        torch.onnx.export(network(model).eval(), (x,), path, dynamo=False, opset_version=17)
        yield path
