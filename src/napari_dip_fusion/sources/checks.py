"""What images have to be that are fused: of one shape and place, of real numbers, and seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources.axes import is_placeless
from napari_dip_fusion.sources.own_pixels import ResampledSource
from napari_dip_fusion.sources.parts import drop_single_axes
from napari_dip_fusion.sources.resample import NOTHING_SEEN
from napari_dip_fusion.sources.scaling import cut_parts, find_limits
from napari_dip_fusion.sources.source import Source, make_source

__all__ = [
    "check_shapes",
    "check_values",
    "find_place",
    "hide_unseen",
    "is_masked",
    "name_sources",
    "read_inside",
    "take_images",
]


def name_sources(
    sources: Sequence[ArrayLike | Source],
    names: Sequence[str] | None,
    paths: Sequence[str | None] | None,
) -> tuple[Sequence[str], Sequence[str | None]]:
    """Return a name for each source, for people who have several, and its file if it has one."""
    if names is None:
        own = [s.name if isinstance(s, Source) else "" for s in sources]
        names = [name or f"source {i}" for i, name in enumerate(own)]
    if paths is None:
        files = [s.path if isinstance(s, Source) else None for s in sources]
        paths = [None if file is None else str(file) for file in files]
    if not len(names) == len(paths) == len(sources):
        raise ValueError(
            f"names and paths must have one entry for each of the {len(sources)} sources, got "
            f"{len(names)} names and {len(paths)} paths"
        )
    return names, paths


def take_images(sources: Sequence[ArrayLike | Source], names: Sequence[str]) -> list[Source]:
    """Return the sources without axes of size one, and refuse those at different places."""
    images = [
        drop_single_axes(s if isinstance(s, Source) else make_source(s, name=name))
        for s, name in zip(sources, names, strict=True)
    ]
    known = [
        (i, n) for i, n, s in zip(images, names, sources, strict=True) if isinstance(s, Source)
    ]
    for image, name in known:
        first, first_name = known[0]
        if image.units != first.units or not _is_same_place(image.affine, first.affine):
            raise ValueError(
                f"{name} and {first_name} lie at different places or in different units; bring "
                "them to one grid first with sources.grid.resample_to_reference"
            )
    return images


def _is_same_place(affine: NDArray[Any], other: NDArray[Any]) -> bool:
    return affine.shape == other.shape and np.allclose(affine, other)


def check_shapes(images: Sequence[Source], names: Sequence[str]) -> None:
    """Refuse images of several shapes."""
    first = images[0].shape
    for image, name in zip(images, names, strict=True):
        if image.shape != first:
            raise ValueError(
                f"sources must share one shape, got {first} for {names[0]} and {image.shape} for "
                f"{name}; resample them to one grid first"
            )


def find_place(images: Sequence[Source]) -> Source:
    """Return where sources lie: the first of them, those that say something of it before others."""
    return next((image for image in images if not is_placeless(image)), images[0])


def read_inside(source: Source, name: str, *, parts: bool) -> NDArray[np.bool_] | None:
    """Return which pixels a source saw; None for all. Of a part it may be none."""
    inside = source.inside if isinstance(source, ResampledSource) else source.mask
    if inside is None:
        return None
    seen = np.asarray(inside)
    if not (parts or seen.any()):
        raise ValueError(f"{name}: {NOTHING_SEEN}")
    return None if seen.all() else seen


def is_masked(source: Source) -> bool:
    """Tell whether a mask says which pixels of a source were seen, and not its edges alone."""
    return source.is_masked if isinstance(source, ResampledSource) else source.mask is not None


def hide_unseen(array: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return an image that is dark where nothing was seen, whatever the file holds there."""
    hidden = array.copy()
    hidden[~seen] = 0 if array.dtype == np.uint8 else find_limits(array, seen)[0]
    return hidden


def check_values(
    array: NDArray[Any], name: str, seen: NDArray[np.bool_] | None, *, color: bool
) -> NDArray[Any]:
    """Return the values of an image without alpha; refuse those that are no real numbers.

    Parameters
    ----------
    array : ndarray
    name : str
        For the message of an error.
    seen : ndarray or None
        Which pixels were seen; None for all.
    color : bool
        Whether the last axis holds colors.
    """
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must hold integers or floats, got {array.dtype}; "
            "convert masks with .astype('uint8')"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    array = array[..., :3] if color else array
    if array.dtype.kind == "f":
        parts = cut_parts(array)
        bad = sum(_count_bad(array[p], None if seen is None else seen[p]) for p in parts)
        if bad:
            raise ValueError(
                f"{name} has {bad} NaN or infinite values of {array.size}; replace them "
                "first, for example with numpy.nan_to_num"
            )
    return array


def _count_bad(array: NDArray[Any], seen: NDArray[np.bool_] | None) -> int:
    """Return how many values are no numbers where something was seen."""
    return int(np.count_nonzero(~np.isfinite(array if seen is None else array[seen])))
