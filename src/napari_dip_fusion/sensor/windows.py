"""Compute means over windows around each pixel, as products with banded matrices.

A separable filter is, along each axis, a product with a matrix that holds the window's weights in a
band. Cut into blocks, such products take about a quarter of the time of SciPy's filters, because
linear algebra uses vector units; the zeros beside the band cost less than that.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[Any]

# Pixels along an axis whose means one product gives. Longer blocks multiply more zeros, shorter
# ones are too small for the products to be fast.
_BLOCK = 64

# Multiplications in one product. OpenBLAS, which comes with NumPy, puts more of them on threads of
# its own, which spin while they wait for each other: beside other work, that takes many times as
# long as products in the threads of this program.
_PRODUCT = 2**18

# Standard deviations at which a Gaussian ends, as in scipy.ndimage.
_TRUNCATE = 4


def blur(stack: Reals, sigma: float) -> Reals:
    """Return the Gaussian mean around each pixel of some images.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
        K images of any number of axes, each of which is blurred. Beyond its ends, an image is
        continued by reflection (d c b a | a b c d | d c b a).
    sigma : float
        Standard deviation in pixels, above 0. Weights end at four of them.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    radius = measure_reach(sigma)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return _filter(stack, tuple(weights / weights.sum()))


def measure_reach(sigma: float) -> int:
    """Return how many pixels far a Gaussian of a standard deviation reaches."""
    return int(_TRUNCATE * sigma + 0.5)


def average(stack: Reals, size: int) -> Reals:
    """Return the mean over the square, or cube, of an odd size around each pixel of some images.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
        As for :func:`blur`.
    size : int
        Side in pixels.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    return _filter(stack, (1 / size,) * size)


def average_blocks(stack: Reals, size: int) -> Reals:
    """Return, at each pixel, the mean of the block it lies in.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
    size : int
        Side in pixels; the last blocks of an axis may be smaller.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    for axis in range(1, stack.ndim):
        starts = np.arange(0, stack.shape[axis], size)
        lengths = np.diff(starts, append=stack.shape[axis])
        sums = np.moveaxis(np.add.reduceat(stack, starts, axis=axis), axis, -1)
        means = np.moveaxis(sums / lengths.astype(stack.dtype), -1, axis)
        stack = np.repeat(means, lengths, axis=axis)
    return stack


def _filter(stack: Reals, weights: tuple[float, ...]) -> Reals:
    for axis in range(1, stack.ndim):
        stack = _filter_axis(stack, weights, axis)
    return stack


def _filter_axis(stack: Reals, weights: tuple[float, ...], axis: int) -> Reals:
    filtered = np.empty_like(stack)
    source, target = (np.moveaxis(s, axis, -2) for s in (stack, filtered))
    length, radius = stack.shape[axis], len(weights) // 2
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        first, end = max(start - radius, 0), min(stop + radius, length)
        matrix = _weigh_block(weights, start - first, stop - start, end - stop, stack.dtype)
        _multiply(matrix, source[..., first:end, :], target[..., start:stop, :])
    return filtered


def _multiply(matrix: Reals, source: Reals, target: Reals) -> None:
    """Write the product of a matrix and the last two axes of an array into another array."""
    columns = source.shape[-1]
    width = min(max(_PRODUCT // matrix.size, 1), columns)
    whole = columns // width * width
    for part, size in ((slice(whole), width), (slice(whole, columns), columns - whole)):
        if size:
            parts = (_group(array[..., part], size) for array in (source, target))
            np.matmul(matrix, next(parts), out=next(parts))


def _group(array: Reals, size: int) -> Reals:
    """Return a view of an array with groups of its columns along a new first axis."""
    return np.moveaxis(array.reshape(*array.shape[:-1], -1, size), -2, 0)


@lru_cache(maxsize=256)
def _weigh_block(
    weights: tuple[float, ...], before: int, count: int, after: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the matrix that takes a block of pixels with those around it to the block's means.

    Parameters
    ----------
    weights : tuple of float
        Of an odd number of pixels.
    before, count, after : int
        Pixels before the block, in it and after it. Fewer than half a window before or after it
        mean that the image ends there, and is continued by reflection.

    Returns
    -------
    ndarray of shape (count, before + count + after), of type `dtype`
    """
    radius, length = len(weights) // 2, before + count + after
    places = np.arange(before - radius, before + count + radius) % (2 * length)
    places = np.minimum(places, 2 * length - 1 - places)
    matrix = np.zeros((count, length))
    rows = np.arange(count)
    for shift, weight in enumerate(weights):
        matrix[rows, places[shift : shift + count]] += weight
    return matrix.astype(dtype)
