"""The frames of a group are sorted into volumes, and the volumes into stacks with axes."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.keys import Key, Part, find_keys
from napari_dip_fusion.io.dicom.runs import Ranking, count_frames, tell_apart

__all__ = ["Stack", "Volume", "make_stack", "sort_frames"]

Labels = NDArray[np.intp]

# As many incomplete volumes are named in a warning.
_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Volume:
    """The frames of one time, echo, and so on.

    Parameters
    ----------
    key : Key
        The number of the volume along each axis.
    frames : dict of Frame
        By their place; frames without a place are alone in place 0.
    """

    key: Key
    frames: dict[int, Frame]


@dataclass(frozen=True, eq=False)
class Stack:
    """Volumes with the same places.

    Parameters
    ----------
    axes : list of str
        The axes along which there are several volumes.
    shape : tuple of int
        Number of volumes along each axis.
    volumes : list of Volume
        In the order of the axes, the last of them counted fastest.
    parts : list of Part
        What the parts of their keys count. Each axis is named after the first name of a part;
        but the only axis of volumes of which not all combinations are there counts them all.
    """

    axes: list[str]
    shape: tuple[int, ...]
    volumes: list[Volume]
    parts: list[Part]


def sort_frames(name: str, frames: Sequence[Frame], places: Labels) -> list[Stack]:
    """Return the frames of a group as stacks of volumes.

    A warning says which frames were left out, and why.

    Parameters
    ----------
    name : str
        Name of the group, for the warnings.
    frames : sequence of Frame
        Frames of one group, in the order in which the scanner counts them.
    places : ndarray of int, shape (N,)
        In which place along the normal each frame lies; zeros for frames without a place.

    Returns
    -------
    list of Stack
        More than one where volumes lie in different places; none if nothing tells which
        frames belong together.
    """
    parts, keys = find_keys(frames, places)
    members: dict[Key, list[int]] = defaultdict(list)
    for n, key in enumerate(keys):
        members[key].append(n)
    rankings = {key: _rank(frames, places, where) for key, where in members.items()}
    extra = next((found.axis for found in rankings.values() if found and found.axis), "")
    _warn_of_numbers(name, rankings.values())
    volumes: dict[Key, dict[int, Frame]] = defaultdict(dict)
    doubled = 0
    for key, where in members.items():
        ranking = rankings[key]
        if ranking is None and _is_hopeless(places[where]):
            _warn_of_hopeless(name, len(where), places[where])
            continue
        ranks = ranking.ranks if ranking and ranking.axis else np.zeros(len(where), dtype=np.intp)
        for n, rank in zip(where, ranks.tolist(), strict=True):
            slices = volumes[_extend(key, parts, extra, rank)]
            doubled += int(places[n]) in slices
            slices.setdefault(int(places[n]), frames[n])
    if doubled:
        warnings.warn(
            f"{name}: {doubled} slices lie where another does and were left out", stacklevel=2
        )
    if extra and not any(extra in part for part in parts):
        parts = [(extra,), *parts]
    return _make_stacks(name, parts, [Volume(key, volumes[key]) for key in sorted(volumes)])


def _warn_of_numbers(name: str, rankings: Iterable[Ranking | None]) -> None:
    if any(ranking and ranking.field == "InstanceNumber" for ranking in rankings):
        warnings.warn(
            f"{name}: nothing but InstanceNumber tells several volumes apart; each run of "
            "numbers was taken for one",
            stacklevel=3,
        )


def _rank(frames: Sequence[Frame], places: Labels, where: list[int]) -> Ranking | None:
    """Return the volumes of frames that share a key, None if there is one, or nothing tells."""
    standing = np.unique(places[where], return_inverse=True)[1]
    if np.bincount(standing).max() == 1:
        return None
    chosen = [frames[n] for n in where]
    placeless = chosen[0].place.position is None
    return count_frames(chosen) if placeless else tell_apart(chosen, standing)


def _extend(key: Key, parts: list[Part], extra: str, rank: int) -> Key:
    """Return a key with a further number, in the part of its axis or in a first part."""
    if not extra:
        return key
    number = next((n for n, part in enumerate(parts) if extra in part), None)
    if number is None:
        return ((rank,), *key)
    return (*key[:number], (*key[number], rank), *key[number + 1 :])


def _is_hopeless(places: Labels) -> bool:
    """Tell whether most places hold several frames, of which nobody knows which belong together."""
    counts = np.bincount(places)
    return bool(2 * np.count_nonzero(counts > 1) > np.count_nonzero(counts))


def _warn_of_hopeless(name: str, count: int, places: Labels) -> None:
    warnings.warn(
        f"{name}: {count} frames lie in {len(set(places.tolist()))} places, and nothing in their "
        "headers tells which of them make a volume; they were left out",
        stacklevel=3,
    )


def _make_stacks(name: str, parts: list[Part], volumes: list[Volume]) -> list[Stack]:
    """Return volumes with the same places as stacks, without incomplete ones."""
    stacks = []
    while volumes:
        counts = Counter(frozenset(volume.frames) for volume in volumes)
        whole = max(counts, key=lambda places: (counts[places], len(places)))
        same = [volume for volume in volumes if set(volume.frames) == whole]
        lacking = [volume for volume in volumes if set(volume.frames) < whole]
        volumes = [v for v in volumes if not set(v.frames) <= whole]
        if lacking:
            _warn_of_incomplete(name, parts, lacking, len(whole))
        stacks.append(make_stack(name, parts, same))
    return stacks


def _warn_of_incomplete(name: str, parts: list[Part], lacking: list[Volume], count: int) -> None:
    listed = [
        f"{_name_volume(parts, volume)} has {len(volume.frames)} of {count} slices"
        for volume in lacking[:_MOST_NAMED]
    ]
    more = ", ..." if len(lacking) > _MOST_NAMED else ""
    warnings.warn(
        f"{name}: {len(lacking)} incomplete volumes were left out: {', '.join(listed)}{more}",
        stacklevel=4,
    )


def _name_volume(parts: list[Part], volume: Volume) -> str:
    return " ".join(
        f"{part[0]} {number[0]}" for part, number in zip(parts, volume.key, strict=True)
    )


def make_stack(name: str, parts: list[Part], volumes: list[Volume]) -> Stack:
    """Return volumes along as many axes as they fill.

    Parameters
    ----------
    name : str
        Name of the group, for a warning of volumes that are left out.
    parts : list of Part
        What the parts of the keys count.
    volumes : list of Volume
        Volumes with the same places, in the order of their keys.

    Returns
    -------
    Stack
        The stack.
    """
    axes, shape = _measure_grid(parts, volumes)
    if prod(shape) == len(volumes):
        return Stack(axes, shape, volumes, parts)
    # A scan that was stopped ends within the last of its slowest axis.
    number = next(n for n, part in enumerate(parts) if part[0] == axes[0])
    slowest, last = axes[0], max(volume.key[number] for volume in volumes)
    kept = [volume for volume in volumes if volume.key[number] < last]
    axes, shape = _measure_grid(parts, kept)
    if kept and prod(shape) == len(kept) and len(shape) > 1:
        warnings.warn(
            f"{name}: the last {slowest} lacks volumes; the {len(volumes) - len(kept)} that "
            "it has were left out",
            stacklevel=4,
        )
        return Stack(axes, shape, kept, parts)
    return Stack([_name_only_axis(parts, volumes)], (len(volumes),), volumes, parts)


def _name_only_axis(parts: list[Part], volumes: list[Volume]) -> str:
    """Return the name of an axis of volumes that differ in several parts."""
    names = {name for part in parts for name in part}
    if names <= {"b", "t"}:  # several images of one weighting among others
        return "b"
    counting = [
        part[0] for n, part in enumerate(parts) if len({v.key[n] for v in volumes}) == len(volumes)
    ]
    return counting[0] if counting else "volume"


def _measure_grid(parts: list[Part], volumes: list[Volume]) -> tuple[list[str], tuple[int, ...]]:
    """Return the axes along which there are several volumes, and their sizes."""
    sizes = [len({volume.key[n] for volume in volumes}) for n in range(len(parts))]
    kept = [(part[0], size) for part, size in zip(parts, sizes, strict=True) if size > 1]
    return [part for part, _ in kept], tuple(size for _, size in kept)
