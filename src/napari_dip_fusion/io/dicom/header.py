"""The header of a DICOM file is read, and the place of its pixels in the file is found."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.checks import (
    check_decoder,
    check_deflated,
    check_fields,
    check_length,
    count_frames,
)
from napari_dip_fusion.io.dicom.start import MARKED, UNMARKED, find_data_set, find_meta_end
from napari_dip_fusion.io.dicom.unapplied import list_oddities, list_unapplied
from napari_dip_fusion.io.limits import require_memory

__all__ = ["NoImageError", "PixelElement", "read_header", "unpack_pixels"]

_ENDLESS = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_KEYWORDS = {0x0010: "PixelData", 0x0009: "DoubleFloatPixelData", 0x0008: "FloatPixelData"}
_FLOATS = {32: "FloatPixelData", 64: "DoubleFloatPixelData"}
# Their lengths take four bytes, after two that are free (PS3.5 7.1.2).
_VR = (b"OB", b"OW", b"OF", b"OD", b"UN")
_OPTIONS = {
    "BitsAllocated": "bits_allocated",
    "BitsStored": "bits_stored",
    "Columns": "columns",
    "PhotometricInterpretation": "photometric_interpretation",
    "PixelRepresentation": "pixel_representation",
    "PlanarConfiguration": "planar_configuration",
    "Rows": "rows",
    "SamplesPerPixel": "samples_per_pixel",
}


class NoImageError(ImageFileError):
    """A sound DICOM file that is no image; the message says what it is."""


@dataclass(frozen=True, eq=False)
class PixelElement:
    """The pixels of a file: where they are, and how they are encoded.

    Parameters
    ----------
    syntax : UID
        The transfer syntax.
    start : int, optional
        Byte at which they begin; None where the file has to be unpacked as a whole.
    floats : bool
        Whether they are floats (C.7.6.24, C.7.6.25).
    options : dict
        What pydicom's decoders have to know.
    not_applied : list of str
        What the header asks to be done with them for a screen, and is not.
    remarks : tuple of str
        What the reader of the picture has to know.
    unpacked : list of bytes
        Once the pixels of a file of many frames were unpacked as a whole: these.
    offsets : list of dict
        Once the compressed frames of a file of many were looked for: the options that tell
        pydicom's decoders where they are.
    """

    syntax: UID
    start: int | None
    floats: bool
    options: dict[str, Any]
    not_applied: list[str]
    remarks: tuple[str, ...]
    unpacked: list[bytes] = field(default_factory=list)
    offsets: list[dict[str, Any]] = field(default_factory=list)


def read_header(path: Path) -> tuple[Any, PixelElement]:
    """Read the header of a file, without its pixels.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    header : pydicom.Dataset
        Everything before the pixels.
    pixels : PixelElement
        The pixels; those that are not compressed are in the file as a whole.

    Raises
    ------
    NoImageError
        If the file holds something else than an image.
    ImageFileError
        If it is no DICOM file, is damaged, or cannot be decoded here.
    """
    start = find_data_set(path)
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes); copy it again")
    if start is None:
        raise ImageFileError(
            f"{path} has no DICM mark at byte 128, and does not begin with a data set of DICOM; "
            "it is no DICOM file, or its beginning is lost"
        )
    named, end = find_meta_end(path, start)
    if named == DeflatedExplicitVRLittleEndian:
        check_deflated(path, end)
    with _open(path, start) as (handle, ahead):
        # Without force, pydicom refuses data sets that stand alone.
        header = pydicom.dcmread(handle, stop_before_pixels=True, force=True)
        place = handle.tell() - ahead
        if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return header, _describe_deflated(path, header)
        left = path.stat().st_size - place
        _require_image(path, header, pixels=left > 0)
        found = handle.read(16)
    return header, _describe_pixels(path, header, found, place)


def unpack_pixels(path: Path) -> bytes:
    """Return the pixels of a file that has to be unpacked as a whole.

    Parameters
    ----------
    path : Path
        A file of which :func:`read_header` has read the header.

    Returns
    -------
    bytes
        All frames.

    Raises
    ------
    ValueError
        If it holds no pixels any more.
    """
    start = find_data_set(path)
    if start is None:
        raise ValueError("the file is no DICOM file any more")
    with _open(path, start) as (handle, _):
        header = pydicom.dcmread(handle, force=True)
    for keyword in _KEYWORDS.values():
        if keyword in header:
            return bytes(header[keyword].value)
    raise ValueError("the file holds no pixels")


@contextmanager
def _open(path: Path, start: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file as pydicom can read it, and tell how many bytes were put ahead of it."""
    if start in (MARKED, UNMARKED):
        with path.open("rb") as handle:
            yield handle, 0
        return
    # The mark stands first: pydicom wants a preamble.
    require_memory(path, 2 * path.stat().st_size)
    yield BytesIO(bytes(MARKED - start) + path.read_bytes()), MARKED - start


