"""Renyi's mutual information."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import mutual_information_renyi


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        mutual_information_renyi(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_a_copy_carries_its_own_entropy():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert mutual_information_renyi([image, image], image) == pytest.approx(8)
