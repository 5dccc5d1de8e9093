"""The way from the pixels of a target to those of a source's own grid that they are made from."""

from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.coverage import measure_pixel
from napari_dip_fusion.sources.footprint import Footprint, measure_footprint
from napari_dip_fusion.sources.resample import (
    MOST_VOXELS,
    TIE,
    combine_affines,
    find_box,
    find_slices,
    list_positions,
)
from napari_dip_fusion.sources.source import Source

__all__ = ["ReadOnce", "Way", "find_way", "gather_planes", "split_position"]

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Matrix = NDArray[np.float64]

# Where a source has more pixels than this along each axis for a pixel of the target, linear
# interpolation mixes hardly any of them into two pixels of the target: noise stays white, and is
# found in the target.
_DENSEST = 2

# The box around a target that lies at an angle is larger than what is sampled of it; that around a
# long and narrow one may be larger than there is memory and time for.
_MOST = 16

# Rows and columns from which noise can be told: a block of the estimate.
_FEWEST = 16

# A cut that is no further than this from whole pixels, in pixels, is one of the image's planes.
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Way:
    """The way from a target to those pixels of an image that tell of its noise and its blur.

    Attributes
    ----------
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`combine_affines`.
    box : tuple of n slice
        What of the image lies around the target.
    axes : tuple of d int
        The axes of the image that the target runs along most.
    step : float
        Distance along the first of them in pixels of the last two.
    footprint : Footprint
        Of the image, along these axes.
    tells_noise : bool
        Whether the pixels tell more of the noise than the target does.
    core : tuple of d slice
        What lies around the target without any margin, within the box; empty for all.
    """

    matrix: Matrix
    box: tuple[slice, ...]
    axes: tuple[int, ...]
    step: float
    footprint: Footprint
    tells_noise: bool
    core: tuple[slice, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all pixels of the box are kept, as the image has no further axes."""
        return len(self.axes) == len(self.box)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the box along the axes."""
        return tuple(self.box[axis].stop - self.box[axis].start for axis in self.axes)


def find_way(source: Source, to_affine: Matrix, to_shape: tuple[int, ...]) -> Way | None:
    """Return the way to a source's own pixels; None where the target tells of the noise itself."""
    matrix = combine_affines(source.affine, np.asarray(to_affine, float))
    if find_slices(source.shape, matrix, to_shape) is not None:
        return None
    axes = _choose_axes(matrix[:-1])
    step = source.spacing[axes[0]] / np.sqrt(measure_pixel(source.affine, axes[-2:]))
    box, footprint = (
        find_box(matrix, source.shape, to_shape),
        measure_footprint(source, axes, matrix),
    )
    sizes = [box[axis].stop - box[axis].start for axis in axes]
    is_dense = abs(np.linalg.det(matrix[list(axes), :-1])) > _DENSEST ** len(axes)
    # Noise is found in blocks of rows and columns, however many of them are stacked.
    tells_noise = not (is_dense or min(sizes[-2:]) < _FEWEST)
    if prod(sizes) > _MOST * prod(to_shape) or not (tells_noise or footprint.loses()):
        return None
    core: tuple[slice, ...] = ()
    if footprint.loses("auto"):
        inner, box = box, _widen(box, source.shape, matrix, axes, footprint.reach)
        starts = {axis: inner[axis].start - box[axis].start for axis in axes}
        core = tuple(
            slice(starts[axis], starts[axis] + size) for axis, size in zip(axes, sizes, strict=True)
        )
    return Way(matrix, box, axes, float(step), footprint, tells_noise, core)


def _widen(
    box: tuple[slice, ...],
    shape: tuple[int, ...],
    matrix: Matrix,
    axes: tuple[int, ...],
    reach: tuple[int, ...],
) -> tuple[slice, ...]:
    """Return a box with what blur brings in from around it."""
    margins = np.zeros(len(box))
    margins[list(axes)] = reach
    others = [axis for axis in range(len(box)) if axis not in axes]
    # An oblique plane is continued beyond the box.
    slopes = matrix[others, :-1] @ np.linalg.inv(matrix[list(axes), :-1])
    margins[others] = np.ceil(np.abs(slopes) @ reach - _TOLERANCE)
    return tuple(
        slice(max(part.start - int(margin), 0), min(part.stop + int(margin), size))
        for part, margin, size in zip(box, margins, shape, strict=True)
    )


class ReadOnce:
    """An image that keeps the box that was read of it last, for whoever needs it again.

    Parameters
    ----------
    image : array-like
        The image.
    whole : tuple of slice
        A box that is kept from the first reading on, with all parts of it.
    """

    def __init__(self, image: Any, whole: tuple[slice, ...] = ()) -> None:
        self._image, self.shape, self.dtype = image, image.shape, image.dtype
        self._whole = whole
        self._box: tuple[slice | int, ...] = ()
        self._part: NDArray[Any] = np.empty(0)

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        if self._whole and all(
            outer.start <= inner.start and inner.stop <= outer.stop
            for inner, outer in zip(box, self._whole, strict=True)
        ):
            return self._read(self._whole)[
                tuple(
                    slice(inner.start - outer.start, inner.stop - outer.start)
                    for inner, outer in zip(box, self._whole, strict=True)
                )
            ]
        return self._read(box)

    def _read(self, box: tuple[slice | int, ...]) -> NDArray[Any]:
        if box != self._box:
            self._box, self._part = box, np.asarray(self._image[box])
        return self._part


def gather_planes(
    image: ReadOnce, way: Way, interpolation: str
) -> tuple[NDArray[Any], Floats, Matrix]:
    """Return planes, weights and matrix of :class:`OwnPixels`."""
    matrix, box, axes = way.matrix[:-1], way.box, way.axes
    to_plane = matrix[list(axes)].copy()
    to_plane[:, -1] -= [box[axis].start for axis in axes]
    if way.is_whole:
        ones = np.ones((1,) * (len(axes) + 1), dtype=np.float32)
        return image[box][None], ones, to_plane
    others = [axis for axis in range(len(box)) if axis not in axes]
    heights = list_positions(_find_heights(matrix[others], to_plane), way.shape)
    near = [
        split_position(
            height.clip(box[axis].start, box[axis].stop - 1), box[axis].stop, interpolation
        )
        for height, axis in zip(heights, others, strict=True)
    ]
    mesh = np.ix_(*(np.arange(box[axis].start, box[axis].stop) for axis in axes))
    planes, weights = [], []
    for chosen in product(*near):
        index = dict(zip(axes, mesh, strict=True))
        index.update((axis, places) for axis, (_, places) in zip(others, chosen, strict=True))
        planes.append(_gather(image, [index[axis] for axis in range(len(box))], box))
        weights.append(prod((weight for weight, _ in chosen), start=np.float32(1)))
    return np.stack(planes), np.stack(weights), to_plane


def _choose_axes(matrix: Matrix) -> tuple[int, ...]:
    """Return the axes of the image that the target runs along most, as many as it has."""
    ndim = matrix.shape[1] - 1
    choices = combinations(range(len(matrix)), ndim)
    # The area, or volume, onto which the axes project a pixel of the target.
    return max(choices, key=lambda axes: abs(np.linalg.det(matrix[list(axes), :ndim])))


def _find_heights(matrix: Matrix, to_plane: Matrix) -> Matrix:
    """Return the matrix from rows and columns of the plane to positions along other axes."""
    slopes = matrix[:, :-1] @ np.linalg.inv(to_plane[:, :-1])
    return np.column_stack([slopes, matrix[:, -1] - slopes @ to_plane[:, -1]])


def split_position(position: Matrix, stop: int, interpolation: str) -> list[tuple[Floats, Indices]]:
    """Return weight and index of the pixels around a position along one axis, below `stop`."""
    whole = np.floor(position + (0.5 + TIE))
    if interpolation == "nearest" or np.abs(position - whole).max() < _TOLERANCE:
        return [(np.ones(position.shape, dtype=np.float32), whole.astype(np.intp))]
    low = np.floor(position)
    fraction = (position - low).astype(np.float32)
    index = low.astype(np.intp)
    return [(1 - fraction, index), (fraction, np.minimum(index + 1, stop - 1))]


def _gather(image: ReadOnce, index: list[Indices], box: tuple[slice, ...]) -> NDArray[Any]:
    """Return the pixels of a box at indices that broadcast, in halves if it is large."""
    rows = max(len(i) for i in index)
    if rows > 1 and prod(b.stop - b.start for b in box) > MOST_VOXELS:
        halves = (slice(None, rows // 2), slice(rows // 2, None))
        parts = [[i[half] if len(i) > 1 else i for i in index] for half in halves]
        return np.concatenate([_gather(image, part, _enclose(part)) for part in parts])
    pixels: NDArray[Any] = image[box][tuple(i - b.start for i, b in zip(index, box, strict=True))]
    return pixels


def _enclose(index: list[Indices]) -> tuple[slice, ...]:
    return tuple(slice(int(i.min()), int(i.max()) + 1) for i in index)
