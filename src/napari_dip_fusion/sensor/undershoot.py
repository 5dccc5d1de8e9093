"""Give back what the undershoot beside a bright structure took from the fused image.

Beside a bright blob of one source, its blur leaves a halo in the base, and the details lie below 0
by as much: in that source, halo and undershoot cancel. Where another source gives the base and the
blob the details, nothing cancels the undershoot, and a dark moat surrounds the blob. With gains of
at most 1 the fused image would be nowhere darker than a source, which bands of their own forget.
"""

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.windows import blur, measure_reach

Floats = NDArray[np.float32]

# A source is dark below this share of the brightest one, after a blur of this many pixels, and
# wholly dark below two thirds of that share.
_DARK_SHARE, _DARK_SIGMA, _DARK_SLOPE = 0.7, 1.0, 3.0

# A source is flat where its variations finer than the first sigma, averaged with the second, are
# weaker than 6 of 255 gray levels.
_FLAT_FINE, _FLAT_SIGMA, _FLAT = 1.5, 1.0, 6 / 255

# Variance of a source in [0, 1] at which the guided filter keeps half of an edge; its standard
# deviation is 0.22 then.
_EDGE = np.float32(0.05)

# The halo is found where it is strong only, and counts this many times: what is given back ends at
# the brightest source anyway. It is smoothed, as the halo is smooth.
_STRENGTH, _SMOOTH_SIGMA = np.float32(8), 1.5

# Keeps 0 / 0 from sources that are black.
_TINY = np.float32(1e-9)


def measure_undershoot(
    sources: Floats, base: Floats, means: Floats, gains: Floats, fused: Floats, sigma: float
) -> Floats:
    """Return what undershoot took from a fused image.

    It is looked for where a source whose details are taken is dark, flat, and has a halo in its
    base: it lies above what an edge-preserving filter makes of the source.

    Parameters
    ----------
    sources, base : ndarray of shape (K, ...), float32 in [0, 1]
        Sources, and their base.
    means : ndarray of shape (K, ...), float32
        Gaussian means of the sources, of standard deviation `sigma`.
    gains : ndarray of shape (K, ...), float32
        Gains of the details.
    fused : ndarray of the shape of a source, float32
        The sum of the least-squares images of base and details.
    sigma : float
        In pixels.

    Returns
    -------
    ndarray of the shape of a source, float32
        At least 0, and at most what `fused` lacks of the brightest source.
    """
    power = gains * gains
    share = power / power.sum(axis=0)
    halo = np.maximum(base - _smooth_between_edges(sources, means, sigma), 0)
    taken = np.sum(share * _find_dark(sources) * _find_flat(sources) * halo, axis=0)
    lacking = np.maximum(sources.max(axis=0) - fused, 0)
    undershoot: Floats = np.minimum(blur(_STRENGTH * taken[None], _SMOOTH_SIGMA)[0], lacking)
    return undershoot


def measure_undershoot_reach(sigma: float, gain_reach: int) -> int:
    """Return how many pixels around a pixel its undershoot depends on."""
    return max(2 * measure_reach(sigma), gain_reach) + measure_reach(_SMOOTH_SIGMA)


def _find_dark(sources: Floats) -> Floats:
    """Return how dark each source is beside the brightest one, 0 to 1."""
    means = blur(sources, _DARK_SIGMA)
    share = means / (_DARK_SHARE * means.max(axis=0) + _TINY)
    dark: Floats = (_DARK_SLOPE * (1 - share)).clip(0, 1)
    return dark


def _find_flat(sources: Floats) -> Floats:
    """Return how flat each source is, 0 to 1."""
    variance = blur(np.square(sources - blur(sources, _FLAT_FINE)), _FLAT_SIGMA)
    return np.asarray(1 / (1 + variance / np.float32(_FLAT**2)), dtype=np.float32)


def _smooth_between_edges(sources: Floats, means: Floats, sigma: float) -> Floats:
    """Smooth sources where they are flat, by a filter that each source guides itself.

    It is the guided filter (He, Sun and Tang 2013, doi:10.1109/TPAMI.2012.213) with a Gaussian
    window: near strong edges, where the base has a halo, it keeps the source.
    """
    variance = np.maximum(blur(sources * sources, sigma) - means * means, 0)
    slope = variance / (variance + _EDGE)
    smooth: Floats = blur(slope, sigma) * sources + blur((1 - slope) * means, sigma)
    return smooth
