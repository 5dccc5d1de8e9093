"""Groups of frames of one DICOM series get names that say what tells them apart.

Sections such as C.7.6.1.1.2 are those of DICOM PS3.3, which defines the fields.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pydicom.uid import UID

from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.place import PLANES

__all__ = ["tell_names"]

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


def tell_names(frames: Sequence[Frame]) -> list[list[str]]:
    """Return words that tell groups of frames apart.

    Parameters
    ----------
    frames : sequence of Frame
        A frame of each group of a series.

    Returns
    -------
    list of list of str
        Words for each group, as many as are needed; the same for groups that nothing tells
        apart.
    """
    told: list[list[str]] = [[] for _ in frames]
    for describe in (
        _describe_types,
        _describe("component", _spell_out),
        _describe("segment", "segment {}".format),
        _describe("channel", "channel {}".format),
        _describe("stack", "stack {}".format),
        _describe("view", str),
        _describe("diffusion", str.lower),
        _describe("dose", str.lower),
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


def _describe(key: str, word: Callable[[str], str]) -> Callable[[Sequence[Frame]], list[str]]:
    def describe(frames: Sequence[Frame]) -> list[str]:
        values = [frame.kind.nature[key] for frame in frames]
        return [word(value) if value else "" for value in values]

    return describe


def _spell_out(term: str) -> str:
    return _WORDS.get(term, term.lower())


def _describe_types(frames: Sequence[Frame]) -> list[str]:
    """Return what is special in the image types, in known words if these are enough."""
    terms = [frame.kind.nature["type"].split("\\") for frame in frames]
    shared = set.intersection(*map(set, terms))
    special = [[term for term in parts if term and term not in shared] for parts in terms]
    known = [_join(_WORDS[term] for term in parts if term in _WORDS) for parts in special]
    whole = [_join(map(_spell_out, parts)) for parts in special]
    return known if len(set(known)) == len(set(whole)) else whole


def _join(words: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _describe_orientations(frames: Sequence[Frame]) -> list[str]:
    return [_name_orientation(frame) for frame in frames]


def _name_orientation(frame: Frame) -> str:
    """Return the plane of the body that a frame is nearest to."""
    turned = frame.place.orientation
    if turned is None:
        return ""
    normal = np.abs(np.cross(turned[:3], turned[3:]))
    return PLANES[int(np.argmax(normal))][0]


def _describe_sizes(frames: Sequence[Frame]) -> list[str]:
    return ["{}x{}".format(*frame.values.shape) for frame in frames]


def _describe_traits(frames: Sequence[Frame]) -> list[str]:
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
