"""Moments over windows and blocks."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose

from napari_dip_fusion.metrics.moments import measure_moments, sum_blocks, sum_windows


@pytest.mark.parametrize(("add_up", "side", "step"), [(sum_windows, 8, 1), (sum_blocks, 4, 4)])
def test_moments_are_those_of_each_window(add_up, side, step):
    stack = np.random.default_rng(0).random((3, 12, 16))
    windows = sliding_window_view(stack, (side, side), axis=(1, 2))[:, ::step, ::step]
    windows = windows.reshape(*windows.shape[:3], -1)
    n = side**2
    found = measure_moments(stack, add_up, n)
    centered = windows - windows.mean(axis=-1, keepdims=True)
    assert_allclose(found.source / n, windows[:-1].mean(axis=-1))
    assert_allclose(found.fused / n, windows[-1].mean(axis=-1))
    assert_allclose(found.source_variance / n**2, windows[:-1].var(axis=-1))
    assert_allclose(found.fused_variance / n**2, windows[-1].var(axis=-1))
    assert_allclose(
        found.covariance / n**2, (centered[:-1] * centered[-1]).mean(axis=-1), atol=1e-15
    )


def test_flat_windows_have_no_variance():
    stack = np.full((3, 16, 16), round(255 / 3 * 2**15) / 2**15)
    for add_up, count in ((sum_windows, 64), (sum_blocks, 16)):
        moments = measure_moments(stack, add_up, count)
        assert not moments.source_variance.any()
        assert not moments.covariance.any()
