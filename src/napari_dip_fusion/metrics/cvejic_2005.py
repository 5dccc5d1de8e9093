"""Similarity-weighted quality, Cv: Cvejic, Loza, Bull and Canagarajah 2005."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, check_size, quantize
from napari_dip_fusion.metrics.moments import measure_moments, sum_blocks
from napari_dip_fusion.metrics.tiles import cut_tiles

_SIDE = 4  # of the blocks, which sum_blocks adds up

# MATLAB's eps, where the laboratory's code has it: in denominators that may be 0.
_EPSILON = float(np.finfo(np.float64).eps)


def cvejic(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    r"""Measure the similarity-weighted fusion quality of Cvejic et al., Cv.

    .. math:: Cv = \frac{1}{|B|} \sum_{b \in B} \sum_s \mathrm{sim}_s(b) \, Q_0(s, f | b), \qquad
              \mathrm{sim}_s = \mathrm{clip}\left(
              \frac{\sigma_{s f}}{\sum_t \sigma_{t f}}, 0, 1\right)

    over the disjoint 4x4 blocks of the image; incomplete ones are left out.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.

    Returns
    -------
    float
        Higher is better. A block in which the fused image is flat counts 0, so pictures with an
        empty background score low: compare values of the same sources only.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Symmetric in the sources. Agrees with the MATLAB code published by the laboratory of Ma et
    al., *Unsupervised Image Fusion Using Deep Image Priors*, written for K = 2.

    References
    ----------
    .. [1] N. Cvejic, A. Loza, D. Bull, N. Canagarajah, "A similarity metric for assessment of
       image fusion algorithms", Int. J. Signal Processing 2(3), 2005 (no DOI).
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`cvejic` of a stack from :func:`.quantize`."""
    check_size(stack.shape, _SIDE)
    rows, columns = (side - side % _SIDE for side in stack.shape[1:])
    sums = [_sum_qualities(tile) for tile in cut_tiles(stack[:, :rows, :columns])]
    return float(sum(sums) / (rows * columns / _SIDE**2))


def _sum_qualities(tile: Stack) -> float:
    """Return the sum over the blocks of sum_s sim_s Q_0(s, f)."""
    n = _SIDE**2
    m = measure_moments(tile, sum_blocks, n)
    # Unbiased, unlike in Piella's metric: the published code divides by n - 1.
    covariance = m.covariance / (n * (n - 1))
    spread = (m.source_variance + m.fused_variance) / (n * (n - 1))
    power = (m.source**2 + m.fused**2) / n**2
    total = covariance.sum(axis=0) + _EPSILON
    total[total == 0] = _EPSILON  # a sum of minus epsilon, met in a real picture
    similarity = np.clip(covariance / total, 0.0, 1.0)
    quality = 4 / n**2 * covariance * m.source * m.fused / (spread * power + _EPSILON)
    return float(np.vdot(similarity, quality))
