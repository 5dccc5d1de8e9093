"""The pixels of its own grid that an image was interpolated from, and how they were weighted.

Interpolation weakens the noise of pixels and spreads it to their neighbors: only on the grid on
which an image was taken is noise what a camera or scanner made of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sources.coverage import measure_pixel
from napari_dip_fusion.sources.footprint import Footprint, measure_footprint
from napari_dip_fusion.sources.resample import (
    MOST_VOXELS,
    combine_affines,
    cut_slabs,
    find_box,
    find_seen,
    find_slices,
    list_positions,
    resample_with_mask,
)
from napari_dip_fusion.sources.scaling import find_limits
from napari_dip_fusion.sources.source import Source

__all__ = [
    "InterpolatedSeries",
    "InterpolatedSource",
    "OwnPixels",
    "ResampledSource",
    "find_footprint",
    "find_own_footprint",
    "find_own_pixels",
    "resample_source",
]

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
    seen : ndarray of shape (P, R, C), bool, or None
        Which of the pixels were seen; None for all.
    tells_noise : bool
        Whether more can be found of the noise here than in the target.
    core : tuple of slice
        Rows and columns of the plane that the target was interpolated from; around them lies
        what a restoration looks at beside them.
    """

    planes: NDArray[Any]
    weights: Floats
    matrix: Matrix
    inside: NDArray[np.bool_]
    interpolation: str
    step: float = 1.0
    seen: NDArray[np.bool_] | None = None
    tells_noise: bool = True
    core: tuple[slice, ...] = ()

    @property
    def rgb(self) -> bool:
        """Whether the last axis of `planes` holds colors."""
        return self.planes.ndim > self.weights.ndim

    @property
    def plane(self) -> Floats:
        """The plane through a gray source, shape (R, C)."""
        if len(self.planes) == 1:
            return np.asarray(self.planes[0], np.result_type(self.planes, self.weights))
        mean: Floats = np.einsum("p...,p...->...", *np.broadcast_arrays(self.planes, self.weights))
        return mean

    @property
    def limits(self) -> tuple[float, float] | None:
        """The smallest and the largest value that was seen in the plane; None for none."""
        # Of colors, all are looked at.
        plane = self.planes if self.rgb else self.plane
        known = np.isfinite(plane)
        if self.seen is not None:
            seen = self.seen[..., None] if self.rgb else self.seen.all(axis=0)
            known &= seen
        return find_limits(plane, known) if known.any() else None

    @property
    def variance_share(self) -> Floats:
        """Variance of noise in the plane over that of the source, of the plane's shape or of 1s."""
        share: Floats = np.square(self.weights).sum(axis=0)
        return share

    def take_core(self) -> "OwnPixels":
        """Return what the target was interpolated from alone."""
        if not self.core:
            return self
        there = (slice(None), *self.core)
        matrix = self.matrix.copy()
        matrix[:, -1] -= [part.start for part in self.core]
        return replace(
            self,
            planes=self.planes[there],
            weights=self.weights[there] if max(self.weights.shape[1:]) > 1 else self.weights,
            matrix=matrix,
            seen=None if self.seen is None else self.seen[there],
            core=(),
        )

    @property
    def plane_seen(self) -> NDArray[np.bool_] | None:
        """Which pixels of the plane were seen, shape (R, C); None for all."""
        if self.seen is None:
            return None
        return np.asarray(self.seen.all(axis=0))

    def interpolate(self, values: Floats) -> Floats:
        """Return values of the plane, shape (R, C), at the target's pixels, shape (M, N)."""
        return self._sum_neighbors(values, 1) / self._weigh_seen()

    def interpolate_variance(self, variance: Floats) -> Floats:
        """Return the variance at the target's pixels of noise that is white in the plane.

        A sum of independent values under weights w has the sum of their variances under w^2.
        """
        return self._sum_neighbors(variance, 2) / self._weigh_seen() ** 2

    def _weigh_seen(self) -> Floats:
        """Return the weight of each target pixel's neighbors that were seen; 1 for none."""
        if self.plane_seen is None:
            return np.ones((), dtype=np.float32)
        weight = self._sum_neighbors(np.ones(self.plane_seen.shape, dtype=np.float32), 1)
        weight[weight == 0] = 1
        return weight

    def _sum_neighbors(self, values: Floats, power: int) -> Floats:
        """Return the sum of each target pixel's neighbors under a power of their weights."""
        total = np.zeros(self.inside.shape, dtype=np.float32)
        # What was not seen is not mixed in.
        values = values if self.plane_seen is None else np.where(self.plane_seen, values, 0)
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
class ResampledSource(Source):
    """A source on the pixels of another one, of which it is known which of them it saw.

    Parameters
    ----------
    inside : array-like of the shape of the source, bool, or None
        Whether a pixel lies inside what it was sampled from, and was seen there; None where all
        do. It belongs to these `data` and no others.
    footprint : Footprint or None
        How wide the pixels are that it was sampled from, and their blur; None where that is not
        known.
    is_masked : bool
        Whether a mask said what was seen, and not the end of the source alone.
    """

    inside: Any = field(kw_only=True, repr=False)
    footprint: Footprint | None = field(kw_only=True, default=None, repr=False)
    is_masked: bool = field(kw_only=True, default=False, repr=False)

    def transpose(self, order: Sequence[int]) -> Source:
        """Return the image in another order of axes, without what is known of its making."""
        return self if list(order) == list(range(self.ndim)) else _forget(self).transpose(order)

    def take(self, axis: str, index: int, *, keep: bool = False) -> Source:
        """Return what lies at one index of an axis, without what is known of its making."""
        return _forget(self).take(axis, index, keep=keep)


