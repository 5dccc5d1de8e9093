"""Mutual information."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import mutual_information


def test_bad_options_are_refused(images):
    with pytest.raises(ValueError, match="'bits'; choose from mean, sum, natural"):
        mutual_information(*images, variant="bits")


def test_input_is_checked():
    with pytest.raises(ValueError, match="finite values, got NaN"):
        mutual_information(np.zeros((2, 9, 9)), np.full((9, 9), np.nan))


def test_variants_are_scales_of_each_other(make):
    sources, fused = make(3)
    mean = mutual_information(sources, fused)
    assert mutual_information(sources, fused, variant="sum") == pytest.approx(3 * mean)
    assert mutual_information(sources, fused, variant="natural") == pytest.approx(mean * np.log(2))
