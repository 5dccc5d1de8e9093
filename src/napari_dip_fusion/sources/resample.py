"""Images on different grids are sampled on one grid, by way of world coordinates.

A grid is a shape and an affine matrix from pixel to world coordinates. Whole pixel
coordinates are the centers of pixels; a pixel reaches half a step around its center. A target is
a plane or a volume: all that is said here of d axes holds for both.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.interruption import advance, checkpoint

__all__ = [
    "INTERPOLATIONS",
    "MOST_VOXELS",
    "NOTHING_SEEN",
    "TIE",
    "combine_affines",
    "cut_slabs",
    "find_box",
    "find_inside",
    "find_order",
    "find_seen",
    "find_slices",
    "is_on_grid",
    "list_positions",
    "measure_part",
    "resample",
    "resample_with_mask",
]

Matrix = NDArray[np.float64]
Polygon = list[tuple[float, float]]

INTERPOLATIONS = ("linear", "nearest")
"""The ways in which :func:`resample` finds values between the pixels of an image."""

# A target lies on a grid where no pixel is off by more than this, in pixels: far
# below what interpolation could show, far above the rounding of float64.
_TOLERANCE = 1e-4

TIE = 1e-6
"""By so much positions are raised before the nearest pixel is taken. In the middle between two, the
rounding of float64 would choose, and choose another one in parts of an image than in the whole."""

NOTHING_SEEN = (
    "its mask says that nothing was seen there; it must be True where something was, so invert "
    "it, or leave it out"
)
"""What is wrong with a mask that leaves nothing, after the name of its source."""

MOST_VOXELS = 2**26
"""An oblique plane crosses only a small part of the box around it. A box of more voxels than this
is therefore read in halves, whose own boxes are smaller."""

# Rows of a target that are looked at together: positions are float64, one for each axis of the
# image, and take many times the memory of the pixels.
_ROWS = 256


def is_on_grid(
    affine: ArrayLike, shape: tuple[int, ...], to_affine: ArrayLike, to_shape: tuple[int, ...]
) -> bool:
    """Tell whether every pixel of a target is a pixel of an image.

    If so, :func:`resample` returns these pixels bit for bit.

    Parameters
    ----------
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    shape : tuple of n int
        Shape of the image, without a color axis.
    to_affine : array of shape (n + 1, d + 1)
        Homogeneous pixel indices of the target, such as (row, column, 1), to homogeneous world
        coordinates.
    to_shape : tuple of d int
        Sizes of the target.

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
    return find_slices(tuple(shape), matrix, to_shape) is not None


def resample(
    image: Any,
    affine: ArrayLike,
    to_affine: ArrayLike,
    to_shape: tuple[int, ...],
    *,
    interpolation: str = "linear",
) -> tuple[NDArray[Any], float]:
    """Sample an image at the pixels of a target plane or volume.

    Parameters
    ----------
    image : array of n axes, with or without a last axis of 3 or 4 colors
        NumPy, dask, zarr or anything that is sliced like them; only the box
        around the target is read.
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    to_affine : array of shape (n + 1, d + 1)
        Homogeneous pixel indices of the target, such as (row, column, 1), to
        homogeneous world coordinates. For d = n this is the target's own affine
        matrix; a plane through a volume, straight or oblique, has one row for each
        of the volume's axes.
    to_shape : tuple of d int
        Sizes of the target, such as its rows and columns.
    interpolation : {"linear", "nearest"}
        Linear takes the n-dimensional neighbors, so a plane between two
        slices mixes them. Integers are rounded, so that the type, and with it
        the intensity window that a fusion chooses, does not depend on whether
        a source was resampled.

    Returns
    -------
    resampled : ndarray of shape to_shape or (*to_shape, colors)
        In the type of `image`. Where the target's pixels are pixels of the
        image, their values are returned bit for bit.
    covered : float
        Fraction of the target's area, or volume, inside the image, from 0 to 1.

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

    Beside the image and the result little memory is taken, whatever their sizes.

    The noise of the result is weaker than that of the image, and neighbors share it: to fuse
    it, take :func:`~napari_dip_fusion.sources.own_pixels.resample_source`, which tells of that.
    """
    sampled, covered, _ = resample_with_mask(
        image, affine, to_affine, to_shape, interpolation=interpolation
    )
    return sampled, covered


