"""Parts of large pages are read: of those strips and tiles alone that the parts lie in."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.silence import silence_logger

__all__ = ["choose_chunks", "open_page", "read_part"]

# About how many rows and columns of a page dask reads at once.
_SIDE = 1024
# Where each axis of a page stands among tifffile's five: separate samples, depth, length,
# width and samples that lie beside each other.
_PLACES = {"Z": 1, "Y": 2, "X": 3}
# Compressions whose tables may stand beside the pixels.
_JPEG = (6, 7, 34892, 33007)
# A page of a slide may have a hundred thousand tiles, the places of which take time to read.
_KEPT_PAGES = 8


def choose_chunks(page: Any, *, bare: bool) -> tuple[int, ...]:
    """Return the size of the parts in which a large page is read.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page.
    bare : bool
        Whether its pixels lie in the file as they are, so that any part is read alike.

    Returns
    -------
    tuple of int
        Along each axis of the page; that of the page where it is one strip, or is of axes
        that are not known here.
    """
    places = _find_places(page)
    segment, shape = _measure_segment(page), page.shaped
    if places is None or (segment[:4] == shape[:4] and not bare):
        return tuple(page.shape)
    sizes = list(shape)
    width = 1 if bare else segment[3]
    sizes[3] = min(math.ceil(_SIDE / width) * width, shape[3])
    length = 1 if bare else segment[2]
    # A strip is as wide as the page, and then of fewer rows.
    rows = max(_SIDE**2 // sizes[3], 1)
    sizes[2] = min(math.ceil(rows / length) * length, shape[2])
    sizes[1] = min(segment[1], shape[1])
    return tuple(sizes[place] for place in places)


def open_page(file: Path, offset: int, index: tuple[int, ...]) -> tifffile.TiffPage:
    """Return a page of a file without its pixels; the file is closed again.

    Parameters
    ----------
    file : Path
        The file.
    offset : int
        Where the directory of the page begins.
    index : tuple of int
        Which page it is.
    """
    known = file.stat()
    return _open_page(file, offset, index, (known.st_size, known.st_mtime_ns))


@lru_cache(maxsize=_KEPT_PAGES)
def _open_page(
    file: Path, offset: int, index: tuple[int, ...], stamp: tuple[int, int]
) -> tifffile.TiffPage:
    """Return a page of a file that has not changed since it had this stamp."""
    with silence_logger("tifffile"):
        tif = tifffile.TiffFile(file)
    with tif:
        tif.filehandle.seek(offset)
        page = tifffile.TiffPage(tif, index)
        # Whatever it is decoded by is made once, before threads ask for it.
        _ = page.decode
        return page


def read_part(page: Any, file: Path, where: Sequence[slice | int]) -> NDArray[Any]:
    """Return a part of a page.

    Parameters
    ----------
    page : tifffile.TiffPage
        From :func:`open_page`, of which :func:`choose_chunks` made parts.
    file : Path
        Its file.
    where : sequence of slice or int
        What is read along each axis of the page.

    Returns
    -------
    ndarray
        The part, without the axes of which one index is read.

    Raises
    ------
    ImageFileError
        If the file ends before its pixels do.
    """
    # All between the first pixel and the last one is read, in steps of one.
    asked = [
        range(size)[one] if isinstance(one, slice) else range(one, one + 1)
        for one, size in zip(where, page.shape, strict=True)
    ]
    spans = [range(min(r), max(r) + 1) if len(r) else range(0) for r in asked]
    pixels = _read_spans(page, file, spans)
    steps = [
        slice(None, None, r.step) if isinstance(w, slice) else 0
        for r, w in zip(asked, where, strict=True)
    ]
    return pixels[tuple(steps)]


def _read_spans(page: Any, file: Path, spans: Sequence[range]) -> NDArray[Any]:
    """Return what lies in a range of each axis of a page."""
    wanted = [range(size) for size in page.shaped]
    for place, part in zip(_find_places(page) or (), spans, strict=True):
        wanted[place] = part
    pixels = np.full([len(part) for part in wanted], page.nodata, page.dtype)
    with file.open("rb") as handle:
        for number in _list_segments(page, wanted):
            segment, begin = _decode(page, number, file, handle)
            if segment is not None:
                _paste(pixels, wanted, segment, begin)
    return pixels.reshape([len(part) for part in spans])


def _find_places(page: Any) -> list[int] | None:
    """Return which of tifffile's five axes the axes of a page are; None for others."""
    samples = 0 if page.shaped[0] > 1 else 4
    places = [samples if axis == "S" else _PLACES.get(axis, -1) for axis in page.axes]
    shape = [page.shaped[place] for place in places]
    fits = -1 not in places and shape == list(page.shape) and page.size == math.prod(page.shaped)
    return places if fits else None


def _measure_segment(page: Any) -> tuple[int, ...]:
    """Return the size of a strip or tile along tifffile's five axes."""
    length, width, samples = page.shaped[2:]
    if page.is_tiled:
        return (1, max(page.tiledepth, 1), page.tilelength, page.tilewidth, samples)
    return (1, 1, min(page.rowsperstrip, length), width, samples)


def _list_segments(page: Any, wanted: Sequence[range]) -> Iterator[int]:
    """Yield the numbers of the strips or tiles that a part lies in."""
    sizes = _measure_segment(page)[:4]
    grid = [-(-whole // size) for whole, size in zip(page.shaped, sizes, strict=False)]
    touched = [
        range(part.start // size, -(-part.stop // size))
        for part, size in zip(wanted, sizes, strict=False)
    ]
    for index in product(*touched):
        yield int(np.ravel_multi_index(index, grid))


def _decode(
    page: Any, number: int, file: Path, handle: BinaryIO
) -> tuple[NDArray[Any] | None, Sequence[int]]:
    """Return a strip or tile, None where it is not stored, and where it begins."""
    start, count = page.dataoffsets[number], page.databytecounts[number]
    content = None
    if start and count:
        handle.seek(start)
        content = handle.read(count)
        if len(content) < count:
            raise ImageFileError(f"{file} ends within its pixels; it was cut short, copy it again")
    tables: dict[str, Any] = {}
    if page.compression in _JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    segment, begin, _ = page.decode(content, number, **tables)
    return segment, begin


def _paste(
    pixels: NDArray[Any], wanted: Sequence[range], segment: NDArray[Any], begin: Sequence[int]
) -> None:
    """Put what a strip or tile holds of a part into its place."""
    target: list[Any] = [begin[0] - wanted[0].start]
    source: list[Any] = []
    for part, first, size in zip(wanted[1:4], begin[1:4], segment.shape, strict=False):
        low, high = max(first, part.start), min(first + size, part.stop)
        target.append(slice(low - part.start, high - part.start))
        source.append(slice(low - first, high - first))
    pixels[tuple(target)] = segment[(*source, slice(wanted[4].start, wanted[4].stop))]
