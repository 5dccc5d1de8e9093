"""Likeness to the more salient source."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import piella


def test_an_inverted_image_has_no_complex_quality(images):
    image = images[0][1]
    assert piella([image, image], 255 - image) == 0
    assert piella([image, image], 255 - image, edge_exponent=0) < 0


def test_bad_options_are_refused(images):
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        piella(*images, edge_exponent=2)


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"\(9, 8\) and \(9, 9\)"):
        piella([np.zeros((9, 9)), np.zeros((9, 8))], np.zeros((9, 9)))
