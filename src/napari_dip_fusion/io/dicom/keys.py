"""Which volume of its series a DICOM frame belongs to, as far as its fields say it."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.clusters import cluster_numbers, cluster_vectors
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.kinds import MARKS, Mark

__all__ = ["Key", "Part", "find_keys", "label_marks"]

Key = tuple[tuple[int, ...], ...]
"""The number of a volume in each of several parts, as many numbers as fields count it."""

Part = tuple[str, ...]
"""The axes that a part of a key counts: one, or several that only change with each other."""

Labels = NDArray[np.intp]


def find_keys(frames: Sequence[Frame], places: Labels) -> tuple[list[Part], list[Key]]:
    """Return which volume each frame belongs to.

    Parameters
    ----------
    frames : sequence of Frame
        Frames of one nature.
    places : ndarray of int, shape (N,)
        In which place each frame lies.

    Returns
    -------
    parts : list of Part
        What the parts of the keys count, the slowest first.
    keys : list of Key
        For each frame the number of its volume in each part.
    """
    columns: dict[str, list[Labels]] = defaultdict(list)
    for keyword, mark in MARKS.items():
        labels = label_marks(frames, keyword)
        if labels.any() and _tells_volumes(labels, places, mark):
            columns[mark.axis].append(labels)
    order = dict.fromkeys(mark.axis for mark in MARKS.values())
    axes = {axis: np.stack(columns[axis], axis=1) for axis in order if axis in columns}
    parts = _join_axes(axes)
    tables = [np.concatenate([axes[name] for name in part], axis=1).tolist() for part in parts]
    keys = [tuple(map(tuple, row)) for row in zip(*tables, strict=True)]
    return parts, keys or [()] * len(frames)


def _join_axes(axes: dict[str, Labels]) -> list[Part]:
    """Return the names of axes, those together that only change with each other."""
    parts: list[Part] = []
    for name, table in axes.items():
        count = len(np.unique(table, axis=0))
        for n, part in enumerate(parts):
            other = axes[part[0]]
            pairs = len(np.unique(np.concatenate([table, other], axis=1), axis=0))
            if pairs == count == len(np.unique(other, axis=0)):
                # Whatever else changes says more than that time goes on.
                parts[n] = (name, *part) if part[0] == "t" else (*part, name)
                break
        else:
            parts.append((name,))
    return parts


def label_marks(frames: Sequence[Frame], keyword: str) -> Labels:
    """Return which frames have the same value in a field, 0 for those that lack it."""
    values = [frame.kind.marks.get(keyword, ()) for frame in frames]
    known = np.array([bool(value) for value in values])
    labels = np.zeros(len(frames), dtype=np.intp)
    if not known.any():
        return labels
    longest, tolerance = max(map(len, values)), MARKS[keyword].tolerance
    # Shorter ones lack the last numbers.
    table = np.array([[*value, *[0.0] * (longest - len(value))] for value in values if value])
    if longest == 1:
        found = cluster_numbers(table[:, 0], tolerance)
    else:
        numbers = [frame.number for frame, is_known in zip(frames, known, strict=True) if is_known]
        found = _sort_labels(cluster_vectors(table, tolerance), numbers, table)
    labels[known] = found + (not known.all())
    return labels


def _sort_labels(labels: Labels, numbers: list[float], table: NDArray[np.float64]) -> Labels:
    """Return labels in the order of the first number of each, of equals in that of vectors."""
    firsts = [
        min(
            (numbers[n], tuple(table[n].round(2).tolist())) for n in np.flatnonzero(labels == label)
        )
        for label in range(labels.max() + 1)
    ]
    standing = np.empty(len(firsts), dtype=np.intp)
    standing[sorted(range(len(firsts)), key=firsts.__getitem__)] = np.arange(len(firsts))
    return standing[labels]


def _separates(labels: Labels, places: Labels) -> bool:
    """Tell whether some place has frames with different labels."""
    pairs = len(set(zip(labels.tolist(), places.tolist(), strict=True)))
    return pairs > len(set(places.tolist()))


def _tells_volumes(labels: Labels, places: Labels, mark: Mark) -> bool:
    """Tell whether a field that differs is that of whole volumes, and not of single slices."""
    count, slices = labels.max() + 1, len(set(places.tolist()))
    most = np.bincount(places).max()
    if mark.by_slice:
        return _separates(labels, places) and count <= most
    # Most slices have a value of their own: they would make no volumes.
    return not (slices > 2 and count > most and 2 * count > len(labels))
