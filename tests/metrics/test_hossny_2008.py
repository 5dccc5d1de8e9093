"""Normalized mutual information."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import normalized_mutual_information


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        normalized_mutual_information(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_flat_images_share_nothing():
    assert normalized_mutual_information(np.zeros((3, 9, 9)), np.ones((9, 9))) == 0
