"""The models: their published sizes, their gradients, and that they can learn a batch by heart."""

import inspect

import numpy as np
import pytest

import tinycnn as tc
from fer_demo.models import FACE, MODELS, alexnet, compact, mini_xception
from tinycnn.summary import rows

SMALL = {
    "mini_xception": {"widths": (2, 3, 3, 4, 4)},
    "alexnet": {"widths": (2, 3, 3, 2, 3), "features": 5},
    "alexnet_bn": {"widths": (2, 3, 3, 2, 3), "features": 5},
    "compact": {"widths": (2, 3, 3, 4)},
    "vggnet": {"widths": (2, 3, 3, 4, 4), "features": 5},
    "inception": {"stem": (2, 3), "widths": (2, 2, 3)},
    "resnet": {"widths": (2, 3, 3, 4)},
}
WIDE_ENOUGH = {
    "compact": {"widths": (4, 8, 12, 12)},
    "inception": {"stem": (4, 4), "widths": (4, 6, 8), "blocks": (1, 1, 1)},
    "resnet": {"widths": (4, 8, 12, 12), "blocks": (1, 1, 1, 1)},
}
every_model = pytest.mark.parametrize("name", MODELS)


def numbers(arrays):
    return sum(array.size for array in arrays.values())


def test_mini_xception_has_the_published_size():
    model = mini_xception()
    assert numbers(model.params) == 56_951
    assert numbers(model.params) + numbers(model.state) == 58_423


def test_mini_xception_takes_larger_faces():
    model = mini_xception()
    assert model.predict(np.zeros((1, 64, 64, 1), np.float32)).shape == (1, 7)


def test_alexnet_has_the_published_size():
    model = alexnet()
    assert numbers(model.params) == 5_073_927
    assert not model.state
    assert numbers(alexnet(batch_norm=True).params) == 5_074_951


def test_the_compact_network_has_less_than_a_million_parameters():
    model = compact()
    assert numbers(model.params) == 851_207


@pytest.mark.parametrize("name", ["vggnet", "inception", "resnet"])
def test_the_papers_future_work_is_small(name):
    model = MODELS[name]()
    table = rows(model, FACE)
    assert f"{numbers(model.params):,} parameters" in inspect.getdoc(MODELS[name])
    assert numbers(model.params) < 3e6
    assert sum(row.multiply_adds for row in table) < 28e6
    assert model.output_shape(FACE) == (7,)


@every_model
def test_gradients_of_the_whole_model(backend, name):
    model = MODELS[name](seed=1, **SMALL[name])
    # Kernels alone leave dead ReLUs in a net this narrow; biases off zero also move pool ties apart.
    rng = np.random.default_rng(0)
    for parameter, array in model.params.items():
        if not parameter.endswith("kernel"):
            array += 0.1 * rng.standard_normal(array.shape).astype(np.float32)
    any_size = any(isinstance(layer, tc.GlobalAvgPool2D) for _, layer in model.walk())
    size = 20 if any_size else 48
    x = rng.standard_normal((2, size, size, 1))
    result = tc.gradcheck(model, x, directions=2, show=False)
    assert result.passed, f"\n{result}"


@every_model
def test_one_batch_is_learnt_by_heart(backend, name):
    model = MODELS[name](seed=0, **WIDE_ENOUGH.get(name, {"widths": (4, 6, 8, 8, 8)}))
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((7, 48, 48, 1)).astype(np.float32), np.arange(7)
    model.fit(x, labels, epochs=80, batch_size=7, optimizer=tc.Adam(3e-3), progress=False)
    learnt = model.evaluate(x, labels)
    assert learnt.accuracy == 1
    assert learnt.loss < 0.1


@every_model
def test_same_seed_same_model(name):
    first, same, other = (MODELS[name](seed=seed, **SMALL[name]) for seed in (0, 0, 1))
    for key, array in first.params.items():
        np.testing.assert_array_equal(array, same.params[key])
    assert any((first.params[key] != other.params[key]).any() for key in first.params)
