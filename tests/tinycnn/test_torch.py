"""The same numbers as PyTorch, where it is installed: layers, loss, and ten steps of Adam."""

import numpy as np
import pytest

import tinycnn as tc

torch = pytest.importorskip("torch", reason="compares with PyTorch, an optional peer")


def parameter(array):
    return torch.nn.Parameter(torch.from_numpy(array.copy()))


def nchw(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def nhwc(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def twin(layer):
    """The PyTorch module of a layer, with the same weights."""
    functional = torch.nn.functional
    p = {name: parameter(array) for name, array in layer.params.items()}
    (top, bottom), (left, right) = getattr(layer, "padding", None) or ((0, 0), (0, 0))
    if isinstance(layer, tc.Conv2D):

        def run(x):
            x = functional.pad(x, (left, right, top, bottom))
            return functional.conv2d(x, p["kernel"].permute(3, 2, 0, 1), p["bias"], layer.stride)
    elif isinstance(layer, tc.DepthwiseConv2D):

        def run(x):
            x = functional.pad(x, (left, right, top, bottom))
            kernel = p["kernel"].permute(2, 0, 1)[:, None]
            return functional.conv2d(x, kernel, p["bias"], layer.stride, groups=layer.channels)
    elif isinstance(layer, tc.BatchNorm):

        def run(x):
            return functional.batch_norm(x, None, None, p["gamma"], p["beta"], training=True, eps=layer.eps)
    elif isinstance(layer, tc.MaxPool2D):

        def run(x):
            return functional.max_pool2d(x, layer.kernel_size, layer.stride, (top, left))
    else:

        def run(x):
            return functional.avg_pool2d(
                x, layer.kernel_size, layer.stride, (top, left), count_include_pad=False
            )

    return run, p


LAYERS = [
    tc.Conv2D(3, 5, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), rng=0),
    tc.DepthwiseConv2D(3, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), rng=0),
    tc.BatchNorm(3),
    tc.MaxPool2D(3, 2, ((1, 1), (1, 1))),
    tc.AvgPool2D(3, 2, ((1, 1), (1, 1))),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers(backend, layer):
    layer = layer.astype(np.float64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 7, 9, 3))
    run, parameters = twin(layer)
    x_torch = nchw(x).requires_grad_()
    expected = run(x_torch)
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y, nhwc(expected), rtol=1e-10, atol=1e-12)
    dy = rng.standard_normal(y.shape)
    expected.backward(nchw(dy))
    np.testing.assert_allclose(layer.backward(dy), nhwc(x_torch.grad), rtol=1e-9, atol=1e-12)
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(gradient, parameters[name].grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
def test_loss(smoothing, weights):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((8, 4)), rng.integers(0, 4, 8)
    if weights and smoothing:
        # PyTorch weighs the smoothed share by the other classes' weights; here an image has one weight.
        pytest.skip("defined differently on purpose")
    x = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(
        x,
        torch.from_numpy(labels),
        weights and torch.tensor(weights, dtype=torch.float64),
        label_smoothing=smoothing,
    )
    expected.backward()
    loss, gradient = tc.SoftmaxCrossEntropy(smoothing, weights)(logits, labels)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_loss_of_probabilities(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((8, 4)), rng.dirichlet(np.ones(4), 8)
    x = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(x, torch.from_numpy(labels), label_smoothing=smoothing)
    expected.backward()
    loss, gradient = tc.SoftmaxCrossEntropy(smoothing)(logits, labels)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_ten_steps_of_adam(backend):
    rng = np.random.default_rng(0)
    layers = {
        "conv": tc.Conv2D(1, 3, 3, padding=((1, 1), (1, 1)), rng=0),
        "bn": tc.BatchNorm(3),
        "relu": tc.ReLU(),
        "pool": tc.GlobalAvgPool2D(),
        "dense": tc.Dense(3, 4, rng=1),
    }
    model = tc.Sequential(layers).astype(np.float64)
    p = {name: parameter(array) for name, array in model.params.items()}
    x, labels = rng.standard_normal((8, 6, 6, 1)), rng.integers(0, 4, 8)
    theirs = torch.optim.Adam(p.values(), lr=0.01)
    ours, loss = tc.Adam(0.01), tc.SoftmaxCrossEntropy()
    functional = torch.nn.functional
    for _ in range(10):
        y = functional.conv2d(nchw(x), p["conv.kernel"].permute(3, 2, 0, 1), p["conv.bias"], padding=1)
        y = functional.batch_norm(y, None, None, p["bn.gamma"], p["bn.beta"], training=True, eps=1e-3)
        y = functional.relu(y).mean(dim=(2, 3)) @ p["dense.kernel"] + p["dense.bias"]
        expected = functional.cross_entropy(y, torch.from_numpy(labels))
        theirs.zero_grad()
        expected.backward()
        theirs.step()
        assert tc.train_step(model, x, labels, loss, ours).loss == pytest.approx(expected.item(), rel=1e-9)
    for name, array in model.params.items():
        if name == "conv.bias":
            continue  # batch norm takes it away, so its gradient is rounding noise, which Adam blows up
        np.testing.assert_allclose(array, p[name].detach().numpy(), rtol=1e-7, atol=1e-9)
