"""Histograms and entropies."""

import numpy as np
import pytest

from napari_dip_fusion.metrics.histograms import (
    count_pairs,
    measure_information,
    renyi_entropy,
    shannon_entropy,
)


def test_pairs_of_gray_levels_are_counted(make):
    sources, fused = make(3, (70, 9))
    joint = count_pairs(np.concatenate([sources, fused[None]]).astype(float))
    expected = np.zeros((3, 256, 256))
    for source, plane in zip(sources, expected, strict=True):
        np.add.at(plane, (source, fused), 1 / fused.size)
    np.testing.assert_allclose(joint, expected, atol=1e-15)


@pytest.mark.parametrize("entropy", [shannon_entropy, renyi_entropy])
def test_entropy_of_equal_and_of_certain_levels(entropy):
    assert entropy(np.full(256, 1 / 256)) == pytest.approx(8)
    assert str(entropy(np.eye(256)[3])) == "0.0"
    assert measure_information(np.eye(256) / 256, entropy) == pytest.approx(8)
    assert measure_information(np.full((256, 256), 2.0**-16), entropy) == pytest.approx(0)
