"""Sources on one grid of pixels, and the place in the world of what is fused from them."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.sources.axes import (
    align_axes,
    find_counted_axes,
    find_factor,
    find_indexed_axes,
    find_plane_axes,
    find_stacked_axes,
    is_placeless,
    share_space,
)
from napari_dip_fusion.sources.coverage import (
    Coverage,
    measure_both_ways,
    measure_pixel,
    pick_finest,
)
from napari_dip_fusion.sources.own_pixels import (
    InterpolatedSeries,
    OwnPixels,
    ResampledSource,
    find_own_pixels,
    has_own_pixels,
    resample_source,
)
from napari_dip_fusion.sources.parts import choose_planes, drop_single_axes, require_frames
from napari_dip_fusion.sources.resample import (
    combine_affines,
    find_order,
    find_slices,
    resample_with_mask,
)
from napari_dip_fusion.sources.source import GUESSED_PLACE, STAGE_POSITION, Source, make_source
from napari_dip_fusion.sources.views import View

__all__ = [
    "GridSources",
    "bring_together",
    "compare_grids",
    "find_finest",
    "put_in_place",
    "resample_to_reference",
]

Matrix = NDArray[np.float64]

# What a new image at the reference's place does not inherit: it belongs to the
# reference's own pixels.
_OF_PIXELS: dict[str, Any] = {"metadata": {}, "display": {}, "pyramid": ()}


@dataclass(frozen=True, eq=False)
class GridSources:
    """Arrays of several sources at the pixels of one of them, the reference.

    Attributes
    ----------
    images : list of Source
        Each source's pixels at those of the reference, in the type of the source; where they
        were interpolated, a :class:`.ResampledSource`, by which it is known which of them the
        source saw, and often what its noise is. Planes have no place of their own; volumes and
        series have that of the reference, and are read when they are asked for where they lie
        on its grid.
    place : Source
        The reference's plane, volume or series. Axes that it does not extend along are kept
        with size one, so that its affine can hold an oblique plane.
    reference : int
        Index of the source whose pixels these are.
    coverage : list of Coverage
        How much each source and the reference see of each other; of a series, in each frame.
    resampled : list of bool
        Whether each source was interpolated.
    remarks : list of str
        What somebody should know of the places of the sources, a line each: which are only
        guesses, and which could not be compared.
    """

    images: list[Source]
    place: Source
    reference: int
    coverage: list[Coverage]
    resampled: list[bool]
    remarks: list[str]

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The pixels alone, each of the shape of the others, with or without 3 or 4 colors."""
        return [image.to_numpy() for image in self.images]

    def describe(self) -> dict[str, Any]:
        """Return what a run record says of the grid and of how the sources lie on it."""
        return {
            "reference": self.place.name or _name(self.place),
            "resampled": self.resampled,
            "remarks": self.remarks,
            "coverage": [
                {"of_reference": c.of_target, "of_source": c.of_image} for c in self.coverage
            ],
        }

    def make_source(self, image: NDArray[Any], *, flat: bool, **changes: Any) -> Source:
        """Return an image as a source at the place of the reference.

        Parameters
        ----------
        image : ndarray of the shape of the images, with or without a last axis of colors
            Such as a gain map, or the fused image.
        flat : bool
            Drop the axes of size one, for formats that have no room for them.
        **changes
            Other fields of :class:`Source`, such as ``name``.

        Returns
        -------
        Source
            With the axes, units and affine of the reference.
        """
        source = put_in_place(image, self.place, **changes)
        return drop_single_axes(source) if flat else source


def put_in_place(image: NDArray[Any], place: Source, **changes: Any) -> Source:
    """Return a new image as a source at the place of another one.

    Parameters
    ----------
    image : ndarray
        Of the shape of the place but for axes of size one, with or without a last axis of colors.
    place : Source
    **changes
        Other fields of :class:`Source`, such as ``name``.

    Returns
    -------
    Source
        With the axes, units and affine of the place.
    """
    rgb = image.ndim > len(_list_extended(place))
    shape = (*place.shape, image.shape[-1]) if rgb else place.shape
    fields = {"data": image.reshape(shape), "rgb": rgb, **_OF_PIXELS, **changes}
    if place.guess:
        # What is made at a place that is a guess has no better one.
        fields["metadata"] = {**fields["metadata"], GUESSED_PLACE: place.guess}
    return place.replace(**fields)


