"""Pictures: what is in them, and what they look like when they are very small."""

import io
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

import tinycnn as tc
from tinycnn import plot
from tinycnn.plot.grids import mosaic

SVG = "{http://www.w3.org/2000/svg}"
HISTORY = tc.History(loss=[2.0, 1.0], accuracy=[0.2, 0.6], val_loss=[2.5, 1.5], val_accuracy=[0.1, 0.5])


def texts(figure):
    return {text.get_text().strip() for text in figure.findobj(Text)} - {""}


def residual_network():
    rng = np.random.default_rng(0)
    main = {"conv": tc.Conv2D(4, 8, 3, padding="same", rng=rng), "bn": tc.BatchNorm(8)}
    shortcut = tc.Conv2D(4, 8, 1, rng=rng)
    layers = {
        "sep": tc.SeparableConv2D(1, 4, 3, stride=2, rng=rng),
        "relu": tc.ReLU(),
        "block": tc.Residual(tc.Sequential(main), shortcut),
        "again": tc.Sequential({"block": tc.Residual(tc.ReLU())}),
        "mean": tc.GlobalAvgPool2D(),
        "dense": tc.Dense(8, 3, rng=rng),
        "softmax": tc.Softmax(),
    }
    return tc.Sequential(layers, input_shape=(9, 11, 1))


def test_curves_of_one_training():
    figure = plot.curves(HISTORY)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [HISTORY.loss, HISTORY.val_loss]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [HISTORY.accuracy, HISTORY.val_accuracy]
    assert [line.get_xdata().tolist() for line in loss.lines] == [[1, 2], [1, 2]]
    assert {"loss", "accuracy", "epoch", "training", "validation"} <= texts(figure)


def test_curves_of_a_mapping_need_no_validation():
    figure = plot.curves({"loss": [2.0, 1.0], "accuracy": [0.2, 0.6]})
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]


def test_curves_of_arrays():
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    figure = plot.curves(dict.fromkeys(names, np.array([0.5, 0.4])))
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]


def test_curves_without_validation_have_one_line():
    figure = plot.curves(tc.History(loss=[2.0], accuracy=[0.5]))
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert "validation" not in texts(figure)


def test_curves_of_several_trainings_end_with_their_mean():
    longer = tc.History(loss=[4.0, 3.0, 2.0], accuracy=[0.1, 0.2, 0.3])
    figure = plot.curves([HISTORY, longer])
    *runs, mean = [line.get_ydata().tolist() for line in figure.axes[0].lines[:3]]
    assert runs == [HISTORY.loss, longer.loss]
    assert mean == [3.0, 2.0]


