"""Visual information fidelity in the pixel domain, VIF: Sheikh and Bovik 2006."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, check_size, quantize
from napari_dip_fusion.metrics.moments import measure_moments
from napari_dip_fusion.metrics.tiles import cut_rows, cut_tiles

_SIDES = (17, 9, 5, 3)  # of the windows, one a scale, from fine to coarse

# The least side of which the coarsest scale, after three halvings without margins, has a window.
_SMALLEST = 41

_NOISE = 2.0
"""Variance, in squared gray levels, of the noise that seeing itself is taken to add."""

# What the published code adds to the variance that it divides by, and the variance below which
# it takes a window to be flat. The rounding of a flat window stays below it: squares of gray
# levels reach 65025, where float64 is exact to 7e-12.
_EPSILON = 1e-10


def vif(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    r"""Measure how much of a source's visual information the fused image holds, mean over them.

    .. math:: VIF(S, F) = \frac{\sum_w \log\left(1 + \frac{g_w^2 \sigma_S^2(w)}
              {\sigma_V^2(w) + \sigma_N^2}\right)}
              {\sum_w \log\left(1 + \frac{\sigma_S^2(w)}{\sigma_N^2}\right)}, \qquad
              g_w = \frac{\sigma_{SF}(w)}{\sigma_S^2(w)}, \quad
              \sigma_V^2(w) = \sigma_F^2(w) - g_w \sigma_{SF}(w)

    over the windows w of four scales that lie inside the image: the fused image is taken to be
    the source times a gain g, plus something else of variance :math:`\sigma_V^2`, and both are
    seen under noise of variance :math:`\sigma_N^2 = 2`. Windows are Gaussian, with sides N of
    17, 9, 5 and 3 pixels and a standard deviation of N / 5. A scale is the one before it,
    smoothed with its own window, every second row and column.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.

    Returns
    -------
    float
        0 for nothing, 1 for a copy (within 1e-9), and above 1, without a bound, where the fused
        image has the source's contrast raised; higher is better. A flat source, which has no
        information to be kept, counts 1 for a flat fused image, else 0.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`; the four scales need 41x41 pixels.

    Notes
    -----
    Symmetric in the sources, but not between sources and fused image. A negative gain counts 0:
    what is inverted is not kept. How bright a part is does not count, only what changes in it.
    The pixel domain is the authors' simplification of [1]_, which works on wavelet coefficients.
    Agrees with ``vifp`` of the package sewar, whose conventions for flat windows are kept.

    References
    ----------
    .. [1] H. R. Sheikh, A. C. Bovik, "Image information and visual quality", IEEE Transactions on
       Image Processing 15(2), 2006. :doi:`10.1109/TIP.2005.859378`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`vif` of a stack from :func:`.quantize`."""
    check_size(stack.shape, _SMALLEST)
    kept, held = np.zeros(len(stack) - 1), np.zeros(len(stack))
    for scale, side in enumerate(_SIDES):
        window = _make_window(side)
        if scale:
            stack = _halve(stack, window)
        for tile in cut_tiles(stack, overlap=side - 1):
            more_kept, more_held = _sum_information(tile, window)
            kept += more_kept
            held += more_held
    flat = np.full_like(kept, held[-1] == 0)
    return float(np.divide(kept, held[:-1], out=flat, where=held[:-1] > 0).mean())


def _make_window(side: int) -> NDArray[np.float64]:
    """Return a Gaussian of unit sum, which is multiplied with itself to be the window."""
    window = np.exp(-0.5 * ((np.arange(side) - side // 2) / (side / 5)) ** 2)
    return np.asarray(window / window.sum())


def _halve(stack: Stack, window: NDArray[np.float64]) -> Stack:
    """Return the next scale: smoothed images, every second row and column."""
    side = len(window)
    rows, columns = ((count - side) // 2 + 1 for count in stack.shape[1:])
    halved = np.empty((len(stack), rows, columns))
    for cut in cut_rows(rows):
        strip = stack[:, 2 * cut.start : 2 * cut.stop + side - 2]
        halved[:, cut] = _smooth(strip, window, step=2)
    return halved


def _smooth(values: Stack, window: NDArray[np.float64], step: int = 1) -> Stack:
    """Return the means over the windows that lie inside, of every `step`-th row and column."""
    # Imported here because the command line lists the metrics, and needs no SciPy for that.
    from scipy.ndimage import correlate1d

    inside = slice(len(window) // 2, -(len(window) // 2), step)
    rows = correlate1d(values, window, axis=1)[:, inside]
    return np.asarray(correlate1d(rows, window, axis=2)[..., inside])


def _sum_information(
    tile: Stack, window: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the information of each source that is kept, and what each image holds.

    Returns
    -------
    two ndarrays of shapes (K,) and (K + 1,)
        Sums over the windows, from natural logarithms: the unit cancels.
    """
    m = measure_moments(tile, partial(_smooth, window=window), 1)
    variance = np.concatenate([m.source_variance, m.fused_variance[np.newaxis]])
    variance[variance < _EPSILON] = 0.0
    source, fused = variance[:-1], variance[-1]
    # What is inverted is not kept.
    covariance = np.maximum(m.covariance, 0.0)
    gain = covariance / (source + _EPSILON)
    # Of a flat source the gain is mere rounding, which may take this variance below 0.
    rest = np.maximum(fused - gain * covariance, 0.0)
    return _sum_logarithms(gain**2 * source / (rest + _NOISE)), _sum_logarithms(variance / _NOISE)


def _sum_logarithms(ratios: Stack) -> NDArray[np.float64]:
    """Return the sum of log(1 + ratio) over the windows of each image."""
    return np.asarray(np.log(1 + ratios).sum(axis=(1, 2)))
