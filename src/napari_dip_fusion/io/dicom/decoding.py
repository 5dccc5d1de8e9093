"""The pixels of a DICOM frame are decoded to physical values."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import parse_basic_offsets, parse_fragments
from pydicom.pixels.decoders.base import get_decoder

from napari_dip_fusion.errors import ImageFileError, summarize_error
from napari_dip_fusion.io.anatomy import rescale
from napari_dip_fusion.io.dicom.checks import suggest_installation
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.dicom.header import unpack_pixels
from napari_dip_fusion.io.dicom.messages import relay_pydicom
from napari_dip_fusion.io.dicom.stored import find_ends
from napari_dip_fusion.io.failures import report_damage

__all__ = ["decode_frame", "share_values"]

_BROKEN = "its pixels are damaged or not as its header has them, export it again"


def share_values(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames of one image so that their values mean the same in all of them.

    Small values of MONOCHROME1 are bright. They are mirrored so that large ones are: a
    physical value v becomes a + b - v, where a and b are the smallest and the largest
    physical value that any of the frames can hold, by its BitsStored, factors and tables.
    For 12 bits without factors that is 4095 - v. Floats have no such ends and become -v.
    Metadata has a + b under ``"mirrored"``.

    A warning says, once for the image, what is odd about the values of its frames.

    Parameters
    ----------
    frames : sequence of Frame
        All of them inverted, or none.

    Returns
    -------
    list of Frame
        In their order.
    """
    values = [frame.values for frame in frames]
    odd = [remark for item in frames for remark in (*item.pixels.remarks, *item.values.remarks)]
    for remark in dict.fromkeys(odd):
        warnings.warn(f"{frames[0].name}: {remark}", stacklevel=2)
    ends = find_ends(values) if values[0].inverted else None
    added = {} if ends is None else {"mirrored": sum(ends)}
    told: set[str] = set()
    return [
        replace(
            frame,
            values=replace(frame.values, ends=ends, told=told),
            metadata={**frame.metadata, **added},
        )
        for frame in frames
    ]


def decode_frame(frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the physical values of a frame.

    Stored values are those of pydicom's ``pixel_array``: bits above BitsStored are dropped,
    whatever stands there (overlays, signs), and YBR becomes RGB.

    Parameters
    ----------
    frame : Frame
        The frame.
    dtype : dtype
        Type of the result, from :func:`~napari_dip_fusion.io.dicom.stored.choose_dtype`.

    Returns
    -------
    ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
        The values; colors as uint8 or uint16 RGB, or RGBA where a palette has alpha.

    Raises
    ------
    ImageFileError
        If the pixels are damaged.
    """
    values = frame.values
    with report_damage(frame.path, "decoded", advice=_BROKEN):
        stored = _decode(frame)
        expected = values.shape if values.lookup is not None else values.array_shape
        if stored.shape != expected:
            raise ValueError(f"its header says {expected}, its pixels {stored.shape}")
        if values.lookup is not None:
            physical = _widen(values.lookup.apply(stored), dtype, color=values.color)
        elif values.color:
            return _widen(stored, dtype, color=True)
        else:
            physical = rescale(stored, values.slope, values.intercept, dtype)
        return physical if values.ends is None else _mirror(physical, values.ends)


def _decode(frame: Frame) -> NDArray[Any]:
    """Return the stored values of a frame."""
    pixels = frame.pixels
    with relay_pydicom(frame.name, told=frame.values.told), _open_pixels(frame) as handle:
        if pixels.options["bits_allocated"] == 1 and not pixels.syntax.is_encapsulated:
            return _read_bits(handle, frame)
        try:
            decoder = get_decoder(pixels.syntax)
            options = {**pixels.options, **_find_frames(frame, handle)}
            stored, _ = decoder.as_array(handle, index=frame.index, **options)
        except RuntimeError as error:  # what pydicom raises after all decoders have failed
            raise _explain_undecoded(frame, error) from error
        return stored


def _open_pixels(frame: Frame) -> BinaryIO:
    """Open the pixels of a file where they begin."""
    pixels, path = frame.pixels, frame.path
    if pixels.start is not None:
        handle = path.open("rb")
        handle.seek(pixels.start)
        return handle
    content = pixels.unpacked[0] if pixels.unpacked else unpack_pixels(path)
    if frame.frames > 1:
        pixels.unpacked[:] = [content]
    return BytesIO(content)


def _find_frames(frame: Frame, handle: BinaryIO) -> dict[str, Any]:
    """Return options that tell pydicom where compressed frames are, empty if it knows or finds it.

    Many writers leave the table of offsets empty. pydicom would go through all frames for
    each of them.
    """
    pixels, count = frame.pixels, frame.frames
    if count == 1 or not pixels.syntax.is_encapsulated or "extended_offsets" in pixels.options:
        return {}
    if not pixels.offsets:
        start = handle.tell()
        pixels.offsets.append({} if parse_basic_offsets(handle) else _list_frames(handle, count))
        handle.seek(start)
    return pixels.offsets[0]


def _list_frames(handle: BinaryIO, count: int) -> dict[str, Any]:
    """Return where frames are that are not cut to pieces, empty if these are."""
    start = handle.tell()
    found, places = parse_fragments(handle)
    if found != count:
        return {}
    handle.seek(places[-1] + 4)
    last = int.from_bytes(handle.read(4), "little")
    lengths = [end - begin - 8 for begin, end in pairwise(places)]  # without tag and length
    return {"extended_offsets": ([place - start for place in places], [*lengths, last])}


def _read_bits(handle: BinaryIO, frame: Frame) -> NDArray[np.uint8]:
    """Return a frame of single bits, which may begin and end within a byte (PS3.5 8.1.1).

    pydicom 3.0 loses the last ones where a frame begins so.
    """
    count = math.prod(frame.values.shape)
    start, stop = frame.index * count, (frame.index + 1) * count
    handle.seek(start // 8, os.SEEK_CUR)
    content = np.frombuffer(handle.read(-(-stop // 8) - start // 8), np.uint8)
    bits = np.unpackbits(content, bitorder="little")[start % 8 :][:count]
    return bits.reshape(frame.values.shape)


def _widen(entries: NDArray[Any], dtype: np.dtype[Any], *, color: bool) -> NDArray[Any]:
    """Return entries of a table in a wider type; colors of 8 bits fill 16 bits."""
    wider = entries.astype(dtype, copy=False)
    return wider * 257 if color and dtype.itemsize > entries.itemsize else wider


def _mirror(values: NDArray[Any], ends: tuple[float, float]) -> NDArray[Any]:
    """Return values of which the largest is bright."""
    if values.dtype.kind == "f":
        return (sum(ends) - values.astype(np.float64)).astype(values.dtype)
    low, high = (np.asarray(end).astype(values.dtype) for end in ends)
    # Both steps may pass over the ends of the type; the result, modulo its range, does not.
    return np.asarray((high - values) + low)


def _explain_undecoded(frame: Frame, error: RuntimeError) -> ImageFileError:
    """Return the error for pixels that no decoder can read: a missing one might."""
    syntax = frame.pixels.syntax
    missing = get_decoder(syntax).missing_dependencies
    advice = f": {suggest_installation(missing)}" if missing else ", or export it uncompressed"
    return ImageFileError(
        f"{frame.path} cannot be decoded ({summarize_error(error)}); its pixels are damaged, or "
        f"{syntax.name} needs another decoder{advice}"
    )
