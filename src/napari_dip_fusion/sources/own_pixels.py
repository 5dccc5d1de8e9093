"""The pixels of its own grid that an image was interpolated from, and how they were weighted.

Interpolation weakens the noise of pixels and spreads it to their neighbors: only on the grid on
which an image was taken is noise what a camera or scanner made of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sources.resample import (
    MOST_VOXELS,
    combine_affines,
    cut_slabs,
    find_box,
    find_slices,
    list_positions,
    resample_with_mask,
)
from napari_dip_fusion.sources.source import Source

__all__ = ["InterpolatedSource", "OwnPixels", "resample_source"]

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
class OwnPixels:
    """A plane through a source, on the source's own rows and columns, and the way to the target.

    The plane lies where the target lies. A 2-D source is such a plane itself. Through a volume
    it runs between pixels, of which the nearest on both sides are kept: `planes` hold pixels as
    the source has them, with its noise, and their mean under the `weights` is the plane.

    Where the target is a volume, read volume for plane: of a source that is one as well, it is
    the box of the source's own pixels around the target.

    Attributes
    ----------
    planes : ndarray of shape (P, R, C), or (P, R, C, colors)
        P is 1 for a source of as many axes as the target, and where the target lies on a plane
        of the volume or is sampled at the nearest pixels; otherwise 2, or more for more
        dimensions. Of a volume, (P, S, R, C).
    weights : ndarray of the shape of planes without colors, or of as many axes of size 1, float32
        They sum to 1 over the planes.
    matrix : ndarray of shape (d, d + 1)
        Target pixel (row, column, 1) to row and column of the plane.
    inside : ndarray of the shape of the target, bool
        Which pixels of the target lie in the source.
    interpolation : {"linear", "nearest"}
        How the target was sampled.
    step : float
        Of a volume, the distance between its own planes, in its own pixels of a plane.
    """

    planes: NDArray[Any]
    weights: Floats
    matrix: Matrix
    inside: NDArray[np.bool_]
    interpolation: str
    step: float = 1.0

    @property
    def rgb(self) -> bool:
        """Whether the last axis of `planes` holds colors."""
        return self.planes.ndim > self.inside.ndim + 1

    @property
    def plane(self) -> Floats:
        """The plane through a gray source, shape (R, C)."""
        if len(self.planes) == 1:
            return np.asarray(self.planes[0], np.result_type(self.planes, self.weights))
        mean: Floats = np.einsum("p...,p...->...", *np.broadcast_arrays(self.planes, self.weights))
        return mean

    @property
    def variance_share(self) -> Floats:
        """Variance of noise in the plane over that of the source, of the plane's shape or of 1s."""
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
        values = values.ravel()
        # In slabs, because the indices take several times the memory of an image.
        for slab in cut_slabs(total.shape):
            checkpoint()
            for weight, index in self._list_neighbors(slab.start, total[slab].shape):
                total[slab] += weight**power * values.take(index)
        return total

    def _list_neighbors(
        self, start: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[Floats, Indices]]:
        """Yield weight and index of each neighbor of the target pixels in a slab.

        The index is that into the plane as one line of pixels.
        """
        matrix = self.matrix.copy()
        matrix[:, -1] += start * matrix[:, 0]
        sizes = self.planes.shape[1 : len(matrix) + 1]
        neighbors = [
            _split(position.clip(0, size - 1), size, self.interpolation)
            for position, size in zip(list_positions(matrix, shape), sizes, strict=True)
        ]
        for chosen in product(*neighbors):
            weight, index = chosen[0]
            for (other, position), size in zip(chosen[1:], sizes[1:], strict=True):
                weight, index = weight * other, index * size + position
            yield weight, index


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
    """Return a source at the pixels of a target, and the fraction of the target that it covers.

    Parameters
    ----------
    source : Source
        A plane or a volume.
    to_affine, to_shape, interpolation
        As for :func:`.resample`, in the source's units.

    Returns
    -------
    Source
        The plane, or volume, on the pixels of the target and without a place of its own; where
        it was interpolated, an :class:`InterpolatedSource`, by which its noise is found.
    float
        Fraction of the target's area, or volume, inside the source.

    Raises
    ------
    ValueError
        If source and target do not overlap.
    """
    to_affine, shape = np.asarray(to_affine, float), tuple(to_shape)
    matrix = combine_affines(source.affine, to_affine)
    box, axes = find_box(matrix, source.shape, shape), _choose_axes(matrix[:-1])
    kept = find_slices(source.shape, matrix, shape) is None and _tells_noise(
        matrix[list(axes)], [box[axis].stop - box[axis].start for axis in axes], shape
    )
    # Of a source without further axes the whole box is kept, and therefore read at once.
    image = _ReadOnce(source.data, box if kept and len(axes) == len(box) else ())
    pixels, covered, inside = resample_with_mask(
        image, source.affine, to_affine, shape, interpolation=interpolation
    )
    # All images of a fusion lie on the same pixels, wherever these are.
    axis_names = ("z", "y", "x")[-len(shape) :]
    placed = Source(pixels, axis_names, name=source.name, path=source.path, rgb=source.rgb)
    if inside is None or not kept:
        return placed, covered
    own = _find_own_pixels(image, box, axes, matrix[:-1], inside, interpolation)
    return InterpolatedSource(**vars(placed), own_pixels=own), covered


