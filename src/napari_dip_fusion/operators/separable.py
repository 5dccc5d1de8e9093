"""Operators that are a product with one matrix along each axis of an image."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from napari_dip_fusion.interruption import checkpoint

Floats = NDArray[np.float32]

# Standard deviations at which a Gaussian ends, as in scipy.ndimage.
_TRUNCATE = 4


class Decomposition(NamedTuple):
    """The eigenvalues and eigenvectors of D D^T = U diag(L) U^T, where D is an axis' matrix."""

    vectors: Floats
    """U, of shape (m, m) for m own pixels along the axis; a column an eigenvector."""
    values: Floats
    """L, of shape (m,), 0 or more."""


@lru_cache(maxsize=32)
def make_matrix(length: int, factor: int, sigma: float) -> Any:
    """Return the matrix that blurs the fine pixels of an axis and takes their means.

    Parameters
    ----------
    length : int
        Own pixels along the axis.
    factor : int
        Fine pixels in an own pixel.
    sigma : float
        Standard deviation of the Gaussian in fine pixels, which ends at four of them. Beyond
        its ends, an axis is continued by its mirror image (d c b | a b c d | c b a).

    Returns
    -------
    scipy.sparse.csr_array of shape (length, length * factor), float32
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.ones(1)
    if radius:
        weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    # A block mean of the blurred pixels: one window, as both are convolutions.
    window = np.convolve(weights / weights.sum(), np.full(factor, 1 / factor))
    starts = np.arange(length) * factor - radius
    columns = fold(starts[:, None] + np.arange(len(window)), length * factor)
    rows = np.repeat(np.arange(length), len(window))
    entries = (np.tile(window, length), (rows, columns.ravel()))
    return sparse.csr_array(entries, shape=(length, length * factor), dtype=np.float32)


def fold(places: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return the pixels of an axis whose mirror images lie at some places beyond its ends."""
    period = max(2 * (length - 1), 1)
    places = places % period
    return np.minimum(places, period - places) if length > 1 else np.zeros_like(places)


@lru_cache(maxsize=32)
def decompose(length: int, factor: int, sigma: float) -> Decomposition:
    """Return the eigenvalues and eigenvectors of D D^T, where D is :func:`make_matrix`."""
    matrix = make_matrix(length, factor, sigma).astype(np.float64)
    values, vectors = linalg.eigh((matrix @ matrix.T).toarray(), driver="evd")
    return Decomposition(vectors.astype(np.float32), values.clip(0).astype(np.float32))


def multiply(image: Floats, matrices: Sequence[Any]) -> Floats:
    """Return an image multiplied by a matrix along each axis.

    Parameters
    ----------
    image : ndarray of any number of axes, float32
    matrices : sequence
        One for each axis, dense or sparse, or None for an axis that stays as it is.

    Returns
    -------
    ndarray, float32
        The image itself where nothing is to be done.
    """
    for axis, matrix in enumerate(matrices):
        if matrix is None:
            continue
        checkpoint()
        front = np.moveaxis(image, axis, 0)
        product = matrix @ front.reshape(len(front), -1)
        image = np.moveaxis(product.reshape(-1, *front.shape[1:]), 0, axis)
    return np.ascontiguousarray(image)
