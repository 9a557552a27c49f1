"""What notebooks show of a model and of a training."""

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np

import tinycnn as tc

SVG = "{http://www.w3.org/2000/svg}"


class Cells(HTMLParser):
    """The text of each cell of a tree, and whether every tag that opens closes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.cells, self.depths = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if dict(attributes).get("class") in ("what", "shape", "count"):
            self.cells.append("")
            self.depths.append(self.open.count("details"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "span" in self.open:
            self.cells[-1] += data


def test_the_tree_tells_shapes_and_parameters():
    block = tc.Residual(tc.Sequential({"conv": tc.Conv2D(1, 2, 3, padding="same")}), tc.Conv2D(1, 2, 1))
    both = tc.Concat({"relu": tc.ReLU(), "conv": tc.Conv2D(2, 3, 1)})
    model = tc.Sequential({"block": block, "both": both, "flat": tc.Flatten()}, input_shape=(4, 5, 1))
    tree = Cells(model._repr_html_())
    rows = list(zip(*[iter(tree.cells)] * 3, strict=True))
    assert rows == [
        ("layer", "output", "parameters"),
        ("model Sequential", "100", "33"),
        ("block Residual", "4×5×2", "24"),
        ("main Sequential", "4×5×2", "20"),
        ("conv Conv2D", "4×5×2", "20"),
        ("shortcut Conv2D", "4×5×2", "4"),
        ("both Concat", "4×5×5", "9"),
        ("relu ReLU", "4×5×2", ""),
        ("conv Conv2D", "4×5×3", "9"),
        ("flat Flatten", "100", ""),
    ]
    assert tree.depths[::3] == [0, 1, 2, 3, 3, 2, 2, 2, 2, 1]


def test_the_tree_of_a_model_without_input_shape():
    assert Cells(tc.Sequential([tc.Dense(2, 3)])._repr_html_()).cells[3:] == [
        *("model Sequential", "", "9"),
        *("0 Dense", "", "9"),
    ]


def test_names_are_escaped():
    name = "<script>alert('x')</script>"
    html = tc.Sequential({name: tc.ReLU()})._repr_html_()
    assert "<script" not in html
    assert f"{name} ReLU" in Cells(html).cells


def curves(history):
    """For each panel, the points of each curve as fractions of the panel's height, from the bottom."""
    root = ElementTree.fromstring(history._repr_html_())
    for panel in root:
        frame = re.findall(r"[\d.]+", panel.find(f"{SVG}path").get("d"))
        top, bottom = float(frame[1]), float(frame[2])
        lines = panel.findall(f"{SVG}path")[1:]
        heights = [re.findall(r"[ML][\d.]+ ([\d.]+)", line.get("d")) for line in lines]
        yield [[round((bottom - float(y)) / (bottom - top), 2) for y in line] for line in heights]


def test_a_history_shows_its_curves():
    history = tc.History(loss=[2, 1, 0], accuracy=[0, 0.5, 1], val_loss=[2, 1, 1], val_accuracy=[0, 0, 1])
    loss, accuracy = curves(history)
    assert loss == [[1, 0.5, 0], [1, 0.5, 0.5]]
    assert accuracy == [[0, 0.5, 1], [0, 0, 1]]
    assert "stroke-dasharray" in history._repr_html_()


def test_a_history_with_gaps_one_epoch_or_none():
    with_gap = tc.History(loss=[2, math.nan, 0], accuracy=[0, 0.5, 1])
    (line,), _ = curves(with_gap)
    assert line == [1, 0]
    assert with_gap._repr_html_().count("M") > 2  # the pen is lifted over the gap
    assert list(curves(tc.History(loss=[2], accuracy=[0.5]))) == [[[0.5]], [[0.5]]]
    assert tc.History()._repr_html_().count("nothing yet") == 2


def test_what_fit_returns_can_be_shown():
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    model = tc.Sequential([tc.Dense(4, 2, rng=0)])
    with tc.backend("numpy"):
        history = model.fit(x, np.arange(8) % 2, epochs=2, progress=False)
    assert len(next(curves(history))[0]) == 2
