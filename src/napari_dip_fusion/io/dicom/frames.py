"""The header of a DICOM file says what each of its frames is, and where it lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.checks import check_decoder, check_deflated, check_size
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.files import has_mark
from napari_dip_fusion.io.dicom.place import FramePlace, find_frame_place
from napari_dip_fusion.io.dicom.privacy import keep_fields
from napari_dip_fusion.io.dicom.stored import StoredValues, find_stored_values
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.silence import silence_warnings

__all__ = ["Frame", "read_frames"]


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
    deflated : bool
        Whether the file has to be unpacked as a whole.
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
    deflated: bool
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
    fields = Fields(header, index)
    interval = header.get("FrameTime")
    return Frame(
        path=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        identity=str(header.get("SOPInstanceUID") or path),
        number=float(header.get("InstanceNumber") or 0) + index / frames,
        deflated=header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian,
        values=find_stored_values(fields),
        place=find_frame_place(fields, index, frames),
        interval=float(interval) if interval else None,
        name=f"{header.get('Modality', 'DICOM')} series {header.get('SeriesNumber', 0) or 0}",
        metadata=keep_fields(header, patient=patient),
    )
