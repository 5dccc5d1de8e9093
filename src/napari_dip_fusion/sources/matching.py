"""How a source lies on the place of another one, and its pixels there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.axes import (
    find_counted_axes,
    find_indexed_axes,
    find_plane_axes,
    find_stacked_axes,
    is_placeless,
    share_space,
)
from napari_dip_fusion.sources.coverage import Coverage, measure_both_ways
from napari_dip_fusion.sources.footprint import Footprint, measure_footprint
from napari_dip_fusion.sources.kernels import measure_psf_steps
from napari_dip_fusion.sources.own_pixels import (
    InterpolatedSeries,
    OwnPixels,
    ResampledSource,
    find_own_footprint,
    find_own_pixels,
    resample_source,
)
from napari_dip_fusion.sources.parts import drop_single_axes
from napari_dip_fusion.sources.resample import (
    combine_affines,
    find_order,
    find_slices,
    resample_with_mask,
)
from napari_dip_fusion.sources.source import STAGE_POSITION, Source
from napari_dip_fusion.sources.units import find_factor

__all__ = [
    "Match",
    "convert_units",
    "list_extended",
    "list_units",
    "match_source",
    "name_source",
    "sample_match",
]

Matrix = NDArray[np.float64]


def name_source(source: Source) -> str:
    """Return what an error calls a source: its file, or its name."""
    return str(source.path or source.name or "a source")


def list_units(source: Source) -> str:
    """Return the units of a source's planes, each once."""
    return " and ".join(dict.fromkeys(source.units[n] for n in find_plane_axes(source)))


@dataclass(frozen=True, eq=False)
class Match:
    """How a source lies on a place: where its frames do, and along which axes they are counted.

    Attributes
    ----------
    source, place : Source
        The two.
    indexed : list of str
        Axes of the place along which the frames of both go together by their number.
    frame : Source
        The first frame of the source, with its place in the units of the target.
    target : ndarray of shape (n + 1, d + 1)
        From homogeneous pixel indices of a frame of the place to the world of `frame`.
    shape : tuple of d int
        Sizes of a frame of the place.
    coverage : Coverage
        How much the frames see of each other.
    """

    source: Source
    place: Source
    indexed: list[str]
    frame: Source
    target: Matrix
    shape: tuple[int, ...]
    coverage: Coverage

    @property
    def matrix(self) -> Matrix:
        """From homogeneous pixel indices of a frame of the place to those of the source."""
        return combine_affines(self.frame.affine, self.target)

    @property
    def slices(self) -> tuple[slice | int, ...] | None:
        """The pixels of a frame of the place as those of the source, if they are."""
        return find_slices(self.frame.shape, self.matrix, self.shape)

    @property
    def is_exact(self) -> bool:
        """Whether nothing has to be interpolated."""
        return self.slices is not None

    @property
    def is_plane(self) -> bool:
        """Whether the place is a single plane."""
        return len(list_extended(self.place)) == 2

    def take_frame(self, number: Sequence[int] = ()) -> Source:
        """Return the source's frame of a number, which is not read yet."""
        held = dict(zip(self.indexed, number, strict=True))
        index = tuple(
            slice(None) if axis in self.frame.axes else held.get(axis, 0)
            for axis in self.source.axes
        )
        mask = None if self.source.mask is None else self.source.mask[index]
        return self.frame.replace(data=self.source.data[index], mask=mask)


def match_source(source: Source, place: Source) -> Match:
    """Return how a source lies on a place; no pixels are read."""
    indexed = find_indexed_axes(source, place)
    frame, target = source, place
    for axis in indexed:
        frame, target = frame.take(axis, 0), target.take(axis, 0)
    frame, target = _match_axes(frame, target)
    if not share_space(source, place):
        frame, target = drop_single_axes(frame), drop_single_axes(target)
        _check_shapes(source, place)
        coverage = Coverage(1.0, 1.0, float(prod(frame.shape)))
        # Pixel on pixel: the target's places are the frame's own.
        return Match(source, place, indexed, frame, frame.affine, frame.shape, coverage)
    frame = convert_units(frame, target)
    to_affine, shape = _find_grid(target)
    try:
        coverage = measure_both_ways(frame.affine, frame.shape, to_affine, shape)
    except ValueError as error:
        raise ValueError(f"{name_source(source)}: {error}") from error
    return Match(source, place, indexed, frame, to_affine, shape, coverage)


def list_extended(place: Source) -> list[str]:
    """Return the axes along which a place has more than one pixel, and those of its planes."""
    single = {*find_stacked_axes(place, longer_than=0)} - {*find_stacked_axes(place)}
    return [axis for axis in place.axes if axis not in single]


