"""The volumes of a group of DICOM frames are found, and the line on which their slices lie."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.axes import name_stacks
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.geometry import (
    Line,
    find_directions,
    fit_line,
    locate,
    number_places,
)
from napari_dip_fusion.io.dicom.grouping import Group
from napari_dip_fusion.io.dicom.order import Stack, Volume, make_stack, sort_frames

__all__ = ["PlacedStack", "place_stacks"]

Numbers = NDArray[np.float64]

# Volumes that lie no further from each other, in parts of the finest distance of pixels or
# slices, are shown in one place: those of a patient who is followed while he moves.
_SAME_VOLUME = 0.25
# From this part of that distance on it is said how far a pixel is from its place.
_TOLD = 0.05


@dataclass(frozen=True, eq=False)
class PlacedStack:
    """A stack of volumes and its place.

    Parameters
    ----------
    name : str
        Name for people.
    stack : Stack
        The volumes.
    line : Line, optional
        The line of their slices; None for frames without a place.
    directions : ndarray of shape (3, 3), optional
        Along the normal, a column and a row.
    """

    name: str
    stack: Stack
    line: Line | None = None
    directions: Numbers | None = None


def place_stacks(group: Group) -> list[PlacedStack]:
    """Return the frames of a group as stacks of volumes with their places.

    A warning says which frames were left out, and what is odd in the places of the others.

    Parameters
    ----------
    group : Group
        Its frames in any order.

    Returns
    -------
    list of PlacedStack
        Several where volumes lie in different places.
    """
    frames = sorted(group.frames, key=lambda frame: (frame.number, str(frame.path)))
    if frames[0].place.position is None:
        nowhere = np.zeros(len(frames), dtype=np.intp)
        return [
            PlacedStack(group.name, stack) for stack in sort_frames(group.name, frames, nowhere)
        ]
    directions = find_directions(frames)
    points = locate(frames, directions)
    located = {id(frame): point for frame, point in zip(frames, points, strict=True)}
    stacks = sort_frames(group.name, frames, number_places(frames, points[:, 0]))
    stacks = _merge_shifted(group.name, stacks, located)
    _warn_of_turns(group.name, frames, directions)
    return [
        PlacedStack(name, stack, _find_line(name, stack, located, directions), directions)
        for name, stack in zip(name_stacks(group.name, stacks), stacks, strict=True)
    ]


def _measure_finest(frame: Frame) -> float:
    """Return the shortest distance between pixels of a frame or slices, in millimeters."""
    spacing = frame.place.spacing
    pixels = min(spacing.rows, spacing.columns) if spacing.unit == "mm" else np.inf
    return min(pixels, frame.place.thickness)


def _list_points(volume: Volume, located: dict[int, Numbers]) -> Numbers:
    """Return the first pixels of the slices of a volume, in their order."""
    return np.array([located[id(volume.frames[place])] for place in sorted(volume.frames)])


def _merge_shifted(name: str, stacks: Sequence[Stack], located: dict[int, Numbers]) -> list[Stack]:
    """Return stacks of volumes that lie nearly in one place as one."""
    volumes = [volume for stack in stacks for volume in stack.volumes]
    if len(stacks) < 2 or len({len(volume.frames) for volume in volumes}) > 1:
        return list(stacks)
    points = np.array([_list_points(volume, located) for volume in volumes])
    shifts = np.linalg.norm(points - points.mean(axis=0), axis=-1)
    if shifts.max() > _SAME_VOLUME * _measure_finest(volumes[0].frames[min(volumes[0].frames)]):
        return list(stacks)
    counted = [
        Volume(
            volume.key, {n: volume.frames[place] for n, place in enumerate(sorted(volume.frames))}
        )
        for volume in volumes
    ]
    return [make_stack(name, stacks[0].parts, sorted(counted, key=lambda volume: volume.key))]


def _warn_of_turns(name: str, frames: Sequence[Frame], directions: Numbers) -> None:
    """Warn of slices that are turned against each other by more than rounding."""
    turned = np.array([frame.place.orientation for frame in frames], dtype=np.float64)
    units = turned.reshape(-1, 2, 3)
    units = units / np.linalg.norm(units, axis=-1, keepdims=True)
    # The far corner of an image lies elsewhere by the angle times its distance.
    angle = float(np.linalg.norm(units - directions[[2, 1]], axis=-1).max())
    first = frames[0]
    spacing = first.place.spacing
    far = angle * max(np.multiply(first.values.shape, (spacing.rows, spacing.columns)))
    if spacing.unit == "mm" and far > _SAME_VOLUME * _measure_finest(first):
        warnings.warn(
            f"{name}: slices are turned by up to {np.degrees(angle):.2g} degrees; they are shown "
            f"parallel, up to {far:.3g} mm from their place",
            stacklevel=3,
        )


def _find_line(name: str, stack: Stack, located: dict[int, Numbers], directions: Numbers) -> Line:
    """Return the line of the slices of a stack, and warn of what is odd in it."""
    points = np.array([_list_points(volume, located) for volume in stack.volumes])
    # The frames of one place differ by rounding; the mean is the best that is known of it.
    middles = points.mean(axis=0)
    first = stack.volumes[0].frames
    lowest = first[min(first)]
    # Empty slices of a segment are left out (C.8.20.2).
    sparse = bool(lowest.kind.nature["segment"])
    line = fit_line(middles, directions, lowest.place.thickness, sparse=sparse)
    off = float(np.linalg.norm(points - middles, axis=-1).max())
    odd = list(line.warnings)
    if off > _TOLD * _measure_finest(lowest):
        odd.append(f"the volumes lie in places that differ by up to {off:.3g} mm from their mean")
    for oddity in odd:
        warnings.warn(f"{name}: {oddity}", stacklevel=3)
    return line
