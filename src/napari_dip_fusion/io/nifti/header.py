"""The header of a NIfTI file is checked before anything else of the file is unpacked."""

import gzip
import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nibabel as nib

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import (
    DEFLATE_RATIO,
    count_declared_bytes,
    require_packed_bytes,
)

__all__ = ["COMMENT", "read_checked_header", "report_nifti_damage"]

COMMENT = 6
"""Code of an extension that holds a comment (NIFTI_ECODE_COMMENT in nifti1.h)."""

# Extensions lie between header and pixels; the largest known (CIFTI) are far smaller.
_MOST_EXTENSION = 256 * 2**20
_GZIP = b"\x1f\x8b"


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
    return report_damage(path, "read as NIfTI", advice="it is damaged", unchanged=(MemoryError,))


def read_checked_header(path: Path) -> Any:
    """Read the header of a file, and refuse one that declares what cannot be.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz`` file.

    Returns
    -------
    nibabel.Nifti1Header or nibabel.Nifti2Header
        The header.

    Raises
    ------
    ImageFileError
        If the header is damaged, or the file too short for the declared pixels.
    """
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP
    with report_nifti_damage(path):
        with gzip.open(path) if is_gzip else path.open("rb") as handle:
            start = handle.read(nib.Nifti2Header.template_dtype.itemsize)
        header = _parse(start)
        shape = header.get_data_shape()
        itemsize = header.get_data_dtype().itemsize
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_EXTENSION:
        raise ImageFileError(f"{path} declares its pixels at byte {offset:g}; it is damaged")
    if not shape:
        raise ImageFileError(f"{path} declares no dimensions; it is damaged")
    nbytes = count_declared_bytes(path, shape, itemsize)
    packed, ratio = path.stat().st_size, DEFLATE_RATIO if is_gzip else 1
    require_packed_bytes(path, nbytes + int(offset), packed=packed, ratio=ratio)
    return header


def _parse(start: bytes) -> Any:
    """Return the header in the first bytes of a file, of either version and byte order."""
    kinds: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
    for kind in kinds:
        size = kind.template_dtype.itemsize
        for order in ("little", "big"):
            # The first field, sizeof_hdr, tells the version and the byte order.
            if len(start) >= size and int.from_bytes(start[:4], order) == size:
                return kind.from_fileobj(io.BytesIO(start[:size]), check=False)
    raise ValueError(f"the header must declare 348 or 540 bytes, got {start[:4].hex(' ')}")
