"""Give back what the undershoot beside a bright structure took from the fused image.

Beside a bright blob of one source, its blur leaves a halo in the base, and the details lie below 0
by as much: in that source, halo and undershoot cancel. Where another source gives the base and the
blob the details, nothing cancels the undershoot, and a dark moat surrounds the blob. With gains of
at most 1 the fused image would be nowhere darker than a source, which bands of their own forget.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.bands import Bands
from napari_dip_fusion.sensor.gains import Average, average_products
from napari_dip_fusion.sensor.windows import blur, measure_reach

Floats = NDArray[np.float32]

# A source is dark below this share of the brightest one, after a blur of this many pixels, and
# wholly dark below two thirds of that share.
_DARK_SHARE, _DARK_SIGMA, _DARK_SLOPE = 0.7, 1.0, 3.0

# A source is flat where its variations finer than the first sigma, averaged with the second, are
# weaker than 4.5 of 255 gray levels.
_FLAT_FINE, _FLAT_SIGMA, _FLAT = 1.5, 1.0, 4.5 / 255

# Variance of a source in [0, 1] at which the guided filter keeps half of an edge; its standard
# deviation is 0.22 then.
_EDGE = np.float32(0.05)

# The halo is found where it is strong only, and counts this many times: what is given back ends at
# the brightest source anyway. It is smoothed, as the halo is smooth.
_STRENGTH, _SMOOTH_SIGMA = np.float32(8), 1.5

# Variance of details, of a quarter of a gray level, below which there is nothing to correlate.
_WEAKEST = np.float32(1e-6)

# Keeps 0 / 0 from sources that are black.
_TINY = np.float32(1e-9)


def measure_undershoot(
    sources: Floats,
    bands: Bands,
    means: Floats,
    gains: Floats,
    fused: Floats,
    sigma: float,
    steps: Sequence[float] = (),
) -> Floats:
    """Return what undershoot took from a fused image.

    It is looked for where a source whose details are taken is dark, flat, unlike the brightest
    source, and has a halo in its base: it lies above what an edge-preserving filter makes of the
    source.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32 in [0, 1]
    bands : Bands
        The sources' base and details.
    means : ndarray of shape (K, ...), float32
        Gaussian means of the sources, of standard deviation `sigma`.
    gains : ndarray of shape (K, ...), float32
        Gains of the details.
    fused : ndarray of the shape of a source, float32
        The sum of the least-squares images of base and details.
    sigma : float
        In pixels.
    steps : sequence of float, optional
        As for :func:`.blur`.

    Returns
    -------
    ndarray of the shape of a source, float32
        At least 0, and at most what `fused` lacks of the brightest source.
    """
    taken = gains * gains
    taken /= taken.sum(axis=0)
    smooth = blur(sources, _DARK_SIGMA, steps)
    taken *= _find_dark(smooth)
    taken *= _find_flat(sources, steps)
    take_means = partial(blur, sigma=sigma, steps=steps)
    taken *= _find_unlike(bands.details, smooth, take_means)
    taken *= np.maximum(bands.base - _smooth_between_edges(sources, means, take_means), 0)
    lacking = np.maximum(sources.max(axis=0) - fused, 0)
    given = blur(_STRENGTH * taken.sum(axis=0)[None], _SMOOTH_SIGMA, steps)[0]
    undershoot: Floats = np.minimum(given, lacking)
    return undershoot


def measure_undershoot_reach(sigma: float, band_reach: int, gain_reach: int, step: float) -> int:
    """Return how many samples around a pixel its undershoot depends on, along one axis.

    Parameters
    ----------
    sigma : float
        As for :func:`measure_undershoot`.
    band_reach, gain_reach : int
        How many samples around a pixel its bands and its gains depend on along the axis.
    step : float
        Of the axis, as for :func:`.blur`.
    """
    mean_reach = measure_reach(sigma, step)
    # The edge-preserving filter takes means of means, which are a Gaussian of a larger width.
    halo_reach = max(band_reach + mean_reach, math.ceil(math.sqrt(2) * mean_reach))
    flat_reach = measure_reach(_FLAT_FINE, step) + measure_reach(_FLAT_SIGMA, step)
    return max(halo_reach, flat_reach, gain_reach) + measure_reach(_SMOOTH_SIGMA, step)


def _find_dark(smooth: Floats) -> Floats:
    """Return how dark each source is beside the brightest one, 0 to 1."""
    share = smooth / (_DARK_SHARE * smooth.max(axis=0) + _TINY)
    dark: Floats = (_DARK_SLOPE * (1 - share)).clip(0, 1)
    return dark


def _find_flat(sources: Floats, steps: Sequence[float]) -> Floats:
    """Return how flat each source is, 0 to 1, in shape (K, ...), or (1, ...) if all are the same.

    Where a source is the brightest, the one next to it stands in its place: beside a bright blob,
    the edge of the blob itself does not count.
    """
    brightest, next_to_it = sources[0], np.full_like(sources[0], -np.inf)
    for source in sources[1:]:
        next_to_it = np.maximum(next_to_it, np.minimum(brightest, source))
        brightest = np.maximum(brightest, source)
    # Of two sources, both are the darker one then.
    beneath = np.minimum(sources, next_to_it) if len(sources) > 2 else next_to_it[None]
    fine = np.square(beneath - blur(beneath, _FLAT_FINE, steps))
    variance = blur(fine, _FLAT_SIGMA, steps)
    return np.asarray(1 / (1 + variance / np.float32(_FLAT**2)), dtype=np.float32)


def _find_unlike(details: Floats, smooth: Floats, take_means: Average) -> Floats:
    """Return how unlike the brightest source each source is, 0 to 1, by correlated details.

    In a focus series, the blurred source is brighter beside an edge than the sharp one, whose
    darkness is right there. The same edge is in both.
    """
    moments = average_products([details], take_means)
    power = np.stack([moments[i, i] + _WEAKEST for i in range(len(moments))])
    # Moments with the brightest source, and its own, are chosen by comparisons: finding and using
    # an index of it is many times as slow.
    brightest, common, own = smooth[0], moments[:, 0], power[0]
    for j in range(1, len(smooth)):
        brighter = smooth[j] > brightest
        brightest = np.maximum(brightest, smooth[j])
        common = np.where(brighter, moments[:, j], common)
        own = np.where(brighter, power[j], own)
    del moments
    power *= own
    unlike: Floats = common / np.sqrt(power, out=power)
    np.subtract(1, unlike.clip(0, 1, out=unlike), out=unlike)
    return np.square(unlike, out=unlike)


def _smooth_between_edges(sources: Floats, means: Floats, take_means: Average) -> Floats:
    """Smooth sources where they are flat, by a filter that each source guides itself.

    It is the guided filter (He, Sun and Tang 2013, doi:10.1109/TPAMI.2012.213) with a Gaussian
    window: near strong edges, where the base has a halo, it keeps the source.
    """
    slope = np.maximum(take_means(sources * sources) - means * means, 0)
    slope /= slope + _EDGE
    smooth: Floats = take_means((1 - slope) * means)
    smooth += take_means(slope) * sources
    return smooth
