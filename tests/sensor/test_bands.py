"""Base and details."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.sensor.bands import split_off
from napari_dip_fusion.sensor.windows import blur


@pytest.mark.parametrize("shape", [(2, 30, 41), (3, 8, 20, 24)])
def test_bands_are_a_blur_and_the_rest(shape) -> None:
    sources = np.random.default_rng(1).random(shape, dtype=np.float32)
    bands = split_off(sources, blur(sources, 2.0))
    expected = [ndimage.gaussian_filter(s.astype(float), 2.0) for s in sources]
    np.testing.assert_allclose(bands.base, expected, atol=1e-6)
    np.testing.assert_allclose(bands.base + bands.details, sources, atol=1e-6)
