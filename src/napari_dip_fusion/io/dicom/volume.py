"""The frames of a DICOM series are put in order, and stacked to a volume."""

import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.anatomy import DICOM_TO_WORLD
from napari_dip_fusion.io.dicom.decoding import decode_frame, share_values
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.stored import choose_dtype, find_window
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.sources import Source

__all__ = ["stack_frames"]

# Read at once up to this size; larger series are read slice by slice.
_EAGER_BYTES = 64 * 2**20
# Frames nearer than this, in millimeters, lie in one slice.
_SAME_PLACE = 1e-3
# The part of the step by which a slice may be off, by rounding in the header.
_UNEVEN = 0.05
# Filling the gaps of a series may make it at most this many times as long; one that would
# grow longer is taken to be unevenly spaced.
_MOST_SPREAD = 4

SliceRow = list[Frame | None]
"""The frames of one time in the order of their slices; None where a slice is missing."""


def stack_frames(frames: list[Frame]) -> Source:
    """Return frames of one size, kind and orientation as a volume.

    A warning says which frames were left out, are missing or are not evenly spaced.

    Parameters
    ----------
    frames : list of Frame
        In any order.

    Returns
    -------
    Source
        With the axes ``("t", "z", "y", "x")``, without ``"t"`` where there is one time;
        frames without a place are stacked along ``"t"``. Many pixels are decoded when
        they are asked for.
    """
    frames = share_values(_drop_copies(frames))
    grid = _arrange(frames)
    first = frames[0]
    dtype = choose_dtype([frame.values for frame in frames])
    data = _stack_pixels(grid, dtype)
    affine, units = _find_place(grid)
    axes: tuple[str, ...] = (
        ("t", "y", "x") if first.place.orientation is None else ("t", "z", "y", "x")
    )
    if len(grid) == 1:  # no axis of time
        data, axes = data[0], axes[1:]
        affine, units = affine[1:, 1:], units[1:]
    lowest = _find_first(grid[0])
    return Source(
        data,
        axes,
        affine=affine,
        units=units,
        name=first.name,
        rgb=first.values.color,
        metadata=lowest.metadata,
        path=first.path,
        display=find_window(lowest.values),
    )


def _drop_copies(frames: list[Frame]) -> list[Frame]:
    """Return each frame of an object once, in the order in which the scanner counts them."""
    kept = {(frame.identity, frame.index): frame for frame in reversed(frames)}
    copies = len(frames) - len(kept)
    if copies:
        warnings.warn(f"{frames[0].name}: {copies} doubled slices were left out", stacklevel=2)
    return sorted(kept.values(), key=lambda frame: (frame.number, str(frame.path)))


def _arrange(frames: list[Frame]) -> list[SliceRow]:
    """Return the frames by time, then by slice."""
    first = frames[0]
    if first.place.orientation is None:
        return [[frame] for frame in frames]
    # The order of slices is that of their positions along the normal: numbers and names
    # in a series need not follow the place.
    normal = np.cross(first.place.orientation[:3], first.place.orientation[3:])
    slices: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        assert frame.place.position is not None  # as orientation, by construction
        slices[round(float(frame.place.position @ normal) / _SAME_PLACE)].append(frame)
    counts = {len(found) for found in slices.values()}
    # As many frames in every slice are as many times.
    times = counts.pop() if len(counts) == 1 else 1
    if counts:
        doubled = len(frames) - len(slices)
        warnings.warn(
            f"{first.name}: {doubled} slices lie where another does and were left out",
            stacklevel=2,
        )
    spread = _fill_gaps(first.name, [(key * _SAME_PLACE, slices[key]) for key in sorted(slices)])
    return [[found[time] if found else None for found in spread] for time in range(times)]


