"""Normalized mutual information: Hossny, Nahavandi and Creighton 2008."""

from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize
from napari_dip_fusion.metrics.histograms import count_pairs, measure_information, shannon_entropy


def normalized_mutual_information(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Measure Hossny's normalized mutual information.

    .. math:: Q_{MI} = 2 \sum_s \frac{I(S_s; F)}{H(S_s) + H(F)}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.

    Returns
    -------
    float
        0 to K, higher is better. A pair of images of one gray level each counts 0.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Symmetric in the sources. [1]_ defines it for K = 2; here the sum runs over all K sources.

    References
    ----------
    .. [1] M. Hossny, S. Nahavandi, D. Creighton, "Comments on 'Information measure for
       performance of image fusion'", Electronics Letters 44(18), 2008.
       :doi:`10.1049/el:20081754`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`normalized_mutual_information` of a stack from :func:`.quantize`."""
    total = 0.0
    for joint in count_pairs(stack):
        entropies = shannon_entropy(joint.sum(axis=1)) + shannon_entropy(joint.sum(axis=0))
        if entropies > 0:  # both are 0 for two images of one gray level each, which share nothing
            total += 2 * measure_information(joint, shannon_entropy) / entropies
    return total