def test_confusion_matrix_of_shares_and_of_counts():
    counts = [[3, 1], [0, 0]]
    shares = plot.confusion_matrix(counts, ["cat", "dog"])
    np.testing.assert_allclose(shares.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {"75%", "25%", "0%", "3", "1", "0", "cat", "dog"} <= texts(shares)
    plain = plot.confusion_matrix(counts, ["cat", "dog"], normalise=False)
    np.testing.assert_allclose(plain.axes[0].images[0].get_array(), [[1, 1 / 3], [0, 0]])
    assert not any("%" in text for text in texts(plain))


def test_names_of_classes_are_no_formulas():
    figure = plot.confusion_matrix([[1, 2], [3, 4]], ["$a", r"$\frac$"])
    figure.savefig(io.BytesIO())
    assert r"$\frac$" in texts(figure)


def test_mosaic():
    nan = np.nan
    tiles = np.arange(3.0).reshape(1, 1, 3)
    np.testing.assert_array_equal(mosaic(tiles, 2), [[0, nan, 1], [nan, nan, nan], [2, nan, nan]])


def picture(figure):
    (image,) = figure.axes[0].images
    return np.ma.filled(image.get_array(), np.nan)


def test_filters_of_each_kind_of_convolution():
    plain = tc.Conv2D(2, 3, 1, rng=0)
    np.testing.assert_allclose(picture(plot.filters(plain))[::2, ::2], plain.params["kernel"][0, 0].T)
    depthwise = tc.DepthwiseConv2D(4, 3, rng=0)
    shown = picture(plot.filters(depthwise))
    np.testing.assert_allclose(shown[:3, 4:7], depthwise.params["kernel"][:, :, 1])
    np.testing.assert_allclose(shown[4:7, :3], depthwise.params["kernel"][:, :, 2])
    separable = tc.SeparableConv2D(4, 2, 3, rng=0)
    figure = plot.filters(separable)
    np.testing.assert_allclose(picture(figure)[4:7, 4:7], separable.depthwise.params["kernel"][:, :, 3])
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high  # white is 0


def test_feature_grid_has_white_for_0_only_where_numbers_are_negative():
    maps = np.random.default_rng(0).random((5, 4, 6))
    figure = plot.feature_grid(maps, columns=6)
    assert picture(figure).shape == (5, 6 * 4 + 5)
    assert figure.axes[0].images[0].get_clim() == (0, maps.max())
    signed = plot.feature_grid(maps - 2).axes[0].images[0]
    assert signed.get_clim() == (np.min(maps) - 2, 2 - np.min(maps))
    assert signed.get_array().shape == (2 * 5 + 1, 3 * 4 + 2)


def pixels(figure):
    """The figure as 32 by 32 grey levels from 0 to 1: what is left if fonts and edges are blurred away."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    png.seek(0)
    grey = imread(png)[:, :, :3].mean(axis=2)
    rows, columns = (np.array_split(np.arange(size), 32) for size in grey.shape)
    return np.array([[grey[np.ix_(row, column)].mean() for column in columns] for row in rows])


def test_the_confusion_matrix_looks_like_one():
    """Dark cells where the counts are, light ones elsewhere."""
    grey = pixels(plot.confusion_matrix([[9, 0], [0, 9]], ["a", "b"]))
    dark = np.argwhere(grey < 0.5)
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0)
    middle = (top + bottom) // 2, (left + right) // 2
    assert grey[top + 1 : middle[0] - 1, left + 1 : middle[1] - 1].mean() < 0.45
    assert grey[top + 1 : middle[0] - 1, middle[1] + 2 : right].mean() > 0.85


def test_a_feature_grid_looks_like_its_maps():
    ramp = np.linspace(0, 1, 16)[np.newaxis, :, np.newaxis].repeat(16, axis=0)
    grey = pixels(plot.feature_grid(ramp))[16, 3:24]  # without margins and colour bar
    assert np.all(np.diff(grey) > -0.02)
    assert grey[-1] - grey[0] > 0.2


def test_architecture_shows_branches_beside_one_another():
    paths = {"a": tc.Conv2D(1, 2, 1), "b": tc.Residual(tc.ReLU()), "c": tc.Sequential([tc.ReLU(), tc.ReLU()])}
    root = ElementTree.fromstring(plot.architecture(tc.Sequential([tc.Concat(paths)], input_shape=(4, 5, 1))))
    words = [text.text for text in root.iter(f"{SVG}text") if text.text]
    assert words.index("Conv2D 1×1 → 2") < words.index("Concat")
    assert "4×5×4" in words
    assert len(list(root.iter(f"{SVG}rect"))) == 4  # one for each branch, and one where they meet


def test_architecture_shows_layers_shapes_and_branches():
    root = ElementTree.fromstring(plot.architecture(residual_network()))
    words = [text.text for text in root.iter(f"{SVG}text") if text.text]
    assert words[0] == "input"
    assert words[-1] == "output"
    assert {"SeparableConv2D 3×3 → 4, stride 2", "Conv2D 3×3 → 8", "Conv2D 1×1 → 8", "Dense → 3"} <= set(
        words
    )
    assert {"9×11×1", "4×5×4", "4×5×8", "8", "3", "BatchNorm", "ReLU", "Softmax", "Dense → 3"} <= set(words)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "block.main.conv, block.main.bn" in titles
    assert "again.block" in titles
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # one sum for each residual module
    boxes = list(root.iter(f"{SVG}rect"))
    assert len(boxes) == 6  # sep, conv, shortcut, relu, mean, dense; the others share theirs


def test_architecture_takes_layers_that_keep_one_number_for_both_axes():
    class Unfold(tc.Layer):
        def config(self):
            return {"kernel_size": 3, "stride": 2}

    assert "Unfold 3×3, stride 2" in plot.architecture(tc.Sequential([Unfold()]))


def test_architecture_stays_in_its_frame():
    root = ElementTree.fromstring(plot.architecture(residual_network()))
    width, height = float(root.get("width")), float(root.get("height"))

    def check(element, x, y):
        shift = element.get("transform", "translate(0 0)")[len("translate(") : -1].split()
        x, y = x + float(shift[0]), y + float(shift[1])
        if element.tag == f"{SVG}rect":
            left, top = x + float(element.get("x")), y
            assert 0 < left < left + float(element.get("width")) < width
            assert 0 < top < top + float(element.get("height")) < height
        for child in element:
            check(child, x, y)

    check(root, 0, 0)


def test_architecture_escapes_names_and_needs_no_shape():
    model = tc.Sequential({'<b title="x">&': tc.ReLU()})
    root = ElementTree.fromstring(plot.architecture(model))
    assert '<b title="x">&' in [text.text for text in root.iter(f"{SVG}text")]
    assert "2×2×1" in plot.architecture(model, input_shape=(2, 2, 1))
    assert plot.architecture(model)._repr_html_().startswith("<svg")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.curves([]), tc.ConfigError, "at least one history"),
        (lambda: plot.curves(None), tc.ConfigError, "history=None: expected what fit returned"),
        (lambda: plot.curves({"loss": [1.0]}), tc.ConfigError, "a mapping with the lists loss and accuracy"),
        (lambda: plot.confusion_matrix([[1, 2]], ["a", "b"]), tc.ShapeError, r"\(1, 2\) and 2"),
        (lambda: plot.confusion_matrix([[1]], ["a", "b"]), tc.ShapeError, r"\(1, 1\) and 2"),
        (lambda: plot.confusion_matrix([[-1]], ["a"]), tc.ConfigError, "at least 0"),
        (lambda: plot.confusion_matrix([[0.5]], ["a"]), tc.ConfigError, "counts"),
        (lambda: plot.confusion_matrix([[1]], ["a"], normalise=1), tc.ConfigError, "normalise=1"),
        (lambda: plot.filters(tc.ReLU()), tc.ConfigError, "layer=ReLU.*a Conv2D"),
        (lambda: plot.feature_grid(np.zeros((1, 2, 2, 3))), tc.ShapeError, r"maps \(H, W, C\)"),
        (lambda: plot.feature_grid(np.zeros((2, 2, 3)), columns=0), tc.ConfigError, "columns=0"),
        (lambda: plot.architecture(tc.ReLU()), tc.ConfigError, "a Sequential"),
        (lambda: plot.architecture(residual_network(), (48, 0)), tc.ConfigError, "input_shape"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(tc.MissingPackageError, match=r"pip install 'tinycnn\[plot\]'"):
        plot.curves(HISTORY)
    assert plot.architecture(residual_network())
