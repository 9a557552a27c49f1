"""Explanations against the definition of the derivative, brute force, and cases worked by hand."""

import copy

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import explain


def network(dtype=np.float64):
    """One of each kind that matters: batch norm with a past, dropout, a residual module, a final softmax."""
    rng = np.random.default_rng(0)
    main = {
        "sep": tc.SeparableConv2D(3, 4, 3, padding="same", rng=rng),
        "bn": tc.BatchNorm(4),
        "pool": tc.MaxPool2D(2),
    }
    layers = {
        "conv": tc.Conv2D(1, 3, 3, padding="same", rng=rng),
        "bn": tc.BatchNorm(3),
        "relu": tc.ReLU(),
        "dropout": tc.Dropout(0.5, rng=0),
        "module": tc.Residual(tc.Sequential(main), tc.Conv2D(3, 4, 1, stride=2, rng=rng)),
        "relu2": tc.ReLU(),
        "mean": tc.GlobalAvgPool2D(),
        "dense": tc.Dense(4, 3, rng=rng),
        "softmax": tc.Softmax(),
    }
    model = tc.Sequential(layers, input_shape=(6, 6, 1)).astype(dtype)
    for array in [*model.params.values(), *model.state.values()]:
        array += rng.uniform(0.1, 0.5, array.shape).astype(dtype)
    return model


def images(dtype=np.float64):
    return np.random.default_rng(1).standard_normal((3, 6, 6, 1)).astype(dtype)


def scores_of(model, x):
    return tc.Sequential(dict(list(model.children().items())[:-1])).forward(x)


WAYS = {
    "feature_maps": lambda model, x: explain.feature_maps(model, x),
    "saliency": lambda model, x: explain.saliency(model, x, 1),
    "guided": lambda model, x: explain.guided_backpropagation(model, x, 1),
    "grad_cam": lambda model, x: explain.grad_cam(model, x, 1),
    "occlusion": lambda model, x: explain.occlusion(model, x, 1, 2, 2),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_model_and_images_are_left_as_they_were(backend, way):
    model, x = network(), images()
    dy = np.random.default_rng(2).standard_normal((3, 3))
    model.forward(x, train=True)
    model.backward(dy)
    before = copy.deepcopy(model)
    x.setflags(write=False)
    way(model, x)
    for kind in ("params", "state", "grads"):
        after, kept = getattr(model, kind), getattr(before, kind)
        assert all(np.array_equal(after[name], kept[name]) for name in kept)
    np.testing.assert_array_equal(model.backward(dy), before.backward(dy))  # the cache, too


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_float32_agrees_with_float64_and_stays_float32(backend, way):
    rough, exact = way(network(np.float32), images(np.float32)), way(network(), images())
    if not isinstance(rough, dict):
        rough, exact = {"result": rough}, {"result": exact}
    for name, array in rough.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, exact[name], rtol=1e-3, atol=1e-4)


def test_feature_maps_are_what_the_layers_put_out_in_evaluation(backend):
    model, x = network(), images()
    maps = explain.feature_maps(model, x)
    assert list(maps) == [path for path, _ in model.walk()][1:]
    layers = model.children()
    np.testing.assert_allclose(maps["softmax"], model.forward(x))
    np.testing.assert_array_equal(maps["dropout"], maps["relu"])
    np.testing.assert_allclose(maps["bn"], layers["bn"].forward(layers["conv"].forward(x)))
    main = layers["module"].main
    np.testing.assert_allclose(maps["module.main"], main.forward(maps["dropout"]))
    depthwise = main.children()["sep"].depthwise
    np.testing.assert_allclose(maps["module.main.sep.depthwise"], depthwise.forward(maps["dropout"]))
    assert list(explain.feature_maps(model, x, ["mean", "conv"])) == ["mean", "conv"]


def test_feature_maps_share_no_memory():
    x = images()
    maps = explain.feature_maps(tc.Sequential([tc.Dropout(0.5), tc.Flatten()]), x)
    maps["0"][...], maps["1"][...] = 5, 7
    np.testing.assert_array_equal(x, images())
    assert np.all(maps["0"] == 5)


def test_saliency_is_the_slope_of_the_score(backend):
    model, x, classes = network(), images(), np.array([2, 0, 1])
    gradient, step = explain.saliency(model, x, classes), 1e-6
    numeric = np.empty_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        chosen = index[0], classes[index[0]]
        numeric[index] = (scores_of(model, above)[chosen] - scores_of(model, below)[chosen]) / (2 * step)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


def test_saliency_of_a_dense_network():
    dense = tc.Dense(2, 3, rng=0)
    x = np.zeros((1, 2), np.float32)
    np.testing.assert_array_equal(
        explain.saliency(tc.Sequential([dense]), x, 2), dense.params["kernel"][:, [2]].T
    )


