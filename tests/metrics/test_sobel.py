"""Sobel gradients."""

import numpy as np
from numpy.testing import assert_allclose
from scipy import ndimage

from napari_dip_fusion.metrics.sobel import differentiate, measure_strength


def test_gradients_are_those_of_the_kernels():
    stack = np.random.default_rng(0).random((3, 12, 15))
    kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 8
    across_rows, across_columns = differentiate(np.pad(stack, ((0, 0), (1, 1), (1, 1))))
    expected = [
        [ndimage.correlate(plane, k, mode="constant") for plane in stack]
        for k in (kernel, -kernel.T)
    ]
    assert_allclose([across_rows, across_columns], expected, atol=1e-15)
    assert_allclose(measure_strength(across_rows, across_columns), np.hypot(*expected), atol=1e-15)
