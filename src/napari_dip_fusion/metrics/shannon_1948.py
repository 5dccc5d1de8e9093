"""Entropy of the fused image: Shannon 1948."""

from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize
from napari_dip_fusion.metrics.histograms import count_pairs, shannon_entropy


def entropy(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    r"""Measure Shannon's entropy of the fused image's gray levels, in bits.

    .. math:: H(F) = -\sum_j p_F(j) \log_2 p_F(j)

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`; the sources are checked and otherwise unused.

    Returns
    -------
    float
        0 to 8. Higher means more information, though noise raises it too.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Agrees with :func:`skimage.measure.shannon_entropy` on uint8 images.

    References
    ----------
    .. [1] C. E. Shannon, "A mathematical theory of communication", Bell System Technical
       Journal 27(3), 1948. :doi:`10.1002/j.1538-7305.1948.tb01338.x`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`entropy` of a stack from :func:`.quantize`."""
    # The joint histogram of an image with itself is its histogram, on the diagonal.
    return shannon_entropy(count_pairs(stack[[-1, -1]]))
