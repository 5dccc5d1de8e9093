"""What a DICOM header says of the place of a frame.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.dicom.elements import get_value, list_values, parse_numbers
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.spacing import SIZES, PixelSpacing, find_pixel_spacing
from napari_dip_fusion.io.dicom.vectors import SLICED, FrameVectors

__all__ = ["PLANES", "FramePlace", "find_frame_place"]

PLANES = (
    ("sagittal", (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
    ("coronal", (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)),
    ("axial", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
)
"""The planes of the body by the axis of their normal, as radiologists look at them: their name,
and the directions along a row and a column in (left, back, head).
"""

_AXIAL = np.array(PLANES[2][1])

# Square of the area spanned by the directions along a row and a column: 1 where they are unit
# vectors at right angles. Damaged ones span no plane.
_AREAS = (0.8, 1.2)
_MISSING = "ImagePositionPatient is missing"


@dataclass(frozen=True, eq=False)
class FramePlace:
    """Where a frame lies, as far as its header says it.

    Parameters
    ----------
    spacing : PixelSpacing
        The distances between its pixels.
    thickness : float
        Millimeters to the next slice, where it alone is known.
    position, orientation : ndarray, optional
        Place of the first pixel, of shape (3,), and the directions along a row and a
        column, of shape (6,), both in (left, back, head); no orientation without a position.
    guess : str
        Why the place is only a guess, if it is one.
    """

    spacing: PixelSpacing
    thickness: float
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    guess: str


@dataclass(frozen=True, eq=False)
class _Origin:
    """Where a header says that a plane lies."""

    position: NDArray[np.float64] | None = None
    orientation: NDArray[np.float64] | None = None
    guess: str = ""


def find_frame_place(fields: Fields, vectors: FrameVectors, frames: int) -> FramePlace:
    """Return where a frame lies.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.
    vectors : FrameVectors
        What its object says of all frames.
    frames : int
        Number of frames in the file.

    Returns
    -------
    FramePlace
        The place.

    Raises
    ------
    ValueError
        If a field is not what it can be.
    """
    spacing = find_pixel_spacing(fields)
    found = _find_origin(fields, vectors)
    single = frames == 1 or _is_placed(fields)
    offset, guess = (0.0, "") if single else _find_offset(fields, vectors)
    if offset is None:
        found = _Origin()
    elif not single:
        found = _shift(found, offset, guess)
    if found.position is not None and np.abs(found.position).max() > SIZES[1]:
        raise ValueError(f"a frame must lie within a kilometer, got {found.position} mm")
    guesses = [found.guess, spacing.guess]
    if found.position is None and spacing.unit == "mm" and not found.guess:
        guesses[0] = _MISSING
    return FramePlace(
        spacing=spacing,
        thickness=_find_thickness(fields),
        position=found.position,
        orientation=None if found.position is None else found.orientation,
        guess="; ".join(filter(None, guesses)),
    )


def _is_placed(fields: Fields) -> bool:
    """Tell whether a functional group says the place of the frame itself."""
    groups = ("PlanePositionSequence", "PlanePositionVolumeSequence")
    return any(get_value(place, group) for place in fields.places for group in groups)


def _find_offset(fields: Fields, vectors: FrameVectors) -> tuple[float | None, str]:
    """Return how far a frame lies behind the first one, None if frames are no slices."""
    if vectors.offsets is not None:
        return float(vectors.offsets[fields.index]), vectors.guess
    number = fields.find_number("FrameContentSequence", "InStackPositionNumber")
    spacing = fields.find_number("PixelMeasuresSequence", "SpacingBetweenSlices")
    if fields.places and number is not None and spacing:
        return (number - 1) * spacing, "slices are placed by InStackPositionNumber"
    return None, ""


def _shift(found: _Origin, offset: float, guess: str) -> _Origin:
    """Return a place further along the normal, in the world's axes where none is known."""
    guesses = [found.guess, guess]
    position, orientation = found.position, found.orientation
    if position is None:
        position, guesses[0] = np.zeros(3), guesses[0] or _MISSING
    if orientation is None:
        orientation = _AXIAL
        if found.position is not None:
            guesses[0] = "ImageOrientationPatient is missing; axial slices are assumed"
    normal = np.cross(orientation[:3], orientation[3:])
    return _Origin(position + offset * normal, orientation, "; ".join(filter(None, guesses)))


def _find_origin(fields: Fields, vectors: FrameVectors) -> _Origin:
    """Return position and orientation of a frame, or of the first frame of its object."""
    if "MOSAIC" in _find_kind(fields):
        return _Origin(guess="each frame is a mosaic of slices, which are not taken apart")
    turned = fields.find("PlaneOrientationSequence", "ImageOrientationPatient")
    position = fields.find("PlanePositionSequence", "ImagePositionPatient")
    if position:
        return _check_origin(position, turned)
    volume = fields.find("PlanePositionVolumeSequence", "ImagePositionVolume")
    if volume:
        turned = fields.find("PlaneOrientationVolumeSequence", "ImageOrientationVolume")
        found = _check_origin(volume, turned)
        guess = "ImagePositionVolume is a place in the volume's own frame, not in the patient"
        return _Origin(found.position, found.orientation, found.guess or guess)
    detector = _find_detector(fields, vectors)
    if detector is None:
        return _place_location(fields, _check_origin(None, turned))
    turned = get_value(detector, "ImageOrientationPatient") or turned
    return _check_origin(get_value(detector, "ImagePositionPatient"), turned)


def _place_location(fields: Fields, found: _Origin) -> _Origin:
    """Return the place of a slice of which only the distance from some point is known."""
    location = fields.find_number("", "SliceLocation")
    if location is None or fields.get("Modality") not in SLICED:
        return found
    turned = _AXIAL if found.orientation is None else found.orientation
    position = np.cross(turned[:3], turned[3:]) * location
    return _Origin(position, turned, f"{_MISSING}; slices are placed by SliceLocation")


def _find_kind(fields: Fields) -> str:
    return "\\".join(str(part) for part in list_values(fields.get("ImageType"))[2:])


def _find_detector(fields: Fields, vectors: FrameVectors) -> Any:
    """Return what is said of the detector of a frame of slices of nuclear medicine (C.8.4.11).

    The frames of other studies are projections, which lie in no plane of the body.
    """
    kind = _find_kind(fields)
    detectors = list_values(fields.get("DetectorInformationSequence"))
    if not detectors or ("RECON" not in kind and vectors.offsets is None):
        return None
    number = int(vectors.look_up(fields.index).get("DetectorVector", 1)) if vectors.counts else 1
    return detectors[number - 1] if 1 <= number <= len(detectors) else detectors[0]


def _check_origin(position: Any, turned: Any) -> _Origin:
    """Return a place, without what cannot be one."""
    where, numbers = parse_numbers(position, 3), parse_numbers(turned, 6)
    if numbers is None and where is None:
        return _Origin()
    if numbers is None:
        return _Origin(where)  # several slices may tell the orientation
    row, column = numbers[:3], numbers[3:]
    # The square of the area that they span, by Lagrange's identity.
    area = (row @ row) * (column @ column) - (row @ column) ** 2
    if not _AREAS[0] < area < _AREAS[1]:
        return _Origin(guess="ImageOrientationPatient holds no unit vectors at right angles")
    return _Origin(where, numbers)


def _find_thickness(fields: Fields) -> float:
    """Return the distance to the next slice, as far as the header of one slice tells it."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        number = abs(fields.find_number("PixelMeasuresSequence", keyword) or 0.0)
        if SIZES[0] <= number <= SIZES[1]:
            return number
    return 1.0
