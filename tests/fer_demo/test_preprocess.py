import numpy as np

from fer_demo.preprocess import Normalisation


def faces(n=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 48, 48, 1), dtype=np.uint8)


def test_fitted_images_get_mean_0_and_deviation_1():
    images = faces()
    normalise = Normalisation.fit(images)
    x = normalise(images)
    assert x.dtype == np.float32
    assert x.shape == images.shape
    np.testing.assert_allclose([normalise.mean, normalise.std], [images.mean(), images.std()], rtol=1e-12)
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-4)


def test_a_single_grey_does_not_divide_by_zero():
    images = np.full((2, 48, 48, 1), 7, np.uint8)
    np.testing.assert_array_equal(Normalisation.fit(images)(images), 0)
