"""The largest of the sources."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def maximum(sources: Floats) -> Floats:
    r"""Take the largest source at each pixel.

    .. math:: F = \max_i X_i

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]

    Notes
    -----
    The maximum copies pixels, so it scores high on edges and mutual information; but it keeps the
    noise of every source, and it always believes the brighter of two sources that contradict
    each other. It takes one pass over the pixels: under 1 ms for a pair of 256x256.
    """
    largest: Floats = np.max(sources, axis=0)
    return largest
