"""Networks to carry from one library to another, and the same networks as PyTorch modules."""

import numpy as np

import tinycnn as tc


def with_everything():
    """Every kind of layer, in windows that are not square and padding that is not even."""
    rng = np.random.default_rng(0)
    main = {
        "sep": tc.SeparableConv2D(4, 6, 3, stride=2, padding="same", rng=rng),
        "bn": tc.BatchNorm(6, eps=0.01),
        "relu": tc.ReLU(),
    }
    shortcut = {"pool": tc.MaxPool2D(3, 2, "same"), "conv": tc.Conv2D(4, 6, 1, bias=False, rng=rng)}
    pooled = {"pool": tc.MaxPool2D(3, 1, "same"), "conv": tc.Conv2D(4, 1, 1, rng=rng)}
    wide = {"conv": tc.Conv2D(4, 3, (1, 3), padding="same", bias=False, rng=rng), "bn": tc.BatchNorm(3)}
    layers = {
        "conv": tc.Conv2D(2, 4, (3, 2), (1, 2), ((1, 0), (0, 1)), rng=rng),
        "relu": tc.ReLU(),
        "branches": tc.Concat({"pooled": tc.Sequential(pooled), "wide": tc.Sequential(wide)}),
        "module": tc.Residual(tc.Sequential(main), tc.Sequential(shortcut)),
        "identity": tc.Residual(tc.DepthwiseConv2D(6, 3, padding="same", rng=rng)),
        "avg": tc.AvgPool2D(2, 1),
        "flatten": tc.Flatten(),
        "bn": tc.BatchNorm(3 * 4 * 6),
        "dropout": tc.Dropout(0.3, rng=rng),
        "dense": tc.Dense(3 * 4 * 6, 5, rng=rng),
        "softmax": tc.Softmax(),
    }
    model = tc.Sequential(layers, input_shape=(8, 19, 2))
    return filled(model)


def filled(model):
    """The model with biases and statistics that could not be anyone else's."""
    rng = np.random.default_rng(1)
    for name, array in {**model.params, **model.state}.items():
        if not name.endswith("kernel"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    return model


def images(model, count=3):
    """Random images for a model."""
    rng = np.random.default_rng(2)
    return rng.standard_normal((count, *model.input_shape)).astype(np.float32)


def nchw(x):
    """Images (N, H, W, C) as (N, C, H, W); features as they are."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


def torch_twin(torch, layer, shape):
    """The PyTorch module of a layer that gets images of `shape`, with weights of its own."""
    nn = torch.nn

    class Add(nn.Module):
        def __init__(self, main, shortcut):
            super().__init__()
            self.main, self.shortcut = main, shortcut

        def forward(self, x):
            return self.main(x) + self.shortcut(x)

    class Concat(nn.Module):
        def __init__(self, branches):
            super().__init__()
            for name, branch in branches.items():
                self.add_module(name, branch)

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.children()], 1)

    def chain(layer):
        modules, here = {}, shape
        for name, child in layer.children().items():
            modules[name], here = torch_twin(torch, child, here), child.output_shape(here)
        return modules

    def padded(module, **options):
        """A window's module; what is not the same on both sides is padded before it."""
        (top, bottom), (left, right) = layer._pad(shape)
        value = -torch.inf if isinstance(layer, tc.MaxPool2D) else 0.0
        if (top, left) == (bottom, right):
            return module(kernel_size=layer.kernel_size, stride=layer.stride, padding=(top, left), **options)
        inner = module(kernel_size=layer.kernel_size, stride=layer.stride, **options)
        inner.register_forward_pre_hook(
            lambda _, x: nn.functional.pad(x[0], (left, right, top, bottom), value=value)
        )
        return inner

    match layer:
        case tc.Residual():
            main = torch_twin(torch, layer.main, shape)
            detour = torch_twin(torch, layer.shortcut, shape) if layer.shortcut else nn.Identity()
            return Add(main, detour)
        case tc.Concat():
            return Concat({n: torch_twin(torch, child, shape) for n, child in layer.children().items()})
        case tc.Conv2D():
            bias = "bias" in layer.params
            return padded(
                nn.Conv2d, in_channels=layer.in_channels, out_channels=layer.out_channels, bias=bias
            )
        case tc.DepthwiseConv2D(channels=c):
            bias = "bias" in layer.params
            return padded(nn.Conv2d, in_channels=c, out_channels=c, groups=c, bias=bias)
        case tc.MaxPool2D():
            return padded(nn.MaxPool2d)
        case tc.AvgPool2D():
            return padded(nn.AvgPool2d, count_include_pad=False)
        case tc.BatchNorm():
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return kind(layer.channels, layer.eps, 1 - layer.momentum)
        case tc.Dense():
            return nn.Linear(layer.in_features, layer.out_features, "bias" in layer.params)
        case tc.GlobalAvgPool2D():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case tc.ReLU():
            return nn.ReLU()
        case tc.Flatten():
            return nn.Flatten()
        case tc.Dropout():
            return nn.Dropout(layer.rate)
        case tc.Softmax():
            return nn.Softmax(1)
    modules = nn.Sequential()
    for name, module in chain(layer).items():
        modules.add_module(name, module)
    return modules
