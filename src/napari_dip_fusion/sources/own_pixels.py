"""The pixels of its own grid that an image was interpolated from, and how they were weighted.

Interpolation weakens the noise of pixels and spreads it to their neighbors: only on the grid on
which an image was taken is noise what a camera or scanner made of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.resample import (
    MOST_VOXELS,
    combine_affines,
    find_box,
    find_inside,
    is_on_grid,
    resample,
)
from napari_dip_fusion.sources.source import Source

__all__ = ["InterpolatedSource", "OwnPixels", "resample_source"]

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Matrix = NDArray[np.float64]

# Where a source has more pixels than this for each pixel of the target, linear interpolation mixes
# hardly any of them into two pixels of the target: noise stays white, and is found in the target.
_DENSEST = 4

# The box around a target that lies at an angle is larger than what is sampled of it; that around a
# long and narrow one may be larger than there is memory and time for.
_MOST = 16

# Rows and columns from which noise can be told: a block of the estimate.
_FEWEST = 16

# Rows of the target that are interpolated at once.
_ROWS = 256

# A cut that is no further than this from whole pixels, in pixels, is one of the image's planes.
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class OwnPixels:
    """A plane through a source, on the source's own rows and columns, and the way to the target.

    The plane lies where the target lies. A 2-D source is such a plane itself. Through a volume
    it runs between pixels, of which the nearest on both sides are kept: `planes` hold pixels as
    the source has them, with its noise, and their mean under the `weights` is the plane.

    Attributes
    ----------
    planes : ndarray of shape (P, R, C), or (P, R, C, colors)
        P is 1 for a 2-D source, and where the target lies on a plane of the volume or is
        sampled at the nearest pixels; otherwise 2, or more for more dimensions.
    weights : ndarray of shape (P, R, C) or (1, 1, 1), float32
        They sum to 1 over the planes.
    matrix : ndarray of shape (2, 3)
        Target pixel (row, column, 1) to row and column of the plane.
    inside : ndarray of shape (M, N), bool
        Which pixels of the target lie in the source.
    interpolation : {"linear", "nearest"}
        How the target was sampled.
    """

    planes: NDArray[Any]
    weights: Floats
    matrix: Matrix
    inside: NDArray[np.bool_]
    interpolation: str

    @property
    def plane(self) -> Floats:
        """The plane through a gray source, shape (R, C)."""
        mean: Floats = np.einsum("prc,prc->rc", *np.broadcast_arrays(self.planes, self.weights))
        return mean

    @property
    def variance_share(self) -> Floats:
        """Variance of noise in the plane over that of the source, shape (R, C) or (1, 1)."""
        share: Floats = np.square(self.weights).sum(axis=0)
        return share

    def interpolate(self, values: Floats) -> Floats:
        """Return values of the plane, shape (R, C), at the target's pixels, shape (M, N)."""
        return self._sum_neighbors(values, 1)

    def interpolate_variance(self, variance: Floats) -> Floats:
        """Return the variance at the target's pixels of noise that is white in the plane.

        A sum of independent values under weights w has the sum of their variances under w^2.
        """
        return self._sum_neighbors(variance, 2)

    def _sum_neighbors(self, values: Floats, power: int) -> Floats:
        """Return the sum of each target pixel's neighbors under a power of their weights."""
        total = np.zeros(self.inside.shape, dtype=np.float32)
        # In strips of rows, because the indices take several times the memory of an image.
        for start in range(0, len(total), _ROWS):
            strip = total[start : start + _ROWS]
            for weight, rows, columns in self._list_neighbors(start, strip.shape):
                strip += weight**power * values[rows, columns]
        return total

    def _list_neighbors(
        self, start: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[Floats, Indices, Indices]]:
        """Yield weight, row and column of each neighbor of the target pixels in some rows."""
        matrix = self.matrix.copy()
        matrix[:, 2] += start * matrix[:, 0]
        neighbors = [
            _split(position.clip(0, size - 1), size, self.interpolation)
            for position, size in zip(_apply(matrix, shape), self.planes.shape[1:3], strict=True)
        ]
        for (row_weight, rows), (column_weight, columns) in product(*neighbors):
            yield row_weight * column_weight, rows, columns


@dataclass(frozen=True, eq=False)
class InterpolatedSource(Source):
    """A source whose pixels were interpolated, with those that they were made from.

    Parameters
    ----------
    own_pixels : OwnPixels
        By them a fusion finds the noise. They belong to these `data` and no others.
    """

    own_pixels: OwnPixels = field(kw_only=True, repr=False)


def resample_source(
    source: Source, to_affine: Matrix, to_shape: tuple[int, ...], *, interpolation: str = "linear"
) -> tuple[Source, float]:
    """Return the plane of a source at the pixels of a target, and the fraction that it covers.

    Parameters
    ----------
    source : Source
        A plane or a volume.
    to_affine, to_shape, interpolation
        As for :func:`.resample`, in the source's units.

    Returns
    -------
    Source
        The plane, on the pixels of the target and without a place of its own; where it was
        interpolated, an :class:`InterpolatedSource`, by which its noise is found.
    float
        Fraction of the target's area inside the source.

    Raises
    ------
    ValueError
        If source and target do not overlap.
    """
    image, shape = _ReadOnce(source.data), (to_shape[0], to_shape[1])
    pixels, covered = resample(image, source.affine, to_affine, shape, interpolation=interpolation)
    # All planes of a fusion lie on the same pixels, wherever these are.
    plane = Source(pixels, ("y", "x"), name=source.name, path=source.path, rgb=source.rgb)
    if is_on_grid(source.affine, source.shape, to_affine, shape):
        return plane, covered
    matrix = combine_affines(source.affine, np.asarray(to_affine, float))
    own = _find_own_pixels(image, matrix, find_inside(matrix, source.shape, shape), interpolation)
    return plane if own is None else InterpolatedSource(**vars(plane), own_pixels=own), covered


