"""Compute means over windows around each pixel, as products with banded matrices.

A separable filter is, along each axis, a product with a matrix that holds the window's weights in a
band. Cut into blocks, such products take about a quarter of the time of SciPy's filters, because
linear algebra uses vector units; the zeros beside the band cost less than that.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.threads import map_on_threads

Reals = NDArray[Any]

# Pixels along an axis whose means one product gives. Longer blocks multiply more zeros, shorter
# ones are too small for the products to be fast.
_BLOCK = 32

# Multiplications in one product. OpenBLAS, which comes with NumPy, puts more of them on threads of
# its own, which spin while they wait for each other: beside other work, that takes many times as
# long as products in the threads of this program.
_PRODUCT = 2**18

# Parts that a whole stack is blurred in: more than there are threads, so that none waits for long.
_PARTS = 16

# Standard deviations at which a Gaussian ends, as in scipy.ndimage.
_TRUNCATE = 4

# Across planes that lie further from each other than pixels, windows narrower than this are left
# out: three samples cannot hold such a Gaussian, and slices so thick have nothing to share.
_NARROWEST = 0.5


def blur(stack: Reals, sigma: float, steps: Sequence[float] = ()) -> Reals:
    """Return the Gaussian mean around each pixel of some images.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
        K images of any number of axes, each of which is blurred. Beyond its ends, an image is
        continued by reflection (d c b a | a b c d | d c b a).
    sigma : float
        Standard deviation in pixels, above 0. Weights end at four of them.
    steps : sequence of float, optional
        Distance between neighbors along each axis of an image, in pixels of its planes; by
        default 1. The window is as wide along each axis in the world: along one of step 2 its
        standard deviation is `sigma` / 2. Below half a pixel there is no window along it.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    for axis, weights in _list_gaussians(stack, sigma, steps):
        stack = _filter_axis(stack, weights, axis)
    return stack


def blur_whole(stack: Sequence[Reals] | Reals, sigma: float, steps: Sequence[float] = ()) -> Reals:
    """Return what :func:`blur` does, on several threads, in an array of the result's size alone.

    Parameters
    ----------
    stack, sigma, steps
        As for :func:`blur`; the images of the stack may also come one by one.

    Returns
    -------
    ndarray of shape (K, ...), of the type of `stack`
    """
    blurred = np.stack(tuple(stack))
    for axis, weights in _list_gaussians(blurred, sigma, steps):
        # Parts of another axis know nothing of each other, so that each is replaced in its place.
        other = 1 if axis != 1 else blurred.ndim - 1
        bounds = np.linspace(0, blurred.shape[other], _PARTS + 1).astype(int)
        parts = [
            blurred[(slice(None),) * other + (slice(start, stop),)]
            for start, stop in pairwise(bounds.tolist())
            if start < stop
        ]
        map_on_threads(partial(_replace_filtered, weights=weights, axis=axis), parts)
    return blurred


def measure_reach(sigma: float, step: float = 1.0) -> int:
    """Return how many samples far a Gaussian reaches along an axis of a step; see :func:`blur`."""
    if step != 1 and sigma / step < _NARROWEST:
        return 0
    return int(_TRUNCATE * sigma / step + 0.5)


def average(stack: Reals, size: int, steps: Sequence[float] = ()) -> Reals:
    """Return the mean over the square, or cube, of an odd size around each pixel of some images.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
        As for :func:`blur`.
    size : int
        Side in pixels.
    steps : sequence of float, optional
        As for :func:`blur`; along each axis the odd number of samples that is nearest.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    for axis, step in _pair_axes(stack, steps):
        count = 2 * measure_half(size, step) + 1
        if count > 1:
            stack = _filter_axis(stack, (1 / count,) * count, axis)
    return stack


def measure_half(size: int, step: float = 1.0) -> int:
    """Return how many samples far the square of :func:`average` reaches along an axis of a step."""
    return int((size / step - 1) / 2 + 0.5)


def average_blocks(stack: Reals, size: int, steps: Sequence[float] = ()) -> Reals:
    """Return, at each pixel, the mean of the block it lies in.

    Parameters
    ----------
    stack : ndarray of shape (K, ...), float32 or float64
    size : int
        Side in pixels; the last blocks of an axis may be smaller.
    steps : sequence of float, optional
        As for :func:`blur`; see :func:`measure_block`.

    Returns
    -------
    ndarray of the shape and type of `stack`
    """
    for axis, step in _pair_axes(stack, steps):
        starts = np.arange(0, stack.shape[axis], measure_block(size, step))
        lengths = np.diff(starts, append=stack.shape[axis])
        sums = np.moveaxis(np.add.reduceat(stack, starts, axis=axis), axis, -1)
        means = np.moveaxis(sums / lengths.astype(stack.dtype), -1, axis)
        stack = np.repeat(means, lengths, axis=axis)
    return stack


def measure_block(size: int, step: float = 1.0) -> int:
    """Return how many samples a block of :func:`average_blocks` has along an axis of a step."""
    return max(round(size / step), 1)


def _list_gaussians(
    stack: Reals, sigma: float, steps: Sequence[float]
) -> list[tuple[int, tuple[float, ...]]]:
    """Return each axis along which images are blurred, with the weights of the window."""
    axes = []
    for axis, step in _pair_axes(stack, steps):
        radius = measure_reach(sigma, step)
        if radius:
            weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) * step / sigma))
            axes.append((axis, tuple(weights / weights.sum())))
    return axes


def _pair_axes(stack: Reals, steps: Sequence[float]) -> list[tuple[int, float]]:
    """Return each axis of the images in a stack with its step."""
    axes = range(1, stack.ndim)
    return list(zip(axes, steps or (1.0,) * len(axes), strict=True))


def _replace_filtered(stack: Reals, weights: tuple[float, ...], axis: int) -> None:
    stack[...] = _filter_axis(stack, weights, axis)


def _filter_axis(stack: Reals, weights: tuple[float, ...], axis: int) -> Reals:
    filtered = np.empty_like(stack)
    length, radius = stack.shape[axis], len(weights) // 2
    width = max(_PRODUCT // (_BLOCK * (_BLOCK + 2 * radius)), 1)
    groups = [_group(np.moveaxis(s, axis, -2), width) for s in (stack, filtered)]
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        first, end = max(start - radius, 0), min(stop + radius, length)
        matrix = _weigh_block(weights, start - first, stop - start, end - stop, stack.dtype)
        for source, target in zip(*groups, strict=True):
            np.matmul(matrix, source[..., first:end, :], out=target[..., start:stop, :])
    return filtered


def _group(array: Reals, size: int) -> list[Reals]:
    """Return views of an array with groups of its columns along a new first axis.

    Of the columns that are left over, there is one group.
    """
    whole = array.shape[-1] // size * size
    parts = ((array[..., :whole], size), (array[..., whole:], array.shape[-1] - whole))
    return [
        np.moveaxis(part.reshape(*part.shape[:-1], -1, columns), -2, 0)
        for part, columns in parts
        if part.shape[-1]
    ]


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
