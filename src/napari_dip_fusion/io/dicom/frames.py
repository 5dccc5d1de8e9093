"""The header of a DICOM file says what each of its frames is, and where it lies.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.checks import check_decoder, check_deflated, check_size
from napari_dip_fusion.io.dicom.files import has_mark
from napari_dip_fusion.io.dicom.privacy import keep_fields
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.silence import silence_warnings

__all__ = ["Frame", "read_frames"]

# Length of the cross product of the directions along a row and a column: 1 where they are
# unit vectors at right angles. Damaged ones span no plane.
_LEAST_CROSS = 0.9


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of pixels in a file, and what the header says of it.

    Parameters
    ----------
    path : Path
        The file.
    index : int
        Index of the frame in the file.
    series, identity : str
        UID of the series and of the object.
    number : float
        The position in the series as the scanner counts.
    shape : tuple of int
        Rows and columns.
    color : bool
        Whether a pixel has three values.
    palette : bool
        Whether the values are indices of colors.
    deflated : bool
        Whether the file has to be unpacked as a whole.
    inverted : bool
        Whether small values are bright (MONOCHROME1).
    stored : dtype
        Type of the values in the file.
    limits : tuple of float
        Smallest and largest value that the file can hold.
    slope, intercept : float
        Factors from stored to physical values.
    spacing : tuple of float, optional
        Millimeters between rows and between columns.
    thickness : float
        Millimeters to the next slice, where it alone is known.
    position, orientation : ndarray, optional
        Place of the first pixel, of shape (3,), and the directions along a row and a
        column, of shape (6,), both in (left, back, head); both or neither.
    interval : float, optional
        Milliseconds to the next frame.
    name : str
        Name for people, free of what a patient is called.
    metadata : dict
        Technical fields.
    """

    path: Path
    index: int
    series: str
    identity: str
    number: float
    shape: tuple[int, int]
    color: bool
    palette: bool
    deflated: bool
    inverted: bool
    stored: np.dtype[Any]
    limits: tuple[float, float]
    slope: float
    intercept: float
    spacing: tuple[float, float] | None
    thickness: float
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    interval: float | None
    name: str
    metadata: dict[str, Any]


