"""What a DICOM file declares is checked before its pixels are decoded."""

import re
import zlib
from pathlib import Path
from typing import Any

from pydicom.pixels.decoders.base import get_decoder

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.elements import read_number
from napari_dip_fusion.io.limits import (
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)

__all__ = [
    "check_decoder",
    "check_deflated",
    "check_fields",
    "check_length",
    "count_frames",
    "suggest_installation",
]

_MOST_FRAMES = 100_000
_DEFLATE_STEP = 2**20
_INDEXED = "PALETTE COLOR"
_GRAY = ("MONOCHROME1", "MONOCHROME2", _INDEXED)
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422")
_COMPRESSED_COLORS = ("YBR_ICT", "YBR_RCT")


def check_deflated(path: Path, start: int) -> None:
    """Refuse a deflated file that would unpack to more than the memory.

    Parameters
    ----------
    path : Path
        A file whose data set is deflated (PS3.5 A.5).
    start : int
        Where the data set begins.

    Raises
    ------
    ImageFileError
        If its data set does not fit into memory twice.
    """
    # The data set is one stream of deflate without the header of zlib (RFC 1951).
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with path.open("rb") as handle:
        handle.seek(start)
        # What is left of the packed bytes is copied in each step, so they are few.
        while packed := unpacker.unconsumed_tail or handle.read(_DEFLATE_STEP):
            total += len(unpacker.decompress(packed, _DEFLATE_STEP))
            require_memory(path, 2 * total)
            if unpacker.eof:
                return


def count_frames(header: Any) -> int:
    """Return the number of frames that a header declares, 1 where it does not."""
    return int(read_number(header.get("NumberOfFrames")) or 1)


def check_fields(path: Path, header: Any, *, compressed: bool, floats: bool) -> None:
    """Refuse a header that does not say what its pixels are, or declares too many of them.

    Parameters
    ----------
    path : Path
        The file, for the message.
    header : pydicom.Dataset
        The header.
    compressed : bool
        Whether the pixels are compressed.
    floats : bool
        Whether they are floats, which have neither a sign nor bits of their own.

    Raises
    ------
    ImageFileError
        If a field is missing, contradicts another one or stands for what cannot be read, or
        if one frame does not fit into memory twice.
    """
    frames = count_frames(header)
    if not 1 <= frames <= _MOST_FRAMES:
        raise ImageFileError(
            f"{path} declares {frames} frames; 1 to {_MOST_FRAMES} can be read, split the file"
        )
    bits, samples = header.get("BitsAllocated"), int(header.get("SamplesPerPixel") or 1)
    if samples not in (1, 3) or bits not in (None, 1, 8, 16, 32, 64):
        raise ImageFileError(
            f"{path} declares {samples} samples of {bits} bits; "
            "1 or 3 of 1, 8, 16, 32 or 64 can be read"
        )
    needed = ["Rows", "Columns", "BitsAllocated"]
    needed += [] if floats else ["BitsStored", "PixelRepresentation"]
    needed += ["PlanarConfiguration"] if samples > 1 and not compressed else []
    missing = [keyword for keyword in needed if header.get(keyword) is None]
    if missing:
        raise ImageFileError(
            f"{path} lacks {' and '.join(missing)}, without which its pixels have no meaning; "
            "export it again"
        )
    _check_colors(path, header, samples, compressed=compressed)
    _check_bits(path, header, floats=floats)
    require_memory(path, 2 * _count_frame_bytes(path, header))


def _check_bits(path: Path, header: Any, *, floats: bool) -> None:
    """Refuse numbers of bits that contradict each other."""
    bits, held = header.BitsAllocated, header.get("BitsStored")
    kind = header.get("PhotometricInterpretation")
    if floats and (bits not in (32, 64) or kind == _INDEXED):
        raise ImageFileError(
            f"{path} declares floats of {bits} bits as {kind}; the file is damaged"
        )
    if not floats and not 1 <= held <= bits:
        raise ImageFileError(
            f"{path} declares that {held} of {bits} bits hold the value; the file is damaged"
        )


