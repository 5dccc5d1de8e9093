"""Where the slices of a DICOM volume lie: their directions, their line, and what is odd in it.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.clusters import cluster_numbers, cluster_vectors
from napari_dip_fusion.io.dicom.frames import Frame

__all__ = ["Line", "find_directions", "fit_line", "locate", "number_places", "split_aside"]

Numbers = NDArray[np.float64]
Labels = NDArray[np.intp]

# Positions that differ by no more, in millimeters, are one; where slices or pixels are finer,
# this part of their distance is the limit.
_SAME_PLACE, _PART = 0.1, 0.2
# Slices at one distance that lie further aside, in pixels, are not of one stack.
_SAME_PIXEL = 0.5
# The part of the step by which a slice may be off before it is said.
_UNEVEN = 0.05
# Filling the gaps of a series may make it at most this many times as long; one that would
# grow longer is taken to be unevenly spaced.
_MOST_SPREAD = 4


def find_directions(frames: Sequence[Frame]) -> Numbers:
    """Return the directions that frames share, but for rounding.

    Parameters
    ----------
    frames : sequence of Frame
        Frames with a place.

    Returns
    -------
    ndarray of shape (3, 3)
        Unit vectors at right angles, in (left, back, head): along the normal, along a column
        and along a row. Of all such vectors those of row and column are the nearest to the
        mean of what the headers say.
    """
    turned = np.array([frame.place.orientation for frame in frames], dtype=np.float64)
    mean = turned.mean(axis=0).reshape(2, 3)
    left, _, right = np.linalg.svd(mean, full_matrices=False)
    row, column = left @ right
    return np.stack([np.cross(row, column), column, row])


def locate(frames: Sequence[Frame], directions: Numbers) -> Numbers:
    """Return the first pixels of frames along some directions, of shape (N, 3), in millimeters."""
    positions: Numbers = np.array([frame.place.position for frame in frames])
    return positions @ directions.T


def number_places(frames: Sequence[Frame], distances: Numbers) -> Labels:
    """Return in which place along the normal each frame lies.

    Parameters
    ----------
    frames : sequence of Frame
        Frames with a place.
    distances : ndarray of shape (N,)
        Their distances along the normal, in millimeters.

    Returns
    -------
    ndarray of int, shape (N,)
        0 for the first place.
    """
    tolerance = min(_SAME_PLACE, _PART * min(frame.place.thickness for frame in frames))
    labels = cluster_numbers(distances, tolerance)
    # Slices finer than that hang together in one chain.
    while tolerance > 1e-6 and _measure_spread(distances, labels) > 2 * tolerance:
        tolerance /= 4
        labels = cluster_numbers(distances, tolerance)
    return labels


def _measure_spread(values: Numbers, labels: Labels) -> float:
    """Return how far apart values of one label lie at most."""
    low, high = np.full(labels.max() + 1, np.inf), np.full(labels.max() + 1, -np.inf)
    np.minimum.at(low, labels, values)
    np.maximum.at(high, labels, values)
    return float(np.max(high - low))


def split_aside(frames: Sequence[Frame], directions: Numbers) -> Labels:
    """Return which of several stacks beside each other each frame belongs to.

    Parameters
    ----------
    frames : sequence of Frame
        Frames with a place.
    directions : ndarray of shape (3, 3)
        From :func:`find_directions`.

    Returns
    -------
    ndarray of int, shape (N,)
        Zeros where no two frames at one distance lie beside each other, or where that
        cannot be told from a slant.
    """
    located = locate(frames, directions)
    places, aside = number_places(frames, located[:, 0]), located[:, 1:]
    spacing = frames[0].place.spacing
    finest = min(spacing.rows, spacing.columns) if spacing.unit == "mm" else 1.0
    tolerance = _SAME_PIXEL * finest
    if all(_measure_spread(axis, places) <= tolerance for axis in aside.T):
        return np.zeros(len(frames), dtype=np.intp)
    labels = cluster_vectors(aside, tolerance)
    # Slices of one distance lie on no slant, and those of a slant hardly ever aside alike.
    told = places.max() == 0 or 2 * (labels.max() + 1) <= len(frames)
    return labels if told else np.zeros_like(labels)


@dataclass(frozen=True, eq=False)
class Line:
    """The line along which slices are stacked.

    Parameters
    ----------
    origin, step : ndarray of shape (3,)
        First pixel of the first slice, and the way to the next slice, in (left, back, head).
    indices : ndarray of int, shape (N,)
        Where in the stack each slice stands; left out numbers are missing slices.
    warnings : list of str
        What is odd in the slices.
    """

    origin: Numbers
    step: Numbers
    indices: Labels
    warnings: list[str]


def fit_line(
    located: Numbers, directions: Numbers, thickness: float, *, sparse: bool = False
) -> Line:
    """Return the line on which slices lie.

    Parameters
    ----------
    located : ndarray of shape (N, 3)
        The slices from :func:`locate`, in the order of their distances.
    directions : ndarray of shape (3, 3)
        From :func:`find_directions`.
    thickness : float
        Millimeters to the next slice, as far as one slice tells it; it counts if there is only
        one, or with `sparse`.
    sparse : bool
        Whether slices are left out because they are empty, of which no more is said.

    Returns
    -------
    Line
        Fitted to all slices by least squares, but not to those that lie aside of the line
        of most others. It is slanted where the gantry of the scanner was tilted.
    """
    if len(located) == 1:
        first, step = located[0], np.array([thickness, 0.0, 0.0])
        return Line(first @ directions, step @ directions, np.zeros(1, dtype=np.intp), [])
    indices, odd = _count_steps(located[:, 0], thickness if sparse else None)
    origin, step, off = _fit(indices, located)
    aside = np.linalg.norm(off[:, 1:], axis=1)
    limit = min(_SAME_PLACE, _UNEVEN * float(step[0]))
    if aside.max() > limit:
        origin, step, off = _fit_most(indices, located, limit)
        aside = np.linalg.norm(off[:, 1:], axis=1)
        count = int((aside > limit).sum())
        odd.append(
            f"{count} of {len(located)} slices lie beside the line of the others, up to "
            f"{aside.max():.3g} mm; they are shown on it"
        )
    uneven = np.abs(off[:, 0]).max()
    if uneven > _UNEVEN * step[0]:
        distances = np.diff(located[:, 0])
        odd.append(
            f"slices are {distances.min():.3g} to {distances.max():.3g} mm apart; they are shown "
            f"as if evenly spaced, up to {uneven:.3g} mm from their place"
        )
    return Line(origin @ directions, step @ directions, indices, odd)


def _count_steps(distances: Numbers, known: float | None) -> tuple[Labels, list[str]]:
    """Return how many steps each slice is from the first, and what is missing.

    A step that is known is that of slices of which many may be left out.
    """
    jumps = np.diff(distances)
    # The median is the step of an even series as long as most slices are there; where they are
    # not, or where a part of a scan is finer, it may be the shortest one.
    for step in filter(None, (known, np.median(jumps), jumps.min())):
        steps = jumps / step
        whole = np.clip(np.round(steps), 1, 2**31).astype(np.intp)
        near = np.abs(steps - whole).max() <= 2 * _UNEVEN
        if near and whole.sum() <= _MOST_SPREAD * len(distances):
            break
    else:
        return np.arange(len(distances)), []
    indices = np.concatenate([[0], np.cumsum(whole)])
    missing = np.setdiff1d(np.arange(indices[-1] + 1), indices)
    if not len(missing) or known:
        return indices, []
    listed = ", ".join(str(n) for n in missing[:5]) + (", ..." if len(missing) > 5 else "")
    return indices, [
        f"{len(missing)} of {indices[-1] + 1} slices are missing and shown blank: z {listed}"
    ]


def _fit(indices: Labels, located: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return origin, step and residuals of a line by least squares."""
    basis = np.stack([np.ones(len(indices)), indices], axis=1)
    (origin, step), *_ = np.linalg.lstsq(basis, located, rcond=None)
    return origin, step, located - basis @ np.stack([origin, step])


def _fit_most(indices: Labels, located: Numbers, limit: float) -> tuple[Numbers, Numbers, Numbers]:
    """Return the line of most slices, if they have one, otherwise that of all."""
    # The median of the ways between neighbors is that of most, whatever the others do.
    slant = np.median(np.diff(located, axis=0) / np.diff(indices)[:, None], axis=0)
    level = np.median(located - indices[:, None] * slant, axis=0)
    off = np.linalg.norm((located - level - indices[:, None] * slant)[:, 1:], axis=1)
    most = off <= limit
    if most.sum() * 2 <= len(indices) or most.sum() < 2:
        return _fit(indices, located)
    origin, step, _ = _fit(indices[most], located[most])
    return origin, step, located - origin - indices[:, None] * step
