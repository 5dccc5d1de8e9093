"""Lookup tables in a DICOM header: what values, or colors, stored values stand for.

Sections such as C.7.6.3 are those of DICOM PS3.3, which defines the fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lookup", "find_modality_table", "find_palette"]

_COLORS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = range(3)


@dataclass(frozen=True, eq=False)
class Lookup:
    """A table that gives each stored value another one, or a color.

    Parameters
    ----------
    first : int
        The stored value to which the first entry belongs.
    entries : ndarray of shape (E,), (E, 3) or (E, 4)
        The values, or colors with or without alpha.
    """

    first: int
    entries: NDArray[Any]

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the entry of each stored value.

        Parameters
        ----------
        stored : ndarray of shape (M, N)
            Integers.

        Returns
        -------
        ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
            The entries; values below the first get the first one, values behind the last
            get the last one (C.7.6.3.1.5, C.11.1.1).
        """
        index = stored.astype(np.int64) - self.first
        return np.take(self.entries, index, axis=0, mode="clip")


def find_palette(header: Any) -> Lookup:
    """Return the colors of a PALETTE COLOR image.

    They are those of pydicom's ``apply_color_lut``, with alpha where the header has a table
    of it. Entries of 16 bits that hold no more than 8 (at most 255, a byte twice, or a byte
    above a zero, as writers of 8-bit colors leave them) become uint8 by that byte, where
    pydicom returns them as stored; others stay uint16. Three more differences follow the
    standard: tables in big endian are taken in that order, the offset of an indirect segment
    counts bytes also where entries have two, and a pixel of 16 bits is no index modulo 256
    into a table of 8 bits.

    Parameters
    ----------
    header : pydicom.Dataset
        A header.

    Returns
    -------
    Lookup
        Colors in uint8 or uint16.

    Raises
    ------
    ValueError
        If a table is missing, or does not fit its descriptor.
    """
    signed, little = bool(header.get("PixelRepresentation", 0)), header.original_encoding[1]
    parts: list[Any] = []
    # All descriptors have to be equal (C.7.6.3.1.5).
    described = header.get("RedPaletteColorLookupTableDescriptor")
    if described is None:
        raise ValueError("PALETTE COLOR needs lookup tables, and the header has none")
    described = tuple(_list_words(described, little=little))
    for color in (*_COLORS, "Alpha"):
        plain = header.get(f"{color}PaletteColorLookupTableData")
        segmented = header.get(f"Segmented{color}PaletteColorLookupTableData")
        if plain or segmented:
            parts += [_make_bytes(plain or segmented, little=little), not plain]
        elif color in _COLORS:
            raise ValueError(f"PALETTE COLOR needs three lookup tables, the {color} one is missing")
    return _make_palette(described, signed, little, *parts)


# All files of a series mostly hold the same table.
@lru_cache(maxsize=8)
def _make_palette(described: tuple[int, ...], signed: bool, little: bool, *parts: Any) -> Lookup:
    """Return a palette from pairs of a table in bytes, and whether it is segmented."""
    count, first, bits = _parse_descriptor(described, signed=signed)
    if bits not in (8, 16):
        raise ValueError(f"a palette must have 8 or 16 bits an entry, got {bits}")
    columns = [
        _expand(data, count, bits, little) if segmented else _split(data, count, bits, little)
        for data, segmented in zip(parts[::2], parts[1::2], strict=True)
    ]
    return Lookup(first, _shrink(np.stack(columns, axis=-1)))


def find_modality_table(header: Any) -> Lookup | None:
    """Return the table from stored to physical values (C.11.1.1).

    Parameters
    ----------
    header : pydicom.Dataset
        A header.

    Returns
    -------
    Lookup or None
        Values as of pydicom's ``apply_modality_lut``, in uint8 for up to 8 bits an entry and
        in uint16 for more; None if the header has no such table. Signed values far behind
        the first entry get the last one, as the standard says: pydicom counts entries in the
        type of the pixels, and passes over its end.

    Raises
    ------
    ValueError
        If the table does not fit its descriptor.
    """
    items = header.get("ModalityLUTSequence")
    if not items:
        return None
    signed, little = bool(header.get("PixelRepresentation", 0)), header.original_encoding[1]
    described = tuple(_list_words(items[0].get("LUTDescriptor"), little=little))
    data = _make_bytes(items[0].get("LUTData"), little=little)
    return _make_modality_table(described, signed, little, data)


@lru_cache(maxsize=8)
def _make_modality_table(
    described: tuple[int, ...], signed: bool, little: bool, data: bytes
) -> Lookup:
    count, first, bits = _parse_descriptor(described, signed=signed)
    if not 1 <= bits <= 16:
        raise ValueError(f"a Modality LUT must have up to 16 bits an entry, got {bits}")
    entries = _split(data, count, bits, little)
    return Lookup(first, entries.astype(np.uint8) if bits <= 8 else entries.astype(np.uint16))