def _fill_gaps(name: str, slices: list[tuple[float, list[Frame]]]) -> list[list[Frame] | None]:
    """Return slices, given with their distances along the normal, with None for missing ones."""
    distances = np.diff([distance for distance, _ in slices])
    if not len(distances):
        return [found for _, found in slices]
    # The median is the step of an even series as long as most slices are there.
    steps = distances / np.median(distances)
    whole = np.maximum(np.round(steps), 1).astype(int)
    if np.abs(steps - whole).max() > _UNEVEN or whole.sum() > _MOST_SPREAD * len(slices):
        warnings.warn(
            f"{name}: slices are {distances.min():.3g} to {distances.max():.3g} mm apart; "
            "they are shown as if evenly spaced",
            stacklevel=2,
        )
        return [found for _, found in slices]
    filled: list[list[Frame] | None] = [slices[0][1]]
    for (_, found), jump in zip(slices[1:], whole, strict=True):
        filled += [None] * (jump - 1) + [found]
    missing = filled.count(None)
    if missing:
        warnings.warn(
            f"{name}: {missing} of {len(filled)} slices are missing and shown blank", stacklevel=2
        )
    return filled


def _find_first(row: SliceRow) -> Frame:
    return next(frame for frame in row if frame is not None)


@dataclass(frozen=True)
class _Blank:
    """A missing frame, shown in the darkest value of another one."""

    like: Frame


def _stack_pixels(grid: list[SliceRow], dtype: np.dtype[Any]) -> Any:
    """Return the pixels with the axes of time, slices if they have a place, rows and columns."""
    planes = [frame or _Blank(_find_first(row)) for row in grid for frame in row]
    first = _find_first(grid[0])
    shape = first.values.array_shape
    sizes = (len(grid),) if first.place.orientation is None else (len(grid), len(grid[0]))
    plane_bytes = int(np.prod(shape)) * dtype.itemsize
    if plane_bytes * len(planes) <= _EAGER_BYTES:
        return np.stack([_decode(plane, dtype) for plane in planes]).reshape(*sizes, *shape)
    require_memory(first.path, plane_bytes)
    from dask import array
    from dask.delayed import delayed

    da: Any = array  # dask has no types
    # dask would search the arguments of a delayed call, and each frame in them, for its own.
    calls = [delayed(partial(_decode, plane, dtype), traverse=False)() for plane in planes]
    parts = [da.from_delayed(call, shape, dtype) for call in calls]
    return da.stack(parts).reshape(*sizes, *shape)


def _decode(plane: Frame | _Blank, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(plane, _Blank):
        values = decode_frame(plane.like, dtype)
        return np.full_like(values, values.min())
    return decode_frame(plane, dtype)


def _find_place(grid: list[SliceRow]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return affine and units of time, slices if they have a place, rows and columns."""
    first = _find_first(grid[0])
    rows, columns = first.place.spacing or (1.0, 1.0)
    interval = first.interval or 1.0
    time = "ms" if first.interval else "pixel"
    unit = "mm" if first.place.spacing else "pixel"
    if first.place.orientation is None or first.place.position is None:
        return np.diag([interval, rows, columns, 1.0]), (time, unit, unit)
    # Equation C.7.6.2.1-1 of PS3.3. The direction along a row is that in which its
    # columns are counted, so it is scaled by the distance between columns.
    along_row, along_column = first.place.orientation[:3], first.place.orientation[3:]
    affine = np.eye(5)
    affine[0, 0] = interval
    affine[1:4, 1] = DICOM_TO_WORLD @ _find_step(grid[0], first)
    affine[1:4, 2] = DICOM_TO_WORLD @ along_column * rows
    affine[1:4, 3] = DICOM_TO_WORLD @ along_row * columns
    affine[1:4, 4] = DICOM_TO_WORLD @ first.place.position
    return affine, (time, "mm", unit, unit)


def _find_step(row: SliceRow, first: Frame) -> NDArray[np.float64]:
    """Return the way in space from one slice to the next.

    It is slanted where the gantry of the scanner was tilted.
    """
    last = row[-1]
    assert first.place.position is not None
    assert first.place.orientation is not None
    if last is None or last is first or last.place.position is None:
        normal = np.cross(first.place.orientation[:3], first.place.orientation[3:])
        return normal / np.linalg.norm(normal) * first.place.thickness
    step: NDArray[np.float64] = (last.place.position - first.place.position) / (len(row) - 1)
    return step
