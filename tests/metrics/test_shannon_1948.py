"""Entropy of the fused image."""

import numpy as np
import pytest
from skimage.measure import shannon_entropy

from napari_dip_fusion.metrics import entropy


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        entropy(np.zeros((2, 12, 12)), np.full((12, 12), 255.0))


def test_it_is_that_of_the_fused_image_alone(images):
    sources, fused = images
    assert entropy(sources, fused) == entropy(255 - sources, fused)
    assert entropy(sources, fused) == pytest.approx(shannon_entropy(fused))
