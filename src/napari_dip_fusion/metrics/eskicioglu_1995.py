"""Spatial frequency of the fused image, SF: Eskicioglu and Fisher 1995."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize
from napari_dip_fusion.metrics.tiles import cut_rows


def spatial_frequency(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Measure the spatial frequency of the fused image, how active it is.

    .. math:: SF = \sqrt{RF^2 + CF^2}, \qquad
              RF^2 = \frac{1}{M N} \sum_{i=1}^{M} \sum_{j=2}^{N} (F_{ij} - F_{i,j-1})^2, \qquad
              CF^2 = \frac{1}{M N} \sum_{i=2}^{M} \sum_{j=1}^{N} (F_{ij} - F_{i-1,j})^2

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`; the sources are checked and otherwise unused.

    Returns
    -------
    float
        0 to 361 gray levels. Higher means more detail, though noise raises it too.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Both sums are divided by the number of pixels M N, as in the MATLAB code of the benchmark VIFB.
    Code that takes the means of the M (N - 1) and (M - 1) N differences gives more, by 0.2 % for
    256x256 pixels.

    References
    ----------
    .. [1] A. M. Eskicioglu, P. S. Fisher, "Image quality measures and their performance", IEEE
       Transactions on Communications 43(12), 1995. :doi:`10.1109/26.477498`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`spatial_frequency` of a stack from :func:`.quantize`."""
    fused = stack[-1]
    squares = sum(_sum_squares(fused[rows], 1) for rows in cut_rows(len(fused)))
    squares += sum(_sum_squares(fused[rows], 0) for rows in cut_rows(len(fused), overlap=1))
    return float(np.sqrt(squares / fused.size))


def _sum_squares(strip: Stack, axis: int) -> float:
    """Return the sum of the squared differences between neighbors along an axis."""
    return float(np.square(np.diff(strip, axis=axis)).sum())
