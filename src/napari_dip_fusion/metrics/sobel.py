"""Sobel gradients of a stack of images, which the metrics of edges compare."""

import numpy as np

from napari_dip_fusion.metrics.gray_levels import Stack


def differentiate(padded: Stack) -> tuple[Stack, Stack]:
    """Return the gradients across the rows and across the columns.

    The kernels are [[1, 2, 1], [0, 0, 0], [-1, -2, -1]] / 8 and
    [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] / 8.

    Parameters
    ----------
    padded : ndarray of shape (P, M + 2, N + 2)
        Images with a margin of one pixel.

    Returns
    -------
    two ndarrays of shape (P, M, N)
    """
    # The kernels are separable. The weight 2 is added twice, in place, which is faster than a
    # product that needs an array of its own, and as exact.
    step = padded[:, :-2] - padded[:, 2:]
    smooth = padded[:, :-2] + padded[:, 2:]
    smooth += padded[:, 1:-1]
    smooth += padded[:, 1:-1]
    across_rows = step[..., :-2] + step[..., 2:]
    across_rows += step[..., 1:-1]
    across_rows += step[..., 1:-1]
    across_columns = smooth[..., 2:] - smooth[..., :-2]
    across_rows /= 8
    across_columns /= 8
    return across_rows, across_columns


def measure_strength(across_rows: Stack, across_columns: Stack) -> Stack:
    """Return the magnitude of gradients."""
    squared = across_rows * across_rows
    squared += across_columns * across_columns
    # Gray levels cannot overflow when squared, so this may replace np.hypot, which is several
    # times slower.
    return np.sqrt(squared, out=squared)
