"""The pixels of its own grid that an image was interpolated from, and how they were weighted.

Interpolation weakens the noise of pixels and spreads it to their neighbors: only on the grid on
which an image was taken is noise what a camera or scanner made of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sources.footprint import Footprint, measure_footprint
from napari_dip_fusion.sources.own_way import (
    ReadOnce,
    Way,
    find_way,
    gather_planes,
    split_position,
)
from napari_dip_fusion.sources.resample import (
    combine_affines,
    cut_slabs,
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
            split_position(position.clip(0, size - 1), size, self.interpolation)
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
    way = find_way(source, to_affine, shape)
    image = ReadOnce(source.data, way.box if way and way.is_whole else ())
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
    way = find_way(source, to_affine, tuple(to_shape))
    if way is None:
        return None
    inside = find_seen(source.mask, way.matrix, source.shape, tuple(to_shape))
    image = ReadOnce(source.data, way.box if way.is_whole else ())
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
    way = find_way(source, to_affine, tuple(to_shape))
    return None if way is None else way.footprint


def _gather_own_pixels(
    image: ReadOnce, way: Way, inside: NDArray[np.bool_], interpolation: str, mask: Any
) -> OwnPixels:
    """Return the pixels that a target was interpolated from, and which of them were seen."""
    planes, weights, to_plane = gather_planes(image, way, interpolation)
    seen = None
    if mask is not None:
        seen = gather_planes(ReadOnce(mask), way, interpolation)[0]
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
