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
    return fit_image(*_check(sources, gains))


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
    x, beta = _check(sources, gains)
    image = fit_image(x, beta)
    return sum_loss(x, beta, image) / image.size


def consensus_weight(gains: ArrayLike) -> Floats:
    """Return w = sum_i beta_i^2, the weight of each pixel in the loss, of the shape of an image."""
    first, *others = np.asarray(gains, dtype=np.float32)
    weight: Floats = first * first
    for beta in others:
        weight += beta * beta
    return weight


def fit_image(sources: Floats, gains: Floats) -> Floats:
    """Return T of sources and gains that are known to fit, of the shape of a source.

    Parameters
    ----------
    sources, gains : ndarray of shape (K, ...), float32
        Every pixel has a gain above 0 in one source.
    """
    image: Floats = gains[0] * sources[0]
    for x, beta in zip(sources[1:], gains[1:], strict=True):
        image += beta * x
    image /= consensus_weight(gains)
    return image


def sum_loss(sources: Floats, gains: Floats, image: Floats) -> float:
    """Return the loss of an image, summed over the pixels.

    Parameters
    ----------
    sources, gains : ndarray of shape (K, ...), float32
    image : ndarray of the shape of a source, float32
    """
    # For T, sum X_i^2 - w T^2 is the same, but loses its digits where the sources agree.
    residuals = (x - beta * image for x, beta in zip(sources, gains, strict=True))
    return sum(float(np.sum(np.square(r), dtype=np.float64)) for r in residuals)


def _check(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> tuple[Floats, Floats]:
    """Return sources and gains as arrays, or raise ValueError where they have no T."""
    x, beta = stack_with_gains(sources, gains)
    empty = int(np.count_nonzero(consensus_weight(beta) <= 0))
    if empty:
        raise ValueError(
            f"each pixel needs a gain above zero in one source, got {empty} pixels without; "
            "correct the gain maps there"
        )
    return x, beta
