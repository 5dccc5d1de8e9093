"""Visual information fidelity."""

import numpy as np
import pytest
from skimage import data

from napari_dip_fusion.metrics import vif

IMAGE = np.random.default_rng(0).integers(0, 200, (45, 52)).astype(np.uint8)
FLAT = np.full_like(IMAGE, 77)


def test_input_is_checked():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0 to 255; rescale"):
        vif(np.zeros((2, 50, 50)), np.full((50, 50), 255.0))


def test_black_around_the_sources_is_treated_as_the_published_code_does():
    """A window that reaches an edge by its corner alone has a variance of some 1e-10."""
    first, second = data.camera()[::2, ::2], data.moon()[::2, ::2]
    y, x = np.indices(first.shape)
    first = np.where(np.hypot(y - 128, x - 128) < 90, first, 0).astype(np.uint8)
    second = np.where(np.hypot(y - 110, x - 150) < 80, second, 0).astype(np.uint8)
    # The mean over the sources of sewar.vifp(source, fused), sewar 0.4.10, on double 0..255.
    found = vif([first, second], np.maximum(first, second))
    assert found == pytest.approx(0.4435133777529461, abs=1e-9)


@pytest.mark.parametrize("count", [2, 3])
def test_a_perfect_copy(count, images):
    for image in (*images[0], IMAGE):
        assert vif([image] * count, image) == pytest.approx(1, abs=1e-9)


def test_contrast_counts_and_brightness_does_not():
    assert vif([IMAGE, IMAGE], IMAGE + 50) == pytest.approx(1)
    assert vif([IMAGE, IMAGE], IMAGE // 2) < 0.95
    assert vif([IMAGE // 2, IMAGE // 2], IMAGE) > 1.05


def test_what_is_inverted_or_flat_keeps_nothing():
    assert vif([IMAGE, IMAGE], 255 - IMAGE) == 0
    assert vif([IMAGE, IMAGE], FLAT) == 0


def test_a_flat_source_is_kept_by_a_flat_image_only():
    assert vif([FLAT, FLAT], FLAT) == vif([FLAT, FLAT], FLAT + 1) == 1
    assert vif([FLAT, FLAT], IMAGE) == 0
    assert vif([FLAT, IMAGE], IMAGE) == pytest.approx(0.5)


@pytest.mark.parametrize("level", [1 / 3, 0.7, 0.999])
def test_rounding_is_no_information(level):
    flat = np.full((45, 52), level)
    assert vif([flat, flat], flat) == 1
    assert vif([flat, IMAGE / 255], flat) == 0.5  # 1 for the flat source, 0 for the other


@pytest.mark.parametrize("level", [0.6, 0.8, 0.9])
def test_a_step_that_rounding_reaches_is_finite(level):
    """The source's variance is hardly above its own rounding, and the fused image follows it."""
    fused = np.zeros((45, 52))
    fused[:, 26:] = 1
    source = level + fused * 3 * 2.0**-15 / 255
    assert np.isfinite(vif([source, source], fused))
