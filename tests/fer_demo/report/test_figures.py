import numpy as np
import pytest
from matplotlib.text import Text

from fer_demo.calibration import reliability
from fer_demo.data.dataset import EMOTIONS
from fer_demo.report import figures
from fer_demo.report.content import SYNTHETIC_TITLE


def texts(figure) -> list[str]:
    return [text.get_text().strip() for text in figure.findobj(Text)]


def draw_all(run, synthetic: bool) -> list:
    models = run.results["models"]
    model = models["alexnet"]
    return [
        figures.class_distribution(run.results["data"]["class_counts"], synthetic),
        figures.sample_faces(run.images, run.labels, synthetic),
        figures.f1_comparison(models, synthetic),
        figures.training_curves("alexnet", model["history"], synthetic),
        figures.confusion("alexnet", model["confusion"], EMOTIONS, synthetic),
        figures.reliability_diagram(
            "alexnet", reliability(run.labels, run.probabilities["alexnet"]), synthetic
        ),
        figures.mistakes("alexnet", run.images, run.labels, run.probabilities["alexnet"], synthetic),
    ]


@pytest.mark.parametrize("synthetic", [True, False])
def test_every_picture_tells_synthetic_from_real(run, synthetic):
    for figure in draw_all(run, synthetic):
        assert (SYNTHETIC_TITLE in texts(figure)) is synthetic


def test_saved_pictures_are_whole_pngs(run, tmp_path):
    del run.probabilities["mini_xception"]
    paths = figures.save_figures(run.results, run.images, run.labels, tmp_path, run.probabilities)
    assert set(paths) == {
        "class_distribution", "samples", "f1_comparison", "curves_mini_xception", "curves_alexnet",
        "confusion_mini_xception", "confusion_alexnet", "mistakes_alexnet",
    }  # fmt: skip
    assert set(tmp_path.iterdir()) == set(paths.values())
    for path in paths.values():
        png = path.read_bytes()
        assert png.startswith(b"\x89PNG")
        assert png.endswith(b"IEND\xaeB`\x82")


def test_class_distribution_counts():
    shown = texts(figures.class_distribution({"angry": 3, "happy": 1}, synthetic=False))
    assert {"3  (75.0%)", "1  (25.0%)", "Images per emotion, 4 in all"} <= set(shown)


def test_curves_of_folds_that_differ_in_length(run):
    fold = {"loss": [2.0, 1.0], "accuracy": [0.2, 0.4], "val_loss": [2.0, None], "val_accuracy": [0.2, 0.3]}
    cut = {measure: values[:1] for measure, values in fold.items()} | {"loss": [4.0]}
    figure = figures.training_curves("alexnet", [fold, fold, cut], synthetic=False)
    *folds, mean = figure.axes[0].lines[:4]
    assert [len(line.get_ydata()) for line in folds] == [2, 2, 1]
    np.testing.assert_allclose(mean.get_ydata(), [8 / 3])
    assert {line.get_linestyle() for line in figure.axes[0].lines[:4]} == {"-"}
    assert {line.get_linestyle() for line in figure.axes[0].lines[4:]} == {"--"}


def test_confusion_matrix_is_normalised_by_row():
    figure = figures.confusion("alexnet", [[3, 1], [0, 0]], ("angry", "sad"), synthetic=False)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {"75%", "25%", "0%", "3", "1", "0"} <= set(texts(figure))


def test_unknown_f_score_has_no_bar(run, tmp_path):
    run.results["models"]["alexnet"]["per_class"]["disgust"]["f1"] = None
    figure = figures.f1_comparison(run.results["models"], synthetic=False)
    figure.savefig(tmp_path / "bars.png")  # must not warn
    heights = [bar.get_height() for bar in figure.axes[0].containers[1]]
    assert [np.isnan(height) for height in heights] == [emotion == "disgust" for emotion in EMOTIONS]


def test_samples_stand_under_their_emotion():
    labels = np.array([2, 0, 0])
    images = np.stack([np.full((48, 48, 1), grey, np.uint8) for grey in (10, 20, 30)])
    mosaic = figures.sample_faces(images, labels, synthetic=False).axes[0].images[0].get_array()
    assert [mosaic[24, 50 * column + 24] for column in range(7)] == [20, 255, 10, 255, 255, 255, 255]
    assert mosaic[74, 24] == 30


def test_mistakes_are_the_surest_and_only_judged_ones():
    labels = np.array([0, 1, 2, 3])
    images = np.stack([np.full((48, 48, 1), grey, np.uint8) for grey in (10, 20, 30, 40)])
    probabilities = np.eye(7)[[0, 0, 0, 0]] * np.array([[1], [0.6], [0.9], [np.nan]])
    figure = figures.mistakes("alexnet", images, labels, probabilities, synthetic=False)
    shown = [(axes.get_title(), axes.images[0].get_array()[0, 0]) for axes in figure.axes if axes.images]
    assert shown == [("fear, taken for\nangry (90%)", 30), ("disgust, taken for\nangry (60%)", 20)]


@pytest.mark.parametrize(("wrong", "cells"), [(0, 0), (1, 6), (6, 6), (7, 12), (20, 12)])
def test_mistakes_take_as_many_rows_as_they_need(wrong, cells):
    images, labels = np.zeros((20, 48, 48, 1), np.uint8), np.repeat([1, 0], [wrong, 20 - wrong])
    probabilities = np.eye(7)[np.zeros(20, int)]
    figure = figures.mistakes("alexnet", images, labels, probabilities, synthetic=False)
    assert len(figure.axes) == cells
    assert sum(bool(axes.images) for axes in figure.axes) == min(wrong, 12)


def test_reliability_has_a_bar_for_each_bin_that_holds_faces(tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3]])
    found = reliability(np.array([0, 1, 0]), probabilities, bins=5)
    figure = figures.reliability_diagram("sure", found, synthetic=False)
    figure.savefig(tmp_path / "sure.png", dpi=20)  # must not warn of the empty ones
    upper, lower = ([bar.get_height() for bar in axes.containers[0]] for axes in figure.axes)
    np.testing.assert_array_equal(upper, [np.nan, np.nan, np.nan, 1, 0.5])
    assert lower == [0, 0, 0, 1, 2]


def test_a_name_with_dollar_signs_is_no_formula(tmp_path):
    figures.labelled(figures.new_figure(3, 3), "a$_$b: confusion", synthetic=False).savefig(
        tmp_path / "a.png"
    )