def resample_with_mask(
    image: Any,
    affine: ArrayLike,
    to_affine: ArrayLike,
    to_shape: tuple[int, ...],
    *,
    interpolation: str = "linear",
    mask: Any = None,
) -> tuple[NDArray[Any], float, NDArray[np.bool_] | None]:
    """Sample an image as :func:`resample` does, and return which pixels lie inside it as well.

    Parameters
    ----------
    image, affine, to_affine, to_shape, interpolation
        As of :func:`resample`, whose errors are raised.
    mask : array of n axes, bool, optional
        Which pixels of the image were seen. No other one is mixed into the target.

    Returns
    -------
    resampled, covered
        As of :func:`resample`.
    inside : ndarray of shape to_shape, bool, or None
        Which pixels of the target were seen, from :func:`find_seen`; None where all of them are
        pixels of the image, and there is no mask.

    Raises
    ------
    ValueError
        If nothing of the target was seen.
    """
    affine, to_affine = np.asarray(affine, float), np.asarray(to_affine, float)
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}"
        )
    ndim = len(affine) - 1
    _check_shapes(tuple(image.shape), affine, to_affine, len(to_shape))
    matrix = combine_affines(affine, to_affine)
    shape = tuple(image.shape[:ndim])
    covered = _measure_overlap(matrix, shape, to_shape)
    index = find_slices(shape, matrix, to_shape)
    if index is not None:
        part = np.asarray(image[index])
        colors = range(len(to_shape), part.ndim)
        seen = None if mask is None else np.asarray(mask[index]).transpose(find_order(matrix))
        return part.transpose(*find_order(matrix), *colors), covered, seen
    inside = find_seen(mask, matrix, shape, to_shape)
    if not inside.any():
        raise ValueError(_explain_nothing(matrix, shape, to_shape))
    sampled = np.empty((*to_shape, *image.shape[ndim:]), dtype=image.dtype)
    order, plane = 1 if interpolation == "linear" else 0, prod(to_shape[-2:])
    if mask is None or not order:
        _sample(image, matrix, sampled, order=order, plane=plane)
    else:
        _sample_seen(_Seen(image, mask), matrix, sampled)
    sampled[~inside] = 0 if image.dtype == np.uint8 else _find_lowest(sampled, inside)
    return sampled, covered, inside


def _explain_nothing(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]) -> str:
    """Return why nothing of a target was seen."""
    if find_inside(matrix, shape, to_shape).any():
        return NOTHING_SEEN
    return (
        "the image and the target do not overlap in world coordinates; check their scale "
        "and translation, or move to a slice that both have"
    )


def _find_lowest(sampled: NDArray[Any], inside: NDArray[np.bool_]) -> Any:
    """Return the smallest of the values inside, without a copy of all of them."""
    slabs = (slab for slab in cut_slabs(inside.shape) if inside[slab].any())
    return np.min([sampled[slab][inside[slab]].min() for slab in slabs])


def _check_shapes(shape: tuple[int, ...], affine: Matrix, to_affine: Matrix, to_ndim: int) -> None:
    ndim = len(affine) - 1
    if affine.shape != (ndim + 1, ndim + 1) or to_affine.shape != (ndim + 1, to_ndim + 1):
        raise ValueError(
            "affine must have shape (n + 1, n + 1) and to_affine (n + 1, d + 1) for a target of "
            f"d axes, got {affine.shape} and {to_affine.shape} for {to_ndim}"
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
    to_affine : ndarray of shape (n + 1, d + 1)
        Homogeneous pixel indices of the target to homogeneous world coordinates.

    Returns
    -------
    ndarray of shape (n + 1, d + 1)

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


def _measure_overlap(matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]) -> float:
    """Return the part of the target's box that lies in the box of the image's pixels."""
    sizes = np.array(to_shape)
    both = measure_part(matrix, shape, np.full(len(sizes), -0.5), sizes - 0.5)
    # Rounding takes back what the tolerance at the edges adds.
    return round(min(both / prod(to_shape), 1.0), 4)


