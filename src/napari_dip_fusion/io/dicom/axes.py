"""What the axes of a stack of DICOM volumes count: times, echoes, b-values, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_dip_fusion.io.dicom.kinds import DIRECTIONS, MARKS
from napari_dip_fusion.io.dicom.moments import CLOCKS, COUNTS, MOMENTS
from napari_dip_fusion.io.dicom.order import Stack, Volume

__all__ = ["StackAxes", "describe_axes", "name_stacks"]

# The part of the step by which a time may be off, and the times are still even.
_UNEVEN = 0.02
# Digits of a value: what is beyond them came with the times of day, or with sums.
_DIGITS = 3
_DIRECTION = "DiffusionGradientOrientation"


@dataclass(frozen=True, eq=False)
class StackAxes:
    """What the axes of a stack count.

    Parameters
    ----------
    values : dict of list
        Values on the axes, by their names; directions of diffusion as ``"b_direction"``.
    origins, steps : list of float
        The first value and the distance of values on each axis; 0 and 1 where they are not
        evenly spaced times.
    units : list of str
        ``"ms"`` for such times, otherwise ``"pixel"``.
    """

    values: dict[str, list[Any]] = field(default_factory=dict)
    origins: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    units: list[str] = field(default_factory=list)


def describe_axes(stack: Stack) -> StackAxes:
    """Return what the axes of a stack count.

    Parameters
    ----------
    stack : Stack
        The stack.

    Returns
    -------
    StackAxes
        Times of day are given from the first one on, so that they do not say when a patient
        was scanned.
    """
    found = StackAxes()
    for number, axis in enumerate(stack.axes):
        volumes = _walk(stack, number)
        even = (0.0, 1.0, "pixel")
        for name in _list_names(stack, axis):
            values, unit = _list_values(name, volumes)
            if len({str(value) for value in values}) > 1:
                found.values[name] = values
            if name == axis == "t" and unit == "ms":
                even = _find_step(values) or even
            if name == "b":
                found.values.update(_list_directions(volumes))
        found.origins.append(even[0])
        found.steps.append(even[1])
        found.units.append(even[2])
    return found


def name_stacks(name: str, stacks: Sequence[Stack]) -> list[str]:
    """Return names for the stacks of a group, which say in what they differ.

    Parameters
    ----------
    name : str
        Name of the group.
    stacks : sequence of Stack
        Stacks of volumes in different places.

    Returns
    -------
    list of str
        Such as ``"MR series 3 echo 4.92"``, with numbers where that is not enough.
    """
    if len(stacks) == 1:
        return [name]
    names = [" ".join([name, *_tell_values(stack)]) for stack in stacks]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({number})" for number in range(1, len(stacks) + 1)]


def _tell_values(stack: Stack) -> list[str]:
    """Return the values that all volumes of a stack share."""
    told = []
    for n, part in enumerate(stack.parts):
        if len({volume.key[n] for volume in stack.volumes}) == 1:
            marks = [keyword for keyword, mark in MARKS.items() if mark.axis == part[0]]
            values = [_read(stack.volumes[0], keyword) for keyword in marks]
            known = [value for value in values if value is not None]
            told.append(f"{part[0]} {known[0] if known else stack.volumes[0].key[n][0]:g}")
    return told


def _list_names(stack: Stack, axis: str) -> list[str]:
    """Return what changes along an axis."""
    parts = stack.parts if len(stack.axes) == 1 else [p for p in stack.parts if p[0] == axis]
    return list(dict.fromkeys(name for part in parts for name in part))


def _walk(stack: Stack, number: int) -> list[Volume]:
    """Return the first volume at each index of an axis."""
    indices = np.arange(len(stack.volumes)).reshape(stack.shape)
    first = np.moveaxis(indices, number, 0).reshape(stack.shape[number], -1)[:, 0]
    return [stack.volumes[n] for n in first.tolist()]


def _list_values(axis: str, volumes: Sequence[Volume]) -> tuple[list[Any], str]:
    """Return the values of volumes along an axis, and their unit."""
    fields = [
        (keyword, mark.unit)
        for keyword, mark in MARKS.items()
        if mark.axis == axis and keyword not in DIRECTIONS
    ]
    counts: list[Any] = []
    for keyword, unit in fields:
        values = [_read(volume, keyword) for volume in volumes]
        differ = len(set(values)) > 1
        if differ and (unit != "pixel" or axis != "t"):
            return values, unit
        counts = counts or (values if differ else [])
    times = _find_times(volumes) if axis == "t" else None
    return (times, "ms") if times else (counts, "pixel")


def _read(volume: Volume, keyword: str) -> float | None:
    value = volume.frames[min(volume.frames)].kind.marks.get(keyword)
    return round(value[0], _DIGITS) if value else None


def _find_times(volumes: Sequence[Volume]) -> list[float] | None:
    """Return when volumes were made, in milliseconds; None if that is not known."""
    for name in MOMENTS:
        if name in COUNTS:
            continue
        times = np.array([_find_start(volume, name) for volume in volumes])
        if (np.diff(times) > 0).all():
            first = times[0] if name in CLOCKS else 0.0
            return [round(float(time), _DIGITS) for time in times - first]
    return None


def _find_start(volume: Volume, name: str) -> float:
    """Return when the first frame of a volume was made, NaN if no frame says it."""
    moments = [frame.kind.moments.get(name) for frame in volume.frames.values()]
    return min((moment for moment in moments if moment is not None), default=np.nan)


def _find_step(times: Sequence[float]) -> tuple[float, float, str] | None:
    """Return first time, step and unit of evenly spaced times."""
    steps = np.diff(times)
    step = float(np.mean(steps))
    even = times[0] + step * np.arange(len(times))
    if step <= 0 or np.abs(even - times).max() > _UNEVEN * step:
        return None
    return float(times[0]), step, "ms"


def _list_directions(volumes: Sequence[Volume]) -> dict[str, list[Any]]:
    values = [volume.frames[min(volume.frames)].kind.marks.get(_DIRECTION) for volume in volumes]
    if not any(value and any(value) for value in values):
        return {}
    return {"b_direction": [list(value) if value else None for value in values]}
