"""What the page is told about the inside of a network."""

from types import SimpleNamespace

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import models
from fer_demo.data.faces import draw_face
from fer_demo.preprocess import Normalisation
from fer_demo.sight import Evidence, block_maps, blocks_of
from tinycnn.explain import grad_cam


@pytest.fixture(scope="module", autouse=True)
def plain_backend():
    with tc.backend("numpy"):  # which has nothing to compile
        yield


@pytest.fixture(scope="module")
def face():
    return draw_face("happy", np.random.default_rng(0), difficulty=0)


@pytest.fixture(scope="module")
def classifier():
    model = models.mini_xception(widths=(2, 3, 4))
    columns = [6, 5, 4, 3, 2, 1, 0]
    return SimpleNamespace(
        model=model, normalise=Normalisation(128.0, 64.0), columns=columns, quantized=False
    )


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        (models.mini_xception(widths=(2, 3, 4)), ["conv1", "conv2", "module1", "module2", "head"]),
        (models.alexnet(widths=(2,) * 5, features=4), ["conv1", "conv2", "conv3", "conv4", "conv5"]),
        (models.compact(widths=(2, 2, 2, 2)), ["conv", "stage1", "stage2", "stage3"]),
    ],
)
def test_blocks_are_found_and_end_after_their_pooling(model, blocks):
    found = blocks_of(model)
    assert list(found) == blocks
    assert found.get("conv5", "pool5") == "pool5"


def test_maps_share_their_block_s_scale(classifier, face):
    maps = block_maps(classifier, face)
    assert {name: block.shape for name, block in maps.items()} == {
        "conv1": (2, 46, 46),
        "conv2": (2, 44, 44),
        "module1": (3, 22, 22),
        "module2": (4, 11, 11),
        "head": (7, 11, 11),
    }
    for block in maps.values():
        assert (block.min(), block.max()) == (0, 255)


def test_evidence_is_grad_cam_in_the_order_of_emotions(classifier, face):
    heat = Evidence(classifier)(face)
    x = classifier.normalise(face[None, :, :, None])
    expected = np.stack([grad_cam(classifier.model, x, n, upsample=True)[0] for n in classifier.columns])
    np.testing.assert_allclose(heat, expected * (255 / expected.max()), atol=0.51)
    assert len(np.unique(heat.sum(axis=(1, 2)))) > 1
