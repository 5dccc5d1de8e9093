"""Numbers that were rounded are told apart by how far they lie apart."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cluster_numbers", "cluster_vectors"]

Labels = NDArray[np.intp]


def cluster_numbers(numbers: ArrayLike, tolerance: float) -> Labels:
    """Return which numbers are the same, but for rounding.

    Parameters
    ----------
    numbers : array-like of shape (N,)
        The numbers, in one unit.
    tolerance : float
        Neighbors that differ by more are different, in this unit.

    Returns
    -------
    ndarray of int, shape (N,)
        0 for the smallest number and those like it, 1 for the next, and so on.

    Examples
    --------
    >>> cluster_numbers([4.92, 7.38, 4.9200001], tolerance=0.01)
    array([0, 1, 0])
    """
    values = np.asarray(numbers, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    labels = np.zeros(len(values), dtype=np.intp)
    labels[order[1:]] = np.cumsum(np.diff(values[order]) > tolerance)
    return labels


def cluster_vectors(vectors: ArrayLike, tolerance: float) -> Labels:
    """Return which vectors are the same, but for rounding.

    Parameters
    ----------
    vectors : array-like of shape (N, D)
        The vectors, in one unit.
    tolerance : float
        Those that lie no further from the first of them are like it.

    Returns
    -------
    ndarray of int, shape (N,)
        0 for the first vector and those like it, 1 for the next, and so on.
    """
    values = np.asarray(vectors, dtype=np.float64)
    labels = np.full(len(values), -1, dtype=np.intp)
    for label in range(len(values)):
        unlabeled = np.flatnonzero(labels < 0)
        if not len(unlabeled):
            break
        near = np.linalg.norm(values[unlabeled] - values[unlabeled[0]], axis=1) <= tolerance
        # The first one is like itself even where its numbers are too large to be told apart.
        near[0] = True
        labels[unlabeled[near]] = label
    return labels