def _make_bytes(value: Any, *, little: bool) -> bytes:
    """Return the bytes of a table, of which pydicom may have made numbers."""
    if isinstance(value, bytes):
        return value
    words = np.asarray(_list_words(value, little=little), np.int64)
    return words.astype("<u2" if little else ">u2").tobytes()


def _list_words(value: Any, *, little: bool) -> list[int]:
    """Return numbers of 16 bits, however pydicom has them."""
    if value is None:
        raise ValueError("a lookup table lacks its data or its descriptor")
    if isinstance(value, bytes):
        words: list[int] = np.frombuffer(value, "<u2" if little else ">u2").tolist()
        return words
    return [int(number) for number in np.ravel(value)]


def _parse_descriptor(described: Sequence[int], *, signed: bool) -> tuple[int, int, int]:
    """Return number of entries, first mapped value, and bits an entry (C.7.6.3.1.5)."""
    if len(described) != 3:
        raise ValueError(f"a descriptor must hold 3 numbers, got {list(described)}")
    # Whether it was written as US or as SS, the first number has no sign, and the second one
    # has that of the pixels. 0 stands for 65536 entries.
    count, first = described[0] & 0xFFFF or 0x10000, described[1] & 0xFFFF
    return count, first - 0x10000 if signed and first >= 0x8000 else first, described[2]


def _split(data: bytes, count: int, bits: int, little: bool) -> NDArray[Any]:
    """Return the entries of a table, which may have other bits than its descriptor says."""
    single = len(data) in (count, count + count % 2)
    double = len(data) >= 2 * count
    if double and not (bits <= 8 and single):
        return np.frombuffer(data, "<u2" if little else ">u2", count=count).astype(np.uint16)
    if not single:
        raise ValueError(f"a lookup table of {count} entries has {len(data)} bytes")
    return np.frombuffer(_order_bytes(data, little), np.uint8, count=count)


def _order_bytes(data: bytes, little: bool) -> bytes:
    """Return bytes in their order: two of them share a word, the first in its low half."""
    if little or len(data) % 2:
        return data
    return np.frombuffer(data, np.uint16).byteswap().tobytes()


def _shrink(entries: NDArray[Any]) -> NDArray[Any]:
    """Return entries of 16 bits as uint8, where they hold no more than a byte."""
    if entries.dtype != np.uint16:
        return entries
    low, high = entries & 0xFF, entries >> 8
    if not high.any():
        return low.astype(np.uint8)
    return high.astype(np.uint8) if not low.any() or (low == high).all() else entries


def _expand(data: bytes, count: int, bits: int, little: bool) -> NDArray[Any]:
    """Return the entries of a table that is stored in segments (C.7.9.2)."""
    if bits == 8:
        numbers = np.frombuffer(_order_bytes(data, little), np.uint8).astype(np.int64)
    else:
        even = len(data) - len(data) % 2
        numbers = np.frombuffer(data[:even], "<u2" if little else ">u2").astype(np.int64)
    entries: list[float] = []
    _expand_segments(numbers, 0, None, entries, count, bits)
    if len(entries) < count:
        raise ValueError(f"a segmented lookup table of {count} entries gives {len(entries)}")
    return np.asarray(entries[:count], np.uint8 if bits == 8 else np.uint16)


def _expand_segments(
    numbers: NDArray[Any],
    place: int,
    most: int | None,
    entries: list[float],
    count: int,
    bits: int,
) -> None:
    """Add the entries of segments, of all or of a number of them, from a place on.

    It ends as soon as there are as many entries as the table has: a few bytes could ask
    for many of them.
    """
    copied = most is not None
    while place + 2 < len(numbers) and most != 0 and len(entries) < count:
        kind, length = int(numbers[place]), int(numbers[place + 1])
        place += 2
        if kind == _DISCRETE:
            entries += numbers[place : place + length].tolist()
            place += length
        elif kind == _LINEAR and entries:
            entries += _interpolate(entries[-1], int(numbers[place]), length)
            place += 1
        # One that is copied must be none of them: this keeps the copying finite.
        elif kind == _INDIRECT and not copied:
            size = 4 if bits == 8 else 2
            offset = _join(numbers[place : place + size], bits) // (bits // 8)
            _expand_segments(numbers, offset, length, entries, count, bits)
            place += size
        else:
            raise ValueError(f"a segmented lookup table holds a segment {kind} out of place")
        most = None if most is None else most - 1


def _interpolate(last: float, end: int, length: int) -> list[float]:
    """Return a line from behind the last entry to its end, rounded as pydicom does."""
    step = (end - last) / max(length, 1)
    line: list[float] = np.around(np.linspace(last + step, end, length)).tolist()
    return line


def _join(parts: NDArray[Any], bits: int) -> int:
    """Return a number that is stored in parts, the least significant one first."""
    return sum(int(part) << (bits * n) for n, part in enumerate(parts))
