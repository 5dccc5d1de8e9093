"""Average gradient of the fused image."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import average_gradient


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        average_gradient(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_it_is_that_of_the_fused_image_alone(images):
    sources, fused = images
    assert average_gradient(sources, fused) == average_gradient(255 - sources, fused)


def test_by_hand():
    # Of 2x3 pixels two have both neighbors, with the steps (3, 4) and (0, 4) down and right.
    fused = np.array([[0, 4, 8], [3, 4, 99]], np.uint8)
    expected = (np.sqrt((9 + 16) / 2) + np.sqrt((0 + 16) / 2)) / 2
    assert average_gradient([fused, fused], fused) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(70, 300), (300, 70)])
def test_a_ramp_has_its_slope(shape):
    rows, columns = np.indices(shape) / 1024
    assert average_gradient([rows, rows], rows) == pytest.approx(255 / 1024 / np.sqrt(2), rel=1e-3)
    both = rows + columns
    assert average_gradient([both, both], both) == pytest.approx(255 / 1024, rel=1e-3)
