"""Frames of a DICOM series are sorted into groups that can be stacked, which get names.

Sections such as C.7.6.1.1.2 are those of DICOM PS3.3, which defines the fields.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from napari_dip_fusion.io.dicom.clusters import cluster_vectors
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.geometry import (
    find_directions,
    locate,
    number_places,
    split_aside,
)
from napari_dip_fusion.io.dicom.keys import find_keys
from napari_dip_fusion.io.dicom.slabs import label_slabs

__all__ = ["Group", "group_frames"]

Labels = NDArray[np.intp]

# Orientations that differ by a smaller angle, in degrees, are one.
_SAME_ANGLE = 0.3
# The part of a pixel by which the far edge of an image may lie elsewhere, for two distances
# between pixels to be one.
_SAME_EDGE = 0.25

# What the terms of Image Type and Frame Type stand for (C.8.3.1.1.1, C.8.13.3.1); the short
# ones are those of manufacturers.
_WORDS = {
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
    "W": "water",
    "WATER": "water",
    "F": "fat",
    "FAT": "fat",
    "IP": "in phase",
    "IN_PHASE": "in phase",
    "OP": "opposed phase",
    "OPP_PHASE": "opposed phase",
    "OUT_PHASE": "opposed phase",
    "LOCALIZER": "localizer",
    "ADC": "ADC",
    "FA": "FA",
}

# The planes of the body by the axis of their normal, as radiologists look at them: their name,
# and the directions along a row and a column.
_PLANES = (
    ("sagittal", (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
    ("coronal", (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)),
    ("axial", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
)


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
        frames, key=lambda frame: (series[frame.series], frame.number, _list_nature(frame))
    )
    for frame in order:
        found[_make_key(frame)].append(frame)
    groups: Iterable[list[Frame]] = [_assume_orientation(group) for group in found.values()]
    for split in (
        _label_orientations,
        _label_spacings,
        _label_stacks,
        _label_traits,
        _label_volumes,
    ):
        groups = [part for group in groups for part in _split(group, split)]
    return _name_groups(list(groups))


def _make_key(frame: Frame) -> tuple[Any, ...]:
    """Return what frames have to share exactly."""
    values, place = frame.values, frame.place
    placed = (place.position is not None, place.orientation is not None)
    # Cine loops without a place are one after the other, and begin anew in each file.
    apart = place.position is None and frame.frames > 1
    whole = frame.concatenation.identity if frame.concatenation else frame.identity
    # Slices may differ in the type of their values: some scanners sign only those that need it.
    kind = (values.array_shape, values.color, values.inverted)
    return (frame.series, kind, _list_nature(frame), placed, whole if apart else "")


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
    word, turned = _PLANES[int(np.argmax(spread)) if spread.any() else 2]
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
        told = _tell_names([groups[n][0] for n in numbers])
        for n, words in zip(numbers, told, strict=True):
            names[n] = " ".join([names[n], *words])
    counts, used = Counter(names), Counter[str]()
    named = []
    for frames, name in zip(groups, names, strict=True):
        used[name] += 1
        numbered = f"{name} ({used[name]})" if counts[name] > 1 else name
        named.append(Group(frames, numbered))
    return named


def _tell_names(frames: list[Frame]) -> list[list[str]]:
    """Return words for the first frames of groups, as many as are needed to tell them apart."""
    told: list[list[str]] = [[] for _ in frames]
    for describe in (
        _describe_types,
        _describe("component", _spell_out),
        _describe("segment", "segment {}".format),
        _describe("channel", "channel {}".format),
        _describe("stack", "stack {}".format),
        _describe("view", str),
        _describe("diffusion", str.lower),
        _describe_orientations,
        _describe("unit", str),
        _describe("class", lambda text: UID(text).name.replace(" Image Storage", "")),
        _describe_sizes,
        _describe_traits,
    ):
        words = describe(frames)
        if len(set(map(tuple, told))) < len(frames) and len(set(words)) > 1:
            told = [
                [*known, *([word] if word else [])] for known, word in zip(told, words, strict=True)
            ]
    return told


def _describe(key: str, word: Callable[[str], str]) -> Callable[[list[Frame]], list[str]]:
    def describe(frames: list[Frame]) -> list[str]:
        values = [frame.kind.nature[key] for frame in frames]
        return [word(value) if value else "" for value in values]

    return describe


def _spell_out(term: str) -> str:
    return _WORDS.get(term, term.lower())


def _describe_types(frames: list[Frame]) -> list[str]:
    """Return what is special in the image types, in known words if these are enough."""
    terms = [frame.kind.nature["type"].split("\\") for frame in frames]
    shared = set.intersection(*map(set, terms))
    special = [[term for term in parts if term and term not in shared] for parts in terms]
    known = [_join(_WORDS[term] for term in parts if term in _WORDS) for parts in special]
    whole = [_join(map(_spell_out, parts)) for parts in special]
    return known if len(set(known)) == len(set(whole)) else whole


def _join(words: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _describe_orientations(frames: list[Frame]) -> list[str]:
    return [_name_orientation(frame) for frame in frames]


def _name_orientation(frame: Frame) -> str:
    """Return the plane of the body that a frame is nearest to."""
    turned = frame.place.orientation
    if turned is None:
        return ""
    normal = np.abs(np.cross(turned[:3], turned[3:]))
    return _PLANES[int(np.argmax(normal))][0]


def _describe_sizes(frames: list[Frame]) -> list[str]:
    return ["{}x{}".format(*frame.values.shape) for frame in frames]


def _describe_traits(frames: list[Frame]) -> list[str]:
    traits = [list(frame.kind.traits.values()) for frame in frames]
    differing = [len(set(column)) > 1 for column in zip(*traits, strict=True)]
    return [
        " ".join(
            value.replace("\\", " ").lower()
            for value, differs in zip(row, differing, strict=True)
            if differs
        )
        for row in traits
    ]
