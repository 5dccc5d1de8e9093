"""What a DICOM file declares is checked before its pixels are decoded."""

import re
import zlib
from pathlib import Path
from typing import Any

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.limits import (
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)

__all__ = ["check_decoder", "check_deflated", "check_size", "suggest_installation"]

_MOST_FRAMES = 100_000
# The first element of the file meta information, in explicit VR little endian: group
# length (0002,0000), of type UL, four bytes long (PS3.10 7.1).
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_DEFLATE_STEP = 2**20


def check_deflated(path: Path) -> None:
    """Refuse a deflated file that would unpack to more than the memory.

    Parameters
    ----------
    path : Path
        A file whose data set is deflated (PS3.5 A.5).

    Raises
    ------
    ImageFileError
        If its data set does not fit into memory twice.
    """
    content = path.read_bytes()
    start = content.find(_GROUP_LENGTH)
    # The group length counts the bytes of meta information after its own element; what
    # follows is one stream of deflate without the header of zlib (RFC 1951).
    length = int.from_bytes(content[start + 8 : start + 12], "little")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, total = content[start + 12 + length :], 0
    while rest and not unpacker.eof:
        total += len(unpacker.decompress(rest, _DEFLATE_STEP))
        rest = unpacker.unconsumed_tail
        require_memory(path, 2 * total)


def check_size(path: Path, header: Any, *, left: int, syntax: Any) -> None:
    """Refuse a header whose pixels cannot be in the file, or in memory.

    Parameters
    ----------
    path : Path
        The file, for the message.
    header : pydicom.Dataset
        The header.
    left : int
        Bytes of the file after the header.
    syntax : pydicom.uid.UID or None
        The transfer syntax: how the file is encoded.

    Raises
    ------
    ImageFileError
        If the file is damaged, or one frame does not fit into memory twice.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MOST_FRAMES:
        raise ImageFileError(f"{path} declares {frames} frames; the file is damaged")
    samples = int(header.get("SamplesPerPixel", 1))
    bits = int(header.BitsAllocated)
    if bits not in (1, 8, 16, 32, 64) or samples not in (1, 3):
        raise ImageFileError(
            f"{path} declares {samples} samples of {bits} bits; "
            "1 or 3 of 1, 8, 16, 32 or 64 can be read"
        )
    nbytes = count_declared_bytes(path, (header.Rows, header.Columns, samples), -(-bits // 8))
    require_memory(path, 2 * nbytes)
    if not _is_packed(syntax):
        # Two pixels of YBR_FULL_422 share their chroma: four bytes in place of six
        # (PS3.3 C.7.6.3.1.2).
        halved = 1.5 if header.get("PhotometricInterpretation") == "YBR_FULL_422" else 1.0
        total = int(frames * nbytes * (bits / 8 if bits < 8 else 1) / halved)
        require_packed_bytes(path, total, packed=left, ratio=1)


def _is_packed(syntax: Any) -> bool:
    """Tell whether pixels are compressed, or the data set as a whole is."""
    return bool(
        syntax is not None and (syntax.is_encapsulated or syntax == DeflatedExplicitVRLittleEndian)
    )


def check_decoder(path: Path, syntax: Any) -> None:
    """Refuse a file whose compression no installed package can decode.

    Parameters
    ----------
    path : Path
        The file, for the message.
    syntax : pydicom.uid.UID or None
        The transfer syntax.

    Raises
    ------
    ImageFileError
        With the command that installs a decoder, where there is one.
    """
    if syntax is None or not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    # Nothing is missing here: get_decoder() raises this for a syntax that pydicom does not know.
    except NotImplementedError as error:
        raise ImageFileError(
            f"{path} is compressed as {syntax.name}, which cannot be read; export it uncompressed"
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
