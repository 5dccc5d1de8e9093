"""Likeness to the source that is followed."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import cvejic


def test_a_perfect_copy_without_flat_blocks_has_cvejic_one():
    image = np.random.default_rng(0).integers(1, 256, (21, 17)).astype(np.uint8)
    assert cvejic([image, image, image], image) == pytest.approx(1)


def test_input_is_checked():
    with pytest.raises(ValueError, match="positive and finite, got 0"):
        cvejic(np.zeros((2, 9, 9)), np.zeros((9, 9)), data_range=0)
