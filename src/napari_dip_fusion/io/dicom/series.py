"""DICOM in: files and folders to volumes, slices in the order of their place.

The world is that of :mod:`~napari_dip_fusion.io.anatomy`, in millimetres.
"""

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.anatomy import DICOM_TO_WORLD, rescaled_dtype
from napari_dip_fusion.io.dicom.slices import Slice, decode, read_slices
from napari_dip_fusion.io.limits import refuse_memory
from napari_dip_fusion.sources import Source

__all__ = ["holds_dicom", "is_dicom", "read", "read_files"]

_EAGER_BYTES = 64 * 2**20
_MOST_FILES = 50_000
# Slices nearer than this, in millimetres, are at one place.
_SAME_PLACE = 1e-3
# The part of the step by which a slice may be off, by rounding in the header.
_UNEVEN = 0.05


def read(path: Path, *, patient: bool = False) -> list[Source]:
    """Read a file, or all files in and below a folder.

    Parameters
    ----------
    path : Path
        DICOM file or folder.
    patient : bool
        Whether metadata may say who was scanned and when.

    Returns
    -------
    list of Source
        One for each series and orientation.

    Raises
    ------
    ImageFileError
        If there is no readable image.
    """
    if not path.is_dir():
        return read_files([path], patient=patient)
    files = [file for file in _files_below(path) if is_dicom(file) or _claims_dicom(file)]
    if not files:
        raise ImageFileError(f"{path} holds no DICOM files; name the folder of one study")
    return [image.replace(path=path) for image in read_files(files, patient=patient)]


def read_files(paths: Sequence[Path], *, patient: bool = False) -> list[Source]:
    """Read files that belong together.

    Damaged files are left out with a warning as long as one good file is left.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files.
    patient : bool
        Whether metadata may say who was scanned and when.

    Returns
    -------
    list of Source
        One for each series and orientation.

    Raises
    ------
    ImageFileError
        If there is no readable image.
    """
    slices: list[Slice] = []
    failures: list[ImageFileError | OSError] = []
    for path in paths:
        try:
            slices += read_slices(path, patient=patient)
        except (ImageFileError, OSError) as error:
            failures.append(error)
    if not slices:
        if failures:
            raise failures[0]
        raise ImageFileError(f"{paths[0]} holds no image; choose another DICOM file")
    if failures:
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        warnings.warn(f"a file was left out: {failures[0]}{others}", stacklevel=2)
    return _named([_image(group) for group in _groups(slices)])


def _named(images: list[Source]) -> list[Source]:
    """Tell images of one name apart by a number."""
    names = [image.name for image in images]
    return [
        image.replace(name=f"{image.name} ({names[: n + 1].count(image.name)})")
        if names.count(image.name) > 1
        else image
        for n, image in enumerate(images)
    ]


def is_dicom(path: Path) -> bool:
    """Tell whether a file bears the mark of DICOM."""
    try:
        with path.open("rb") as handle:
            return handle.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(path: Path) -> bool:
    """Tell whether there is a DICOM file in or below a folder, looking at a few only."""
    for number, file in enumerate(_files_below(path)):
        if is_dicom(file):
            return True
        if number > 200:
            break
    return False


def _claims_dicom(path: Path) -> bool:
    return path.suffix.lower() in (".dcm", ".dicom")


def _files_below(path: Path) -> Iterable[Path]:
    number = 0
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            number += 1
            if number > _MOST_FILES:
                raise ImageFileError(
                    f"{path} holds more than {_MOST_FILES} files; name the folder of one study"
                )
            if not name.startswith("."):
                yield Path(folder, name)


def _groups(slices: list[Slice]) -> list[list[Slice]]:
    """Part slices by series, and within by size, kind and orientation."""
    groups: dict[Any, list[Slice]] = defaultdict(list)
    for one in slices:
        turned = None if one.orientation is None else tuple(np.round(one.orientation, 3) + 0.0)
        key = (one.series, one.shape, one.colour, one.inverted, one.stored, turned)
        groups[key].append(one)
    return list(groups.values())


def _image(slices: list[Slice]) -> Source:
    slices = _without_copies(slices)
    grid = _grid(slices)
    first = slices[0]
    placed = first.orientation is not None
    images = [_first(row) for row in grid]
    dtype = _dtype(slices)
    data = _pixels(grid, dtype)
    affine, units = _place(grid)
    axes: tuple[str, ...] = ("t", "z", "y", "x") if placed else ("t", "y", "x")
    if len(grid) == 1:  # no axis of time
        data, axes = data[0], axes[1:]
        affine, units = affine[1:, 1:], units[1:]
    return Source(
        data,
        axes,
        affine=affine,
        units=units,
        name=first.name,
        rgb=first.colour,
        metadata=images[0].metadata,
        path=first.path,
        display=_window(images[0]),
    )


def _dtype(slices: list[Slice]) -> np.dtype[Any]:
    if slices[0].palette:
        return np.dtype(np.uint8)
    if slices[0].colour:
        return slices[0].stored
    factors = [(one.slope, one.intercept) for one in slices]
    # An inverted value lies in the same range, so it needs no more room.
    return rescaled_dtype(slices[0].stored, factors)


def _without_copies(slices: list[Slice]) -> list[Slice]:
    kept = {(one.identity, one.frame): one for one in reversed(slices)}
    copies = len(slices) - len(kept)
    if copies:
        warnings.warn(f"{slices[0].name}: {copies} doubled slices were left out", stacklevel=2)
    return sorted(kept.values(), key=lambda one: (one.number, str(one.path)))


