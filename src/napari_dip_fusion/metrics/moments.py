"""Means, variances and covariances over the windows or blocks that a metric is averaged over."""

from collections.abc import Callable
from typing import NamedTuple

from napari_dip_fusion.metrics.gray_levels import Stack


class Moments(NamedTuple):
    """Sums over windows of n pixels, and n^2 times the biased variances and covariances.

    They are left undivided because n^2 cancels from the ratios of the universal quality index
    Q_0, and because undivided sums of gray levels are exact.
    """

    source: Stack
    """Sum over each window of each source, shape (K, ...)."""
    fused: Stack
    """Sum over each window of the fused image, shape (...)."""
    source_variance: Stack
    fused_variance: Stack
    covariance: Stack
    """Of each source with the fused image, shape (K, ...)."""


def measure_moments(stack: Stack, add_up: Callable[[Stack], Stack], count: int) -> Moments:
    """Return the moments of a stack in windows.

    Parameters
    ----------
    stack : ndarray of shape (K + 1, M, N)
        The sources, then the fused image.
    add_up : callable
        :func:`sum_windows` or :func:`sum_blocks`, or a function that gives weighted means.
    count : int
        Number of pixels in a window; 1 for weighted means.
    """
    sums, squares, products = add_up(stack), add_up(stack * stack), stack[:-1] * stack[-1]
    # n^2 var = n sum x^2 - (sum x)^2, and the same for the covariance.
    squares *= count
    squares -= sums * sums
    covariance = add_up(products)
    covariance *= count
    covariance -= sums[:-1] * sums[-1]
    return Moments(sums[:-1], sums[-1], squares[:-1], squares[-1], covariance)


def sum_windows(values: Stack) -> Stack:
    """Return the sum over every 8x8 window that lies inside, shape (..., M - 7, N - 7)."""
    # Sums of 2, then of 4, then of 8 values: unlike a running sum they do not drift, and they are
    # exact for equal values, so that a flat window has no variance.
    for step in (1, 2, 4):
        values = values[:, :-step] + values[:, step:]
    for step in (1, 2, 4):
        values = values[..., :-step] + values[..., step:]
    return values


def sum_blocks(values: Stack) -> Stack:
    """Return the sum over every disjoint 4x4 block of images whose sides are multiples of 4."""
    rows = values[:, 0::4] + values[:, 1::4]
    rows += values[:, 2::4]
    rows += values[:, 3::4]
    blocks = rows[..., 0::4] + rows[..., 1::4]
    blocks += rows[..., 2::4]
    blocks += rows[..., 3::4]
    return blocks
