"""Sources on one grid of pixels, and the place in the world of what is fused from them."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.sources.axes import (
    align_axes,
    find_plane_axes,
    find_stacked_axes,
    is_placeless,
    share_space,
)
from napari_dip_fusion.sources.coverage import (
    Coverage,
    measure_pixel,
    pick_finest,
)
from napari_dip_fusion.sources.matching import (
    convert_units,
    list_extended,
    list_units,
    match_source,
    name_source,
    sample_match,
)
from napari_dip_fusion.sources.own_pixels import (
    ResampledSource,
)
from napari_dip_fusion.sources.parts import choose_planes, drop_single_axes, require_frames
from napari_dip_fusion.sources.source import GUESSED_PLACE, Source, make_source
from napari_dip_fusion.sources.views import View

__all__ = [
    "GridSources",
    "align_sources",
    "bring_together",
    "compare_grids",
    "describe_grid",
    "find_finest",
    "list_remarks",
    "put_in_place",
    "resample_to_reference",
]

Matrix = NDArray[np.float64]

# What a new image at the reference's place does not inherit: it belongs to the
# reference's own pixels.
_OF_PIXELS: dict[str, Any] = {
    "metadata": {},
    "display": {},
    "pyramid": (),
    "fwhm": 0.0,
    "mask": None,
    "psf": None,
}


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
        return describe_grid(self.place, self.resampled, self.coverage, self.remarks)

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


def describe_grid(
    place: Source, resampled: Sequence[bool], coverage: Sequence[Coverage], remarks: Sequence[str]
) -> dict[str, Any]:
    """Return what a run record says of how sources lie on a grid; see :class:`GridSources`."""
    return {
        "reference": place.name or name_source(place),
        "resampled": list(resampled),
        "remarks": list(remarks),
        "coverage": [{"of_reference": c.of_target, "of_source": c.of_image} for c in coverage],
    }


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
    rgb = image.ndim > len(list_extended(place))
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
    sources, reference = align_sources(sources, reference=reference, plane=plane)
    place = sources[reference]
    matches = [match_source(source, place) for source in sources]
    planes = prod(place.shape[place.axes.index(axis)] for axis in find_stacked_axes(place))
    work = planes * sum(not match.is_exact for match in matches)
    # A single plane is there in a blink.
    with stage("resampling", work) if planes > 1 and work else nullcontext():
        images = [sample_match(match, interpolation) for match in matches]
    return GridSources(
        images=images,
        place=place.replace(data=place.data.resolve()),
        reference=reference,
        coverage=[match.coverage for match in matches],
        resampled=[not match.is_exact for match in matches],
        remarks=list_remarks(sources, place),
    )


def align_sources(
    sources: Sequence[Source], *, reference: int | None = None, plane: int | str | None = None
) -> tuple[list[Source], int]:
    """Return sources whose axes are those of the reference, not read yet, and which one that is.

    Parameters
    ----------
    sources, reference, plane
        As for :func:`resample_to_reference`, whose errors about them are raised.
    """
    # What is not needed is not read: neither other planes nor other resolutions.
    sources = [_view(source) for source in sources]
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
    return sources, reference


def _view(source: Source) -> Source:
    """Return a source of which nothing is read before it is asked for."""
    mask = None if source.mask is None else View(source.mask)
    return source.replace(data=View(source.data), mask=mask, pyramid=())


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
    matches = [match_source(source, place) for source in aligned]
    return [match.coverage for match in matches], [not match.is_exact for match in matches]


def list_remarks(sources: Sequence[Source], place: Source) -> list[str]:
    """Return what somebody should know of the places of sources, a line each."""
    guesses = [f"the place of {name_source(s)} is a guess: {s.guess}" for s in sources if s.guess]
    return guesses + [
        f"{name_source(source)} is measured in {list_units(source)} and {name_source(place)} in "
        f"{list_units(place)}, which cannot be compared: they are laid pixel on pixel"
        for source in sources
        if not share_space(source, place) and not (is_placeless(source) and is_placeless(place))
    ]


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
    return measure_pixel(convert_units(source, other).affine, find_plane_axes(source))
