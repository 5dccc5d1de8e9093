"""The header of a NIfTI file is checked before anything else of the file is unpacked."""

import gzip
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import nibabel as nib
import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.formats import find_packer

__all__ = [
    "COMMENT",
    "EXTENDER",
    "MOST_EXTENSION",
    "is_gzip",
    "open_content",
    "read_checked_header",
    "report_nifti_damage",
]

_Order = Literal["little", "big"]

COMMENT = 6
"""Code of an extension that holds a comment (NIFTI_ECODE_COMMENT in nifti1.h)."""

EXTENDER = 4
"""Bytes after the header of a single file that tell whether there are extensions."""

MOST_EXTENSION = 256 * 2**20
"""Bytes that extensions may take, before the pixels; the largest known (CIFTI) are far smaller."""

# Codes of types of pixels in nifti1.h that are no single numbers, or more than NumPy can hold.
_REFUSED_TYPES = {
    1: "single bits",
    32: "complex numbers (complex64)",
    1536: "128-bit floats",
    1792: "complex numbers (complex128)",
    2048: "complex numbers (complex256)",
}
# Bytes that the field "magic" of each version begins with: of one file, and of a pair.
_MAGICS = ((b"n+1", b"ni1"), (b"n+2", b"ni2"))
_MOST_DIMENSIONS = 7
# Each extension has 16 bytes or more.
_LEAST_EXTENSION = 16
_ORDERS: tuple[_Order, ...] = ("little", "big")
# The field eol_check of NIfTI-2; it changes where a file is sent as text.
_EOL_CHECK = (13, 10, 26, 10)
# CIFTI-2 has its intents from this one to below the next (nifti2.h).
_CIFTI = (3000, 3100)


def report_nifti_damage(path: Path) -> AbstractContextManager[None]:
    """Turn the errors that nibabel raises over a damaged file into one.

    Parameters
    ----------
    path : Path
        The file, for the message.

    Returns
    -------
    context manager
        Raises ImageFileError for any error of its block.
    """
    # Broken gzip data and missing bytes are OSError in gzip and nibabel.
    advice = "it is cut short or damaged, copy it again"
    return report_damage(path, "read as NIfTI", advice=advice, unchanged=(MemoryError,))


def is_gzip(path: Path) -> bool:
    """Tell whether a file is packed by gzip, whatever its name says.

    Raises
    ------
    ImageFileError
        If it is packed by another program.
    """
    with path.open("rb") as raw:
        packer = find_packer(raw.read(6))
    if packer not in ("", "gzip"):
        raise ImageFileError(
            f"{path} is packed by {packer}, not by gzip; unpack it and open what comes out"
        )
    return packer == "gzip"


def open_content(path: Path) -> BinaryIO:
    """Open a file for its unpacked bytes; by its content, since names are mistaken often.

    nibabel goes by the ending and fails over a plain file that is named ``.nii.gz``.

    Raises
    ------
    ImageFileError
        If it is packed by another program than gzip.
    """
    return cast(BinaryIO, gzip.open(path)) if is_gzip(path) else path.open("rb")


def read_checked_header(path: Path) -> tuple[Any, list[bytes]]:
    """Read the header of a file, and refuse one that declares what cannot be.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz`` or ``.hdr`` file.

    Returns
    -------
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
        The header, with its fields as they are stored: nibabel's own checks would set codes of
        places that they do not know to 0.
    comments : list of bytes
        What the extensions say that hold a comment.

    Raises
    ------
    ImageFileError
        If the header is damaged, or of something that is not read.
    """
    with open_content(path) as handle:
        # Broken gzip data ends here.
        with report_nifti_damage(path):
            start = handle.read(nib.Nifti2Header.template_dtype.itemsize)
        kind, order = _find_kind(path, start)
        size = kind.template_dtype.itemsize
        header: Any = kind(start[:size], order, check=False)
        _check_fields(path, header)
        with report_nifti_damage(path):
            handle.seek(size)
            comments = _read_comments(path, handle, header, order)
    return header, comments


