"""Images on different grids are sampled on one grid, by way of world coordinates.

A grid is a shape and an affine matrix from pixel to world coordinates. Whole pixel
coordinates are the centers of pixels; a pixel reaches half a step around its center.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "INTERPOLATIONS",
    "MOST_VOXELS",
    "clip_to_image",
    "combine_affines",
    "find_box",
    "find_inside",
    "is_on_grid",
    "measure_area",
    "resample",
]

Matrix = NDArray[np.float64]
Polygon = list[tuple[float, float]]

INTERPOLATIONS = ("linear", "nearest")
"""The ways in which :func:`resample` finds values between the pixels of an image."""

# A target lies on a grid where no pixel is off by more than this, in pixels: far
# below what interpolation could show, far above the rounding of float64.
_TOLERANCE = 1e-4

MOST_VOXELS = 2**26
"""An oblique plane crosses only a small part of the box around it. A box of more voxels than this
is therefore read in halves, whose own boxes are smaller."""


def is_on_grid(
    affine: ArrayLike, shape: tuple[int, ...], to_affine: ArrayLike, to_shape: tuple[int, int]
) -> bool:
    """Tell whether every pixel of a target plane is a pixel of an image.

    If so, :func:`resample` returns these pixels bit for bit.

    Parameters
    ----------
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    shape : tuple of n int
        Shape of the image, without a color axis.
    to_affine : array of shape (n + 1, 3)
        Target pixel (row, column, 1) to homogeneous world coordinates.
    to_shape : (M, N)
        Rows and columns of the target.

    Returns
    -------
    bool
        False where any pixel is off by more than 1e-4 pixel, or lies outside.

    Examples
    --------
    >>> half = np.array([[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    >>> [is_on_grid(np.eye(3), (4, 5), target, (2, 5)) for target in (np.eye(3), half)]
    [True, False]
    """
    matrix = combine_affines(np.asarray(affine, float), np.asarray(to_affine, float))
    return _find_slices(tuple(shape), matrix, to_shape) is not None


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
    image : array of n axes, with or without a last axis of 3 or 4 colors
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
        Linear takes the n-dimensional neighbors, so a plane between two
        slices mixes them. Integers are rounded, so that the type, and with it
        the intensity window that a fusion chooses, does not depend on whether
        a source was resampled.

    Returns
    -------
    resampled : ndarray of shape (M, N) or (M, N, colors)
        In the type of `image`. Where the target's pixels are pixels of the
        image, their values are returned bit for bit.
    covered : float
        Fraction of the target's area inside the image, from 0 to 1.

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

    The noise of the result is weaker than that of the image, and neighbors share it: to fuse
    it, take :func:`~napari_dip_fusion.sources.own_pixels.resample_source`, which tells of that.
    """
    affine, to_affine = np.asarray(affine, float), np.asarray(to_affine, float)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}"
        )
    ndim = len(affine) - 1
    _check_shapes(tuple(image.shape), affine, to_affine)
    matrix = combine_affines(affine, to_affine)
    shape = tuple(image.shape[:ndim])
    covered = _measure_overlap(matrix, shape, to_shape)
    inside = find_inside(matrix, shape, to_shape)
    if not inside.any():
        raise ValueError(
            "the image and the target do not overlap in world coordinates; check their scale "
            "and translation, or move to a slice that both have"
        )
    index = _find_slices(shape, matrix, to_shape)
    if index is not None:
        plane = np.asarray(image[index])
        return plane.swapaxes(0, 1) if _is_transposed(matrix) else plane, covered
    sampled = np.empty((*to_shape, *image.shape[ndim:]), dtype=_choose_working_type(image.dtype))
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
            f"for 3 or 4 colors, got shape {shape}"
        )


def combine_affines(affine: Matrix, to_affine: Matrix) -> Matrix:
    """Return the matrix from target pixels to image pixels.

    Parameters
    ----------
    affine : ndarray of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    to_affine : ndarray of shape (n + 1, 3)
        Target pixel (row, column, 1) to homogeneous world coordinates.

    Returns
    -------
    ndarray of shape (n + 1, 3)

    Raises
    ------
    ValueError
        If the affine matrix cannot be inverted.
    """
    try:
        return np.asarray(np.linalg.solve(affine, to_affine), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"the affine matrix {affine.tolist()} cannot be inverted; give every axis a scale "
            "other than 0"
        ) from error


def _measure_overlap(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, int]) -> float:
    """Return the part of the target's rectangle that lies in the box of the image's pixels."""
    rows, columns = to_shape[0] - 0.5, to_shape[1] - 0.5
    target = [(-0.5, -0.5), (-0.5, columns), (rows, columns), (rows, -0.5)]
    area = measure_area(clip_to_image(target, matrix, shape))
    # Rounding takes back what the tolerance at the edges adds.
    return round(min(area / (to_shape[0] * to_shape[1]), 1.0), 4)