def test_guided_backpropagation_by_hand(backend):
    first, last = tc.Dense(2, 3, bias=False), tc.Dense(3, 2, bias=False)
    first.params["kernel"][...] = [[1, -1, 2], [1, 0, 1]]
    last.params["kernel"][...] = [[5, 0], [7, 0], [-4, 0]]
    model = tc.Sequential([first, tc.ReLU(), last])
    x = np.array([[1, 1]], np.float32)
    # Hidden units before ReLU: 2, -1, 3. The score's gradient there: 5, 7, -4. ReLU stops the second, since
    # its input is negative. Plain: 5 * [1, 1] - 4 * [2, 1]. The guided one stops the third as well, since
    # its gradient is negative: 5 * [1, 1].
    np.testing.assert_array_equal(explain.saliency(model, x, 0), [[-3, 1]])
    np.testing.assert_array_equal(explain.guided_backpropagation(model, x, 0), [[5, 5]])


def small_cam_model():
    """Two maps, x and -2x + 1, from which the scores are made by a dense layer."""
    conv, dense = tc.Conv2D(1, 2, 1), tc.Dense(8, 2)
    conv.params["kernel"][...], conv.params["bias"][...] = [[[[1, -2]]]], [0, 1]
    # Weights of class 0, in order of rows, columns, maps; class 1 has the opposite ones.
    dense.params["kernel"][:, 0] = [1, 0, 2, 1, 3, 0, 2, 3]
    dense.params["kernel"][:, 1] = -dense.params["kernel"][:, 0]
    return tc.Sequential({"conv": conv, "flat": tc.Flatten(), "dense": dense, "softmax": tc.Softmax()})


def test_grad_cam_by_hand(backend):
    x = np.array([[[[1], [2]], [[0], [-1]]]], np.float32)
    # The maps are [[1, 2], [0, -1]] and [[-1, -3], [1, 3]]. Their gradients for class 0 are [[1, 2], [3, 2]]
    # and [[0, 1], [0, 3]], with means 2 and 1. So the sum is [[2 - 1, 4 - 3], [0 + 1, -2 + 3]].
    np.testing.assert_allclose(explain.grad_cam(small_cam_model(), x, 0), [[[1, 1], [1, 1]]])
    np.testing.assert_allclose(explain.grad_cam(small_cam_model(), x, 1), np.zeros((1, 2, 2)))
    x[0, 1, 1] = 1  # maps 1 and -1 there: 2 - 1; then -1 and 3 with the other sign
    np.testing.assert_allclose(explain.grad_cam(small_cam_model(), x * 2, 0, "conv")[0, 0], [1, 1])


def test_grad_cam_of_a_score_that_is_the_mean_of_a_map_is_that_map(backend):
    model = tc.Sequential({"conv": tc.Conv2D(1, 3, 3, rng=0), "mean": tc.GlobalAvgPool2D()})
    x = images(np.float32)
    maps = model.children()["conv"].forward(x)
    np.testing.assert_allclose(explain.grad_cam(model, x, 2), np.maximum(maps[..., 2], 0) / 16, rtol=1e-6)


def test_grad_cam_uses_batch_norm_as_in_evaluation(backend):
    """An image's explanation does not depend on its company."""
    model, x = network(), images()
    together = explain.grad_cam(model, x, 1, "conv")
    alone = [explain.grad_cam(model, x[[i]], 1, "conv")[0] for i in range(len(x))]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_the_default_layer_is_the_last_map_before_pooling_and_dense_layers():
    def same(model, layer):
        x = np.ones((1, 6, 6, 1), np.float32)
        np.testing.assert_array_equal(explain.grad_cam(model, x, 0), explain.grad_cam(model, x, 0, layer))

    conv = {"conv": tc.Conv2D(1, 2, 3, rng=0), "relu": tc.ReLU()}
    tiny = {"pool": tc.MaxPool2D(2), "tiny": tc.Conv2D(2, 2, 2, rng=0)}  # 1x1: it shows no place
    dense = {"flat": tc.Flatten(), "dense": tc.Dense(2, 2, rng=0)}
    same(tc.Sequential({**conv, **tiny, **dense}), "relu")
    same(tc.Sequential({"features": tc.Sequential({**conv, **tiny}), **dense}), "features.relu")
    behind = {"pool": tc.MaxPool2D(2), "drop": tc.Dropout(0.5), "flat": tc.Flatten(), "dense": tc.Dense(8, 2)}
    same(tc.Sequential({**conv, **behind}), "relu")
    same(network(np.float32), "relu2")
    residual = tc.Residual(tc.Conv2D(1, 1, 1, rng=0))
    same(tc.Sequential({"module": residual, "mean": tc.GlobalAvgPool2D()}), "module")


def test_upsampled_grad_cam_has_the_size_of_the_image():
    model, x = network(), images()
    cam = explain.grad_cam(model, x, 0)
    large = explain.grad_cam(model, x, 0, upsample=True)
    assert cam.shape == (3, 3, 3)
    np.testing.assert_array_equal(large, explain.resize(cam, 6, 6))


