"""The resolutions of an OME-Zarr image: which there are, in which order, and where they lie."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.zarr.arrays import StoredArray, holds_array, open_array
from napari_dip_fusion.io.zarr.transforms import Transforms

__all__ = ["Level", "check_inner", "open_levels", "place_levels", "warn_of_missing_chunks"]


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes
    ----------
    name : str
        Its path within the image.
    array : StoredArray
        Its pixels.
    steps : list of dict
        Its transformations; empty where none are declared.
    affine : ndarray or None
        Matrix from its pixels to the world, from :func:`place_levels`; None where no
        transformation is declared.
    """

    name: str
    array: StoredArray
    steps: Any
    affine: NDArray[np.float64] | None = None


def check_inner(path: Path, name: object) -> str:
    """Refuse the path of a part that leads out of its folder.

    Parameters
    ----------
    path : Path
        The folder.
    name : object
        What the metadata say.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    ImageFileError
        If it is no path within the folder.
    """
    text = str(name)
    parts = PurePosixPath(text)
    if parts.is_absolute() or ".." in parts.parts or "\\" in text:
        raise ImageFileError(f"{path} points outside of itself ({text!r}); it is not read")
    return text


def open_levels(path: Path, root: Path, scales: Mapping[str, Any]) -> list[Level]:
    """Open the resolutions of an image that are there, the finest first.

    Parameters
    ----------
    path : Path
        The image.
    root : Path
        The OME-Zarr folder, out of which no link may lead.
    scales : mapping
        The image's entry of the attribute "multiscales".

    Returns
    -------
    list of Level
        One or more. What is missing is named in a warning.

    Raises
    ------
    ImageFileError
        If none is there, or they do not fit each other.
    """
    found: list[Level] = []
    missing: list[str] = []
    for part in scales["datasets"]:
        name = check_inner(path, part["path"])
        if not holds_array(path / name, root):
            missing.append(name)
            continue
        array = open_array(path / name, root)
        found.append(Level(name, array, part.get("coordinateTransformations") or []))
    if not found:
        raise ImageFileError(
            f"{path} holds neither zarr.json nor .zarray in {', '.join(missing) or 'any level'}; "
            "the array is missing, copy the folder again"
        )
    if missing:
        warnings.warn(
            f"{path} lists the levels {', '.join(missing)}, which are missing; the others are read",
            stacklevel=4,
        )
    return _sort_levels(path, found)


def _sort_levels(path: Path, found: list[Level]) -> list[Level]:
    """Return resolutions with the finest first, as the standard wants them."""
    if len({level.array.data.ndim for level in found}) > 1:
        raise ImageFileError(f"{path} has levels of different numbers of axes; it is damaged")
    ordered = sorted(found, key=lambda level: -level.array.data.size)
    if ordered != found:
        warnings.warn(
            f"{path} lists its levels as {', '.join(level.name for level in found)}; by their "
            f"sizes the order is {', '.join(level.name for level in ordered)}",
            stacklevel=5,
        )
    return ordered


def place_levels(
    levels: Sequence[Level], transforms: Transforms, shared: Any
) -> tuple[list[Level], str]:
    """Return resolutions with their declared places, and why these are only a guess.

    Parameters
    ----------
    levels : sequence of Level
        From :func:`open_levels`.
    transforms : Transforms
        Reads the transformations.
    shared : list of dict or None
        The transformations that follow those of every resolution.

    Returns
    -------
    placed : list of Level
        With their affines.
    guess : str
        A phrase that lists what was made up; empty where all is declared.
    """
    both = transforms.combine(shared)
    placed = []
    for level in levels:
        own = transforms.combine(level.steps)
        placed.append(replace(level, affine=both @ own if level.steps or shared else None))
    bare = [level.name for level in placed if level.affine is None]
    phrases = list(transforms.made_up)
    if bare:
        how = "its pixels are counted" if bare[0] == placed[0].name else "it is placed by its size"
        named = ", ".join(bare)
        phrases.insert(0, f"no coordinateTransformations are declared for level {named}, {how}")
    return placed, "; ".join(phrases)


def warn_of_missing_chunks(path: Path, levels: Sequence[Level], axes: Sequence[str]) -> list[Level]:
    """Return the resolutions that hold any pixels, and warn of chunks that are not stored.

    Parameters
    ----------
    path : Path
        The image.
    levels : sequence of Level
        From :func:`open_levels`.
    axes : sequence of str
        Names of the axes.

    Returns
    -------
    list of Level
        All of them where none holds any.
    """
    is_flat = {"y", "x"} <= set(axes)
    plane = [n for n, name in enumerate(axes) if name in ("y", "x")] if is_flat else []
    kept, phrases = [], []
    for level in levels:
        stored, counted = level.array.find_stored(plane)
        if stored is None or stored.any():
            kept.append(level)
        if stored is not None and not stored.all():
            phrases.append(_describe_missing(level, stored, [(n, axes[n]) for n in counted]))
    if phrases:
        left_out = "; what holds none is left out" if 0 < len(kept) < len(levels) else ""
        warnings.warn(
            f"{path}: {'; '.join(phrases)}{left_out}. Writers leave out what is empty, but if the "
            "folder was copied, compare it with its original",
            stacklevel=4,
        )
    return kept or list(levels)


def _describe_missing(
    level: Level, stored: NDArray[np.bool_], axes: Sequence[tuple[int, str]]
) -> str:
    """Return what is missing of a resolution, and what is read in its place."""
    kind = "chunks" if stored.ndim == level.array.data.ndim else "planes of chunks"
    fill = f"{float(level.array.fill_value):g}"
    if not stored.any():
        return f"no chunks of level {level.name} are stored, which would be read as {fill}"
    sizes = level.array.file_shape
    first = zip(np.argwhere(~stored)[0].tolist(), axes, strict=True)
    where = ", ".join(f"{name}={index * sizes[n]}" for index, (n, name) in first)
    return (
        f"{np.count_nonzero(~stored)} of {stored.size} {kind} of level {level.name} are not "
        f"stored and read as {fill}, the first at {where}"
    )