def sample_match(match: Match, interpolation: str) -> Source:
    """Return a source at the pixels of the place."""
    source, place = match.source, match.place
    if match.is_exact and not match.is_plane:
        return _put_exact(match)
    try:
        if match.indexed:
            return _sample_series(match, interpolation)
        image, _ = resample_source(
            match.take_frame(), match.target, match.shape, interpolation=interpolation
        )
    except ValueError as error:
        raise ValueError(
            f"{name_source(source)}: {error}{_explain_places(source, place)}"
        ) from error
    return image if match.is_plane else image.replace(**_find_place(place))


def _find_place(place: Source) -> dict[str, Any]:
    """Return the fields of a source by which it lies where a place does, without single axes."""
    place = drop_single_axes(place)
    return {"axes": place.axes, "affine": place.affine, "units": place.units}


def _put(source: Source, place: Source, pixels: Any) -> Source:
    """Return pixels of a source as an image that lies where a place does."""
    fields = _find_place(place)
    return Source(pixels, name=source.name, path=source.path, rgb=source.rgb, **fields)


def _put_exact(match: Match) -> Source:
    """Return a source on the grid of the place, with its blur and mask, not read yet."""
    source = match.source
    image = _put(source, match.place, _slice(match, source.data))
    footprint = _measure_exact(match)
    if source.mask is None and not footprint.loses():
        return image
    inside = None if source.mask is None else _slice(match, source.mask)
    masked = source.mask is not None
    return ResampledSource(**vars(image), inside=inside, footprint=footprint, is_masked=masked)


def _measure_exact(match: Match) -> Footprint:
    """Return the footprint of a source along the axes of a frame of the place on its grid."""
    matrix = match.matrix
    return measure_footprint(match.frame, np.abs(matrix[:-1, :-1]).argmax(axis=0).tolist(), matrix)


def _slice(match: Match, image: Any) -> Any:
    """Return those pixels of an image that are the place's, not read where it need not be."""
    source, target_axes = match.source, list_extended(match.place)
    own: dict[str, slice | int] = dict.fromkeys(match.indexed, slice(None))
    own.update(zip(match.frame.axes, match.slices or (), strict=True))
    pixels = image[tuple(own.get(axis, 0) for axis in source.axes)]
    # What each axis of the place is called in the source.
    moving = [axis for axis in match.frame.axes if isinstance(own[axis], slice)]
    frame_axes = [axis for axis in target_axes if axis not in match.indexed]
    names = dict(zip(frame_axes, (moving[n] for n in find_order(match.matrix)), strict=True))
    left = [axis for axis in source.axes if isinstance(own.get(axis, 0), slice)]
    order = [left.index(names.get(axis, axis)) for axis in target_axes]
    return pixels.transpose([*order, *range(len(order), pixels.ndim)]).resolve()


def _sample_series(match: Match, interpolation: str) -> Source:
    """Return a source whose frames were interpolated one by one."""
    source, place, axes = match.source, match.place, list_extended(match.place)
    sizes = {axis: place.shape[place.axes.index(axis)] for axis in axes}
    colors = source.data.shape[source.ndim :]
    pixels = np.empty((*sizes.values(), *colors), dtype=source.dtype)
    numbers = list(np.ndindex(*(sizes[axis] for axis in match.indexed)))
    frames = [
        tuple(number[match.indexed.index(a)] if a in match.indexed else slice(None) for a in axes)
        for number in numbers
    ]
    footprint = find_own_footprint(match.frame, match.target, match.shape)
    limits: list[float] = []
    seen: NDArray[np.bool_] | None = None
    for number, index in zip(numbers, frames, strict=True):
        frame = match.take_frame(number)
        pixels[index], _, inside = resample_with_mask(
            frame.data,
            frame.affine,
            match.target,
            match.shape,
            interpolation=interpolation,
            mask=frame.mask,
        )
        if inside is not None:
            seen = np.ones(tuple(sizes.values()), dtype=bool) if seen is None else seen
            seen[index] = inside
        # Pixels that are restored are larger than others: reading them again is a small matter.
        if footprint is not None and footprint.loses("auto"):
            own = _find_own_pixels(match, interpolation, number)
            limits += (own and own.limits) or ()
    if seen is not None and source.dtype != np.uint8:
        # What lies outside is to be as dark in all frames.
        lowest = pixels.min()
        pixels[~seen] = lowest
    series = _put(source, place, pixels)
    if seen is None:
        return series
    # Frames are counted along the first axes, or not at all.
    ahead = tuple(sizes)[: len(match.indexed)] == tuple(match.indexed)
    if not ahead or footprint is None:
        return ResampledSource(**vars(series), inside=seen, is_masked=source.mask is not None)
    return InterpolatedSeries(
        **vars(series),
        inside=seen,
        footprint=footprint,
        is_masked=source.mask is not None,
        find_own_pixels=partial(_find_own_pixels, match, interpolation),
        frame_axes=len(match.indexed),
        own_limits=(min(limits), max(limits)) if limits else None,
    )