def test_resize_interpolates_between_centres():
    maps = np.array([[[0.0, 4.0], [8.0, 12.0]]])
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]
    np.testing.assert_allclose(explain.resize(maps, 4, 4), [expected])
    np.testing.assert_array_equal(explain.resize(maps, 2, 2), maps)
    np.testing.assert_array_equal(explain.resize(maps[:, :1, :1] + 3, 2, 3), np.full((1, 2, 3), 3))


def test_occlusion_is_what_brute_force_finds(backend):
    model, x, classes = network(), images(), [2, 0, 1]
    drops = explain.occlusion(model, x, classes, size=(2, 3), stride=(2, 1), value=0.5)
    assert drops.shape == (3, 3, 4)
    for n, i, j in np.ndindex(drops.shape):
        covered = x[[n]].copy()
        covered[0, 2 * i : 2 * i + 2, j : j + 3] = 0.5
        expected = scores_of(model, x[[n]]) - scores_of(model, covered)
        np.testing.assert_allclose(drops[n, i, j], expected[0, classes[n]], atol=1e-12)


def test_occlusion_in_more_than_one_batch():
    model = tc.Sequential([tc.Flatten(), tc.Dense(100, 2, rng=0)])
    x = np.random.default_rng(0).standard_normal((1, 10, 10, 1)).astype(np.float32)
    expected = x[..., 0] * model.params["1.kernel"][:, 1].reshape(1, 10, 10)
    np.testing.assert_allclose(explain.occlusion(model, x, 1, 1, 1), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: explain.saliency(tc.ReLU(), x, 0), tc.ConfigError, "model=.*a Sequential"),
        (lambda m, x: explain.occlusion(tc.ReLU(), x, 0, 2, 1), tc.ConfigError, "model=.*a Sequential"),
        (lambda m, x: explain.saliency(m, x, 3), tc.ConfigError, "class_index=3.*from 0 to 2"),
        (lambda m, x: explain.saliency(m, x, -1), tc.ConfigError, "class_index=-1"),
        (lambda m, x: explain.saliency(m, x, 1.0), tc.ConfigError, "class_index=1.0"),
        (lambda m, x: explain.saliency(m, x, True), tc.ConfigError, "class_index=True"),
        (lambda m, x: explain.grad_cam(m, x, [0, 1]), tc.ShapeError, "each of 3 images"),
        (lambda m, x: explain.saliency(m, x[0], 0), tc.ShapeError, "expected input"),
        (lambda m, x: explain.saliency(m, x.astype(int), 0), tc.DTypeError, "float32"),
        (lambda m, x: explain.guided_backpropagation(m, x[:0], 0), tc.ShapeError, "at least one image"),
        (lambda m, x: explain.feature_maps(m, x, ["con"]), tc.ConfigError, "no layer 'con'.*conv, bn"),
        (lambda m, x: explain.feature_maps(m, x, [""]), tc.ConfigError, "no layer ''"),
        (lambda m, x: explain.grad_cam(m, x, 0, "mean"), tc.ShapeError, "'mean' gives .3, 4.*maps"),
        (lambda m, x: explain.grad_cam(m, x, 0, "softmax"), tc.ConfigError, "no layer 'softmax'"),
        (
            lambda m, x: explain.grad_cam(tc.Sequential([tc.Flatten()]), x, 0),
            tc.ConfigError,
            "no map larger than 1x1",
        ),
        (lambda m, x: explain.saliency(tc.Sequential([tc.ReLU()]), x, 0), tc.ShapeError, r"scores \(N, K\)"),
        (lambda m, x: explain.occlusion(m, x, 0, 7, 1), tc.ShapeError, "cannot cover 7x7"),
        (lambda m, x: explain.occlusion(m, x, 0, 0, 1), tc.ConfigError, "size=0"),
        (lambda m, x: explain.occlusion(m, x, 0, 1, "1"), tc.ConfigError, "stride='1'"),
        (lambda m, x: explain.occlusion(m, x, 0, 1, 1, np.nan), tc.ConfigError, "value=nan"),
        (lambda m, x: explain.resize(x, 2, 2), tc.ShapeError, r"maps \(N, h, w\)"),
        (lambda m, x: explain.resize(x[..., 0], 0, 2), tc.ConfigError, "height=0"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(network(), images())


def test_maps_to_be_enlarged_may_be_a_list_but_have_no_mask():
    np.testing.assert_array_equal(explain.resize([[[0.0, 1.0]]], 1, 4), [[[0, 0.25, 0.75, 1]]])
    with pytest.raises(tc.DTypeError, match="maps have a mask"):
        explain.resize(np.ma.masked_array(np.ones((2, 6, 6))), 8, 8)
