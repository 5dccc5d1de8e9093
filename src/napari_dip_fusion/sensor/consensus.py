r"""Compute the consensus image T and what the loss of the Deep Image Prior is in terms of it.

The paper [1]_ fits a network x to the loss L, the mean over pixels of
:math:`\sum_i (X_i - \beta_i x)^2` (eq. (2)). At each pixel this is a parabola in x:

.. math::

    \sum_i (X_i - \beta_i x)^2 = w (x - T)^2 + \mathrm{floor}, \qquad
    w = \sum_i \beta_i^2, \qquad T = \frac{1}{w} \sum_i \beta_i X_i

So the loss for any number of sources is one weighted squared error to one image, plus a constant
that no x can lower.

References
----------
.. [1] X. Ma, P. Hill, N. Anantrasirichai, A. Achim, "Unsupervised Image Fusion Using Deep Image
   Priors", ICIP 2022, arXiv:2110.09490.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sensor.stacks import stack_with_gains

Floats = NDArray[np.float32]


def consensus(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> Floats:
    """Return T, the least-squares image of the sources under their gains.

    T = sum_i beta_i X_i / sum_i beta_i^2 minimizes sum_i (X_i - beta_i x)^2 at
    every pixel: the network is fitted to it.

    Parameters
    ----------
    sources, gains : arrays of shape (K, M, N)

    Returns
    -------
    ndarray of shape (M, N), float32
        For sources in [0, 1]: in [0, 1] with ``unit-max`` gains of agreeing
        sources, up to sqrt(K) with ``unit-norm`` gains.

    Raises
    ------
    ValueError
        If the shapes differ, or all gains of a pixel are zero.
    """
    x, beta = stack_with_gains(sources, gains)
    weight = consensus_weight(beta)
    empty = int(np.count_nonzero(weight <= 0))
    if empty:
        raise ValueError(
            f"each pixel needs a gain above zero in one source, got {empty} pixels without; "
            "correct the gain maps there"
        )
    total: Floats = np.einsum("kmn,kmn->mn", beta, x) / weight
    return total


def consensus_weight(gains: ArrayLike) -> Floats:
    """Return w = sum_i beta_i^2, the weight of each pixel in the loss, shape (M, N)."""
    beta = np.asarray(gains, dtype=np.float32)
    weight: Floats = np.einsum("kmn,kmn->mn", beta, beta)
    return weight


def loss_floor(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> float:
    """Return the smallest value that the loss can take, which T alone reaches.

    Parameters
    ----------
    sources, gains : arrays of shape (K, M, N)

    Returns
    -------
    float
        The mean over the pixels of sum_i (X_i - beta_i T)^2.

    Raises
    ------
    ValueError
        As for :func:`consensus`.
    """
    x, beta = stack_with_gains(sources, gains)
    image = consensus(x, beta)
    # sum X_i^2 - w T^2 is the same, but loses its digits where the sources agree.
    return float(
        sum(
            np.mean(np.square(xi - bi * image, dtype=np.float64))
            for xi, bi in zip(x, beta, strict=True)
        )
    )
