"""Local likeness to the more salient source, Q: Piella and Heijmans 2003."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, check_size, quantize
from napari_dip_fusion.metrics.moments import Moments, measure_moments, sum_windows
from napari_dip_fusion.metrics.sobel import differentiate, measure_strength
from napari_dip_fusion.metrics.tiles import cut_tiles

EDGE_EXPONENT = 0.2
"""The exponent of the index on edges in the code of the laboratory: Q_W^0.8 Q_W(edges)^0.2."""

_SIDE = 8  # of the windows, which sum_windows adds up


def piella(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    edge_exponent: float = EDGE_EXPONENT,
    saliency: bool = True,
) -> float:
    r"""Measure the fusion quality index of Piella and Heijmans.

    .. math:: Q_W = \sum_w c(w) \sum_s \lambda_s(w) \, Q_0(s, f | w), \qquad
              Q = Q_W^{1 - \alpha} \, Q_{W, edges}^{\alpha}

    over all 8x8 windows w inside the image: :math:`Q_0` is the universal quality index,
    :math:`\lambda_s` the share of source s in the sources' variance, and :math:`c` the window's
    saliency, the largest of these variances, scaled to sum 1.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.
    edge_exponent : float
        :math:`\alpha` in [0, 1], the part of the index on the Sobel edge images. 0 gives Q_W.
    saliency : bool
        False drops c: with ``edge_exponent=0``, the plain Q of [1]_.

    Returns
    -------
    float
        Up to 1, higher is better. A negative factor counts 0 when both are multiplied.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`, or if `edge_exponent` is outside [0, 1].

    Notes
    -----
    Symmetric in the sources. Variances are biased; a factor of Q_0 that is 0/0 counts 1; sources
    that are all flat share their window equally. Agrees with the MATLAB code published by the
    laboratory of Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*.

    References
    ----------
    .. [1] G. Piella, H. Heijmans, "A new quality metric for image fusion", ICIP 2003.
       :doi:`10.1109/ICIP.2003.1247209`
    """
    return score(quantize(sources, fused, data_range), edge_exponent, saliency)


def score(stack: Stack, edge_exponent: float, saliency: bool) -> float:
    """Return :func:`piella` of a stack from :func:`.quantize`."""
    if not 0 <= edge_exponent <= 1:
        raise ValueError(f"edge_exponent must lie in [0, 1], got {edge_exponent}; try 0.2")
    check_size(stack.shape, _SIDE)
    index = _average_windows(stack, False, saliency)
    if edge_exponent == 0:
        return index
    edges = _average_windows(np.pad(stack, ((0, 0), (1, 1), (1, 1))), True, saliency)
    # A power of a negative number would be complex.
    return float(max(index, 0.0) ** (1 - edge_exponent) * max(edges, 0.0) ** edge_exponent)


def _average_windows(stack: Stack, edges: bool, saliency: bool) -> float:
    """Return Q_W of the images, or of the edges of images with a margin of one pixel."""
    sums = np.zeros(4)
    # Two more pixels than a window reaches make its edges.
    for tile in cut_tiles(stack, overlap=_SIDE + 1 if edges else _SIDE - 1):
        sums += _sum_qualities(measure_strength(*differentiate(tile)) if edges else tile)
    quality, count, salient_quality, weight = sums
    return float(salient_quality / weight if saliency and weight > 0 else quality / count)


def _sum_qualities(stack: Stack) -> NDArray[np.float64]:
    """Return the sums over the windows of quality, 1, saliency times quality, and saliency."""
    moments = measure_moments(stack, sum_windows, _SIDE**2)
    # Where edges, which are no multiples of a quantum, are flat, rounding may go below 0.
    variance = np.maximum(moments.source_variance, 0.0)
    total = variance.sum(axis=0)
    share = np.divide(
        variance, total, out=np.full_like(variance, 1 / len(variance)), where=total > 0
    )
    share *= _measure_index(moments)
    quality, saliency = share.sum(axis=0), variance.max(axis=0)
    sums = [quality.sum(), quality.size, np.vdot(saliency, quality), saliency.sum()]
    return np.array(sums, dtype=np.float64)


def _measure_index(m: Moments) -> Stack:
    """Return Q_0 = 2 cov / (var + var) * 2 mean mean / (mean^2 + mean^2), where 0/0 is 1."""
    index = np.ones_like(m.covariance)
    spread = m.source_variance + m.fused_variance
    np.divide(2 * m.covariance, spread, out=index, where=spread > 0)
    power = m.source * m.source + m.fused * m.fused
    luminance = np.ones_like(power)
    np.divide(2 * m.source * m.fused, power, out=luminance, where=power > 0)
    index *= luminance
    return index
