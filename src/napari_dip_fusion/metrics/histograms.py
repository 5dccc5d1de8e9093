"""Histograms of gray levels, and the entropies and information that are read from them."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Stack
from napari_dip_fusion.metrics.tiles import cut_rows

Probabilities: TypeAlias = NDArray[np.float64]

# One bin a gray level. numpy.histogram2d would spread 256 bins over the range of the data, and
# so give other values for a picture that does not reach from black to white.
_BINS = 256


def count_pairs(stack: Stack) -> Probabilities:
    """Return how often gray levels of each source and of the fused image meet.

    Parameters
    ----------
    stack : ndarray of shape (K + 1, M, N)
        The sources, then the fused image.

    Returns
    -------
    ndarray of shape (K, 256, 256)
        Joint probabilities: rows are levels of the source, columns those of the fused image.
    """
    counts = np.zeros((len(stack) - 1, _BINS**2))
    for rows in cut_rows(stack.shape[1]):
        # Levels are not negative, so that cutting after adding a half is rounding.
        levels = (stack[:, rows] + 0.5).astype(np.intp)
        levels[:-1] *= _BINS
        levels[:-1] += levels[-1]
        for count, pairs in zip(counts, levels[:-1], strict=True):
            count += np.bincount(pairs.ravel(), minlength=_BINS**2)
    counts /= stack[0].size
    return counts.reshape(-1, _BINS, _BINS)


def shannon_entropy(probabilities: Probabilities) -> float:
    """Return H = -sum p log2 p, in bits."""
    p = probabilities[probabilities > 0]
    return float(-(p * np.log2(p)).sum()) + 0.0  # -0.0 + 0.0 is 0.0: no "-0.0" in a table


def renyi_entropy(probabilities: Probabilities) -> float:
    """Return Renyi's entropy of order 1/2, H = 2 log2 sum sqrt(p), in bits."""
    return float(2 * np.log2(np.sqrt(probabilities).sum()))


def measure_information(joint: Probabilities, entropy: Callable[[Probabilities], float]) -> float:
    """Return I = H(S) + H(F) - H(S, F) of a joint distribution, with the entropy H given."""
    return entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0)) - entropy(joint)
