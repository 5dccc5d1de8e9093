"""Renyi mutual information, in the construction of Cvejic, Canagarajah and Bull 2006."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize
from napari_dip_fusion.metrics.histograms import count_pairs, measure_information, renyi_entropy


def mutual_information_renyi(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Measure Renyi's mutual information of order 1/2, in bits, mean over the sources.

    .. math:: I = H(S) + H(F) - H(S, F), \qquad H(p) = 2 \log_2 \sum_i \sqrt{p_i}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`; the histograms have 256 equal bins over the data range.

    Returns
    -------
    float
        Higher is better; below 0 is possible.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Symmetric in the sources, and between source and fused image. This is the "MI" in Table 1 of
    Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*, and agrees with the MATLAB
    code published by their laboratory.

    References
    ----------
    .. [1] N. Cvejic, C. N. Canagarajah, D. R. Bull, "Image fusion metric based on mutual
       information and Tsallis entropy", Electronics Letters 42(11), 2006, has the same
       construction with another generalized entropy. :doi:`10.1049/el:20060693`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`mutual_information_renyi` of a stack from :func:`.quantize`."""
    terms = [measure_information(joint, renyi_entropy) for joint in count_pairs(stack)]
    return float(np.mean(terms))
