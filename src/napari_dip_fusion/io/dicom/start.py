"""The first bytes of a file tell whether a DICOM data set follows, and where it begins.

Files of DICOM begin with a preamble and a mark (PS3.10 7.1). Old archives, and programs that
write what they received over a network, leave these out, or the file meta information too.
"""

import re
import struct
from pathlib import Path

from napari_dip_fusion.io.regular import require_regular

__all__ = ["MARKED", "UNMARKED", "find_data_set", "find_meta_end"]

MARKED = 132
"""Where the data set begins behind a preamble of 128 bytes and the mark "DICM"."""

UNMARKED = 0
"""Where it begins in a file without both."""

_MARK = b"DICM"
# Enough for the elements that stand before those that are looked for.
_LOOKED_AT = 2048
_LEAST_ELEMENTS = 3
_LONGEST_UID = 64
_VR = re.compile(rb"[A-Z]{2}")
# Their lengths take four bytes, after two that are free (PS3.5 7.1.2).
_LONG_VR = re.compile(rb"O[BDFLVW]|S[QV]|U[CNRTV]")
_UID = rb"[0-2](\.\d+)+\0?"
# One of these has to stand there with such a value: many files begin like a tag by chance.
_SIGNS = {
    (0x0002, 0x0002): _UID,  # class of the object, in the file meta information
    (0x0002, 0x0010): _UID,  # transfer syntax
    (0x0008, 0x0005): rb"(ISO|GB|\\)[\w \\-]*",  # character set
    (0x0008, 0x0008): rb"(ORIGINAL|DERIVED)\\.*",  # type of the image
    (0x0008, 0x0010): rb"ACR-NEMA.*",  # the predecessor of DICOM
    (0x0008, 0x0016): _UID,  # class of the object
    (0x0008, 0x0018): _UID,  # the object
    (0x0008, 0x0060): rb"[A-Z]{2,} ?",  # modality
}


def find_data_set(path: Path) -> int | None:
    """Return where the data set of a DICOM file begins, or its file meta information.

    Nothing but the first bytes is read, and nothing of a library is imported: napari asks
    for every file of every folder that is opened.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int or None
        :data:`MARKED`, :data:`UNMARKED`, or 4 where the mark has no preamble before it;
        None for a file of another kind. Without a mark, several elements have to follow
        each other as DICOM orders them, one of them with a value that nothing else has.

    Raises
    ------
    ImageFileError
        If it is no plain file.
    OSError
        If the file cannot be read.
    """
    require_regular(path)
    # Files of the system that have no size may wait for something to happen.
    size = path.stat().st_size
    if size == 0:
        return None
    with path.open("rb") as handle:
        start = handle.read(MARKED)
        if start[128:] == _MARK:
            return MARKED
        # The first group is 0002 or 0008, in one byte order or the other.
        if not start.startswith((b"\x08\0", b"\x02\0", b"\0\x08", _MARK)):
            return None
        start += handle.read(_LOOKED_AT - MARKED)
    if start.startswith(_MARK):
        return len(_MARK)
    return UNMARKED if _is_data_set(start, size) else None


def find_meta_end(path: Path, start: int) -> tuple[str, int]:
    """Return the transfer syntax of a file, and where its file meta information ends.

    Parameters
    ----------
    path : Path
        The file.
    start : int
        Where the file meta information begins, from :func:`find_data_set`.

    Returns
    -------
    syntax : str
        UID of the transfer syntax, empty where it is not said.
    end : int
        The byte behind the last element, `start` where there is none.
    """
    syntax, place = b"", start
    with path.open("rb") as handle:
        while True:
            handle.seek(place)
            head = handle.read(12)
            if len(head) < 12 or head[:2] != b"\x02\0":
                return syntax.rstrip(b"\0 ").decode("ascii", "replace"), place
            first, length = _find_value(head, 0, "<")
            if head[2:4] == b"\x10\0":
                handle.seek(place + first)
                syntax = handle.read(min(length, _LONGEST_UID))
            place += first + length


def _is_data_set(start: bytes, size: int) -> bool:
    """Tell whether elements of DICOM follow each other at the beginning of a file."""
    order = ">" if start[0] == 0 else "<"
    number, place, last, seen = 0, 0, (0, 0), False
    while place + 12 <= len(start):
        tag = struct.unpack_from(f"{order}HH", start, place)
        first, length = _find_value(start, place, order)
        # Here the order ends: at a sequence without a length, where a file was cut short,
        # or at once in a file of another kind.
        if tag <= last or length % 2 or first + length > size:
            break
        value = start[first : first + length]
        seen = seen or bool(tag in _SIGNS and re.fullmatch(_SIGNS[tag], value))
        number, place, last = number + 1, first + length, tag
    return seen and number >= _LEAST_ELEMENTS


def _find_value(start: bytes, place: int, order: str) -> tuple[int, int]:
    """Return where the value of an element begins, and its length (PS3.5 7.1)."""
    kind = start[place + 4 : place + 6]
    if not _VR.fullmatch(kind):  # implicit: the dictionary says what it is
        return place + 8, int(struct.unpack_from(f"{order}L", start, place + 4)[0])
    if _LONG_VR.fullmatch(kind):
        return place + 12, int(struct.unpack_from(f"{order}L", start, place + 8)[0])
    return place + 8, int(struct.unpack_from(f"{order}H", start, place + 6)[0])