def _require_image(path: Path, header: Any, *, pixels: bool) -> None:
    """Raise an error that says what a file without pixels is."""
    kind = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if pixels and "BitsAllocated" in header:
        return
    if not pixels and _is_cut(header):
        raise ImageFileError(f"{path} ends within its header; the file is cut short, copy it again")
    if kind == MediaStorageDirectoryStorage:
        raise NoImageError(
            f"{path} is a DICOMDIR, a list of files, and holds no image itself; open the folder "
            "of the files that it names"
        )
    _require_uid(path, kind)
    spectra = "SpectroscopyData" in header
    if pixels or "Image Storage" in kind.name or ("BitsAllocated" in header and not spectra):
        lack = "BitsAllocated" if pixels else "pixels"
        raise ImageFileError(
            f"{path} is an image ({kind.name or 'of no class'}) that lacks its {lack}; "
            "export it again"
        )
    raise NoImageError(
        f"{path} holds no image; it is another object of DICOM ({kind.name or 'of no class'}), "
        "choose a file of an image"
    )


def _require_uid(path: Path, uid: str) -> None:
    """Refuse what is no UID before it is quoted: in a damaged file it may name a patient."""
    if not re.fullmatch(r"[0-9.]*", uid):
        raise ImageFileError(f"{path} has a header that cannot be read; the file is damaged")


def _is_cut(header: Any) -> bool:
    """Tell whether a file ended within the last element that was read."""
    tags = list(header.keys())
    if not tags:  # pydicom keeps nothing where it ended within a sequence
        return True
    last = header.get_item(tags[-1])
    length = getattr(last, "length", 0)
    return length != _ENDLESS and len(last.value or b"") < length


def _describe_deflated(path: Path, header: Any) -> PixelElement:
    """Return the pixels of a file that is to be unpacked as a whole."""
    syntax = header.file_meta.TransferSyntaxUID
    _require_image(path, header, pixels="BitsAllocated" in header)
    # Only floats have neither of these.
    floats = "PixelRepresentation" not in header and "BitsStored" not in header
    check_fields(path, header, compressed=False, floats=floats)
    keyword = _FLOATS[int(header.BitsAllocated)] if floats else "PixelData"
    return PixelElement(
        syntax=syntax,
        start=None,
        floats=floats,
        options={**_list_options(header), "pixel_keyword": keyword, "pixel_vr": "OW"},
        not_applied=list_unapplied(header),
        remarks=list_oddities(header),
    )


def _describe_pixels(path: Path, header: Any, found: bytes, place: int) -> PixelElement:
    """Return the pixels whose element begins with some bytes at a place."""
    explicit = found[4:6] in _VR
    if len(found) < (12 if explicit else 8):
        raise ImageFileError(f"{path} ends before its pixels; the file is cut short, copy it again")
    order = "<" if header.original_encoding[1] else ">"
    length = int(struct.unpack_from(f"{order}L", found, 8 if explicit else 4)[0])
    start = place + (12 if explicit else 8)
    content = found[start - place :]
    syntax = _find_syntax(path, header, content, explicit=explicit, endless=length == _ENDLESS)
    compressed = syntax.is_encapsulated
    keyword = _KEYWORDS[struct.unpack_from(f"{order}HH", found)[1]]
    floats = keyword != "PixelData"
    check_fields(path, header, compressed=compressed, floats=floats)
    excess: tuple[str, ...] = ()
    if not compressed:
        excess = check_length(path, header, length=length, left=path.stat().st_size - start)
    options = {"pixel_keyword": keyword, "pixel_vr": found[4:6].decode() if explicit else "OW"}
    return PixelElement(
        syntax=syntax,
        start=start,
        floats=floats,
        options={**_list_options(header), **options},
        not_applied=list_unapplied(header),
        remarks=(*list_oddities(header), *excess),
    )


def _find_syntax(path: Path, header: Any, content: bytes, *, explicit: bool, endless: bool) -> UID:
    """Return the transfer syntax, and refuse one that the pixels do not follow."""
    named = header.file_meta.get("TransferSyntaxUID")
    if named:
        _require_uid(path, named)
        check_decoder(path, named)
        # Some writers give compressed pixels a length, against PS3.5 A.4.
        items = endless or (named.is_encapsulated and content.startswith(_ITEM))
        if named.is_encapsulated != items:
            said, came = ("are", "are not") if named.is_encapsulated else ("are not", "are")
            raise ImageFileError(
                f"{path} says that its pixels {said} compressed (transfer syntax {named.name}), "
                f"and they {came}; export it again"
            )
        return UID(named)
    if endless:
        raise ImageFileError(
            f"{path} does not say how its pixels are compressed: it lacks TransferSyntaxUID; "
            "export it uncompressed"
        )
    if not explicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if header.original_encoding[1] else ExplicitVRBigEndian


def _list_options(header: Any) -> dict[str, Any]:
    """Return what pydicom's decoders have to know of pixels (PS3.3 C.7.6.3)."""
    options: dict[str, Any] = {"samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2"}
    for keyword, name in _OPTIONS.items():
        value = header.get(keyword)
        if value not in (None, ""):
            options[name] = value if isinstance(value, str) else int(value)
    options["number_of_frames"] = count_frames(header)
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        tables = header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths
        options["extended_offsets"] = tables
    return options
