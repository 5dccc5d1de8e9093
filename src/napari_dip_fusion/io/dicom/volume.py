"""The frames of a DICOM series are put in order, and stacked to volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.anatomy import DICOM_TO_WORLD
from napari_dip_fusion.io.dicom.axes import StackAxes, describe_axes
from napari_dip_fusion.io.dicom.decoding import decode_frame, share_values
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.geometry import Line
from napari_dip_fusion.io.dicom.grouping import Group
from napari_dip_fusion.io.dicom.placing import PlacedStack, place_stacks
from napari_dip_fusion.io.dicom.stored import choose_dtype, find_window
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import GUESSED_PLACE

__all__ = ["stack_frames"]

# Read at once up to this size; larger series are read slice by slice.
_EAGER_BYTES = 64 * 2**20

# Digits of a millimeter, many more than a header has.
_DIGITS = 11

SliceRow = list[Frame | None]
"""The frames of one volume in the order of their slices; None where a slice is missing."""


def stack_frames(group: Group) -> list[Source]:
    """Return a group of frames as volumes.

    A warning says which frames were left out, are missing or are not evenly spaced.

    Parameters
    ----------
    group : Group
        Its frames in any order.

    Returns
    -------
    list of Source
        With the axes along which there are several volumes, such as ``"t"`` or ``"echo"``,
        before ``"z", "y", "x"``, or before ``"y", "x"`` for frames without a place; several
        where volumes lie in different places. Many pixels are decoded when they are asked
        for.
    """
    group = replace(group, frames=share_values(group.frames))
    return [_make_source(placed) for placed in place_stacks(group)]


def _make_source(placed: PlacedStack) -> Source:
    """Return a stack of volumes as a source."""
    stack, line = placed.stack, placed.line
    grid = [_list_slices(volume.frames, line) for volume in stack.volumes]
    frames = [frame for row in grid for frame in row if frame is not None]
    first, dtype = frames[0], choose_dtype([frame.values for frame in frames])
    described = describe_axes(stack)
    affine, units = _find_affine(frames, placed, described)
    spatial = ("y", "x") if line is None else ("z", "y", "x")
    metadata = dict(first.metadata)
    if described.values:
        metadata["axis_values"] = described.values
    guesses = dict.fromkeys(frame.place.guess for frame in frames if frame.place.guess)
    if guesses:
        metadata[GUESSED_PLACE] = "; ".join(guesses)
    sizes = stack.shape if line is None else (*stack.shape, len(grid[0]))
    return Source(
        _stack_pixels(grid, sizes, dtype),
        (*stack.axes, *spatial),
        affine=affine,
        units=(*described.units, *units),
        name=placed.name,
        rgb=first.values.color,
        metadata=metadata,
        path=first.path,
        display=find_window(first.values),
    )


def _list_slices(frames: dict[int, Frame], line: Line | None) -> SliceRow:
    """Return the frames of a volume with None for missing slices."""
    if line is None:
        return list(frames.values())
    row: SliceRow = [None] * (int(line.indices[-1]) + 1)
    for index, place in zip(line.indices.tolist(), sorted(frames), strict=True):
        row[index] = frames[place]
    return row


@dataclass(frozen=True)
class _Blank:
    """A missing frame, shown in the darkest value of another one, 0 where it is empty."""

    like: Frame


def _stack_pixels(grid: list[SliceRow], sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return the pixels with some sizes before those of rows and columns."""
    first = next(frame for frame in grid[0] if frame is not None)
    planes = [frame or _Blank(first) for row in grid for frame in row]
    shape = first.values.array_shape
    plane_bytes = int(np.prod(shape)) * dtype.itemsize
    if plane_bytes * len(planes) <= _EAGER_BYTES:
        return np.stack([_decode(plane, dtype) for plane in planes]).reshape(*sizes, *shape)
    require_memory(first.path, plane_bytes)
    from dask import array
    from dask.delayed import delayed

    da: Any = array  # dask has no types
    # dask would search the arguments of a delayed call, and each frame in them, for its own.
    calls = [
        delayed(partial(_decode, _find_for_good(plane), dtype), traverse=False)()
        for plane in planes
    ]
    parts = [da.from_delayed(call, shape, dtype) for call in calls]
    return da.stack(parts).reshape(*sizes, *shape)


def _find_for_good(plane: Frame | _Blank) -> Frame | _Blank:
    """Return a frame that is found from any folder: other processes may read it."""
    if isinstance(plane, _Blank):
        return _Blank(replace(plane.like, path=plane.like.path.absolute()))
    return replace(plane, path=plane.path.absolute())


def _decode(plane: Frame | _Blank, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(plane, _Blank):
        values = decode_frame(plane.like, dtype)
        return np.full_like(values, 0 if plane.like.kind.nature["segment"] else values.min())
    return decode_frame(plane, dtype)


def _find_affine(
    frames: Sequence[Frame], placed: PlacedStack, described: StackAxes
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine of a stack, and the units of its axes of space."""
    spacings = [(frame.place.spacing.rows, frame.place.spacing.columns) for frame in frames]
    rows, columns = np.mean(spacings, axis=0)
    unit = frames[0].place.spacing.unit
    line, directions = placed.line, placed.directions
    extra = len(described.steps)
    affine = np.eye(extra + (3 if line is None else 4))
    affine[:extra, :extra] = np.diag(described.steps)
    affine[:extra, -1] = described.origins
    if line is None or directions is None:
        affine[extra:-1, extra:-1] = np.diag((rows, columns))
        return affine, (unit, unit)
    # Equation C.7.6.2.1-1 of PS3.3. The direction along a row is that in which its
    # columns are counted, so it is scaled by the distance between columns.
    steps = (line.step, directions[1] * rows, directions[2] * columns, line.origin)
    # Turning the positions there and back leaves errors of the last digits.
    affine[extra:-1, extra:] = (DICOM_TO_WORLD @ np.stack(steps, axis=1)).round(_DIGITS) + 0.0
    return affine, ("mm", unit, unit)
