"""Volumes that no field counts are told apart by when their frames were made."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.clusters import cluster_numbers
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.keys import label_marks
from napari_dip_fusion.io.dicom.kinds import MARKS
from napari_dip_fusion.io.dicom.moments import CLOCKS, COUNTS, MOMENTS, SAME_MOMENT

__all__ = ["Ranking", "count_frames", "tell_apart"]

Numbers = NDArray[np.float64]
Labels = NDArray[np.intp]

# Known of each frame of a loop; the others are those of each file, whatever it shows.
_OF_FRAMES = (
    "TemporalPositionTimeOffset",
    "TriggerTime",
    "FrameReferenceTime",
    "FrameReferenceDateTime",
    "FrameAcquisitionDateTime",
)
# A pause between volumes is so many times as long as one between slices.
_PAUSE = 1.5
_FEW_SLICES = 3


@dataclass(frozen=True, eq=False)
class Ranking:
    """The volumes of frames that lie in the same places.

    Parameters
    ----------
    axis : str
        The axis along which the volumes are stacked.
    field : str
        What tells them apart; ``"repeats"`` where a single complete volume is followed by
        slices that it has, of which nothing says what they are.
    ranks : ndarray of int, shape (N,)
        The volume of each frame.
    """

    axis: str
    field: str
    ranks: Labels


def tell_apart(frames: Sequence[Frame], places: Labels) -> Ranking | None:
    """Return which volume each of several frames in the same places belongs to.

    Parameters
    ----------
    frames : sequence of Frame
        Frames that no field of :data:`~napari_dip_fusion.io.dicom.kinds.MARKS` tells apart.
    places : ndarray of int, shape (N,)
        In which place each frame lies.

    Returns
    -------
    Ranking or None
        None if nothing tells them apart without doubt.
    """
    for keyword, mark in MARKS.items():
        values = [frame.kind.marks.get(keyword) for frame in frames]
        if mark.by_slice and None not in values and label_marks(frames, keyword).any():
            ranks = _rank_in_places(np.array([value[0] for value in values if value]), places)
            if ranks is not None:
                return Ranking(mark.axis, keyword, ranks)
    for name in MOMENTS:
        found = [frame.kind.moments.get(name) for frame in frames]
        if None not in found:
            ranks = _rank(name, np.array(found, dtype=np.float64), places)
            if ranks is not None:
                return Ranking("t", name, ranks)
    ranks = _rank_within_acquisitions(frames, places)
    if ranks is not None:
        return Ranking("t", "AcquisitionNumber", ranks)
    numbers = np.array([frame.number for frame in frames])
    ranks = _find_runs(numbers, places, 0.0)
    if ranks is not None and not _counts_on(numbers, ranks, places):
        ranks = None
    if ranks is None:
        ranks = _rank_blocks(numbers, places, 0.0)
    elif np.count_nonzero(np.bincount(ranks) == places.max() + 1) == 1:
        return Ranking("", "repeats", ranks)
    return None if ranks is None else Ranking("t", "InstanceNumber", ranks)


def count_frames(frames: Sequence[Frame]) -> Ranking:
    """Return the order of frames without a place that no field of the marks tells apart.

    Parameters
    ----------
    frames : sequence of Frame
        The frames.

    Returns
    -------
    Ranking
        Along ``"t"`` if all frames say when they were made, otherwise along ``"frame"`` in
        the order in which they are counted: what they are is not known then.
    """
    for name in _OF_FRAMES:
        moments = [frame.kind.moments.get(name) for frame in frames]
        if None not in moments:
            labels = cluster_numbers(np.array(moments, dtype=np.float64), 0.0)
            if labels.max() + 1 == len(frames):
                return Ranking("t", name, labels)
    order = sorted(range(len(frames)), key=lambda n: (frames[n].number, str(frames[n].path)))
    ranks = np.empty(len(frames), dtype=np.intp)
    ranks[order] = np.arange(len(frames))
    return Ranking("frame", "", ranks)


def _rank(name: str, moments: Numbers, places: Labels) -> Labels | None:
    """Return volumes by when their frames were made."""
    labels = cluster_numbers(moments, SAME_MOMENT)
    if _are_volumes(labels, places):
        return labels
    if name in COUNTS:
        return None
    # Counted from a heartbeat or an injection, again in each place.
    ranks = None if name in CLOCKS else _rank_in_places(moments, places)
    if ranks is None:
        ranks = _find_runs(moments, places, SAME_MOMENT)
    if ranks is None and name in CLOCKS:
        ranks = _rank_blocks(moments, places, SAME_MOMENT)
    return _rank_one_by_one(moments, places) if ranks is None else ranks


def _rank_within_acquisitions(frames: Sequence[Frame], places: Labels) -> Labels | None:
    """Return volumes by moments that come again in each acquisition, as after heartbeats."""
    numbers = [frame.kind.moments.get("AcquisitionNumber") for frame in frames]
    for name in MOMENTS:
        found = [frame.kind.moments.get(name) for frame in frames]
        if None in numbers or None in found:
            continue
        columns = [cluster_numbers(np.array(column), SAME_MOMENT) for column in (numbers, found)]
        _, ranks = np.unique(np.stack(columns), axis=1, return_inverse=True)
        if _are_volumes(ranks.ravel(), places):
            return ranks.ravel()
    return None


def _are_volumes(labels: Labels, places: Labels) -> bool:
    """Tell whether frames of one label lie in places of their own, and no label is too many."""
    pairs = set(zip(labels.tolist(), places.tolist(), strict=True))
    return len(pairs) == len(labels) and labels.max() + 1 == np.bincount(places).max()


def _rank_in_places(moments: Numbers, places: Labels) -> Labels | None:
    """Return the rank of each frame among those in its place, where all have as many."""
    if len(set(np.bincount(places).tolist()) - {0}) != 1:
        return None
    order = np.lexsort((moments, places))
    same = np.diff(places[order]) == 0
    if (np.diff(moments[order])[same] <= 1e-6).any():
        return None
    ranks = np.empty(len(places), dtype=np.intp)
    ranks[order] = np.arange(len(places)) % np.bincount(places).max()
    return ranks


def _rank_one_by_one(moments: Numbers, places: Labels) -> Labels | None:
    """Return volumes of which each ends before the next begins, in whatever order of slices.

    Those at the end may be incomplete.
    """
    order = np.lexsort((moments, places))
    starts = np.r_[True, np.diff(places[order]) != 0]
    ranks = np.empty(len(places), dtype=np.intp)
    ranks[order] = np.arange(len(places)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    volumes = [moments[ranks == rank] for rank in range(ranks.max() + 1)]
    apart = all(b.min() - a.max() > SAME_MOMENT for a, b in pairwise(volumes))
    return ranks if apart else None


def _rank_blocks(moments: Numbers, places: Labels, tolerance: float) -> Labels | None:
    """Return the ranks of frames made place after place, all of one place in a row."""
    row = places[np.argsort(moments, kind="stable")]
    if np.count_nonzero(np.diff(row)) + 1 != len(set(row.tolist())):
        return None
    return _rank_in_places(moments, places) if _differ(moments, places, tolerance) else None


def _differ(moments: Numbers, places: Labels, tolerance: float) -> bool:
    """Tell whether frames in one place are made at different moments."""
    order = np.lexsort((moments, places))
    same = np.diff(places[order]) == 0
    return bool((np.diff(moments[order])[same] > tolerance).all())


def _counts_on(numbers: Numbers, ranks: Labels, places: Labels) -> bool:
    """Tell whether only the last volume is incomplete, or numbers go on as if none were."""
    count = places.max() + 1
    incomplete = set(np.flatnonzero(np.bincount(ranks) < count).tolist())
    counted = (numbers - numbers.min()) // count
    return incomplete <= {int(ranks.max())} or bool((counted == ranks).all())


def _find_runs(moments: Numbers, places: Labels, tolerance: float) -> Labels | None:
    """Return the volumes of frames made volume after volume, in the same order each time.

    An incomplete volume is known by that order.
    """
    if not _differ(moments, places, tolerance):
        return None
    count = len(set(places.tolist()))
    order = np.lexsort((places, moments))
    ranks = _follow_order(places, moments, order, count)
    if ranks is None:
        return None
    return ranks if ranks.max() + 1 == np.bincount(places).max() else None


def _follow_order(places: Labels, moments: Numbers, order: Labels, count: int) -> Labels | None:
    """Return the run that each frame belongs to, None where that is in doubt."""
    row = places[order].tolist()
    runs = _cut(row, np.arange(count), descending=False)
    whole = [n for n, run in enumerate(runs) if len(run) == count]
    if not whole:
        return None
    if len(whole) < len(runs):
        run = np.array(runs[whole[0]])
        start = sum(map(len, runs[: whole[0]]))
        beginning = _find_beginning(run, moments[order[start : start + count + 1]])
        if beginning is None:
            return None
        # Where in the order of a complete volume each place comes.
        standing = np.empty(count, dtype=np.intp)
        standing[np.roll(run, -beginning)] = np.arange(count)
        runs = _cut(row, standing, descending=True)
    ranks = np.empty(len(places), dtype=np.intp)
    ranks[order] = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    return ranks


def _find_beginning(run: Labels, moments: Numbers) -> int | None:
    """Return where in a run of places, as it was found, a volume begins.

    A first volume that lacks its first slices shifts all runs. A volume begins after a pause;
    and scanners go through the slices one way, once or in several passes, so that it begins
    where one of them does. The last of the moments is that of the frame after the run.
    """
    pauses = np.diff(moments)
    if len(pauses) == len(run) > 1:
        shorter, longest = np.sort(pauses)[-2:]
        if longest > _PAUSE * shorter:
            return int(np.argmax(pauses) + 1) % len(run)
    # All orders of up to three slices go one way, from some slice on: that says nothing.
    if len(run) <= _FEW_SLICES and run[0] in (0, len(run) - 1):
        return 0
    steps = np.sign(run - np.roll(run, 1))
    rising = np.count_nonzero(steps > 0) >= np.count_nonzero(steps < 0)
    beginnings = np.flatnonzero(steps < 0 if rising else steps > 0)
    if 0 in beginnings:
        return 0
    return int(beginnings[0]) if len(beginnings) == 1 else None


def _cut(row: list[int], standing: Labels, *, descending: bool) -> list[list[int]]:
    """Return a row of places cut where a place comes again, or where its standing falls."""
    runs: list[list[int]] = []
    seen: set[int] = set()
    for place in row:
        falls = descending and runs and standing[place] <= standing[runs[-1][-1]]
        if not runs or falls or (not descending and place in seen):
            runs.append([])
            seen = set()
        runs[-1].append(place)
        seen.add(place)
    return runs