def measure_part(
    matrix: Matrix, shape: tuple[int, ...], low: NDArray[Any], high: NDArray[Any]
) -> float:
    """Return the area, or volume, of the part of a box of the target that lies in an image.

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`, with d of 2 or more.
    shape : tuple of n int
        Shape of the image, without a color axis.
    low, high : ndarray of shape (d,)
        Corners of the box, in pixels of the target.

    Notes
    -----
    It is exact, and no pixel is looked at. The cut of the part across its first axis changes as a
    polynomial between the corners of the part, which two points of Gauss integrate.
    """
    if len(low) == 2:
        (a, b), (c, d) = map(float, low), map(float, high)
        return _measure_area(_clip_to_image([(a, b), (a, d), (c, d), (c, b)], matrix, shape))
    total = 0.0
    for start, stop in pairwise(_find_corners(matrix, shape, low, high)):
        middle, half = (start + stop) / 2, (stop - start) / 2
        for place in (middle - half / np.sqrt(3), middle + half / np.sqrt(3)):
            cut = np.delete(matrix, 0, axis=1)
            cut[:, -1] += place * matrix[:, 0]
            total += half * measure_part(cut, shape, low[1:], high[1:])
    return total


def _find_corners(
    matrix: Matrix, shape: tuple[int, ...], low: NDArray[Any], high: NDArray[Any]
) -> list[float]:
    """Return where along its first axis the part of a box in an image may have corners."""
    ndim = len(low)
    # Box and image both lie between two planes along each of their axes.
    normals = np.vstack([np.eye(ndim), matrix[:-1, :-1]])
    limits = [*zip(low, high, strict=True)] + [
        (-0.5 - _TOLERANCE - c, size - 0.5 + _TOLERANCE - c)
        for c, size in zip(matrix[:-1, -1], shape, strict=True)
    ]
    lengths = np.linalg.norm(normals, axis=1)
    places = {float(low[0]), float(high[0])}
    for chosen in combinations(range(len(normals)), ndim):
        planes = normals[list(chosen)]
        if abs(np.linalg.det(planes)) > 1e-9 * lengths[list(chosen)].prod():
            corners = np.array(list(product(*(limits[number] for number in chosen))))
            places.update(np.linalg.solve(planes, corners.T)[0].clip(low[0], high[0]).tolist())
    return sorted(places)


def _clip_to_image(polygon: Polygon, matrix: Matrix, shape: tuple[int, ...]) -> Polygon:
    """Return the part of a convex polygon of a target plane that lies in the box of an image."""
    # Each axis of the image cuts the target along two lines, where its index is -0.5
    # and size - 0.5.
    for (a, b, c), size in zip(matrix[:-1], shape, strict=True):
        polygon = _clip(polygon, a, b, c + 0.5 + _TOLERANCE)
        polygon = _clip(polygon, -a, -b, size - 0.5 + _TOLERANCE - c)
    return polygon


def _measure_area(polygon: Polygon) -> float:
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


def cut_slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of the first axis that cut a target into slabs of a few hundred rows.

    Parameters
    ----------
    shape : tuple of d int
        Sizes of the target. Of a volume, a slab is usually one plane.
    """
    thickness = max(_ROWS // max(prod(shape[1:-1]), 1), 1)
    for start in range(0, shape[0], thickness):
        yield slice(start, min(start + thickness, shape[0]))


def list_positions(
    matrix: Matrix, shape: tuple[int, ...], slab: slice = slice(None)
) -> Iterator[Matrix]:
    """Yield where the pixels of a target lie, along one axis of an image after the other.

    Parameters
    ----------
    matrix : ndarray of shape (n, d + 1)
        Homogeneous pixel indices of the target to pixel indices of the image.
    shape : tuple of d int
        Sizes of the target.
    slab : slice
        The part of the target's first axis that is wanted.
    """
    first, *others = (np.arange(size) for size in shape)
    indices = np.ix_(first[slab], *others)
    for coefficients in matrix:
        position = coefficients[-1]
        # From the last axis on: the arrays are as large as they have to be, and no larger.
        for coefficient, index in zip(coefficients[-2::-1], indices[::-1], strict=True):
            position = coefficient * index + position
        yield position


def find_inside(
    matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return which target pixels have their center inside the image.

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`.
    shape : tuple of n int
        Shape of the image, without a color axis.
    to_shape : tuple of d int
        Sizes of the target, and shape of what is returned.
    """
    inside = np.ones(to_shape, dtype=bool)
    for slab in cut_slabs(to_shape):
        checkpoint()
        positions = list_positions(matrix[:-1], to_shape, slab)
        for position, size in zip(positions, shape, strict=True):
            inside[slab] &= position >= -0.5 - _TOLERANCE
            inside[slab] &= position <= size - 0.5 + _TOLERANCE
    return inside


