"""Standard deviation of the fused image."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import standard_deviation


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        standard_deviation(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_it_is_that_of_the_fused_image_alone(images):
    sources, fused = images
    assert standard_deviation(sources, fused) == standard_deviation(255 - sources, fused)
    assert standard_deviation(sources, fused) == pytest.approx(fused.std())


def test_half_black_and_half_white_is_the_most():
    fused = np.zeros((6, 8), np.uint8)
    fused[:3] = 255
    assert standard_deviation([fused, fused], fused) == 127.5


def test_a_flat_image_has_none():
    flat = np.full((70, 90), 1 / 3)
    assert standard_deviation([flat, flat], flat) == 0
