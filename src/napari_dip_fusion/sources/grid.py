"""Sources on one grid of pixels, and the place in the world of what is fused from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.sources.coverage import (
    Coverage,
    measure_both_ways,
    measure_pixel,
    pick_finest,
)
from napari_dip_fusion.sources.own_pixels import resample_source
from napari_dip_fusion.sources.parts import (
    choose_planes,
    find_stacked_axes,
    require_plane,
    require_planes,
)
from napari_dip_fusion.sources.resample import is_on_grid
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import LENGTHS

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
    planes : list of Source
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
    """

    planes: list[Source]
    place: Source
    reference: int
    coverage: list[Coverage]
    resampled: list[bool]

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The pixels alone, each of shape (M, N), (M, N, 3) or (M, N, 4)."""
        return [plane.to_numpy() for plane in self.planes]

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
        source = self.place.replace(
            **{"data": image.reshape(shape), "rgb": rgb, **_OF_PIXELS, **changes}
        )
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
    Pictures without a place in the world (pixels as units, the identity as
    affine) are not resampled onto a plane in units of length, nor it onto
    them, and not onto each other: they have to share their shape.
    """
    asked = reference
    reference = find_finest(sources) if asked is None else asked
    if not 0 <= reference < len(sources):
        raise ValueError(
            f"reference must be a source from 0 to {len(sources) - 1}, got {reference}"
        )
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
        planes=[plane for plane, _, _ in sampled],
        place=place,
        reference=reference,
        coverage=[coverage for _, coverage, _ in sampled],
        resampled=[resampled for _, _, resampled in sampled],
    )


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
            _measure_pixel(source, first.units)
            if source is first or _is_comparable(source, first)
            else np.inf
            for source in sources
        ]
    )


def _measure_pixel(source: Source, units: Sequence[str]) -> float:
    """Return the area of a pixel of a source's planes, in other units as far as they fit."""
    # Axes of sources of different dimensions go together from the last one.
    lacking = max(source.ndim - len(units), 0)
    affine = _convert_lengths(source, [*source.units[:lacking], *units[-source.ndim :]])
    return measure_pixel(affine, _find_plane_axes(source))


def _sample(source: Source, place: Source, interpolation: str) -> tuple[Source, Coverage, bool]:
    """Return a source's plane at the place, what is covered, and whether it was interpolated."""
    if source.ndim != place.ndim:
        source, place = _match_axes(source, place)
    if source.ndim == 2 and not _is_comparable(source, place):
        own_grid = np.eye(3)
        plane, _ = resample_source(source.replace(affine=own_grid), own_grid, source.shape)
        return plane, Coverage(1.0, 1.0, float(np.prod(source.shape))), False
    affine = _convert_lengths(source, place.units)
    target, shape = _find_grid(place)
    exact = is_on_grid(affine, source.shape, target, shape)
    try:
        placed = source.replace(affine=affine)
        plane, _ = resample_source(placed, target, shape, interpolation=interpolation)
    except ValueError as error:
        raise ValueError(f"{source.path or source.name}: {error}") from error
    return plane, measure_both_ways(affine, source.shape, target, shape), not exact


def _match_axes(source: Source, place: Source) -> tuple[Source, Source]:
    """Return a source and a place with the axes that both have.

    A plane of a series of volumes and a volume meet in space: what the one says of time
    is nothing that the other could be compared with.
    """
    for axis in find_stacked_axes(source, longer_than=0):
        if axis not in place.axes and source.shape[source.axes.index(axis)] == 1:
            source = source.take(axis, 0)
    for axis in find_stacked_axes(place, longer_than=0):
        if axis not in source.axes:
            place = place.take(axis, 0)
    if source.ndim == place.ndim:
        return source, place
    # Worlds that are described otherwise are compared as far as two axes go.
    return require_plane(source), require_plane(place)


def _is_comparable(source: Source, place: Source) -> bool:
    """Tell whether the affines of two sources lead into one world.

    A picture that only counts its pixels says nothing about lengths, so it cannot be
    compared with an image in millimeters; but a crop or a coarser level that counts the
    pixels of another picture can be compared with that one.
    """
    if not (_is_placeless(source) or _is_placeless(place)):
        return True
    in_pixels = set(source.units) | set(place.units) <= {"pixel"}
    return in_pixels and not (_is_placeless(source) and _is_placeless(place))


def _is_placeless(source: Source) -> bool:
    identity = bool(np.array_equal(source.affine, np.eye(source.ndim + 1)))
    return identity and set(source.units) <= {"pixel"}


def _find_grid(place: Source) -> tuple[Matrix, tuple[int, int]]:
    """Return the matrix from rows and columns of the place to the world, and their numbers."""
    axes = _find_plane_axes(place)
    shape = (place.shape[axes[0]], place.shape[axes[1]])
    # The columns of these axes and of the translation: (row, column, 1) to the world.
    return place.affine[:, [*axes, -1]], shape


def _find_plane_axes(source: Source) -> list[int]:
    stacked = find_stacked_axes(source, longer_than=0)
    return [number for number, name in enumerate(source.axes) if name not in stacked]


def _convert_lengths(source: Source, units: Sequence[str]) -> Matrix:
    """Return the source's affine in other units, on those axes where both are lengths."""
    factors = [
        LENGTHS[own] / LENGTHS[other] if own in LENGTHS and other in LENGTHS else 1.0
        for own, other in zip(source.units, units, strict=True)
    ]
    scaled: Matrix = np.diag([*factors, 1.0]) @ source.affine
    return scaled