def find_seen(
    mask: Any, matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return which target pixels have a pixel of the image next to them that was seen.

    Parameters
    ----------
    mask : array of n axes, bool, or None
        Which pixels of the image were seen; None for all.
    matrix, shape, to_shape
        As of :func:`find_inside`.
    """
    inside = find_inside(matrix, shape, to_shape)
    if mask is not None and inside.any():
        nearest = np.empty(to_shape, dtype=np.float32)
        _sample(_Weights(mask), matrix, nearest, order=0, plane=0)
        inside &= nearest > 0
    return inside


def find_slices(
    shape: tuple[int, ...], matrix: Matrix, to_shape: tuple[int, ...]
) -> tuple[slice | int, ...] | None:
    """Return slices of an image that are a target's pixels; None if there are none.

    Parameters
    ----------
    shape : tuple of n int
        Shape of the image, without a color axis.
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`.
    to_shape : tuple of d int
        Sizes of the target.

    Returns
    -------
    tuple of n slice or int, or None
        The d axes that are left are in the order of the image: :func:`find_order` tells that of
        the target.
    """
    steps, start = np.rint(matrix[:-1, :-1]), np.rint(matrix[:-1, -1])
    last = np.array(to_shape) - 1
    # Errors of a step add up across the target: they are largest at its far corner.
    off = np.abs(matrix[:-1] - np.column_stack([steps, start])) @ [*last, 1]
    # Orthonormal whole steps run along different axes, one pixel at a time.
    whole = np.array_equal(steps.T @ steps, np.eye(len(last)))
    if off.max() > _TOLERANCE or not whole or steps.min() < 0:
        return None
    stop = start + steps @ last
    if start.min() < 0 or (stop >= shape).any():
        return None
    return tuple(
        slice(int(i), int(j) + 1) if moves.any() else int(i)
        for i, j, moves in zip(start, stop, steps, strict=True)
    )


def find_order(matrix: Matrix) -> tuple[int, ...]:
    """Return which axis of the slices from :func:`find_slices` each axis of the target is.

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`, for a target on the grid of the image.
    """
    along = np.abs(matrix[:-1, :-1]).argmax(axis=0)
    return tuple(int(number) for number in along.argsort().argsort())


def _choose_working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the smaller float type that holds every value of another type of up to 32 bits."""
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def _sample(image: Any, matrix: Matrix, out: NDArray[Any], *, order: int, plane: int) -> None:
    """Fill `out`, in the type of the image, with its values at ``matrix @ (*index, 1)``.

    Of a target whose planes have `plane` pixels, `out` is a part or the whole; 0 where that is
    no progress to speak of.
    """
    to_ndim = matrix.shape[1] - 1
    shape = out.shape[:to_ndim]
    box = find_box(matrix, image.shape, shape)
    if prod(b.stop - b.start for b in box) > MOST_VOXELS and max(shape) > 1:
        axis = int(np.argmax(shape))
        half = shape[axis] // 2
        shifted = matrix.copy()
        shifted[:, -1] += half * matrix[:, axis]
        first, second = np.split(out, [half], axis=axis)
        _sample(image, matrix, first, order=order, plane=plane)
        _sample(image, shifted, second, order=order, plane=plane)
        return
    # Sources on one grid need no SciPy, whose import takes a quarter of a second.
    from scipy import ndimage

    ndim = len(box)
    working = _choose_working_type(image.dtype)
    part = np.asarray(image[box])
    # SciPy does not read float16; booleans are interpolated as numbers.
    if part.dtype.kind not in "iuf" or part.dtype == np.float16:
        part = part.astype(working)
    # SciPy returns as many axes as it is given: the leading ones have length 1.
    square = np.zeros((ndim, ndim))
    square[:, ndim - to_ndim :] = matrix[:-1, :-1]
    # A plane is sampled at once, a volume plane by plane.
    step = 1 if to_ndim > 2 else shape[0]
    for start in range(0, shape[0], step):
        checkpoint()
        offset = matrix[:-1, -1] + start * matrix[:-1, 0] - [b.start for b in box]
        offset += 0 if order else TIE
        slab = out[start : start + step]
        buffer = np.empty((1,) * (ndim - to_ndim) + slab.shape[:to_ndim], dtype=working)
        for color in np.ndindex(slab.shape[to_ndim:]):
            ndimage.affine_transform(
                part[(..., *color)],
                square,
                offset,
                output_shape=buffer.shape,
                output=buffer,
                order=order,
                mode="nearest",  # for the outer half of border pixels; the rest is overwritten
            )
            if order and image.dtype.kind in "iu":
                np.rint(buffer, out=buffer)
            slab[(..., *color)] = buffer.reshape(slab.shape[:to_ndim])
        if plane:
            advance(prod(slab.shape[:to_ndim]) / plane)


class _Weights:
    """A mask as numbers: 1 where something was seen."""

    def __init__(self, mask: Any) -> None:
        self._mask, self.shape, self.dtype = mask, mask.shape, np.dtype(np.float32)

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[np.float32]:
        return np.asarray(self._mask[box]).astype(np.float32)


class _Seen:
    """An image that is 0 where nothing was seen, in a float type that holds its values."""

    def __init__(self, image: Any, mask: Any) -> None:
        self._image, self.mask, self.shape = image, mask, image.shape
        self.dtype = np.dtype(_choose_working_type(np.dtype(image.dtype)))

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        seen = np.asarray(self.mask[box])
        colors = (1,) * (len(self.shape) - seen.ndim)
        part = np.asarray(self._image[box]).astype(self.dtype)
        return np.where(seen.reshape(seen.shape + colors), part, self.dtype.type(0))


def _sample_seen(image: _Seen, matrix: Matrix, out: NDArray[Any]) -> None:
    """Fill `out` with the mean of the seen neighbors of each pixel, under the linear weights."""
    shape = out.shape[: matrix.shape[1] - 1]
    total = np.empty(out.shape, dtype=image.dtype)
    _sample(image, matrix, total, order=1, plane=prod(shape[-2:]))
    weight = np.empty(shape, dtype=np.float32)
    _sample(_Weights(image.mask), matrix, weight, order=1, plane=0)
    weight = weight.reshape(shape + (1,) * (out.ndim - len(shape)))
    # Where no neighbor was seen at all the target is not, either.
    total /= np.where(weight > 0, weight, 1)
    out[...] = np.rint(total) if out.dtype.kind in "iu" else total


def find_box(
    matrix: Matrix, shape: tuple[int, ...], to_shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """Return the smallest box of image pixels that the samples need, n slices.

    Parameters
    ----------
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`.
    shape : tuple of int
        Shape of the image, with or without a color axis.
    to_shape : tuple of d int
        Sizes of the target.
    """
    # The pixels of a box lie between its corners, whatever the matrix is.
    corners = np.array(list(product(*((0, size - 1) for size in to_shape), (1,))))
    positions = corners @ matrix[:-1].T
    low = np.floor(positions.min(axis=0) + _TOLERANCE)
    high = np.ceil(positions.max(axis=0) - _TOLERANCE) + 1
    box = []
    for start, stop, size in zip(low, high, shape, strict=False):
        first = int(np.clip(start, 0, size - 1))
        box.append(slice(first, int(np.clip(stop, first + 1, size))))
    return tuple(box)