def _find_kind(path: Path, start: bytes) -> tuple[Any, _Order]:
    """Return nibabel's class for the header in the first bytes of a file, and its byte order."""
    versions: tuple[Any, ...] = (
        (nib.Nifti1Header, nib.nifti1.Nifti1PairHeader),
        (nib.Nifti2Header, nib.nifti2.Nifti2PairHeader),
    )
    for (single, pair), magics in zip(versions, _MAGICS, strict=True):
        size = single.template_dtype.itemsize
        # The first field, sizeof_hdr, tells the version and the byte order.
        for order in _ORDERS:
            if int.from_bytes(start[:4], order) == size:
                _require_whole(path, start, size)
                magic = bytes(np.frombuffer(start[:size], single.template_dtype)[0]["magic"])
                _check_magic(path, magic, magics)
                return pair if magic.startswith(magics[1]) else single, order
    if start.startswith(b"\x1f\x8b"):
        raise ImageFileError(f"{path} is packed twice by gzip; unpack it once")
    raise ImageFileError(
        f"{path} is no NIfTI: its header must declare 348 or 540 bytes, got {start[:4].hex(' ')}; "
        "it holds something else, or is damaged"
    )


def _require_whole(path: Path, start: bytes, size: int) -> None:
    if len(start) < size:
        raise ImageFileError(
            f"{path} ends within its header of {size} bytes; it is cut short or damaged, "
            "copy it again"
        )


def _check_magic(path: Path, magic: bytes, magics: tuple[bytes, bytes]) -> None:
    """Refuse a header without the mark of NIfTI."""
    if magic.startswith(magics):
        return
    if magics == _MAGICS[0] and not magic.strip(b"\0"):
        raise ImageFileError(
            f"{path} has a header of Analyze 7.5, which cannot say where left and right are; "
            "convert it to NIfTI with a program that knows where it comes from"
        )
    raise ImageFileError(
        f"{path} has {magic!r} where NIfTI has its mark {magics[0].decode()!r}; it is of Analyze "
        "7.5, which is not read, or damaged"
    )


def _check_fields(path: Path, header: Any) -> None:
    """Refuse what is no image of numbers, and sizes and types that NIfTI does not have."""
    intent = int(header["intent_code"])
    if _CIFTI[0] <= intent < _CIFTI[1]:
        raise ImageFileError(
            f"{path} is CIFTI-2 (intent {intent}), values of points on the brain's surface and not "
            "an image; take its volume out of it with wb_command -cifti-separate"
        )
    if "eol_check" in header.keys() and tuple(header["eol_check"]) not in (_EOL_CHECK, (0,) * 4):  # noqa: SIM118
        raise ImageFileError(
            f"{path} was changed by a transfer as text; it is damaged, copy it in binary mode"
        )
    ndim = int(header["dim"][0])
    if not 1 <= ndim <= _MOST_DIMENSIONS:
        raise ImageFileError(f"{path} declares {ndim} dimensions, NIfTI has 1 to 7; it is damaged")
    datatype = int(header["datatype"])
    if datatype in _REFUSED_TYPES:
        raise ImageFileError(
            f"{path} holds {_REFUSED_TYPES[datatype]}; convert them to integer or float"
        )
    if datatype == 0 or datatype not in nib.nifti1.data_type_codes.code:
        raise ImageFileError(
            f"{path} declares the type of pixels {datatype}, which NIfTI does not have; "
            "it is damaged"
        )


def _read_comments(path: Path, handle: BinaryIO, header: Any, order: _Order) -> list[bytes]:
    """Return the comments among the extensions, which begin where a file is read on."""
    extender = handle.read(EXTENDER)
    # The first of these bytes tells whether there are extensions at all.
    if len(extender) < EXTENDER or not extender[0]:
        return []
    left = MOST_EXTENSION
    if header.is_single and float(header["vox_offset"]) >= 0:
        left = min(left, int(header["vox_offset"]) - header.template_dtype.itemsize - EXTENDER)
    comments = []
    while len(sizes := handle.read(8)) == 8:
        size, code = (int.from_bytes(part, order, signed=True) for part in (sizes[:4], sizes[4:]))
        # Zeros fill the place up to the pixels in some files.
        if left < _LEAST_EXTENSION or not size:
            break
        if not _LEAST_EXTENSION <= size <= left:
            # nibabel and ITK, too, read the pixels where the header puts them.
            warnings.warn(
                f"{path} has an extension of {size} bytes where {left} are left before its pixels; "
                "the extension is left out, and the pixels may be wrong",
                stacklevel=4,
            )
            break
        left -= size
        if code == COMMENT:
            # Extensions are padded with zeros to a multiple of 16 bytes.
            comments.append(handle.read(size - 8).rstrip(b"\0"))
        else:
            handle.seek(size - 8, 1)
    return comments
