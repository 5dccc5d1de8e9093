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
    if len({level.array.data.ndim for level in found}) > 1:
        raise ImageFileError(f"{path} has levels of different numbers of axes; it is damaged")
    ordered = sorted(found, key=lambda level: -level.array.data.size)
    if ordered != found:
        warnings.warn(
            f"{path} lists its levels as {', '.join(level.name for level in found)}; by their "
            f"sizes the order is {', '.join(level.name for level in ordered)}",
            stacklevel=4,
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
        phrases.insert(0, f"no coordinateTransformations are declared for {', '.join(bare)}")
    return placed, "; ".join(phrases)


def warn_of_missing_chunks(path: Path, levels: Sequence[Level], axes: Sequence[str]) -> list[Level]:
    """Return the resolutions that hold any pixels, and warn of planes that hold none.

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
    plane = [axes.index(n) for n in ("y", "x")] if {"y", "x"} <= set(axes) else [-2, -1]
    plane = [n % len(axes) for n in plane]
    others = [(n, name) for n, name in enumerate(axes) if n not in plane]
    stored = {level.name: level.array.find_stored_planes(plane) for level in levels}
    empty = [name for name, planes in stored.items() if planes is not None and not planes.any()]
    kept = [level for level in levels if level.name not in empty] or list(levels)
    if empty:
        left_out = len(kept) < len(levels)
        fate = "they are left out" if left_out else "all pixels are its fill value"
        warnings.warn(
            f"{path}: no chunks are stored of level {', '.join(empty)}; {fate}. If the folder was "
            "copied, compare it with its original",
            stacklevel=4,
        )
    for level in kept:
        planes = stored[level.name]
        if planes is None or planes.all() or not planes.any():
            continue
        first = np.argwhere(~planes)[0]
        sizes = level.array.file_shape
        where = ", ".join(
            f"{name}={k * sizes[n]}" for k, (n, name) in zip(first, others, strict=True)
        )
        warnings.warn(
            f"{path}: no chunks are stored for {np.count_nonzero(~planes)} of {planes.size} planes "
            f"of chunks of level {level.name}, the first at {where}; they are read as "
            f"{level.array.fill_value}. If the folder was copied, compare it with its original",
            stacklevel=4,
        )
    return kept
