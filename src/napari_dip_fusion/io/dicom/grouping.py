"""Frames of a DICOM series are sorted into groups that can be stacked."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.clusters import cluster_vectors
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.geometry import (
    find_directions,
    locate,
    number_places,
    split_aside,
)
from napari_dip_fusion.io.dicom.keys import find_keys
from napari_dip_fusion.io.dicom.kinds import MARKS
from napari_dip_fusion.io.dicom.moments import MOMENTS
from napari_dip_fusion.io.dicom.naming import tell_names
from napari_dip_fusion.io.dicom.place import PLANES
from napari_dip_fusion.io.dicom.runs import tell_apart
from napari_dip_fusion.io.dicom.slabs import label_slabs

__all__ = ["Group", "group_frames"]

Labels = NDArray[np.intp]

# Orientations that differ by a smaller angle, in degrees, are one.
_SAME_ANGLE = 0.3
# The part of a pixel by which the far edge of an image may lie elsewhere, for two distances
# between pixels to be one.
_SAME_EDGE = 0.25


@dataclass(frozen=True, eq=False)
class Group:
    """Frames that can be stacked.

    Parameters
    ----------
    frames : list of Frame
        Frames of one series, nature, size, orientation and distance of pixels.
    name : str
        Name for people, which says what tells the group apart in its series.
    """

    frames: list[Frame]
    name: str


def group_frames(frames: Sequence[Frame]) -> list[Group]:
    """Return groups of frames that can be stacked.

    Parameters
    ----------
    frames : sequence of Frame
        Frames of any series.

    Returns
    -------
    list of Group
        In the order of the series, and in that in which the scanner counts.
    """
    found: dict[Any, list[Frame]] = defaultdict(list)
    series = {uid: n for n, uid in enumerate(dict.fromkeys(frame.series for frame in frames))}
    # The order does not depend on the names of files.
    order = sorted(
        frames,
        key=lambda frame: (
            series[frame.series],
            frame.number,
            _list_nature(frame),
            frame.identity,
        ),
    )
    for frame in order:
        found[_make_key(frame)].append(frame)
    groups: Iterable[list[Frame]] = [_assume_orientation(group) for group in found.values()]
    for split in (
        _label_orientations,
        _label_spacings,
        _label_stacks,
        _label_traits,
        _label_objects,
        _label_volumes,
    ):
        groups = [part for group in groups for part in _split(group, split)]
    return _name_groups(list(groups))


def _make_key(frame: Frame) -> tuple[Any, ...]:
    """Return what frames have to share exactly."""
    values, place = frame.values, frame.place
    placed = (place.position is not None, place.orientation is not None)
    # Cine loops begin anew in each file; doses and segmentations were made, not acquired, at
    # the times that they bear.
    nature = frame.kind.nature
    apart = frame.frames > 1 and (
        place.position is None or bool(nature["dose"] or nature["segment"])
    )
    # Slices may differ in the type of their values: some scanners sign only those that need it.
    kind = (values.array_shape, values.color, values.inverted)
    return (frame.series, kind, _list_nature(frame), placed, _name_object(frame) if apart else "")


def _name_object(frame: Frame) -> str:
    """Return the UID of the object that a frame belongs to, be it in one file or in several."""
    return frame.concatenation.identity if frame.concatenation else frame.identity


def _list_nature(frame: Frame) -> tuple[str, ...]:
    return tuple(frame.kind.nature.values())


def _assume_orientation(frames: list[Frame]) -> list[Frame]:
    """Return frames with an orientation where only their positions are known.

    They follow each other along that axis of the body on which they differ most.
    """
    if frames[0].place.position is None or frames[0].place.orientation is not None:
        return frames
    positions = np.array([frame.place.position for frame in frames], dtype=np.float64)
    spread = np.ptp(positions, axis=0)
    word, turned = PLANES[int(np.argmax(spread)) if spread.any() else 2]
    guess = f"ImageOrientationPatient is missing; {word} slices are assumed"
    return [
        replace(
            frame,
            place=replace(
                frame.place,
                orientation=np.array(turned),
                guess="; ".join(filter(None, (guess, frame.place.guess))),
            ),
        )
        for frame in frames
    ]


def _split(frames: list[Frame], label: Callable[[list[Frame]], Labels]) -> list[list[Frame]]:
    """Return frames with the same label, in lists."""
    if len(frames) == 1 or frames[0].place.position is None:
        return [frames]
    parts: dict[int, list[Frame]] = defaultdict(list)
    for frame, number in zip(frames, label(frames).tolist(), strict=True):
        parts[number].append(frame)
    return [parts[number] for number in sorted(parts)]


def _label_orientations(frames: list[Frame]) -> Labels:
    """Return which frames are turned alike: a series may hold a localizer across its slices."""
    turned = np.array([frame.place.orientation for frame in frames]).reshape(-1, 2, 3)
    units = turned / np.linalg.norm(turned, axis=-1, keepdims=True)
    # Two unit vectors at this angle end so far apart; both may be turned by it.
    chord = 2 * np.sin(np.radians(_SAME_ANGLE) / 2) * np.sqrt(2)
    return cluster_vectors(units.reshape(-1, 6), chord)


def _label_spacings(frames: list[Frame]) -> Labels:
    spacings = [frame.place.spacing for frame in frames]
    pairs = np.array([(spacing.rows, spacing.columns) for spacing in spacings])
    finest, longest = float(pairs.min()), max(frames[0].values.shape)
    labels = cluster_vectors(pairs, _SAME_EDGE * finest / longest)
    units = np.array([spacing.unit != "mm" for spacing in spacings], dtype=np.intp)
    return labels * 2 + units


def _label_stacks(frames: list[Frame]) -> Labels:
    return split_aside(frames, find_directions(frames))


def _label_traits(frames: list[Frame]) -> Labels:
    """Return frames that differ in a trait, if two of them would be in one place of a volume."""
    directions = find_directions(frames)
    places = number_places(frames, locate(frames, directions)[:, 0])
    slots = list(zip(find_keys(frames, places)[1], places.tolist(), strict=True))
    traits = [tuple(frame.kind.traits.values()) for frame in frames]
    apart = len(set(zip(slots, traits, strict=True))) > len(set(slots))
    known = {trait: n for n, trait in enumerate(dict.fromkeys(traits))}
    return np.array([known[trait] if apart else 0 for trait in traits])


def _label_objects(frames: list[Frame]) -> Labels:
    """Return which object each frame belongs to, where nothing else tells volumes apart.

    A series may hold several doses or segmentations, each of them with many frames.
    """
    whole = np.zeros(len(frames), dtype=np.intp)
    objects = {name: n for n, name in enumerate(dict.fromkeys(map(_name_object, frames)))}
    if len(objects) == 1 or max(frame.frames for frame in frames) == 1:
        return whole
    places = number_places(frames, locate(frames, find_directions(frames))[:, 0])
    members: dict[Any, list[int]] = defaultdict(list)
    for n, key in enumerate(find_keys(frames, places)[1]):
        members[key].append(n)
    for where in members.values():
        standing = np.unique(places[where], return_inverse=True)[1]
        if np.bincount(standing).max() > 1:
            ranking = tell_apart([frames[n] for n in where], standing)
            if ranking is None or not {ranking.field} & (set(MOMENTS) | set(MARKS)):
                return np.array([objects[_name_object(frame)] for frame in frames])
    return whole


def _label_volumes(frames: list[Frame]) -> Labels:
    """Return slices of several volumes whose slices lie between or far from each other."""
    whole = np.zeros(len(frames), dtype=np.intp)
    if frames[0].kind.nature["segment"]:  # empty slices may be left out anywhere
        return whole
    distances = locate(frames, find_directions(frames))[:, 0]
    places = number_places(frames, distances)
    if len(set(places.tolist())) < len(frames) or find_keys(frames, places)[0]:
        return whole
    return label_slabs(frames, distances)


def _name_groups(groups: list[list[Frame]]) -> list[Group]:
    """Return groups whose names say what they are, with numbers where nothing tells them apart."""
    by_series: dict[Any, list[int]] = defaultdict(list)
    for n, frames in enumerate(groups):
        by_series[frames[0].name, frames[0].series].append(n)
    names = [frames[0].name for frames in groups]
    for numbers in by_series.values():
        told = tell_names([groups[n][0] for n in numbers])
        for n, words in zip(numbers, told, strict=True):
            names[n] = " ".join([names[n], *words])
    counts, used = Counter(names), Counter[str]()
    named = []
    for frames, name in zip(groups, names, strict=True):
        used[name] += 1
        numbered = f"{name} ({used[name]})" if counts[name] > 1 else name
        named.append(Group(frames, numbered))
    return named