def read_frames(path: Path, *, patient: bool = False) -> list[Frame]:
    """Read the header of a file, without its pixels.

    Parameters
    ----------
    path : Path
        The file.
    patient : bool
        Whether to keep who was scanned and when.

    Returns
    -------
    list of Frame
        All frames of the file; none for an object that is no image.

    Raises
    ------
    ImageFileError
        If the file is damaged, or compressed in a way for which a package is missing.
    """
    # Many scanners bend the standard a little, which pydicom warns of.
    with report_damage(path, "read as DICOM"), silence_warnings():
        if not has_mark(path):
            raise ImageFileError(f"{path} has no DICM mark at byte 128; it is no DICOM file")
        meta = read_file_meta_info(path)
        syntax = meta.get("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            check_deflated(path)
        with path.open("rb") as handle:
            header = pydicom.dcmread(handle, stop_before_pixels=True)
            left = path.stat().st_size - handle.tell()
        if "Rows" not in header or "BitsAllocated" not in header:
            # An image without a size was cut short; a report or a plan never has one.
            if "Image Storage" in str(getattr(meta.get("MediaStorageSOPClassUID"), "name", "")):
                raise ImageFileError(f"{path} ends within its header; the file is cut short")
            return []
        check_size(path, header, left=left, syntax=syntax)
        check_decoder(path, syntax)
        frames = int(header.get("NumberOfFrames") or 1)
        return [_make_frame(path, header, index, frames, patient) for index in range(frames)]


def _make_frame(path: Path, header: Any, index: int, frames: int, patient: bool) -> Frame:
    fields = _Fields(header, index)
    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    stored, limits = _find_stored_type(header)
    slope, intercept = _find_factors(fields)
    position, orientation = _find_place(fields, index, frames)
    interval = header.get("FrameTime")
    return Frame(
        path=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        identity=str(header.get("SOPInstanceUID") or path),
        number=float(header.get("InstanceNumber") or 0) + index / frames,
        shape=(int(header.Rows), int(header.Columns)),
        color=int(header.get("SamplesPerPixel", 1)) == 3 or photometric == "PALETTE COLOR",
        palette=photometric == "PALETTE COLOR",
        deflated=header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian,
        inverted=photometric == "MONOCHROME1",
        stored=stored,
        limits=limits,
        slope=slope,
        intercept=intercept,
        spacing=_find_spacing(fields),
        thickness=_find_thickness(fields),
        position=position,
        orientation=orientation,
        interval=float(interval) if interval else None,
        name=f"{header.get('Modality', 'DICOM')} series {header.get('SeriesNumber', 0) or 0}",
        metadata=keep_fields(header, patient=patient),
    )


class _Fields:
    """The fields that hold for one frame, wherever in the header they stand.

    Enhanced objects keep them in functional groups (C.7.6.16): those of each frame, and
    those that all frames share. Other objects keep them in the header itself.
    """

    def __init__(self, header: Any, index: int) -> None:
        own = header.get("PerFrameFunctionalGroupsSequence") or []
        shared = header.get("SharedFunctionalGroupsSequence") or []
        self.places = [*own[index : index + 1], *shared[:1]]
        self.header = header

    def find(self, group: str, keyword: str) -> Any:
        """Return the value of a field, None if there is none."""
        for place in self.places:
            items = place.get(group)
            if items and keyword in items[0]:
                return items[0].get(keyword)
        return self.header.get(keyword)


def _find_place(
    fields: _Fields, index: int, frames: int
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return position and orientation of a frame, both of them None if one is not known."""
    header = fields.header
    position = _parse_numbers(fields.find("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _find_orientation(fields)
    offsets = header.get("GridFrameOffsetVector")
    if frames > 1 and offsets is not None and position is not None and orientation is not None:
        # Doses of radiotherapy give the distance of each frame from the first (C.8.8.3.2).
        normal = np.cross(orientation[:3], orientation[3:])
        position = position + normal * (float(offsets[index]) - float(offsets[0]))
    elif frames > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        position = None  # the one that is given is of the first frame only
    return (None, None) if position is None or orientation is None else (position, orientation)


def _find_orientation(fields: _Fields) -> NDArray[np.float64] | None:
    """Return the directions along a row and a column (C.7.6.2.1.1)."""
    value = fields.find("PlaneOrientationSequence", "ImageOrientationPatient")
    numbers = _parse_numbers(value, 6)
    if numbers is None or np.linalg.norm(np.cross(numbers[:3], numbers[3:])) < _LEAST_CROSS:
        return None
    return numbers


def _find_spacing(fields: _Fields) -> tuple[float, float] | None:
    """Return the distances between rows and between columns (10.7.1.3)."""
    value = fields.find("PixelMeasuresSequence", "PixelSpacing")
    if value is None:
        # Projections give the distances at the detector.
        value = fields.header.get("ImagerPixelSpacing")
    numbers = _parse_numbers(value, 2)
    if numbers is None or not (numbers > 0).all():
        return None
    return float(numbers[0]), float(numbers[1])


def _find_thickness(fields: _Fields) -> float:
    """Return the distance to the next slice, as far as the header of one slice tells it."""
    spacing = fields.header.get("SpacingBetweenSlices")
    thickness = spacing or fields.find("PixelMeasuresSequence", "SliceThickness")
    # In nuclear medicine the sign is the direction of stacking (C.8.4.15).
    return abs(float(thickness or 0.0)) or 1.0


def _find_stored_type(header: Any) -> tuple[np.dtype[Any], tuple[float, float]]:
    """Return the type of the values in a file, and the smallest and largest of them."""
    bits = int(header.BitsAllocated)
    # Float and Double Float Pixel Data have no Pixel Representation (C.7.6.24, C.7.6.25).
    if bits > 16 and "PixelRepresentation" not in header:
        return np.dtype(f"f{bits // 8}"), (0.0, 0.0)
    signed = bool(header.get("PixelRepresentation", 0))
    held = int(header.get("BitsStored", bits))
    if bits == 1:
        return np.dtype(np.uint8), (0.0, 1.0)
    limits = (-(2.0 ** (held - 1)), 2.0 ** (held - 1) - 1) if signed else (0.0, 2.0**held - 1)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}"), limits


def _find_factors(fields: _Fields) -> tuple[float, float]:
    """Return slope and intercept from stored to physical values (C.11.1; C.8.8.3 for doses)."""
    group = "PixelValueTransformationSequence"
    scaling = fields.header.get("DoseGridScaling")
    slope = float(scaling or fields.find(group, "RescaleSlope") or 1.0)
    intercept = float(fields.find(group, "RescaleIntercept") or 0.0)
    if not np.isfinite((slope, intercept)).all():
        raise ValueError(f"rescale slope and intercept must be finite, got {slope}, {intercept}")
    return slope, intercept


def _parse_numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    """Return a field of several numbers, None if it is missing or empty."""
    if value is None or value == "":
        return None
    numbers = np.asarray([float(number) for number in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers, got {value}")
    return numbers
