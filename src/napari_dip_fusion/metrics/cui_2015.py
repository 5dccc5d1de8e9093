"""Average gradient of the fused image, AG: Cui, Feng, Xu, Li and Chen 2015."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, check_size, quantize
from napari_dip_fusion.metrics.sobel import measure_strength
from napari_dip_fusion.metrics.tiles import cut_tiles

_SMALLEST = 2  # a pixel and its neighbors below and to the right


def average_gradient(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Measure the average gradient of the fused image, how sharp and how rich in detail it is.

    .. math:: AG = \frac{1}{(M - 1)(N - 1)} \sum_{i=1}^{M-1} \sum_{j=1}^{N-1}
              \sqrt{\frac{(F_{i+1,j} - F_{ij})^2 + (F_{i,j+1} - F_{ij})^2}{2}}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`; the sources are checked and otherwise unused.

    Returns
    -------
    float
        0 to 255 gray levels a pixel. Higher means more detail, though noise raises it too.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`; images need 2x2 pixels.

    Notes
    -----
    Several formulas go by this name. This one takes the differences to the next row and the next
    column, over the (M - 1)(N - 1) pixels that have both. The MATLAB code of the benchmark VIFB
    sums the central differences of all pixels instead, and so gives other values.

    References
    ----------
    .. [1] G. Cui, H. Feng, Z. Xu, Q. Li, Y. Chen, "Detail preserved fusion of visible and infrared
       images using regional saliency extraction and multi-scale image decomposition", Optics
       Communications 341, 2015. :doi:`10.1016/j.optcom.2014.12.032`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`average_gradient` of a stack from :func:`.quantize`."""
    check_size(stack.shape, _SMALLEST)
    rows, columns = stack.shape[1:]
    total = 0.0
    for tile in cut_tiles(stack[-1:], overlap=1):
        corner = tile[:, :-1, :-1]
        strength = measure_strength(tile[:, 1:, :-1] - corner, tile[:, :-1, 1:] - corner)
        total += float(strength.sum())
    return float(total / np.sqrt(2) / ((rows - 1) * (columns - 1)))
