"""Small pictures, and the metrics as people call them."""

from functools import partial

import numpy as np
import pytest

from napari_dip_fusion import metrics


def make_images(count=2, shape=(41, 43), seed=0):
    """Return correlated sources with flat and black parts, and a fused image, in uint8."""
    rng = np.random.default_rng(seed)
    common = rng.integers(0, 256, shape)
    sources = np.stack([(common + 2 * rng.integers(0, 256, shape)) // 3 for _ in range(count)])
    sources[:, :9, :9] = 0
    sources[0, -10:, -10:] = 77
    fused = np.rint(sources.mean(axis=0))
    return sources.astype(np.uint8), fused.astype(np.uint8)


@pytest.fixture
def make():
    return make_images


@pytest.fixture
def images():
    """Two sources and a fused image."""
    return make_images()


@pytest.fixture
def functions():
    """Every metric and variant of the registry as a function that checks its own input."""
    return {
        "petrovic": metrics.petrovic,
        "mutual_information": metrics.mutual_information,
        "piella": metrics.piella,
        "cvejic": metrics.cvejic,
        "petrovic_textbook": partial(metrics.petrovic, variant="textbook"),
        "mutual_information_sum": partial(metrics.mutual_information, variant="sum"),
        "mutual_information_natural": partial(metrics.mutual_information, variant="natural"),
        "mutual_information_renyi": metrics.mutual_information_renyi,
        "normalized_mutual_information": metrics.normalized_mutual_information,
        "piella_no_edge": partial(metrics.piella, edge_exponent=0),
        "piella_plain": partial(metrics.piella, edge_exponent=0, saliency=False),
        "ssim": metrics.ssim,
        "vif": metrics.vif,
        "entropy": metrics.entropy,
        "standard_deviation": metrics.standard_deviation,
        "average_gradient": metrics.average_gradient,
        "spatial_frequency": metrics.spatial_frequency,
    }
