"""What a DICOM header says of the place of a frame.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.fields import Fields, parse_numbers

__all__ = ["FramePlace", "find_frame_place"]

# Length of the cross product of the directions along a row and a column: 1 where they are
# unit vectors at right angles. Damaged ones span no plane.
_LEAST_CROSS = 0.9


@dataclass(frozen=True, eq=False)
class FramePlace:
    """Where a frame lies, as far as its header says it.

    Parameters
    ----------
    spacing : tuple of float, optional
        Millimeters between rows and between columns.
    thickness : float
        Millimeters to the next slice, where it alone is known.
    position, orientation : ndarray, optional
        Place of the first pixel, of shape (3,), and the directions along a row and a
        column, of shape (6,), both in (left, back, head); both or neither.
    """

    spacing: tuple[float, float] | None
    thickness: float
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None


def find_frame_place(fields: Fields, index: int, frames: int) -> FramePlace:
    """Return where a frame lies.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.
    index, frames : int
        Index of the frame in the file, and the number of frames there.

    Returns
    -------
    FramePlace
        The place.

    Raises
    ------
    ValueError
        If a field is not what it can be.
    """
    position, orientation = _find_position(fields, index, frames)
    return FramePlace(
        spacing=_find_spacing(fields),
        thickness=_find_thickness(fields),
        position=position,
        orientation=orientation,
    )


def _find_position(
    fields: Fields, index: int, frames: int
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return position and orientation of a frame, both of them None if one is not known."""
    header = fields.header
    position = parse_numbers(fields.find("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _find_orientation(fields)
    offsets = header.get("GridFrameOffsetVector")
    if frames > 1 and offsets is not None and position is not None and orientation is not None:
        # Doses of radiotherapy give the distance of each frame from the first (C.8.8.3.2).
        normal = np.cross(orientation[:3], orientation[3:])
        position = position + normal * (float(offsets[index]) - float(offsets[0]))
    elif frames > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        position = None  # the one that is given is of the first frame only
    return (None, None) if position is None or orientation is None else (position, orientation)


def _find_orientation(fields: Fields) -> NDArray[np.float64] | None:
    """Return the directions along a row and a column (C.7.6.2.1.1)."""
    value = fields.find("PlaneOrientationSequence", "ImageOrientationPatient")
    numbers = parse_numbers(value, 6)
    if numbers is None or np.linalg.norm(np.cross(numbers[:3], numbers[3:])) < _LEAST_CROSS:
        return None
    return numbers


def _find_spacing(fields: Fields) -> tuple[float, float] | None:
    """Return the distances between rows and between columns (10.7.1.3)."""
    value = fields.find("PixelMeasuresSequence", "PixelSpacing")
    if value is None:
        # Projections give the distances at the detector.
        value = fields.header.get("ImagerPixelSpacing")
    numbers = parse_numbers(value, 2)
    if numbers is None or not (numbers > 0).all():
        return None
    return float(numbers[0]), float(numbers[1])


def _find_thickness(fields: Fields) -> float:
    """Return the distance to the next slice, as far as the header of one slice tells it."""
    spacing = fields.header.get("SpacingBetweenSlices")
    thickness = spacing or fields.find("PixelMeasuresSequence", "SliceThickness")
    # In nuclear medicine the sign is the direction of stacking (C.8.4.15).
    return abs(float(thickness or 0.0)) or 1.0
