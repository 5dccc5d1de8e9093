"""The consensus image, and the closed form of the loss."""

import numpy as np
import pytest

from napari_dip_fusion.sensor.consensus import consensus, consensus_weight, loss_floor
from napari_dip_fusion.sensor.gains import gain_maps

RNG = np.random.default_rng(1)


def test_consensus_minimizes_the_loss_of_the_paper() -> None:
    sources = RNG.random((3, 9, 10)).astype(np.float32)
    gains = gain_maps(sources, patch_size=3)
    image, floor = consensus(sources, gains), loss_floor(sources, gains)
    weight = consensus_weight(gains)
    for _ in range(3):
        x = RNG.random((9, 10))
        two_term = np.mean(np.sum((sources - gains * x) ** 2, axis=0))
        closed = np.mean(weight * (x - image) ** 2) + floor
        assert closed == pytest.approx(two_term, rel=1e-5)


def test_equal_sources_give_themselves_with_unit_max() -> None:
    image = RNG.random((10, 10)).astype(np.float32)
    pair = [image, image]
    np.testing.assert_allclose(consensus(pair, gain_maps(pair)), image, rtol=1e-6)
    saturated = consensus(pair, gain_maps(pair, scale="unit-norm"))
    np.testing.assert_allclose(saturated, np.sqrt(2) * image, rtol=1e-6)


def test_gains_that_do_not_fit() -> None:
    sources = np.ones((2, 4, 4))
    with pytest.raises(ValueError, match="gains must have the shape of the sources"):
        consensus(sources, np.ones((2, 4, 5)))
    with pytest.raises(ValueError, match="got 16 pixels without"):
        consensus(sources, np.zeros((2, 4, 4)))
