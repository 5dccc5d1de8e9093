"""The header of a DICOM file says what each of its frames is, and where it lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.checks import count_frames
from napari_dip_fusion.io.dicom.elements import find_number
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.header import PixelElement, read_header
from napari_dip_fusion.io.dicom.kinds import FrameKind, find_frame_kind
from napari_dip_fusion.io.dicom.place import FramePlace, find_frame_place
from napari_dip_fusion.io.dicom.privacy import keep_fields
from napari_dip_fusion.io.dicom.stored import StoredValues, find_stored_values
from napari_dip_fusion.io.dicom.vectors import FrameVectors, read_vectors
from napari_dip_fusion.io.failures import report_damage

__all__ = ["Concatenation", "Frame", "read_frames"]

_BROKEN = "its header is damaged or not as the standard has it, export it again"


@dataclass(frozen=True)
class Concatenation:
    """A multi-frame object in several files, of which one file is a part (C.7.6.16).

    Parameters
    ----------
    identity : str
        UID that the parts share.
    part, parts : int
        Which part the file is, from 1, and how many there are; 0 where it is not said.
    """

    identity: str
    part: int
    parts: int


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
    concatenation : Concatenation, optional
        The object in several files that the file is a part of.
    frames : int
        Number of frames in the file.
    number : float
        The position in the series as the scanner counts.
    pixels : PixelElement
        Where the pixels of the file are, and how they are encoded.
    values : StoredValues
        How the pixels are stored, and what they mean.
    place : FramePlace
        Where the frame lies.
    kind : FrameKind
        What the frame is beside.
    name : str
        Name for people, free of what a patient is called.
    metadata : dict
        Technical fields.
    """

    path: Path
    index: int
    series: str
    identity: str
    concatenation: Concatenation | None
    frames: int
    number: float
    pixels: PixelElement
    values: StoredValues
    place: FramePlace
    kind: FrameKind
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
        If the file is damaged, or compressed in a way for which a package is missing, or if
        its frames are tiles of one large image.
    """
    with report_damage(path, "read as DICOM", advice=_BROKEN):
        header, pixels = read_header(path)
        frames = count_frames(header)
        _refuse_tiles(path, header)
        metadata = keep_fields(header, patient=patient)
        if pixels.not_applied:
            metadata["not_applied"] = pixels.not_applied
        vectors = read_vectors(header, frames)
        known: dict[Any, Any] = {}
        return [
            _make_frame(path, Fields(header, index, known), pixels, vectors, frames, metadata)
            for index in range(frames)
        ]


def _refuse_tiles(path: Path, header: Any) -> None:
    """Refuse an image that is larger than its frames, each of which is a tile of it."""
    whole = find_number(header, "TotalPixelMatrixColumns") or 0
    tall = find_number(header, "TotalPixelMatrixRows") or 0
    if whole > header.Columns or tall > header.Rows:
        raise ImageFileError(
            f"{path} is an image of {tall:.0f} x {whole:.0f} pixels in tiles, which "
            "are not put together here; convert it to OME-TIFF or OME-Zarr"
        )


def _make_frame(
    path: Path,
    fields: Fields,
    pixels: PixelElement,
    vectors: FrameVectors,
    frames: int,
    metadata: dict[str, Any],
) -> Frame:
    header, index = fields.header, fields.index
    whole = _find_concatenation(header)
    number = (find_number(header, "InstanceNumber") or 0) + index / frames
    if whole:
        # The parts count as one object, whatever numbers they have as files.
        first = find_number(header, "ConcatenationFrameOffsetNumber")
        number = whole.part + index / frames if first is None else first + index
    return Frame(
        path=path,
        index=index,
        series=str(header.get("SeriesInstanceUID", "")),
        identity=str(header.get("SOPInstanceUID") or path),
        concatenation=whole,
        frames=frames,
        number=number,
        pixels=pixels,
        values=find_stored_values(fields, floats=pixels.floats),
        place=find_frame_place(fields, vectors, frames),
        kind=find_frame_kind(fields, vectors.look_up(index)),
        name=f"{header.get('Modality') or 'DICOM'} series {header.get('SeriesNumber', 0) or 0}",
        metadata=metadata,
    )


def _find_concatenation(header: Any) -> Concatenation | None:
    identity = header.get("ConcatenationUID")
    if not identity:
        return None
    part, parts = (
        int(find_number(header, keyword) or 0)
        for keyword in ("InConcatenationNumber", "InConcatenationTotalNumber")
    )
    return Concatenation(str(identity), part, parts)
