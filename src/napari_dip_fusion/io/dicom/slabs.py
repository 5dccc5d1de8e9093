"""Slices that are unevenly spaced as a whole may be several even volumes."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.clusters import cluster_numbers
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.moments import MOMENTS, SAME_MOMENT

__all__ = ["label_slabs"]

Numbers = NDArray[np.float64]
Labels = NDArray[np.intp]

# The part of a step by which the next one may differ in an even series, by rounding or not.
_UNEVEN = 0.1
# Slices that are so many steps apart are not of one volume.
_APART = 4


def label_slabs(frames: Sequence[Frame], distances: Numbers) -> Labels:
    """Return which of several even volumes each slice belongs to.

    Two scans of one region hardly ever have their slices in the same places. Between each
    other they would look like one volume of twice as many.

    Parameters
    ----------
    frames : sequence of Frame
        Frames with a place, each in another one.
    distances : ndarray of shape (N,)
        Their distances along the normal, in millimeters.

    Returns
    -------
    ndarray of int, shape (N,)
        Zeros where the slices are even as a whole, or cannot be told apart.
    """
    whole = np.zeros(len(frames), dtype=np.intp)
    if _is_even(distances):
        return whole
    for labels in _propose(frames, distances):
        parts = [distances[labels == label] for label in range(labels.max() + 1)]
        if len(parts) > 1 and all(_is_even(part) for part in parts):
            return labels
    return whole


def _is_even(distances: Numbers) -> bool:
    """Tell whether slices are evenly spaced, but for missing ones."""
    steps = np.diff(np.sort(distances))
    if len(steps) < 2:
        return True
    parts = steps / max(float(np.median(steps)), 1e-9)
    jumps = np.maximum(np.round(parts), 1)
    return bool(np.abs(parts - jumps).max() <= _UNEVEN and jumps.max() < _APART)


def _propose(frames: Sequence[Frame], distances: Numbers) -> Iterator[Labels]:
    """Yield ways to take slices apart: by when they were made, by their numbers, by gaps."""
    counts = [[frame.kind.moments.get(name) for frame in frames] for name in MOMENTS]
    counts.append([frame.number for frame in frames])
    for values in counts:
        if None in values:
            continue
        numbers = np.array(values, dtype=np.float64)
        labels = cluster_numbers(numbers, SAME_MOMENT)
        # At least three slices show whether they are even.
        if np.bincount(labels).min() > 2:
            yield labels
        runs = _cut_runs(numbers, distances)
        if np.bincount(runs).min() > 2:
            yield runs
    order = np.argsort(distances)
    steps = np.diff(distances[order])
    labels = np.zeros(len(distances), dtype=np.intp)
    labels[order[1:]] = np.cumsum(steps > _APART * np.median(steps))
    yield labels


def _cut_runs(numbers: Numbers, distances: Numbers) -> Labels:
    """Return the runs in which slices follow each other one way."""
    order = np.argsort(numbers, kind="stable")
    signs = np.sign(np.diff(distances[order]))
    main = 1.0 if np.count_nonzero(signs > 0) >= np.count_nonzero(signs < 0) else -1.0
    labels = np.zeros(len(numbers), dtype=np.intp)
    labels[order[1:]] = np.cumsum(signs == -main)
    return labels