class _ReadOnce:
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


def _tells_noise(to_plane: Matrix, sizes: Sequence[int], to_shape: tuple[int, ...]) -> bool:
    """Tell whether more is known of noise from a source's own pixels than from the target.

    Parameters
    ----------
    to_plane : ndarray of shape (d, d + 1)
        Pixels of the target to the axes of the source that it runs along.
    sizes : sequence of d int
        Sizes of the box around the target along these axes.
    to_shape : tuple of d int
        Sizes of the target.
    """
    is_dense = abs(np.linalg.det(to_plane[:, :-1])) > _DENSEST ** len(sizes)
    # Noise is found in blocks of rows and columns, however many of them are stacked.
    is_small = min(sizes[-2:]) < _FEWEST
    return not (is_small or is_dense or prod(sizes) > _MOST * prod(to_shape))


def _find_own_pixels(
    image: _ReadOnce,
    box: tuple[slice, ...],
    axes: tuple[int, ...],
    matrix: Matrix,
    inside: NDArray[np.bool_],
    interpolation: str,
) -> OwnPixels:
    """Return the pixels that a target was interpolated from.

    They lie in the `box` of the image, along those `axes` of it that the target runs along most;
    `matrix` leads from (row, column, 1) of the target to the pixels of the image.
    """
    to_plane = matrix[list(axes)].copy()
    to_plane[:, -1] -= [box[axis].start for axis in axes]
    if len(axes) == len(box):
        weights = np.ones((1,) * (inside.ndim + 1), dtype=np.float32)
        return OwnPixels(image[box][None], weights, to_plane, inside, interpolation)
    others = [axis for axis in range(len(box)) if axis not in axes]
    mesh = np.ix_(*(np.arange(box[axis].start, box[axis].stop) for axis in axes))
    shape = tuple(box[axis].stop - box[axis].start for axis in axes)
    near = [
        _split(height.clip(box[axis].start, box[axis].stop - 1), box[axis].stop, interpolation)
        for height, axis in zip(
            list_positions(_find_heights(matrix[others], to_plane), shape), others, strict=True
        )
    ]
    planes, weights = [], []
    for chosen in product(*near):
        index = dict(zip(axes, mesh, strict=True))
        index.update((axis, places) for axis, (_, places) in zip(others, chosen, strict=True))
        planes.append(_gather(image, [index[axis] for axis in range(len(box))], box))
        weights.append(prod((weight for weight, _ in chosen), start=np.float32(1)))
    return OwnPixels(np.stack(planes), np.stack(weights), to_plane, inside, interpolation)


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
