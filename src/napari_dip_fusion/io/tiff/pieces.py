"""Where a TIFF file places the pieces of its images, strips or tiles, is checked before reading.

StripOffsets (tag 273) or TileOffsets (324) say where each piece begins, StripByteCounts (279)
or TileByteCounts (325) how long it is.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.limits import (
    DEFLATE_RATIO,
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)

__all__ = ["check_pieces", "is_one_run"]

# The most that a compression packs into one byte, where a bound is known.
_RATIO = {
    tifffile.COMPRESSION.NONE: 1,
    # A code of 9 to 12 bits stands for at most 4096 bytes.
    tifffile.COMPRESSION.LZW: 4096,
    tifffile.COMPRESSION.ADOBE_DEFLATE: DEFLATE_RATIO,
    tifffile.COMPRESSION.DEFLATE: DEFLATE_RATIO,
    # Two bytes repeat one of them up to 128 times.
    tifffile.COMPRESSION.PACKBITS: 64,
    # Twelve bits are the least for 16 by 16 pixels of three samples.
    tifffile.COMPRESSION.JPEG: 512,
}
# Bytes of a header, of an entry of a directory, and of what stands around the entries.
_LAYOUT = {False: (8, 12, 6), True: (16, 20, 16)}


def check_pieces(path: Path, series: Any, *, quiet: bool = False) -> None:
    """Refuse a series that declares more than its files or the memory can hold.

    Parameters
    ----------
    path : Path
        The file, for messages.
    series : tifffile.TiffPageSeries
        One resolution of an image; its pages may lie in several files.
    quiet : bool
        Whether pieces that are not stored are not warned of.

    Raises
    ------
    ImageFileError
        If pieces lie beyond the end of their file, or in its header or directory, or
        cannot hold the image.
    """
    page = series.keyframe
    # Pages that lie one behind the other need not be looked at.
    run = is_one_run(series)
    pages = [page] if run else [one for one in series if one is not None]
    # Pieces are the strips or tiles; one without bytes is not stored, as GDAL does it.
    pieces = int(np.prod(page.chunked))
    blank = 0 if run or page.is_contiguous else sum(tuple(p.databytecounts).count(0) for p in pages)
    stored = 1 - blank / (pieces * len(pages))
    _check_packed(path, series, pages, share=stored * (1 if run else len(pages) / len(series)))
    if len(page.dataoffsets) < pieces:
        raise ImageFileError(
            f"{path} declares {pieces} pieces of image but places {len(page.dataoffsets)}; "
            "it is damaged"
        )
    # A tile may be larger than the image that it covers.
    require_memory(path, count_declared_bytes(path, page.chunks, series.dtype.itemsize))
    for one in pages:
        _check_page(path, one, series)
    if blank and not quiet:
        warnings.warn(
            f"{path.name}: {blank} of {pieces * len(pages)} pieces of the image are not stored; "
            f"they are read as {page.nodata}",
            stacklevel=2,
        )


def is_one_run(series: Any) -> bool:
    """Tell whether all pixels of a series lie in one run of bytes of the open file.

    ImageJ writes a stack so, behind a single directory.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        One resolution of an image.

    Returns
    -------
    bool
        False for pages of several files, or of another one.
    """
    own = series.keyframe.parent is series.parent and not series.is_multifile
    return bool(own and series.dataoffset is not None)


def _check_page(path: Path, page: Any, series: Any) -> None:
    """Refuse pieces that cannot lie where they are said to."""
    file = page.parent.filehandle
    header, entry, around = _LAYOUT[page.parent.is_bigtiff]
    # Pages that only an index knows have no directory.
    begin = page.offset or 0
    # tifffile does not read all of the directory of a frame, a page that is like others.
    end = begin + around + entry * len(getattr(page, "tags", ())) if begin else 0
    for start, count in _list_ranges(page, series):
        if count and (
            start < header or start + count > file.size or (start < end and begin < start + count)
        ):
            _explain_range(path.parent / file.name, start, count, file.size, header)


def _list_ranges(page: Any, series: Any) -> Iterable[tuple[int, int]]:
    """Return where the bytes of a page begin, and how many they are."""
    if is_one_run(series):
        return [(series.dataoffset, series.nbytes)]
    # Some writers give wrong counts where they are not needed.
    if page.is_contiguous:
        return [(page.dataoffsets[0], page.nbytes)]
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _explain_range(path: Path, start: int, count: int, size: int, header: int) -> None:
    if start == 0:
        raise ImageFileError(
            f"{path} stores no pixels for one of its pages (offset 0); write them out, or copy it "
            "again"
        )
    if start < header:
        raise ImageFileError(f"{path} places pixels in its header (byte {start}); it is damaged")
    if start + count > size:
        raise ImageFileError(
            f"{path} places pixels up to byte {start + count} but ends at byte {size}; it is cut "
            "short or damaged, copy it again"
        )
    raise ImageFileError(
        f"{path} places pixels (from byte {start}) where its own directory lies; it is damaged"
    )


def _check_packed(path: Path, series: Any, pages: Sequence[Any], *, share: float) -> None:
    """Refuse an image that the files of its pages are too small for."""
    page = series.keyframe
    total = count_declared_bytes(path, series.shape, series.dtype.itemsize)
    ratio = _RATIO.get(page.compression)
    if ratio is None:
        return
    files = {one.parent.filehandle.path: one.parent.filehandle.size for one in pages}
    # What is missing takes no bytes; samples of 1 to 7 bits are unpacked to whole ones.
    nbytes = int(total * share * np.mean(page.bitspersample) / (8 * series.dtype.itemsize))
    require_packed_bytes(path, nbytes, packed=sum(files.values()), ratio=ratio)