def _find_own_pixels(match: Match, interpolation: str, number: tuple[int, ...]) -> OwnPixels | None:
    """Return the pixels that one frame was interpolated from."""
    frame = match.take_frame(number)
    return find_own_pixels(frame, match.target, match.shape, interpolation=interpolation)


def _explain_places(source: Source, place: Source) -> str:
    """Return why two places may not fit, to be added to an error; empty where nothing is known."""
    reasons = [
        f"; the place of {name_source(s)} is a guess: {s.guess}" for s in (source, place) if s.guess
    ]
    on_stage = [s for s in (source, place) if STAGE_POSITION in s.metadata]
    if len(on_stage) == 1:
        reasons.append(
            f"; {name_source(on_stage[0])} lies where the stage was, the other at its own 0"
        )
    return "".join(reasons)


def _check_shapes(source: Source, place: Source) -> None:
    """Raise an error if two images of which nothing says where they lie differ in their shapes."""
    own, other = drop_single_axes(source), drop_single_axes(place)
    if own.axes == other.axes and own.shape == other.shape:
        return
    # Two pictures are left alone: whoever fuses them says what is wrong with them.
    if own.ndim == other.ndim == 2 and is_placeless(source) and is_placeless(place):
        return
    advice = "give both their place in one unit, or the same number of pixels"
    if other.ndim > 2:
        advice += '; or choose one plane with --slice z=N or plane="z=N"'
    sizes, other_sizes = (" x ".join(map(str, image.shape)) for image in (own, other))
    raise ValueError(
        f"{name_source(source)} has {sizes} pixels in {list_units(source)}, {name_source(place)} "
        f"has {other_sizes} in {list_units(place)}: nothing says how they lie on each other; "
        f"{advice}"
    )


def _match_axes(source: Source, place: Source) -> tuple[Source, Source]:
    """Return a source and a place with the axes that both have and can be compared on.

    A plane of a series of volumes and a volume meet in space: what the one says of time
    is nothing that the other could be compared with.
    """
    counted = find_counted_axes(source, place)
    for axis in find_stacked_axes(source, longer_than=0):
        if axis not in place.axes or axis in counted:
            source = source.take(axis, 0)
    for axis in find_stacked_axes(place, longer_than=0):
        if axis not in source.axes:
            place = place.take(axis, 0)
    return source, place


def _find_grid(place: Source) -> tuple[Matrix, tuple[int, ...]]:
    """Return the matrix from pixel indices of the place to the world, and its sizes.

    Axes of size one are left out, other than those of planes: (row, column, 1) to the world.
    """
    axes = [place.axes.index(axis) for axis in list_extended(place)]
    return place.affine[:, [*axes, -1]], tuple(place.shape[axis] for axis in axes)


def convert_units(source: Source, place: Source) -> Source:
    """Return a source in another's units, on those axes that can be compared."""
    others = dict(zip(place.axes, place.units, strict=True))
    units = [others.get(axis, own) for axis, own in zip(source.axes, source.units, strict=True)]
    factors = [find_factor(*pair) for pair in zip(source.units, units, strict=True)]
    scaled: Matrix = np.diag([*(factor or 1.0 for factor in factors), 1.0]) @ source.affine
    kept = [
        own if factor is None else unit
        for own, unit, factor in zip(source.units, units, factors, strict=True)
    ]
    return _put_in_world(source, scaled, tuple(kept))


def _put_in_world(image: Source, affine: Matrix, units: tuple[str, ...]) -> Source:
    """Return an image at another place, blurred over as many of its pixels as before."""
    lengths, psf = np.linalg.norm(affine[:-1, :-1], axis=0), image.psf
    if psf is not None:
        steps = measure_psf_steps(psf, image) * lengths[image.space]
        there = tuple(units[n] for n in image.space)
        psf = psf.replace(affine=np.diag([*steps, 1.0]), units=there)
    fwhm = tuple((lengths / image.spacing * image.widths).tolist())
    return image.replace(affine=affine, units=units, fwhm=fwhm, psf=psf)