def _grid(slices: list[Slice]) -> list[list[Slice | None]]:
    """Arrange slices by time and place; a missing one is None."""
    first = slices[0]
    if first.orientation is None:
        return [[one] for one in slices]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    places: dict[int, list[Slice]] = defaultdict(list)
    for one in slices:
        assert one.position is not None  # as orientation, by construction
        places[round(float(one.position @ normal) / _SAME_PLACE)].append(one)
    counts = {len(found) for found in places.values()}
    times = counts.pop() if len(counts) == 1 else 1
    if counts:
        doubled = len(slices) - len(places)
        warnings.warn(
            f"{first.name}: {doubled} slices lie where another does and were left out",
            stacklevel=2,
        )
    rows = _spread(first.name, [(key * _SAME_PLACE, places[key]) for key in sorted(places)])
    return [[found[time] if found else None for found in rows] for time in range(times)]


def _spread(name: str, places: list[tuple[float, list[Slice]]]) -> list[list[Slice] | None]:
    """Leave room for missing slices between those that are there."""
    distances = np.diff([distance for distance, _ in places])
    if not len(distances):
        return [found for _, found in places]
    steps = distances / np.median(distances)
    whole = np.maximum(np.round(steps), 1).astype(int)
    if np.abs(steps - whole).max() > _UNEVEN or whole.sum() > 4 * len(places):
        warnings.warn(
            f"{name}: slices are {distances.min():.3g} to {distances.max():.3g} mm apart; "
            "they are shown as if evenly spaced",
            stacklevel=2,
        )
        return [found for _, found in places]
    rows: list[list[Slice] | None] = [places[0][1]]
    for (_, found), jump in zip(places[1:], whole, strict=True):
        rows += [None] * (jump - 1) + [found]
    missing = rows.count(None)
    if missing:
        warnings.warn(
            f"{name}: {missing} of {len(rows)} slices are missing and shown blank", stacklevel=2
        )
    return rows


def _first(row: list[Slice | None]) -> Slice:
    return next(one for one in row if one is not None)


def _pixels(grid: list[list[Slice | None]], dtype: np.dtype[Any]) -> Any:
    """Return the pixels with the axes of time, place if any, rows and columns."""
    planes = [one if one is not None else _Blank(_first(row)) for row in grid for one in row]
    first = _first(grid[0])
    shape = (*first.shape, 3) if first.colour else first.shape
    sizes = (len(grid),) if first.orientation is None else (len(grid), len(grid[0]))
    plane_bytes = int(np.prod(shape)) * dtype.itemsize
    if plane_bytes * len(planes) <= _EAGER_BYTES:
        return np.stack([_plane(one, dtype) for one in planes]).reshape(*sizes, *shape)
    refuse_memory(first.path, plane_bytes)
    from dask import array
    from dask.delayed import delayed

    da: Any = array
    parts = [da.from_delayed(delayed(_plane)(one, dtype), shape, dtype) for one in planes]
    return da.stack(parts).reshape(*sizes, *shape)


class _Blank:
    """Stands for a slice that is missing; dark as the darkest of another."""

    def __init__(self, like: Slice) -> None:
        self.like = like


def _plane(one: Slice | _Blank, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(one, _Blank):
        values = decode(one.like, dtype)
        return np.full_like(values, values.min())
    return decode(one, dtype)


def _place(grid: list[list[Slice | None]]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return affine and units of time, place if any, rows and columns."""
    first = _first(grid[0])
    rows, columns = first.spacing or (1.0, 1.0)
    interval = first.interval or 1.0
    time = "ms" if first.interval else "pixel"
    unit = "mm" if first.spacing else "pixel"
    if first.orientation is None or first.position is None:
        return np.diag([interval, rows, columns, 1.0]), (time, unit, unit)
    along_row, along_column = first.orientation[:3], first.orientation[3:]
    affine = np.eye(5)
    affine[0, 0] = interval
    affine[1:4, 1] = DICOM_TO_WORLD @ _step(grid[0], first)
    affine[1:4, 2] = DICOM_TO_WORLD @ along_column * rows
    affine[1:4, 3] = DICOM_TO_WORLD @ along_row * columns
    affine[1:4, 4] = DICOM_TO_WORLD @ first.position
    return affine, (time, "mm", unit, unit)


def _step(row: list[Slice | None], first: Slice) -> NDArray[np.float64]:
    """Return the way from one slice to the next; a tilted gantry makes it slanted."""
    last = row[-1]
    assert first.position is not None
    assert first.orientation is not None
    if last is None or last is first or last.position is None:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        return normal / np.linalg.norm(normal) * first.thickness
    step: NDArray[np.float64] = (last.position - first.position) / (len(row) - 1)
    return step


def _window(first: Slice) -> dict[str, Any]:
    fields = first.metadata["dicom"]
    center, width = (np.ravel(fields.get(key, 0.0))[0] for key in ("WindowCenter", "WindowWidth"))
    if not (isinstance(center, float) and isinstance(width, float)):
        return {}  # text, where the header has an empty value among several
    if first.colour or first.inverted or width <= 0:
        return {}
    low, high = float(center - width / 2), float(center + width / 2)
    return {"contrast_limits": [low, high]} if np.isfinite((low, high)).all() else {}