def bring_together(
    sources: Sequence[ArrayLike | Source] | GridSources,
    *,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> Sequence[ArrayLike | Source] | GridSources:
    """Return sources on one grid, as every fusion takes them.

    Parameters
    ----------
    sources : sequence of arrays or Source objects, or GridSources
        Those without a place in the world, and those that are on one grid already, lie pixel on
        pixel and are returned as they are.
    reference, plane, interpolation
        As for :func:`resample_to_reference`, which is called for the others.
    """
    if isinstance(sources, GridSources):
        return sources
    placed = all(
        isinstance(source, Source) and not isinstance(source, ResampledSource) for source in sources
    )
    if len(sources) < 2 or not (placed or plane is not None or reference is not None):
        return sources
    images = [s if isinstance(s, Source) else make_source(s) for s in sources]
    return resample_to_reference(
        images, reference=reference, plane=plane, interpolation=interpolation
    )


def resample_to_reference(
    sources: Sequence[Source],
    *,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> GridSources:
    """Sample all sources at the pixels of one of them, or of a plane or another part of it.

    Parameters
    ----------
    sources : sequence of Source
        Planes or volumes, of which some may go over time. Volumes are cut where the
        reference's plane lies in world coordinates.
    reference : int, optional
        Index of the source whose grid is taken; by default the finest, from
        :func:`find_finest`.
    plane : int or str, optional
        The part of the reference that is taken, by default the whole: an index, or as in
        ``"z=12"`` or ``"t=0,z=12"``. An axis that only other sources have is
        chosen in these.
    interpolation : {"linear", "nearest"}
        As in :func:`~napari_dip_fusion.sources.resample.resample`.

    Returns
    -------
    GridSources
        In the order of `sources`.

    Raises
    ------
    ValueError
        If there is no such reference or plane, a plane or frame has still to be chosen, the
        numbers of frames differ, or a source does not overlap the reference in the world.

    Notes
    -----
    Axes are matched by their kind, never by their order alone: a frame number is not laid
    over a height (:mod:`~napari_dip_fusion.sources.axes`). Units that are not known are not
    taken as 1 of a known one. Sources that share no world for such a reason, such as a
    picture in pixels and a plane in millimeters, are laid pixel on pixel where they have one
    shape, which :attr:`GridSources.remarks` says, and refused otherwise. Two pictures
    without any place have to share their shape.

    Only in space is anything interpolated. The frames of a series, and whatever else is no
    distance, go together by their number, and have to be as many in all sources.
    """
    # What is not needed is not read: neither other planes nor other resolutions.
    sources = [source.replace(data=View(source.data), pyramid=()) for source in sources]
    asked = reference
    reference = find_finest(sources) if asked is None else asked
    if not 0 <= reference < len(sources):
        raise ValueError(
            f"reference must be a source from 0 to {len(sources) - 1}, got {reference}"
        )
    sources = [align_axes(source, sources[reference]) for source in sources]
    try:
        if plane is not None:
            sources = choose_planes(sources, plane, reference=reference)
        require_frames(sources, reference=reference)
    except ImageFileError as error:
        # Whoever chose a plane may have meant the first source.
        if asked is None and reference != 0:
            raise ImageFileError(
                f"{error}; the reference is the finest source unless another is chosen"
            ) from error
        raise
    place = sources[reference]
    matches = [_match(source, place) for source in sources]
    planes = prod(place.shape[place.axes.index(axis)] for axis in find_stacked_axes(place))
    work = planes * sum(not match.is_exact for match in matches)
    # A single plane is there in a blink.
    with stage("resampling", work) if planes > 1 and work else nullcontext():
        images = [_sample(match, interpolation) for match in matches]
    return GridSources(
        images=images,
        place=place.replace(data=place.data.resolve()),
        reference=reference,
        coverage=[match.coverage for match in matches],
        resampled=[not match.is_exact for match in matches],
        remarks=_list_remarks(sources, place),
    )


def compare_grids(
    sources: Sequence[Source], *, reference: int
) -> tuple[list[Coverage], list[bool]]:
    """Return how :func:`resample_to_reference` would find sources to lie; no pixels are read.

    Parameters
    ----------
    sources, reference
        As of :func:`resample_to_reference`.

    Returns
    -------
    coverage, resampled
        As of :class:`GridSources`.

    Raises
    ------
    ValueError
        As :func:`resample_to_reference`, but for sources that do not overlap the reference.
    """
    place = sources[reference]
    aligned = [align_axes(source, place) for source in sources]
    require_frames(aligned, reference=reference)
    matches = [_match(source, place) for source in aligned]
    return [match.coverage for match in matches], [not match.is_exact for match in matches]


def _list_remarks(sources: Sequence[Source], place: Source) -> list[str]:
    """Return what somebody should know of the places of sources, a line each."""
    guesses = [f"the place of {_name(s)} is a guess: {s.guess}" for s in sources if s.guess]
    return guesses + [
        f"{_name(source)} is measured in {_list_units(source)} and {_name(place)} in "
        f"{_list_units(place)}, which cannot be compared: they are laid pixel on pixel"
        for source in sources
        if not share_space(source, place) and not (is_placeless(source) and is_placeless(place))
    ]


def _name(source: Source) -> str:
    return str(source.path or source.name or "a source")


def _list_units(source: Source) -> str:
    """Return the units of a source's planes, each once."""
    return " and ".join(dict.fromkeys(source.units[n] for n in find_plane_axes(source)))


def find_finest(sources: Sequence[Source]) -> int:
    """Return which source has the smallest pixels, so that sampling the others loses nothing.

    Parameters
    ----------
    sources : sequence of Source
        Planes or volumes; of these, the pixels of a plane count, not their distance.

    Returns
    -------
    int
        The first of equals. Sources whose places cannot be compared with that of the
        first, such as pictures without any, are left out.
    """
    first = sources[0]
    return pick_finest(
        [
            _measure_pixel(align_axes(source, first), first)
            if source is first or share_space(align_axes(source, first), first)
            else np.inf
            for source in sources
        ]
    )


def _measure_pixel(source: Source, other: Source) -> float:
    """Return the area of a pixel of a source's planes, in the units of another one."""
    return measure_pixel(_convert_units(source, other), find_plane_axes(source))


@dataclass(frozen=True, eq=False)
class _Match:
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
        return len(_list_extended(self.place)) == 2

    def take_frame(self, number: Sequence[int] = ()) -> Source:
        """Return the source's frame of a number, which is not read yet."""
        held = dict(zip(self.indexed, number, strict=True))
        index = tuple(
            slice(None) if axis in self.frame.axes else held.get(axis, 0)
            for axis in self.source.axes
        )
        return self.frame.replace(data=self.source.data[index])


def _match(source: Source, place: Source) -> _Match:
    """Return how a source lies on a place; no pixels are read."""
    indexed = find_indexed_axes(source, place)
    frame, target = source, place
    for axis in indexed:
        frame, target = frame.take(axis, 0), target.take(axis, 0)
    frame, target = _match_axes(frame, target)
    if not share_space(source, place):
        frame, target = drop_single_axes(frame), drop_single_axes(target)
        _check_shapes(source, place)
        own_grid = np.eye(frame.ndim + 1)
        coverage = Coverage(1.0, 1.0, float(prod(frame.shape)))
        frame = frame.replace(affine=own_grid)
        return _Match(source, place, indexed, frame, own_grid, frame.shape, coverage)
    frame = frame.replace(affine=_convert_units(frame, target))
    to_affine, shape = _find_grid(target)
    try:
        coverage = measure_both_ways(frame.affine, frame.shape, to_affine, shape)
    except ValueError as error:
        raise ValueError(f"{_name(source)}: {error}") from error
    return _Match(source, place, indexed, frame, to_affine, shape, coverage)


def _list_extended(place: Source) -> list[str]:
    """Return the axes along which a place has more than one pixel, and those of its planes."""
    single = {*find_stacked_axes(place, longer_than=0)} - {*find_stacked_axes(place)}
    return [axis for axis in place.axes if axis not in single]


def _sample(match: _Match, interpolation: str) -> Source:
    """Return a source at the pixels of the place."""
    source, place = match.source, match.place
    if match.is_exact and not match.is_plane:
        return _put(source, place, _slice(match))
    try:
        if match.indexed:
            return _sample_series(match, interpolation)
        image, _ = resample_source(
            match.take_frame(), match.target, match.shape, interpolation=interpolation
        )
    except ValueError as error:
        raise ValueError(f"{_name(source)}: {error}{_explain_places(source, place)}") from error
    return image if match.is_plane else image.replace(**_find_place(place))


def _find_place(place: Source) -> dict[str, Any]:
    """Return the fields of a source by which it lies where a place does, without single axes."""
    place = drop_single_axes(place)
    return {"axes": place.axes, "affine": place.affine, "units": place.units}


def _put(source: Source, place: Source, pixels: Any) -> Source:
    """Return pixels of a source as an image that lies where a place does."""
    fields = _find_place(place)
    return Source(pixels, name=source.name, path=source.path, rgb=source.rgb, **fields)


def _slice(match: _Match) -> Any:
    """Return those pixels of a source that are the place's, not read where it need not be."""
    source, target_axes = match.source, _list_extended(match.place)
    own: dict[str, slice | int] = dict.fromkeys(match.indexed, slice(None))
    own.update(zip(match.frame.axes, match.slices or (), strict=True))
    pixels = source.data[tuple(own.get(axis, 0) for axis in source.axes)]
    # What each axis of the place is called in the source.
    moving = [axis for axis in match.frame.axes if isinstance(own[axis], slice)]
    frame_axes = [axis for axis in target_axes if axis not in match.indexed]
    names = dict(zip(frame_axes, (moving[n] for n in find_order(match.matrix)), strict=True))
    left = [axis for axis in source.axes if isinstance(own.get(axis, 0), slice)]
    order = [left.index(names.get(axis, axis)) for axis in target_axes]
    return pixels.transpose([*order, *range(len(order), pixels.ndim)]).resolve()


def _sample_series(match: _Match, interpolation: str) -> Source:
    """Return a source whose frames were interpolated one by one."""
    source, place, axes = match.source, match.place, _list_extended(match.place)
    sizes = {axis: place.shape[place.axes.index(axis)] for axis in axes}
    colors = source.data.shape[source.ndim :]
    pixels = np.empty((*sizes.values(), *colors), dtype=source.dtype)
    numbers = list(np.ndindex(*(sizes[axis] for axis in match.indexed)))
    frames = [
        tuple(number[match.indexed.index(a)] if a in match.indexed else slice(None) for a in axes)
        for number in numbers
    ]
    for number, index in zip(numbers, frames, strict=True):
        frame = match.take_frame(number)
        pixels[index], _, inside = resample_with_mask(
            frame.data, frame.affine, match.target, match.shape, interpolation=interpolation
        )
    if inside is not None and source.dtype != np.uint8:
        # What lies outside is to be as dark in all frames.
        lowest = pixels.min()
        for index in frames:
            pixels[index][~inside] = lowest
    series = _put(source, place, pixels)
    if inside is None:
        return series
    ahead = tuple(sizes)[: len(match.indexed)] == tuple(match.indexed)
    order = [*match.indexed, *(axis for axis in axes if axis not in match.indexed)]
    frames_first = np.broadcast_to(inside, [sizes[axis] for axis in order])
    seen = frames_first.transpose([order.index(axis) for axis in axes])
    # Frames are counted along the first axes, or not at all.
    if not ahead or not has_own_pixels(match.frame, match.target, match.shape):
        return ResampledSource(**vars(series), inside=seen)
    own = partial(_find_own_pixels, match, interpolation)
    return InterpolatedSeries(
        **vars(series), inside=seen, find_own_pixels=own, frame_axes=len(match.indexed)
    )


def _find_own_pixels(
    match: _Match, interpolation: str, number: tuple[int, ...]
) -> OwnPixels | None:
    """Return the pixels that one frame was interpolated from."""
    frame = match.take_frame(number)
    return find_own_pixels(frame, match.target, match.shape, interpolation=interpolation)


def _explain_places(source: Source, place: Source) -> str:
    """Return why two places may not fit, to be added to an error; empty where nothing is known."""
    reasons = [
        f"; the place of {_name(s)} is a guess: {s.guess}" for s in (source, place) if s.guess
    ]
    on_stage = [s for s in (source, place) if STAGE_POSITION in s.metadata]
    if len(on_stage) == 1:
        reasons.append(f"; {_name(on_stage[0])} lies where the stage was, the other at its own 0")
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
    raise ValueError(
        f"{_name(source)} has {' x '.join(map(str, own.shape))} pixels in {_list_units(source)}, "
        f"{_name(place)} has {' x '.join(map(str, other.shape))} in {_list_units(place)}: nothing "
        f"says how they lie on each other; {advice}"
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
    axes = [place.axes.index(axis) for axis in _list_extended(place)]
    return place.affine[:, [*axes, -1]], tuple(place.shape[axis] for axis in axes)


def _convert_units(source: Source, place: Source) -> Matrix:
    """Return a source's affine in another's units, on those axes that can be compared."""
    others = dict(zip(place.axes, place.units, strict=True))
    factors = [
        find_factor(own, others.get(axis, own)) or 1.0
        for axis, own in zip(source.axes, source.units, strict=True)
    ]
    scaled: Matrix = np.diag([*factors, 1.0]) @ source.affine
    return scaled