def clip_to_image(polygon: Polygon, matrix: Matrix, shape: tuple[int, ...]) -> Polygon:
    """Return the part of a convex polygon of the target that lies in the box of an image.

    Parameters
    ----------
    polygon : list of (row, column)
        Corners, in pixels of the target.
    matrix : ndarray of shape (n + 1, 3)
        From :func:`combine_affines`.
    shape : tuple of n int
        Shape of the image, without a color axis.
    """
    # Each axis of the image cuts the target along two lines, where its index is -0.5
    # and size - 0.5.
    for (a, b, c), size in zip(matrix[:-1], shape, strict=True):
        polygon = _clip(polygon, a, b, c + 0.5 + _TOLERANCE)
        polygon = _clip(polygon, -a, -b, size - 0.5 + _TOLERANCE - c)
    return polygon


def measure_area(polygon: Polygon) -> float:
    """Return the area of a polygon from its corners (the shoelace formula)."""
    if not polygon:
        return 0.0
    r, c = np.array(polygon).T
    return abs(float(r @ np.roll(c, -1) - c @ np.roll(r, -1))) / 2


def _clip(polygon: Polygon, a: float, b: float, c: float) -> Polygon:
    """Return the part of a convex polygon of corners (r, s) where a r + b s + c >= 0.

    This is one step of the algorithm of Sutherland and Hodgman (1974),
    https://doi.org/10.1145/360767.360802.
    """
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


def find_inside(
    matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which target pixels have their center inside the image, shape (M, N).

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, 3)
        From :func:`combine_affines`.
    shape : tuple of n int
        Shape of the image, without a color axis.
    to_shape : (M, N)
        Rows and columns of the target.
    """
    inside = np.ones(to_shape, dtype=bool)
    rows, columns = np.arange(to_shape[0])[:, None], np.arange(to_shape[1])
    for (a, b, c), size in zip(matrix[:-1], shape, strict=True):
        position = a * rows + (b * columns + c)
        inside &= (position >= -0.5 - _TOLERANCE) & (position <= size - 0.5 + _TOLERANCE)
    return inside


def _find_slices(
    shape: tuple[int, ...], matrix: Matrix, to_shape: tuple[int, int]
) -> tuple[slice | int, ...] | None:
    """Return slices of the image that are the target's pixels; None if there are none.

    Where the target's rows lie along a later axis than its columns, the
    slices give its transpose.
    """
    steps, start = np.rint(matrix[:-1, :2]), np.rint(matrix[:-1, 2])
    last = np.array(to_shape) - 1
    # Errors of a step add up across the target: they are largest at its far corner.
    off = np.abs(matrix[:-1] - np.column_stack([steps, start])) @ [*last, 1]
    # Orthonormal whole steps run along two different axes, one pixel at a time.
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
    """Tell whether the target's rows lie along a later axis than its columns."""
    first, second = np.abs(matrix[:-1, :2]).argmax(axis=0)
    return bool(first > second)


def _choose_working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the smaller float type that holds every value of another type of up to 32 bits."""
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def _sample(image: Any, matrix: Matrix, out: NDArray[Any], *, order: int) -> None:
    """Fill `out` with the image's values at ``matrix @ (row, column, 1)``."""
    box = find_box(matrix, image.shape, out.shape[:2])
    if np.prod([b.stop - b.start for b in box]) > MOST_VOXELS and max(out.shape[:2]) > 1:
        axis = int(out.shape[1] > out.shape[0])
        half = out.shape[axis] // 2
        shifted = matrix.copy()
        shifted[:, 2] += half * matrix[:, axis]
        first, second = np.split(out, [half], axis=axis)
        _sample(image, matrix, first, order=order)
        _sample(image, shifted, second, order=order)
        return
    # Sources on one grid need no SciPy, whose import takes a quarter of a second.
    from scipy import ndimage

    ndim = len(box)
    part = np.asarray(image[box])
    # SciPy does not read float16; booleans are interpolated as numbers.
    if part.dtype.kind not in "iuf" or part.dtype == np.float16:
        part = part.astype(out.dtype)
    # SciPy returns as many axes as it is given: the leading ones have length 1.
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
            mode="nearest",  # for the outer half of border pixels; the caller overwrites the rest
        )


def find_box(
    matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """Return the smallest box of image pixels that the samples need, n slices.

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, 3)
        From :func:`combine_affines`.
    shape : tuple of int
        Shape of the image, with or without a color axis.
    to_shape : (M, N)
        Rows and columns of the target.
    """
    # The pixels of a rectangle lie between its corners, whatever the matrix is.
    corners = np.array(list(product((0, to_shape[0] - 1), (0, to_shape[1] - 1), (1,))))
    positions = corners @ matrix[:-1].T
    low = np.floor(positions.min(axis=0) + _TOLERANCE)
    high = np.ceil(positions.max(axis=0) - _TOLERANCE) + 1
    box = []
    for start, stop, size in zip(low, high, shape, strict=False):
        first = int(np.clip(start, 0, size - 1))
        box.append(slice(first, int(np.clip(stop, first + 1, size))))
    return tuple(box)
