"""Mutual information between sources and fused image: Qu, Zhang and Yan 2002."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, choose_variant, quantize
from napari_dip_fusion.metrics.histograms import count_pairs, measure_information, shannon_entropy

Variant: TypeAlias = Literal["mean", "sum", "natural"]


def mutual_information(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    variant: Variant = "mean",
) -> float:
    r"""Measure Shannon's mutual information between the sources and the fused image.

    .. math:: I(S; F) = \sum_{i,j} p_{SF}(i, j) \log_2 \frac{p_{SF}(i, j)}{p_S(i)\, p_F(j)}

    from the joint histogram with one bin per gray level 0..255.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.
    variant : {"mean", "sum", "natural"}
        ``"mean"``: bits, mean over the sources. ``"sum"``: bits, sum over the sources, as in [1]_
        and most tables. ``"natural"``: nats, mean over the sources.

    Returns
    -------
    float
        0 to 8 bits for the mean, higher is better.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`, or if there is no such variant.

    Notes
    -----
    Symmetric in the sources, and between source and fused image. In nats, each source's term
    agrees with ``sklearn.metrics.mutual_info_score``.

    References
    ----------
    .. [1] G. Qu, D. Zhang, P. Yan, "Information measure for performance of image fusion",
       Electronics Letters 38(7), 2002. :doi:`10.1049/el:20020212`
    """
    return score(quantize(sources, fused, data_range), variant)


def score(stack: Stack, variant: Variant) -> float:
    """Return :func:`mutual_information` of a stack from :func:`.quantize`."""
    # In units of the mean in bits.
    scales = {"mean": 1.0, "sum": float(len(stack) - 1), "natural": float(np.log(2))}
    scale: float = choose_variant(variant, scales)
    terms = [measure_information(joint, shannon_entropy) for joint in count_pairs(stack)]
    return scale * float(np.mean(terms))
