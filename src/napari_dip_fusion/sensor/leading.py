r"""Find the leading eigenvector of the matrix of moments at each pixel.

For more than two sources by squaring: a symmetric matrix of non-negative eigenvalues is
:math:`\sum_i \lambda_i u_i u_i^T`, and squared n times it is
:math:`\sum_i \lambda_i^{2^n} u_i u_i^T`. Divided by its trace each time, it soon is
:math:`u_1 u_1^T`, the projector on the leading eigenvector. The trace of the square of a matrix of
trace 1 tells how near it is: 1 less twice what the other eigenvalues have.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[Any]

# Pixels that are worked on at once: their matrices stay near the processor.
_PIXELS = 2**14


def find_leading(moments: Reals, rounding: float) -> Reals:
    """Return the leading eigenvector of each matrix of moments, without signs.

    It is the square root of the diagonal of the projector on the leading
    eigenspace, which is the eigenvector's absolute value where that space is a
    line, and equal for all sources of an eigenspace of more dimensions.

    Parameters
    ----------
    moments : ndarray of shape (K, K, ...), float32 or float64
        Symmetric, with no eigenvalue below 0 but by rounding.
    rounding : float
        Moments below which a matrix has no direction: for two sources the
        difference of their eigenvalues, for more the sum of them.

    Returns
    -------
    ndarray of shape (K, ...), of the type of the moments
        The largest element of each vector is 1.
    """
    if len(moments) == 2:
        return _find_of_two(moments, rounding)
    at = _number_elements(len(moments))
    flat = moments[np.triu_indices(len(at))].reshape(at.max() + 1, -1)
    vectors = np.empty((len(at), flat.shape[1]), dtype=moments.dtype)
    for start in range(0, flat.shape[1], _PIXELS):
        pixels = slice(start, start + _PIXELS)
        vectors[:, pixels] = _find_by_squaring(flat[:, pixels], at, rounding)
    return vectors.reshape(moments.shape[1:])


def _find_of_two(moments: Reals, rounding: float) -> Reals:
    """Return what :func:`find_leading` does, for two sources in closed form.

    With d = M_00 - M_11 and h = sqrt(d^2 + 4 M_01^2), the eigenvalues differ by h, and the smaller
    element of the leading eigenvector is 2 |M_01| / (h + |d|) of the larger one, which belongs to
    the larger of M_00 and M_11.
    """
    difference = moments[0, 0] - moments[1, 1]
    twice_cross = 2 * np.abs(moments[0, 1])
    gap = np.sqrt(difference * difference + twice_cross * twice_cross)
    ratio = np.ones_like(gap)
    np.divide(twice_cross, gap + np.abs(difference), out=ratio, where=gap > rounding)
    first_leads = difference >= 0
    return np.stack([np.where(first_leads, 1, ratio), np.where(first_leads, ratio, 1)])


def _number_elements(count: int) -> NDArray[np.int_]:
    """Return the place of each element of a symmetric matrix in its upper triangle, row by row."""
    upper = np.triu_indices(count)
    at = np.empty((count, count), dtype=int)
    at[upper] = np.arange(len(upper[0]))
    at.T[upper] = at[upper]
    return at


def _find_by_squaring(flat: Reals, at: NDArray[np.int_], rounding: float) -> Reals:
    """Return what :func:`find_leading` does, for any number of sources.

    Parameters
    ----------
    flat : ndarray of shape (K (K + 1) / 2, P)
        The upper triangles of the matrices.
    at : ndarray of shape (K, K)
        Where each element of a matrix is in its triangle.
    rounding : float

    Returns
    -------
    ndarray of shape (K, P)
    """
    vectors = np.ones((len(at), flat.shape[1]), dtype=flat.dtype)
    diagonal = at.diagonal()
    trace = flat[diagonal].sum(axis=0)
    (left,) = np.nonzero(trace > rounding)
    powers = flat.take(left, axis=1) / trace[left]
    precision = np.finfo(flat.dtype).eps
    # After so many rounds, eigenvalues that still count are equal to all digits.
    for _ in range(round(-np.log2(precision))):
        powers = _square(powers, at)
        purity = powers[diagonal].sum(axis=0)
        powers /= purity
        # What the other eigenvalues have left is squared by now, and below the precision.
        done = purity > 1 - np.sqrt(precision)
        # Copies take time: they are made when they halve what is left.
        if 2 * np.count_nonzero(done) >= left.size:
            vectors[:, left[done]] = _take_column(powers.compress(done, axis=1), at)
            left, powers = left[~done], powers.compress(~done, axis=1)
            if left.size == 0:
                return vectors
    shares = powers[diagonal]
    vectors[:, left] = np.sqrt(shares / shares.max(axis=0))
    return vectors


def _square(flat: Reals, at: NDArray[np.int_]) -> Reals:
    """Return the squares of matrices, of which the upper triangles are given."""
    squares, product = np.empty_like(flat), np.empty_like(flat[0])
    for square, i, j in zip(squares, *np.triu_indices(len(at)), strict=True):
        np.multiply(flat[at[i, 0]], flat[at[0, j]], out=square)
        for k in range(1, len(at)):
            square += np.multiply(flat[at[i, k]], flat[at[k, j]], out=product)
    return squares


def _take_column(projectors: Reals, at: NDArray[np.int_]) -> Reals:
    """Return the column of each projector on a line that has the largest element, as 1."""
    largest = projectors[at.diagonal()].argmax(axis=0)
    columns = np.abs(projectors[at[:, largest], np.arange(len(largest))])
    scaled: Reals = columns / columns.max(axis=0)
    return scaled