def _check_colors(path: Path, header: Any, samples: int, *, compressed: bool) -> None:
    """Refuse samples that are no colors, and colors that cannot be made red, green and blue."""
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    if not re.fullmatch(r"[A-Z0-9_ ]{1,16}", photometric):
        raise ImageFileError(f"{path} has a header that cannot be read; the file is damaged")
    # The colors of JPEG 2000 alone are undone by its decoders (PS3.3 C.7.6.3.1.2).
    color = _COLORS + (_COMPRESSED_COLORS if compressed else ())
    if photometric not in (*_GRAY, *color):
        how = " uncompressed" if photometric in _COMPRESSED_COLORS else ""
        raise ImageFileError(
            f"{path} has pixels of the kind {photometric}, which cannot be read{how}; "
            "export it as RGB or MONOCHROME2"
        )
    if samples != (3 if photometric in color else 1):
        raise ImageFileError(
            f"{path} declares {samples} samples a pixel, which do not fit {photometric}; "
            "it cannot be told what they are, export it again"
        )
    if samples == 3 and header.get("PixelRepresentation"):
        raise ImageFileError(f"{path} has colors with a sign; it cannot be told what they are")
    # pydicom's conversion is that of 8 bits.
    if photometric.startswith("YBR_FULL") and header.BitsAllocated != 8:
        raise ImageFileError(
            f"{path} has {photometric} of {header.BitsAllocated} bits, only 8 can be converted; "
            "export it as RGB"
        )


def _count_frame_bytes(path: Path, header: Any) -> int:
    """Return the size of a frame in memory."""
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.BitsAllocated)
    return count_declared_bytes(path, (header.Rows, header.Columns, samples), -(-bits // 8))


def check_length(path: Path, header: Any, *, length: int, left: int) -> tuple[str, ...]:
    """Refuse a file that holds fewer pixels than its header declares.

    Parameters
    ----------
    path : Path
        The file, for the message.
    header : pydicom.Dataset
        The header, of a file that is not compressed.
    length : int
        Bytes of pixels, as their element says.
    left : int
        Bytes of the file from their beginning on.

    Returns
    -------
    tuple of str
        What is odd, where there are more pixels than declared.

    Raises
    ------
    ImageFileError
        If pixels are missing.
    """
    frames, bits = count_frames(header), int(header.BitsAllocated)
    whole = _count_frame_bytes(path, header)
    halved = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    # Two pixels of YBR_FULL_422 share their chroma: four bytes in place of six
    # (PS3.3 C.7.6.3.1.2). Bits follow each other without gaps, also between frames.
    needed = whole // 3 * 2 * frames if halved else -(-whole * frames * min(bits, 8) // 8)
    # One byte may be missing at the end, where it only makes the length even.
    if left < length:
        require_packed_bytes(path, needed, packed=left, ratio=1)
    advice = "its header does not fit its pixels, export it again"
    require_packed_bytes(path, needed, packed=length, ratio=1, advice=advice)
    if halved and length >= whole * frames:
        raise ImageFileError(
            f"{path} says that its pixels are YBR_FULL_422 and has as many as RGB or YBR_FULL; "
            "it cannot be told what they are, export it again"
        )
    held = length * 8 // (whole * min(bits, 8))
    if halved or held <= frames or length <= needed + needed % 2:
        return ()
    return (f"its pixels fill {held} frames, and its header declares {frames}: no more are read",)


def check_decoder(path: Path, syntax: Any) -> None:
    """Refuse a file whose compression no installed package can decode.

    Parameters
    ----------
    path : Path
        The file, for the message.
    syntax : pydicom.uid.UID
        The transfer syntax.

    Raises
    ------
    ImageFileError
        With the command that installs a decoder, where there is one.
    """
    try:
        decoder = get_decoder(syntax)
    # Nothing is missing here: get_decoder() raises this for a syntax that pydicom does not know.
    except NotImplementedError as error:
        raise ImageFileError(
            f"{path} is encoded as {syntax.name}, which cannot be read; export it uncompressed"
        ) from error
    if not decoder.is_available:
        raise ImageFileError(
            f"{path} is compressed as {syntax.name}, for which a package is missing: "
            f"{suggest_installation(decoder.missing_dependencies)}"
        )


def suggest_installation(missing: list[str]) -> str:
    """Return the command that installs a missing decoder.

    Parameters
    ----------
    missing : list of str
        What pydicom says of each missing decoder, such as ``"pylibjpeg - requires
        pylibjpeg>=2.0 and pylibjpeg-libjpeg>=2.1"``; pylibjpeg is preferred.

    Returns
    -------
    str
        Such as ``'pip install "pylibjpeg>=2.0" "pylibjpeg-libjpeg>=2.1"'``.
    """
    wanted = [line for line in missing if line.startswith("pylibjpeg")] or missing
    packages = re.findall(r"[\w-]+[>=]+[\d.]+", wanted[0])
    return "pip install " + " ".join(f'"{package}"' for package in packages)
