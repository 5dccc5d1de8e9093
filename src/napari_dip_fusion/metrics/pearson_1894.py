"""Standard deviation of the fused image: Pearson 1894."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize
from napari_dip_fusion.metrics.tiles import cut_tiles


def standard_deviation(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Measure the standard deviation of the fused image, its contrast as a whole.

    .. math:: SD = \sqrt{\frac{1}{M N} \sum_{i,j} (F_{ij} - \bar F)^2}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`; the sources are checked and otherwise unused.

    Returns
    -------
    float
        0 to 127.5 gray levels of 0..255. Higher means more contrast, though noise raises it too.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Agrees with :func:`numpy.std` of gray levels: the mean is over all M N pixels, not M N - 1.

    References
    ----------
    .. [1] K. Pearson, "Contributions to the mathematical theory of evolution", Philosophical
       Transactions of the Royal Society A 185, 1894, which gave the root of the mean squared
       deviation its name. :doi:`10.1098/rsta.1894.0003`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`standard_deviation` of a stack from :func:`.quantize`."""
    fused = stack[-1:]
    # Sums of gray levels are exact, so that the mean of a flat image is its level, and SD is 0.
    mean = sum(float(tile.sum()) for tile in cut_tiles(fused)) / fused.size
    squares = sum(float(np.square(tile - mean).sum()) for tile in cut_tiles(fused))
    return float(np.sqrt(squares / fused.size))