class _ReadOnce:
    """An image that keeps the box that was read of it last, for whoever needs it again."""

    def __init__(self, image: Any) -> None:
        self._image, self.shape, self.dtype = image, image.shape, image.dtype
        self._box: tuple[slice | int, ...] = ()
        self._part: NDArray[Any] = np.empty(0)

    def __getitem__(self, box: tuple[slice | int, ...]) -> NDArray[Any]:
        if box != self._box:
            self._box, self._part = box, np.asarray(self._image[box])
        return self._part


def _find_own_pixels(
    image: _ReadOnce, matrix: Matrix, inside: NDArray[np.bool_], interpolation: str
) -> OwnPixels | None:
    """Return the pixels that a target was interpolated from; None where they tell no more than it.

    `matrix` leads from (row, column, 1) of the target to the pixels of the image.
    """
    box = find_box(matrix, image.shape, inside.shape)
    matrix = matrix[:-1]
    axes = _choose_axes(matrix)
    rows, columns = (np.arange(box[axis].start, box[axis].stop) for axis in axes)
    to_plane = matrix[list(axes)].copy()
    if min(len(rows), len(columns)) < _FEWEST:
        return None
    is_dense = abs(np.linalg.det(to_plane[:, :2])) > _DENSEST
    if is_dense or len(rows) * len(columns) > _MOST * inside.size:
        return None
    to_plane[:, 2] -= rows[0], columns[0]
    others = [axis for axis in range(len(box)) if axis not in axes]
    heights = _apply(_find_heights(matrix[others], to_plane), (len(rows), len(columns)))
    near = [
        _split(height.clip(box[axis].start, box[axis].stop - 1), box[axis].stop, interpolation)
        for height, axis in zip(heights, others, strict=True)
    ]
    planes, weights = [], []
    for chosen in product(*near):
        index = [index for _, index in chosen]
        # In ascending order: each goes where it belongs.
        index.insert(axes[0], rows[:, None])
        index.insert(axes[1], columns)
        planes.append(_gather(image, index, box))
        weight = prod((weight for weight, _ in chosen), start=np.float32(1))
        weights.append(np.atleast_2d(weight))
    return OwnPixels(np.stack(planes), np.stack(weights), to_plane, inside, interpolation)


def _choose_axes(matrix: Matrix) -> tuple[int, int]:
    """Return the two axes of the image that the target runs along most."""
    pairs = combinations(range(len(matrix)), 2)
    # The area onto which two axes project a pixel of the target.
    return max(pairs, key=lambda pair: abs(np.linalg.det(matrix[list(pair), :2])))


def _find_heights(matrix: Matrix, to_plane: Matrix) -> Matrix:
    """Return the matrix from rows and columns of the plane to positions along other axes."""
    slopes = matrix[:, :2] @ np.linalg.inv(to_plane[:, :2])
    return np.column_stack([slopes, matrix[:, 2] - slopes @ to_plane[:, 2]])


def _apply(matrix: Matrix, shape: tuple[int, ...]) -> list[Matrix]:
    """Return each coordinate of ``matrix @ (row, column, 1)``, shape (M, N)."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    return [a * rows + (b * columns + c) for a, b, c in matrix]


def _split(position: Matrix, stop: int, interpolation: str) -> list[tuple[Floats, Indices]]:
    """Return weight and index of the pixels around a position along one axis, below `stop`."""
    whole = np.floor(position + 0.5)
    if interpolation == "nearest" or np.abs(position - whole).max() < _TOLERANCE:
        return [(np.ones(position.shape, dtype=np.float32), whole.astype(np.intp))]
    low = np.floor(position)
    fraction = (position - low).astype(np.float32)
    index = low.astype(np.intp)
    return [(1 - fraction, index), (fraction, np.minimum(index + 1, stop - 1))]


def _gather(image: _ReadOnce, index: list[Indices], box: tuple[slice, ...]) -> NDArray[Any]:
    """Return the pixels of a box at indices that broadcast to (R, C), in halves if it is large."""
    rows = max(i.shape[0] for i in index if i.ndim == 2)
    if rows > 1 and prod(b.stop - b.start for b in box) > MOST_VOXELS:
        halves = (slice(None, rows // 2), slice(rows // 2, None))
        parts = [[i[half] if i.ndim == 2 else i for i in index] for half in halves]
        return np.concatenate([_gather(image, part, _enclose(part)) for part in parts])
    pixels: NDArray[Any] = image[box][tuple(i - b.start for i, b in zip(index, box, strict=True))]
    return pixels


def _enclose(index: list[Indices]) -> tuple[slice, ...]:
    return tuple(slice(int(i.min()), int(i.max()) + 1) for i in index)
