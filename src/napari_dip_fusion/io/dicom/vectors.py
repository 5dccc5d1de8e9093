"""The vectors by which a DICOM object without functional groups tells its frames apart.

Sections such as C.8.4.8 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import keyword_for_tag

from napari_dip_fusion.io.dicom.elements import (
    find_number,
    get_value,
    list_values,
    parse_number,
    parse_numbers,
)

__all__ = ["SLICED", "FrameVectors", "read_vectors"]

Numbers = NDArray[np.float64]

# A dose grid whose first offset lies nearer to the z of its position gives z itself.
_SAME_Z = 0.01
# The part by which the normal of a transverse plane may be shorter along z than in all.
_SAME_NORMAL = 1e-4
SLICED = frozenset(("CT", "MR", "PT"))
"""Modalities whose images are slices, also those that break the rules."""

_PLACES = frozenset(("SliceVector", "SliceLocationVector", "GridFrameOffsetVector"))
_LIKE_SLICES = "frames are taken for slices {} mm apart, as {} says"
_FIRST_FRAME = (
    "SliceVector does not begin at its first slice; the position is taken for that of the first "
    "frame"
)


@dataclass(frozen=True, eq=False)
class FrameVectors:
    """What the frames of an object are counted by.

    Parameters
    ----------
    counts : dict of ndarray of shape (N,)
        By the keywords of :data:`~napari_dip_fusion.io.dicom.kinds.MARKS`: the number of the
        volume, or its time in milliseconds, for each of N frames.
    offsets : ndarray of shape (N,), optional
        Millimeters from the first frame along the normal; None where frames are no slices,
        or where each frame says its own place.
    guess : str
        Why the offsets are only a guess; empty where they are known.
    """

    counts: dict[str, Numbers] = field(default_factory=dict)
    offsets: Numbers | None = None
    guess: str = ""

    def look_up(self, index: int) -> dict[str, float]:
        """Return what one frame is counted by."""
        return {keyword: float(numbers[index]) for keyword, numbers in self.counts.items()}


def read_vectors(header: Any, frames: int) -> FrameVectors:
    """Return what the frames of an object are counted by.

    The places of slices are those of SimpleITK, but for two cases. Slices of nuclear
    medicine lie in the order of SliceVector, as the standard has it; SimpleITK takes them as
    they come. Offsets of a dose grid that begin with the z of its position are z, also where
    the normal points to the feet; SimpleITK follows the normal there, and the standard has
    no such grid, so that the place is called a guess.

    Parameters
    ----------
    header : pydicom.Dataset
        The header.
    frames : int
        Number of frames in the file.

    Returns
    -------
    FrameVectors
        Empty for an object of one frame, and where functional groups say it of each frame.

    Raises
    ------
    ValueError
        If a field is not what it can be.
    """
    pointers = [
        keyword_for_tag(tag) for tag in list_values(get_value(header, "FrameIncrementPointer"))
    ]
    first = int(find_number(header, "ConcatenationFrameOffsetNumber") or 0)
    counts = _count_times(header, pointers, frames, first)
    if get_value(header, "PerFrameFunctionalGroupsSequence") or frames == 1:
        return FrameVectors(counts if frames > 1 else {})
    vectors = {
        keyword: numbers
        for keyword in pointers
        if keyword.endswith("Vector") and keyword != "FrameTimeVector"
        if (numbers := _read_vector(header, keyword, frames)) is not None
    }
    others = {keyword: vectors[keyword] for keyword in vectors if keyword not in _PLACES}
    counts |= _merge_phases(header, others)
    return FrameVectors(counts, *_find_offsets(header, frames, vectors, counted=bool(counts)))


def _read_vector(header: Any, keyword: str, frames: int) -> Numbers | None:
    """Return a number for each frame, None if there are others."""
    numbers = [parse_number(number) for number in list_values(get_value(header, keyword))]
    if len(numbers) != frames or None in numbers:
        return None
    return np.array(numbers, dtype=np.float64)


def _count_times(header: Any, pointers: list[str], frames: int, first: int) -> dict[str, Numbers]:
    """Return the milliseconds from the first frame, of cine loops (C.7.6.5)."""
    steps = _read_vector(header, "FrameTimeVector", frames)
    if steps is not None and (not pointers or "FrameTimeVector" in pointers):
        # Each is the way from the frame before; the first one says nothing.
        ends: Numbers = np.cumsum(steps)
        return {"FrameTimeVector": ends - steps[0]}
    step = find_number(header, "FrameTime")
    if step and (not pointers or "FrameTime" in pointers):
        times: Numbers = step * (first + np.arange(float(frames)))
        return {"FrameTime": times}
    return {}


def _merge_phases(header: Any, vectors: dict[str, Numbers]) -> dict[str, Numbers]:
    """Return the vectors of a dynamic study with milliseconds for its phases (C.8.4.14)."""
    times = vectors.get("TimeSliceVector")
    if times is None:
        return vectors
    numbers = vectors.get("PhaseVector", np.ones_like(times))
    rest = {k: v for k, v in vectors.items() if k not in ("TimeSliceVector", "PhaseVector")}
    phases = _list_phases(header)
    inside = (numbers >= 1) & (numbers <= len(phases))
    if not inside.all() or (phases[:, 1] <= 0).any():
        # The times of one phase follow those of another, whatever they are.
        pairs = np.stack([numbers, times], axis=1)
        _, ranks = np.unique(pairs, axis=0, return_inverse=True)
        return {"TimeSliceVector": ranks.ravel().astype(np.float64), **rest}
    starts, steps = phases[numbers.astype(int) - 1].T
    return {"FrameTimeVector": starts + steps * (times - 1), **rest}


def _list_phases(header: Any) -> Numbers:
    """Return when each phase begins and the time of each of its frames, of shape (P, 2)."""
    begin, phases = 0.0, []
    for phase in list_values(get_value(header, "PhaseInformationSequence")):
        delay, duration, pause, count = (
            find_number(phase, keyword) or 0.0
            for keyword in (
                "PhaseDelay",
                "ActualFrameDuration",
                "PauseBetweenFrames",
                "NumberOfFramesInPhase",
            )
        )
        phases.append((begin + delay, duration + pause))
        begin += delay + (duration + pause) * count
    return np.array(phases, dtype=np.float64).reshape(-1, 2)


def _find_offsets(
    header: Any, frames: int, vectors: dict[str, Numbers], *, counted: bool
) -> tuple[Numbers | None, str]:
    """Return the offsets of slices, None where frames are none, and why they are a guess."""
    # Doses have this one also where nothing points to it.
    doses = _read_vector(header, "GridFrameOffsetVector", frames)
    if doses is not None:
        return _place_doses(header, doses)
    places = vectors.get("SliceLocationVector")
    if places is not None:
        return places - places[0], "SliceLocationVector counts from a point that is not known"
    return _space_slices(header, frames, vectors.get("SliceVector"), counted=counted)


def _place_doses(header: Any, offsets: Numbers) -> tuple[Numbers, str]:
    """Return the offsets of the planes of a dose grid, in either of two forms (C.8.8.3.2)."""
    relative = offsets - offsets[0]
    if offsets[0] == 0:
        return relative, ""
    position = parse_numbers(get_value(header, "ImagePositionPatient"), 3)
    turned = parse_numbers(get_value(header, "ImageOrientationPatient"), 6)
    if position is not None and turned is not None and abs(offsets[0] - position[2]) < _SAME_Z:
        up = np.cross(turned[:3], turned[3:])[2]
        if up > 1 - _SAME_NORMAL:
            return relative, ""
        if up < _SAME_NORMAL - 1:
            return -relative, "GridFrameOffsetVector holds z, but the normal points to the feet"
    return relative, (
        "GridFrameOffsetVector begins with neither 0 nor the z of ImagePositionPatient"
    )


def _space_slices(
    header: Any, frames: int, slices: Numbers | None, *, counted: bool
) -> tuple[Numbers | None, str]:
    """Return the offsets of evenly spaced slices, None where frames are none."""
    kind = list_values(get_value(header, "ImageType"))[2:3]
    rebuilt = bool(kind) and str(kind[0]).strip() in ("RECON TOMO", "RECON GATED TOMO")
    if slices is None and counted:
        return None, ""  # each frame is something else, such as a time
    numbers: Numbers = np.arange(float(frames)) if slices is None else slices - slices[0]
    # In nuclear medicine the sign is the direction of stacking (C.8.4.15).
    spacing = find_number(header, "SpacingBetweenSlices")
    if spacing:
        if slices is not None and slices[0] != slices.min():
            # Programs do not agree on whether the position is that of the first frame or slice.
            return numbers * spacing, _FIRST_FRAME
        sure = slices is not None or rebuilt
        return numbers * spacing, (
            "" if sure else _LIKE_SLICES.format(f"{spacing:g}", "SpacingBetweenSlices")
        )
    thickness = find_number(header, "SliceThickness")
    sliced = get_value(header, "Modality") in SLICED and "ImageOrientationPatient" in header
    if thickness and (slices is not None or rebuilt or sliced):
        return numbers * thickness, _LIKE_SLICES.format(f"{thickness:g}", "SliceThickness")
    if slices is not None:
        return numbers * 1.0, "the distance of slices is missing; 1 mm is assumed"
    return None, ""