@dataclass(frozen=True, eq=False)
class InterpolatedSource(ResampledSource):
    """A source whose pixels were interpolated, with those that they were made from.

    Parameters
    ----------
    own_pixels : OwnPixels
        By them a fusion finds the noise. They belong to these `data` and no others.
    """

    own_pixels: OwnPixels = field(kw_only=True, repr=False)

    @property
    def own_limits(self) -> tuple[float, float] | None:
        """The smallest and the largest value of these pixels."""
        return self.own_pixels.limits


@dataclass(frozen=True, eq=False)
class InterpolatedSeries(ResampledSource):
    """A series whose frames were interpolated, with the way to what each was made from.

    Parameters
    ----------
    find_own_pixels : callable
        Takes the index of a frame, one number for each axis of the series, and returns the
        :class:`OwnPixels` of that frame, which it reads; or None, as :func:`find_own_pixels`.
    frame_axes : int
        How many axes frames are counted along.
    own_limits : (low, high), optional
        The smallest and the largest value of these pixels in all frames, where they are known.
    """

    find_own_pixels: Callable[[tuple[int, ...]], OwnPixels | None] = field(kw_only=True, repr=False)
    frame_axes: int = field(kw_only=True)
    own_limits: tuple[float, float] | None = field(kw_only=True, default=None)


