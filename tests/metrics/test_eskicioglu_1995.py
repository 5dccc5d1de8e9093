"""Spatial frequency of the fused image."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import spatial_frequency


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        spatial_frequency(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_it_is_that_of_the_fused_image_alone(images):
    sources, fused = images
    assert spatial_frequency(sources, fused) == spatial_frequency(255 - sources, fused)


def test_by_hand():
    # Steps along the rows: 2, 5, 0, 1; along the columns: 3, 1, 5; both sums are divided by 6.
    fused = np.array([[0, 2, 7], [3, 3, 2]], np.uint8)
    expected = np.sqrt((4 + 25 + 0 + 1) / 6 + (9 + 1 + 25) / 6)
    assert spatial_frequency([fused, fused], fused) == pytest.approx(expected)


def test_a_turned_image_has_the_same(images):
    sources, fused = images
    turned = spatial_frequency([s.T for s in sources], fused.T)
    assert turned == pytest.approx(spatial_frequency(sources, fused))


def test_a_single_row_has_only_a_row_frequency():
    row = np.array([[0, 3, 3, 7]], np.uint8)
    assert spatial_frequency([row, row], row) == pytest.approx(np.sqrt((9 + 16) / 4))
