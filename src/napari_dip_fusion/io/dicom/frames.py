"""The header of a DICOM file says what each of its frames is, and where it lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip_fusion.io.dicom.checks import count_frames
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.header import PixelElement, read_header
from napari_dip_fusion.io.dicom.place import FramePlace, find_frame_place
from napari_dip_fusion.io.dicom.privacy import keep_fields
from napari_dip_fusion.io.dicom.scalars import find_number
from napari_dip_fusion.io.dicom.stored import StoredValues, find_stored_values
from napari_dip_fusion.io.failures import report_damage

__all__ = ["Frame", "read_frames"]

_BROKEN = "its header is damaged or not as the standard has it, export it again"


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
    pixels : PixelElement
        Where the pixels of the file are, and how they are encoded.
    values : StoredValues
        How the pixels are stored, and what they mean.
    place : FramePlace
        Where the frame lies.
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
    pixels: PixelElement
    values: StoredValues
    place: FramePlace
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
        All frames of the file.

    Raises
    ------
    NoImageError
        If it is an object that is no image.
    ImageFileError
        If the file is damaged, or compressed in a way for which a package is missing.
    """
    with report_damage(path, "read as DICOM", advice=_BROKEN):
        header, pixels = read_header(path)
        frames = count_frames(header)
        metadata = keep_fields(header, patient=patient)
        if pixels.not_applied:
            metadata["not_applied"] = pixels.not_applied
        return [
            _make_frame(path, header, pixels, index, frames, metadata) for index in range(frames)
        ]


def _make_frame(
    path: Path,
    header: Any,
    pixels: PixelElement,
    index: int,
    frames: int,
    metadata: dict[str, Any],
) -> Frame:
    fields = Fields(header, index)
    return Frame(
        path=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        identity=str(header.get("SOPInstanceUID") or path),
        number=(find_number(header, "InstanceNumber") or 0) + index / frames,
        pixels=pixels,
        values=find_stored_values(fields, floats=pixels.floats),
        place=find_frame_place(fields, index, frames),
        interval=find_number(header, "FrameTime") or None,
        name=f"{header.get('Modality', 'DICOM')} series {header.get('SeriesNumber', 0) or 0}",
        metadata=metadata,
    )
