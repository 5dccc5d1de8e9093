"""Sources on one grid of pixels, and the place in the world of what is fused from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.sources.axes import (
    align_axes,
    find_counted_axes,
    find_factor,
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
from napari_dip_fusion.sources.own_pixels import resample_source
from napari_dip_fusion.sources.parts import choose_planes, require_plane, require_planes
from napari_dip_fusion.sources.resample import is_on_grid
from napari_dip_fusion.sources.source import GUESSED_PLACE, STAGE_POSITION, Source

__all__ = ["GridSources", "find_finest", "resample_to_reference"]

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
        Each source's pixels at those of the reference, in the type of the source; an
        :class:`.InterpolatedSource` where they were interpolated.
    place : Source
        The reference's plane. Axes that it does not extend along are kept with
        size one, so that its affine can hold an oblique plane.
    reference : int
        Index of the source whose plane that is.
    coverage : list of Coverage
        How much each source and the reference's plane see of each other.
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
        """The pixels alone, each of shape (M, N), (M, N, 3) or (M, N, 4)."""
        return [image.to_numpy() for image in self.images]

    def make_source(self, image: NDArray[Any], *, flat: bool, **changes: Any) -> Source:
        """Return an image as a source at the place of the reference's plane.

        Parameters
        ----------
        image : ndarray of shape (M, N) or (M, N, 3)
            Such as a gain map, or the fused image.
        flat : bool
            Drop the axes of size one, for formats of two dimensions.
        **changes
            Other fields of :class:`Source`, such as ``name``.

        Returns
        -------
        Source
            With the axes, units and affine of the reference.
        """
        rgb = image.ndim == 3
        shape = (*self.place.shape, image.shape[-1]) if rgb else self.place.shape
        fields = {"data": image.reshape(shape), "rgb": rgb, **_OF_PIXELS, **changes}
        if self.place.guess:
            # What is made at a place that is a guess has no better one.
            fields["metadata"] = {**fields["metadata"], GUESSED_PLACE: self.place.guess}
        source = self.place.replace(**fields)
        return require_plane(source) if flat else source


def resample_to_reference(
    sources: Sequence[Source],
    *,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> GridSources:
    """Sample all sources at the pixels of one plane of one of them.

    Parameters
    ----------
    sources : sequence of Source
        Planes or volumes. Volumes are cut where the reference's plane lies in
        world coordinates.
    reference : int, optional
        Index of the source whose grid is taken; by default the finest, from
        :func:`find_finest`.
    plane : int or str, optional
        The reference's plane where it holds several: an index, or as in
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
        If there is no such reference or plane, a plane has still to be chosen, or a
        source does not overlap the reference in the world.

    Notes
    -----
    Axes are matched by their kind, never by their order alone: a frame number is not laid
    over a height (:mod:`~napari_dip_fusion.sources.axes`). Units that are not known are not
    taken as 1 of a known one. Sources that share no world for such a reason, such as a
    picture in pixels and a plane in millimeters, are laid pixel on pixel where they have one
    shape, which :attr:`GridSources.remarks` says, and refused otherwise. Two pictures
    without any place have to share their shape.
    """
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
        require_planes(sources, reference=reference)
    except ImageFileError as error:
        # Whoever chose a plane may have meant the first source.
        if asked is None and reference != 0:
            raise ImageFileError(
                f"{error}; the reference is the finest source unless another is chosen"
            ) from error
        raise
    place = sources[reference]
    sampled = [_sample(source, place, interpolation) for source in sources]
    return GridSources(
        images=[image for image, _, _ in sampled],
        place=place,
        reference=reference,
        coverage=[coverage for _, coverage, _ in sampled],
        resampled=[resampled for _, _, resampled in sampled],
        remarks=_list_remarks(sources, place),
    )


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


def _sample(source: Source, place: Source, interpolation: str) -> tuple[Source, Coverage, bool]:
    """Return a source's plane at the place, what is covered, and whether it was interpolated."""
    apart = not share_space(source, place)
    source, place = _match_axes(source, place)
    if apart:
        return _lay_on_pixels(source, place)
    affine = _convert_units(source, place)
    target, shape = _find_grid(place)
    exact = is_on_grid(affine, source.shape, target, shape)
    try:
        placed = source.replace(affine=affine)
        plane, _ = resample_source(placed, target, shape, interpolation=interpolation)
    except ValueError as error:
        raise ValueError(f"{_name(source)}: {error}{_explain_places(source, place)}") from error
    return plane, measure_both_ways(affine, source.shape, target, shape), not exact


def _explain_places(source: Source, place: Source) -> str:
    """Return why two places may not fit, to be added to an error; empty where nothing is known."""
    reasons = [
        f"; the place of {_name(s)} is a guess: {s.guess}" for s in (source, place) if s.guess
    ]
    on_stage = [s for s in (source, place) if STAGE_POSITION in s.metadata]
    if len(on_stage) == 1:
        reasons.append(f"; {_name(on_stage[0])} lies where the stage was, the other at its own 0")
    return "".join(reasons)


def _lay_on_pixels(source: Source, place: Source) -> tuple[Source, Coverage, bool]:
    """Return a plane as it is, for a place of which nothing says where the plane lies to it."""
    source, place = require_plane(source), require_plane(place)
    if source.shape != place.shape and not (is_placeless(source) and is_placeless(place)):
        raise ValueError(
            f"{_name(source)} has {' x '.join(map(str, source.shape))} pixels in "
            f"{_list_units(source)}, {_name(place)} has {' x '.join(map(str, place.shape))} in "
            f"{_list_units(place)}: nothing says how they lie on each other; give both their "
            "place in one unit, or the same number of pixels"
        )
    own_grid = np.eye(3)
    plane, _ = resample_source(source.replace(affine=own_grid), own_grid, source.shape)
    return plane, Coverage(1.0, 1.0, float(np.prod(source.shape))), False


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


def _find_grid(place: Source) -> tuple[Matrix, tuple[int, int]]:
    """Return the matrix from rows and columns of the place to the world, and their numbers."""
    axes = find_plane_axes(place)
    shape = (place.shape[axes[0]], place.shape[axes[1]])
    # The columns of these axes and of the translation: (row, column, 1) to the world.
    return place.affine[:, [*axes, -1]], shape


def _convert_units(source: Source, place: Source) -> Matrix:
    """Return a source's affine in another's units, on those axes that can be compared."""
    others = dict(zip(place.axes, place.units, strict=True))
    factors = [
        find_factor(own, others.get(axis, own)) or 1.0
        for axis, own in zip(source.axes, source.units, strict=True)
    ]
    scaled: Matrix = np.diag([*factors, 1.0]) @ source.affine
    return scaled
