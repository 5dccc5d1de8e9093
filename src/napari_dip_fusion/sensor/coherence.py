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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.bands import Bands
from napari_dip_fusion.sensor.gains import (
    ROUNDING,
    Average,
    average_products,
    choose_average,
    measure_window,
)
from napari_dip_fusion.sensor.leading import find_leading
from napari_dip_fusion.sensor.windows import average, measure_half

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
    sources: Floats,
    bands: Bands,
    means: Floats,
    *,
    patch_size: int,
    window: str,
    sharpness: float,
    steps: Sequence[float] = (),
) -> BandGains:
    """Estimate the gains of base and details.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32 in [0, 1]
    bands : Bands
        The sources' base and details.
    means : ndarray of shape (K, ...), float32
        A blur of the sources less wide than the base. What is above it, details of a finer band,
        tells the source of a detail more exactly.
    patch_size, window : int, str
        Window of the moments, as for :func:`.gain_maps`.
    sharpness : float
        Power applied to the gains of the details.
    steps : sequence of float, optional
        As for :func:`.blur`.

    Returns
    -------
    BandGains
    """
    # A source bears on the base by its brightness and by the structure that it has there.
    average_patches = choose_average(patch_size, window, steps)
    # Of a large volume, moments and the like are let go of as soon as they have served.
    base = find_leading(average_products([bands.base, bands.details], average_patches), ROUNDING)
    moments = average_products([sources - means], average_patches)
    moments += np.float32(_WEAK**2) * base[:, None] * base[None]
    leading = find_leading(moments, ROUNDING)
    del moments
    # The largest is made 1 first, since high powers of small numbers are 0.
    details = _scale((leading * base).clip(_SMALLEST, 1)) ** np.float32(sharpness)
    del leading
    take_means = partial(average, size=_GUIDED_SIZE, steps=steps)
    details = _smooth(details, sources, take_means)
    return BandGains(base, _scale(details.clip(_SMALLEST, 1)))


def measure_gain_reach(patch_size: int, window: str, step: float) -> int:
    """Return how many samples of the bands its gains depend on, along an axis of a step."""
    return measure_window(patch_size, window, step) + 2 * measure_half(_GUIDED_SIZE, step)


def _scale(gains: Floats) -> Floats:
    scaled: Floats = gains / gains.max(axis=0)
    return scaled


def _smooth(images: Floats, guides: Floats, take_means: Average) -> Floats:
    """Smooth each image where its guide is flat, by a guided filter.

    In each window, the result is the straight line a guide + b that fits the image best; each pixel
    gets the mean of the lines of the windows it lies in (He, Sun and Tang 2013, eqs. (5), (6) and
    (8)).
    """
    mean_image, mean_guide = take_means(images), take_means(guides)
    variance = take_means(guides * guides)
    variance -= mean_guide * mean_guide
    slope = take_means(guides * images)
    slope -= mean_guide * mean_image
    slope /= variance + _GUIDED_FLAT
    offset = take_means(mean_image - slope * mean_guide)
    smooth: Floats = take_means(slope) * guides + offset
    return smooth