def _forget(source: Source) -> Source:
    """Return an interpolated source as one of which nobody knows what it was made from."""
    return Source(**{known.name: getattr(source, known.name) for known in fields(Source)})


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
        it was interpolated, a :class:`ResampledSource`, and where that tells more of its noise,
        an :class:`InterpolatedSource`.
    float
        Fraction of the target's area, or volume, inside the source.

    Raises
    ------
    ValueError
        If source and target do not overlap.
    """
    shape = tuple(to_shape)
    way = _find_way(source, to_affine, shape)
    image = _ReadOnce(source.data, way.box if way and way.is_whole else ())
    pixels, covered, inside = resample_with_mask(
        image, source.affine, to_affine, shape, interpolation=interpolation, mask=source.mask
    )
    # All images of a fusion lie on the same pixels, wherever these are.
    axes = ("z", "y", "x")[-len(shape) :]
    placed = Source(pixels, axes, name=source.name, path=source.path, rgb=source.rgb)
    footprint = way.footprint if way else _find_exact_footprint(source, to_affine, shape)
    if inside is None and not (footprint and footprint.loses()):
        return placed, covered
    known: dict[str, Any] = {
        "inside": inside,
        "footprint": footprint,
        "is_masked": source.mask is not None,
    }
    if inside is None or way is None:
        return ResampledSource(**vars(placed), **known), covered
    own = _gather_own_pixels(image, way, inside, interpolation, source.mask)
    return InterpolatedSource(**vars(placed), **known, own_pixels=own), covered


def _find_exact_footprint(
    source: Source, to_affine: Matrix, to_shape: tuple[int, ...]
) -> Footprint | None:
    """Return the footprint of a source along the axes of a target on its grid, or else None."""
    matrix = combine_affines(source.affine, np.asarray(to_affine, float))
    if find_slices(source.shape, matrix, to_shape) is None:
        return None
    return measure_footprint(source, np.abs(matrix[:-1, :-1]).argmax(axis=0).tolist(), matrix)


def find_footprint(
    source: Source, to_affine: Matrix, to_shape: tuple[int, ...]
) -> Footprint | None:
    """Return how wide pixels and blur of a source are beside those of a target.

    No pixels are read.

    Returns
    -------
    Footprint or None
        As :func:`resample_source` gives it to what it returns; None where that has none.
    """
    own = find_own_footprint(source, to_affine, to_shape)
    return own or _find_exact_footprint(source, to_affine, to_shape)


def find_own_pixels(
    source: Source, to_affine: Matrix, to_shape: tuple[int, ...], *, interpolation: str = "linear"
) -> OwnPixels | None:
    """Return the pixels that a target is interpolated from, without interpolating it.

    Parameters
    ----------
    source, to_affine, to_shape, interpolation
        As for :func:`resample_source`.

    Returns
    -------
    OwnPixels or None
        None where they tell no more of noise and blur than the target does.
    """
    way = _find_way(source, to_affine, tuple(to_shape))
    if way is None:
        return None
    inside = find_seen(source.mask, way.matrix, source.shape, tuple(to_shape))
    image = _ReadOnce(source.data, way.box if way.is_whole else ())
    return _gather_own_pixels(image, way, inside, interpolation, source.mask)


def find_own_footprint(
    source: Source, to_affine: Matrix, to_shape: tuple[int, ...]
) -> Footprint | None:
    """Return the footprint of what :func:`find_own_pixels` returns; no pixels are read.

    Returns
    -------
    Footprint or None
        None where there are no such pixels.
    """
    way = _find_way(source, to_affine, tuple(to_shape))
    return None if way is None else way.footprint


@dataclass(frozen=True, eq=False)
class _Way:
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


def _find_way(source: Source, to_affine: Matrix, to_shape: tuple[int, ...]) -> _Way | None:
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
    return _Way(matrix, box, axes, float(step), footprint, tells_noise, core)


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


def _gather_own_pixels(
    image: _ReadOnce, way: _Way, inside: NDArray[np.bool_], interpolation: str, mask: Any
) -> OwnPixels:
    """Return the pixels that a target was interpolated from, and which of them were seen."""
    planes, weights, to_plane = _gather_planes(image, way, interpolation)
    seen = None
    if mask is not None:
        seen = _gather_planes(_ReadOnce(mask), way, interpolation)[0]
        seen = None if seen.all() else seen
    return OwnPixels(
        planes,
        weights,
        to_plane,
        inside,
        interpolation,
        way.step,
        seen,
        way.tells_noise,
        way.core,
    )


def _gather_planes(
    image: _ReadOnce, way: _Way, interpolation: str
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
        _split(height.clip(box[axis].start, box[axis].stop - 1), box[axis].stop, interpolation)
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
