"""Sources of which parts are read: those that a block of the reference's pixels takes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.coverage import Coverage
from napari_dip_fusion.sources.grid import (
    GridSources,
    align_sources,
    describe_grid,
    list_remarks,
    resample_to_reference,
)
from napari_dip_fusion.sources.matching import Match, list_extended, match_source
from napari_dip_fusion.sources.resample import combine_affines, find_seen
from napari_dip_fusion.sources.views import find_view

__all__ = ["Cut", "Cutter", "find_anywhere"]

Slices = tuple[slice, ...]

# Pixels of a source around those that a part is interpolated from.
_MARGIN = 4


@dataclass(frozen=True, eq=False)
class Cut:
    """A part of sources, on the pixels of the reference.

    Attributes
    ----------
    grid : GridSources
    hashes : tuple of str
        SHA-256 of the pixels that were read of each source; empty where none were.
    """

    grid: GridSources
    hashes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cutter:
    """Sources that are read part by part.

    Attributes
    ----------
    sources : tuple of Source
        With the axes of the reference, from :func:`.align_sources`.
    reference : int
    interpolation : str
        As for :func:`.resample_to_reference`.
    """

    sources: tuple[Source, ...]
    reference: int
    interpolation: str = "linear"

    @classmethod
    def take(
        cls,
        sources: Sequence[Source],
        *,
        reference: int | None = None,
        plane: int | str | None = None,
        interpolation: str = "linear",
    ) -> "Cutter":
        """Return sources to be cut; the arguments are those of :func:`.resample_to_reference`."""
        aligned, number = align_sources(sources, reference=reference, plane=plane)
        return cls(tuple(aligned), number, interpolation)

    @property
    def place(self) -> Source:
        """The reference, whose pixels are fused."""
        return self.sources[self.reference]

    @cached_property
    def matches(self) -> list[Match]:
        """How each source lies on the reference."""
        return [match_source(source, self.place) for source in self.sources]

    @property
    def coverage(self) -> list[Coverage]:
        """How much each source and the reference see of each other."""
        return [match.coverage for match in self.matches]

    @property
    def ends(self) -> bool:
        """Whether any source ends within the reference, or its mask says that it does."""
        masked = any(source.mask is not None for source in self.sources)
        return masked or any(coverage.of_target < 1 for coverage in self.coverage)

    def describe(self) -> dict[str, Any]:
        """Return what a run record says of the grid, as of :meth:`.GridSources.describe`."""
        resampled = [not match.is_exact for match in self.matches]
        return describe_grid(
            self.place, resampled, self.coverage, list_remarks(self.sources, self.place)
        )

    def cut(self, part: Slices) -> Cut:
        """Return the sources at a part of the reference's pixels.

        Parameters
        ----------
        part : tuple of slice
            Along each axis of the reference.

        Returns
        -------
        Cut
            Sources that see nothing of the part are black there, and say so.
        """
        crops = self._read(part)
        hashes = tuple(_hash(crop) for crop in crops)
        place = _crop(self.place, part)
        images = [
            _make_unseen(source, place) if crop is None else crop
            for crop, source in zip(crops, self.sources, strict=True)
        ]
        grid = resample_to_reference(
            images, reference=self.reference, interpolation=self.interpolation
        )
        return Cut(grid, hashes)

    def hash(self, part: Slices) -> tuple[str, ...]:
        """Return the hashes of what :meth:`cut` reads of each source for a part."""
        return tuple(_hash(crop) for crop in self._read(part))

    def _read(self, part: Slices) -> list[Source | None]:
        """Return the pixels of each source that a part takes; None of one that sees nothing."""
        place = _crop(self.place, part)
        crops: list[Source | None] = []
        for number, match in enumerate(self.matches):
            box = _find_box(match, part)
            crop = None if box is None else _crop(self.sources[number], box)
            if crop is not None and number != self.reference and not _sees(crop, place, match):
                crop = None
            crops.append(crop and crop.replace(data=crop.to_numpy()))
        return crops


def _hash(crop: Source | None) -> str:
    """Return the SHA-256 of what was read of a source, and of its mask; empty for nothing."""
    if crop is None:
        return ""
    pixels = array_sha256(crop.data)
    if crop.mask is None:
        return pixels
    return hashlib.sha256(f"{pixels}{array_sha256(crop.mask)}".encode()).hexdigest()


def find_anywhere(source: Source) -> Source:
    """Return a source that is read at once, and by processes with another working folder, too.

    An array of zarr that was opened by a relative path would be looked for there, and found empty.
    """
    view = find_view(source.data)
    if view is not None:
        return source.replace(data=view, pyramid=())
    store = getattr(source.data, "store", None)
    root = getattr(store, "root", None)
    if not isinstance(root, Path) or root.is_absolute():
        return source
    import zarr

    path = root.absolute() / source.data.path
    return source.replace(data=zarr.open_array(str(path), mode="r"))


def _crop(source: Source, part: Slices) -> Source:
    """Return a part of a source, in its place; nothing is read."""
    affine = source.affine.copy()
    affine[:, -1] += source.affine[:, :-1] @ [slice_.start for slice_ in part]
    mask = None if source.mask is None else np.asarray(source.mask[part])
    return source.replace(data=source.data[part], affine=affine, mask=mask, pyramid=())


def _find_box(match: Match, part: Slices) -> Slices | None:
    """Return the pixels of a source that a part of the place takes; None for none."""
    source, place = match.source, match.place
    along = dict(zip(place.axes, part, strict=True))
    moving = [axis for axis in list_extended(place) if axis not in match.indexed]
    corners = product(*((along[axis].start, along[axis].stop - 1) for axis in moving))
    found = np.array([[*corner, 1] for corner in corners]) @ match.matrix[:-1].T
    box = {axis: slice(0, size) for axis, size in zip(source.axes, source.shape, strict=True)}
    box.update({axis: along[axis] for axis in match.indexed})
    margin = 0 if match.is_exact else _MARGIN
    for axis, low, high in zip(match.frame.axes, found.min(axis=0), found.max(axis=0), strict=True):
        size = source.shape[source.axes.index(axis)]
        if match.is_exact:
            start, stop = round(low), round(high) + 1
        else:
            start = max(int(np.floor(low)) - margin, 0)
            stop = min(int(np.ceil(high)) + margin + 1, size)
        if start >= stop:
            return None
        box[axis] = slice(start, stop)
    return tuple(box[axis] for axis in source.axes)


def _sees(crop: Source, place: Source, match: Match) -> bool:
    """Tell whether a part of a source sees anything of a part of the place."""
    if match.is_exact:
        return True
    there = match_source(crop, place)
    matrix = combine_affines(there.frame.affine, there.target)
    mask = there.take_frame((0,) * len(there.indexed)).mask
    return bool(find_seen(mask, matrix, there.frame.shape, there.shape).any())


def _make_unseen(source: Source, place: Source) -> Source:
    """Return a black image at a place, of which a source saw nothing."""
    colors = source.data.shape[source.ndim :]
    blank: NDArray[Any] = np.zeros((*place.shape, *colors), source.dtype)
    mask = np.zeros(place.shape, dtype=bool)
    return replace(
        source,
        data=blank,
        axes=place.axes,
        affine=place.affine,
        units=place.units,
        mask=mask,
        pyramid=(),
        level_affines=(),
        fwhm=0.0,
        psf=None,
        rgb=source.rgb,
    )
