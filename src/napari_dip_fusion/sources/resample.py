"""Sources on different grids to one grid, through their world transforms.

A grid is a shape and an affine matrix from pixel to world coordinates, in which
whole numbers are the centres of pixels; a pixel reaches half a step around them.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Matrix = NDArray[np.float64]

SMALL_COVERAGE = 0.6
"""Callers warn where a source covers less than this fraction of the target."""

INTERPOLATIONS = ("linear", "nearest")

# Two grids are the same where no pixel is off by more than this, in pixels: far
# below what interpolation could show, far above the rounding of float64.
_TOLERANCE = 1e-4

# An oblique plane crosses little of the box around it: boxes of more voxels than
# this are read in parts.
_MOST_VOXELS = 2**26


def same_grid(
    affine_a: ArrayLike, shape_a: tuple[int, ...], affine_b: ArrayLike, shape_b: tuple[int, ...]
) -> bool:
    """Tell whether two grids have the same pixels at the same places.

    Parameters
    ----------
    affine_a, affine_b : array of shape (n + 1, n + 1)
        Pixel to world coordinates.
    shape_a, shape_b : tuple of n int
        Without a colour axis.

    Returns
    -------
    bool
        True where no pixel differs in place by more than 1e-4 pixel.

    Examples
    --------
    >>> same_grid(np.eye(3), (4, 5), np.diag([1, 2, 1]), (4, 5))
    False
    """
    if tuple(shape_a) != tuple(shape_b):
        return False
    matrix = _to_source(np.asarray(affine_a, float), np.asarray(affine_b, float))
    corners = np.array(list(product(*[(0, n - 1) for n in shape_b])))
    moved = corners @ matrix[:-1, :-1].T + matrix[:-1, -1]
    return bool(np.abs(moved - corners).max() <= _TOLERANCE)


def coverage(
    affine: ArrayLike, shape: tuple[int, ...], to_affine: ArrayLike, to_shape: tuple[int, int]
) -> float:
    """Return the fraction of a target plane's area that lies inside a grid.

    Reads no pixels, and takes the same time for images of every size.

    Parameters
    ----------
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the source.
    shape : tuple of n int
        Shape of the source, without a colour axis.
    to_affine : array of shape (n + 1, 3)
        Target pixel (row, column, 1) to homogeneous world coordinates.
    to_shape : (M, N)
        Rows and columns of the target.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> shifted = np.array([[1.0, 0, 0], [0, 1, 3], [0, 0, 1]])
    >>> coverage(np.eye(3), (10, 10), shifted, (10, 10))
    0.7
    """
    matrix = _to_source(np.asarray(affine, float), np.asarray(to_affine, float))
    return _coverage(matrix, tuple(shape), to_shape)


def on_grid(
    affine: ArrayLike, shape: tuple[int, ...], to_affine: ArrayLike, to_shape: tuple[int, int]
) -> bool:
    """Tell whether every pixel of a target plane is a pixel of a grid.

    :func:`resample` then returns these pixels, bit for bit. The arguments are
    those of :func:`coverage`.
    """
    matrix = _to_source(np.asarray(affine, float), np.asarray(to_affine, float))
    return _whole_pixels(tuple(shape), matrix, to_shape) is not None


def resample(
    image: Any,
    affine: ArrayLike,
    to_affine: ArrayLike,
    to_shape: tuple[int, int],
    *,
    interpolation: str = "linear",
) -> tuple[NDArray[Any], float]:
    """Sample an image at the pixels of a target plane.

    Parameters
    ----------
    image : array of n axes, with or without a last axis of 3 or 4 colours
        NumPy, dask, zarr or anything that is sliced like them; only the box
        around the target plane is read.
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    to_affine : array of shape (n + 1, 3)
        Target pixel (row, column, 1) to homogeneous world coordinates. For a
        2-D image this is the target's own affine matrix; a plane through a
        volume, straight or oblique, has one row for each of its axes.
    to_shape : (M, N)
        Rows and columns of the target.
    interpolation : {"linear", "nearest"}
        Linear takes the n-dimensional neighbours, so a plane between two
        slices mixes them. Integers are rounded, so that the type, and with it
        the intensity window that a fusion chooses, does not depend on whether
        a source was resampled.

    Returns
    -------
    resampled : ndarray of shape (M, N) or (M, N, colours)
        In the type of `image`. Where the target's pixels are pixels of the
        image, these, bit for bit.
    covered : float
        Fraction of the target's area inside the image; see :func:`coverage`.

    Raises
    ------
    ValueError
        If image and target do not overlap, an argument has no such value, or
        shapes do not fit.

    Notes
    -----
    Pixels outside the image are given the smallest value found inside, or 0 in
    8-bit unsigned images. Intensity windows usually start there (``auto`` starts
    at 0 for 8-bit images) and map it to 0, and a source of zeros has gain 0:
    where a source saw nothing, the others alone make the fused image, whether
    the source's background is dark or bright. A mean or a repeated border would
    enter the fusion as if it had been seen.

    Nothing is averaged: on a target much coarser than the image, fine detail
    aliases. Take the finest image as the target, or a level of the image's
    pyramid that suits.
    """
    affine, to_affine = np.asarray(affine, float), np.asarray(to_affine, float)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}"
        )
    ndim = len(affine) - 1
    _check_shapes(tuple(image.shape), affine, to_affine)
    matrix = _to_source(affine, to_affine)
    shape = tuple(image.shape[:ndim])
    covered = _coverage(matrix, shape, to_shape)
    inside = _inside(matrix, shape, to_shape)
    if not inside.any():
        raise ValueError(
            "the image and the target do not overlap in world coordinates; check their scale "
            "and translation, or move to a slice that both have"
        )
    index = _whole_pixels(shape, matrix, to_shape)
    if index is not None:
        plane = np.asarray(image[index])
        return plane.swapaxes(0, 1) if _is_transposed(matrix) else plane, covered
    sampled = np.empty((*to_shape, *image.shape[ndim:]), dtype=_working_type(image.dtype))
    _sample(image, matrix, sampled, order=1 if interpolation == "linear" else 0)
    sampled[~inside] = 0 if image.dtype == np.uint8 else sampled[inside].min()
    if image.dtype.kind in "iu" and interpolation == "linear":
        np.rint(sampled, out=sampled)
    return sampled.astype(image.dtype, copy=False), covered


def _check_shapes(shape: tuple[int, ...], affine: Matrix, to_affine: Matrix) -> None:
    ndim = len(affine) - 1
    if affine.shape != (ndim + 1, ndim + 1) or to_affine.shape != (ndim + 1, 3):
        raise ValueError(
            "affine must have shape (n + 1, n + 1) and to_affine (n + 1, 3), got "
            f"{affine.shape} and {to_affine.shape}"
        )
    if not (len(shape) == ndim or (len(shape) == ndim + 1 and shape[-1] in (3, 4))):
        raise ValueError(
            f"an image with an affine of shape {affine.shape} must have {ndim} axes, or one more "
            f"for 3 or 4 colours, got shape {shape}"
        )


def _to_source(affine: Matrix, to_affine: Matrix) -> Matrix:
    """Return the matrix from target pixels to source pixels."""
    try:
        return np.asarray(np.linalg.solve(affine, to_affine), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"the affine matrix {affine.tolist()} cannot be inverted; give every axis a scale "
            "other than 0"
        ) from error


def _coverage(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, int]) -> float:
    """Clip the target's rectangle by each face of the source's box, and measure it."""
    rows, columns = to_shape[0] - 0.5, to_shape[1] - 0.5
    polygon = [(-0.5, -0.5), (-0.5, columns), (rows, columns), (rows, -0.5)]
    for (a, b, c), size in zip(matrix[:-1], shape, strict=True):
        polygon = _clip(polygon, a, b, c + 0.5 + _TOLERANCE)
        polygon = _clip(polygon, -a, -b, size - 0.5 + _TOLERANCE - c)
    if not polygon:
        return 0.0
    r, c = np.array(polygon).T
    area = abs(float(r @ np.roll(c, -1) - c @ np.roll(r, -1))) / 2
    # The tolerance at the edges is no area: 0.7 is to be 0.7.
    return round(min(area / (to_shape[0] * to_shape[1]), 1.0), 4)


def _clip(
    polygon: list[tuple[float, float]], a: float, b: float, c: float
) -> list[tuple[float, float]]:
    """Return the part of a convex polygon where a r + b c' + c >= 0 (Sutherland-Hodgman)."""
    kept = []
    heights = [a * r + b * s + c for r, s in polygon]
    for i, point in enumerate(polygon):
        before, height_before = polygon[i - 1], heights[i - 1]
        if (heights[i] >= 0) != (height_before >= 0):
            t = height_before / (height_before - heights[i])
            kept.append(
                (before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1]))
            )
        if heights[i] >= 0:
            kept.append(point)
    return kept


