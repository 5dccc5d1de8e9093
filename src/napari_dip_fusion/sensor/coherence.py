r"""Estimate gains of base and details that choose the same source.

Each band has gains of its own, X_i^b = beta_i^b X_0^b + N_i^b. Estimated independently, they let
the base of one source stand under the details of another, which neither source shows. So the gains
of the details are drawn to those of the base:

.. math::

    \beta^\mathrm{base} &= \mathrm{lead}(M(b) + M(d)) \\
    \beta^\mathrm{details} &\propto \left(\mathrm{lead}(M(f) + e^2 \beta^\mathrm{base}
        {\beta^\mathrm{base}}^T) \cdot \beta^\mathrm{base}\right)^p

M are second moments in a window, lead their leading eigenvector, b and d base and details, f the
details of a finer band, e the strength at which details begin to count, and p the sharpness. The
gains of the details are then smoothed between, not across, edges of their source by a guided filter
[1]_.

References
----------
.. [1] K. He, J. Sun, X. Tang, "Guided Image Filtering", IEEE PAMI 35(6), 2013,
   doi:10.1109/TPAMI.2012.213.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.bands import Bands
from napari_dip_fusion.sensor.gains import (
    ROUNDING,
    average_products,
    choose_average,
    measure_window,
)
from napari_dip_fusion.sensor.leading import find_leading
from napari_dip_fusion.sensor.windows import average

Floats = NDArray[np.float32]

# Root mean square of details, of sources in [0, 1], that are too weak to choose their source by
# themselves: 1.5 of 255 gray levels. Where all are weaker, the base chooses.
_WEAK = 1.5 / 255

# The guided filter's window, and the variance of a source in [0, 1] below which it takes it for
# flat; its standard deviation is 0.045 then, 11 of 255 gray levels.
_GUIDED_SIZE, _GUIDED_FLAT = 5, np.float32(2e-3)

# Smallest gain of the details: no pixel is to end without any, where base and details are wholly of
# different sources, or where lines of the guided filter leave [0, 1].
_SMALLEST = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class BandGains:
    """Gains of each band, each of shape (K, ...); the largest of a pixel is 1."""

    base: Floats
    details: Floats


def estimate_band_gains(
    sources: Floats, bands: Bands, fine: Floats, *, patch_size: int, window: str, sharpness: float
) -> BandGains:
    """Estimate the gains of base and details.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32 in [0, 1]
    bands : Bands
        The sources' base and details.
    fine : ndarray of shape (K, ...), float32
        Details of a finer band, which tell the source of a detail more exactly.
    patch_size, window : int, str
        Window of the moments, as for :func:`.gain_maps`.
    sharpness : float
        Power applied to the gains of the details.

    Returns
    -------
    BandGains
    """
    # A source bears on the base by its brightness and by the structure that it has there.
    average_patches = choose_average(patch_size, window)
    both = average_products([bands.base, bands.details], average_patches)
    base = find_leading(both, ROUNDING)
    moments = average_products([fine], average_patches)
    moments += np.float32(_WEAK**2) * base[:, None] * base[None]
    # The largest is made 1 first, since high powers of small numbers are 0.
    joint = _scale((find_leading(moments, ROUNDING) * base).clip(_SMALLEST, 1))
    details = joint ** np.float32(sharpness)
    return BandGains(base, _scale(_smooth(details, sources).clip(_SMALLEST, 1)))


def measure_gain_reach(patch_size: int, window: str) -> int:
    """Return how many pixels of the bands around a pixel its gains depend on."""
    return measure_window(patch_size, window) + 2 * (_GUIDED_SIZE // 2)


def _scale(gains: Floats) -> Floats:
    scaled: Floats = gains / gains.max(axis=0)
    return scaled


def _smooth(images: Floats, guides: Floats) -> Floats:
    """Smooth each image where its guide is flat, by a guided filter.

    In each window, the result is the straight line a guide + b that fits the image best; each pixel
    gets the mean of the lines of the windows it lies in (He, Sun and Tang 2013, eqs. (5), (6) and
    (8)).
    """
    mean_image, mean_guide = average(images, _GUIDED_SIZE), average(guides, _GUIDED_SIZE)
    variance = average(guides * guides, _GUIDED_SIZE) - mean_guide * mean_guide
    covariance = average(guides * images, _GUIDED_SIZE) - mean_guide * mean_image
    slope = covariance / (variance + _GUIDED_FLAT)
    offset = average(mean_image - slope * mean_guide, _GUIDED_SIZE)
    smooth: Floats = average(slope, _GUIDED_SIZE) * guides + offset
    return smooth
