"""Structural similarity."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import ssim


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        ssim(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_an_inverted_image_is_unlike(images):
    image = images[0][1]
    assert ssim([image, image], 255 - image) < 0