def _inside(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which target pixels have their centre inside the source."""
    inside = np.ones(to_shape, dtype=bool)
    rows, columns = np.arange(to_shape[0])[:, None], np.arange(to_shape[1])
    for (a, b, c), size in zip(matrix[:-1], shape, strict=True):
        position = a * rows + (b * columns + c)
        inside &= (position >= -0.5 - _TOLERANCE) & (position <= size - 0.5 + _TOLERANCE)
    return inside


def _whole_pixels(
    shape: tuple[int, ...], matrix: Matrix, to_shape: tuple[int, int]
) -> tuple[slice | int, ...] | None:
    """Return the slices of the source whose pixels are the target's, or None.

    Where the target's rows lie along a later axis than its columns, the
    slices give its transpose.
    """
    steps, start = np.rint(matrix[:-1, :2]), np.rint(matrix[:-1, 2])
    last = np.array(to_shape) - 1
    off = np.abs(matrix[:-1] - np.column_stack([steps, start])) @ [*last, 1]
    if off.max() > _TOLERANCE or not np.array_equal(steps.T @ steps, np.eye(2)) or steps.min() < 0:
        return None
    stop = start + steps @ last
    if start.min() < 0 or (stop >= shape).any():
        return None
    return tuple(
        slice(int(i), int(j) + 1) if moves.any() else int(i)
        for i, j, moves in zip(start, stop, steps, strict=True)
    )


def _is_transposed(matrix: Matrix) -> bool:
    """Return whether the target's rows lie along a later axis than its columns."""
    first, second = np.abs(matrix[:-1, :2]).argmax(axis=0)
    return bool(first > second)


def _working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return a float type that holds every value of another type of up to 32 bits."""
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def _sample(image: Any, matrix: Matrix, out: NDArray[Any], *, order: int) -> None:
    """Fill `out` with the image at ``matrix @ (row, column, 1)``; borders are repeated."""
    box = _box(matrix, image.shape, out.shape[:2])
    if np.prod([b.stop - b.start for b in box]) > _MOST_VOXELS and max(out.shape[:2]) > 1:
        axis = int(out.shape[1] > out.shape[0])
        half = out.shape[axis] // 2
        shifted = matrix.copy()
        shifted[:, 2] += half * matrix[:, axis]
        first, second = np.split(out, [half], axis=axis)
        _sample(image, matrix, first, order=order)
        _sample(image, shifted, second, order=order)
        return
    ndim = len(box)
    part = np.asarray(image[box])
    if part.dtype.kind not in "iuf" or part.dtype == np.float16:
        part = part.astype(out.dtype)
    # affine_transform wants as many axes out as in: the leading ones have length 1.
    square = np.zeros((ndim, ndim))
    square[:, -2:] = matrix[:-1, :2]
    offset = matrix[:-1, 2] - [b.start for b in box]
    shape = (1,) * (ndim - 2) + out.shape[:2]
    for color in np.ndindex(out.shape[2:]):
        ndimage.affine_transform(
            part[(..., *color)],
            square,
            offset,
            output_shape=shape,
            output=out[(..., *color)].reshape(shape),
            order=order,
            mode="nearest",
        )


def _box(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the smallest box of source pixels that the samples need."""
    corners = np.array(list(product((0, to_shape[0] - 1), (0, to_shape[1] - 1), (1,))))
    positions = corners @ matrix[:-1].T
    low = np.floor(positions.min(axis=0) + _TOLERANCE)
    high = np.ceil(positions.max(axis=0) - _TOLERANCE) + 1
    box = []
    for start, stop, size in zip(low, high, shape, strict=False):
        first = int(np.clip(start, 0, size - 1))
        box.append(slice(first, int(np.clip(stop, first + 1, size))))
    return tuple(box)
