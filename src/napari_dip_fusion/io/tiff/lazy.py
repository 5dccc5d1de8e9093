"""Large TIFF images are read in parts, when these are asked for.

No file is kept open by a lazy image: it remembers where each of its pages lies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.io.regular import require_regular
from napari_dip_fusion.io.silence import silence_logger
from napari_dip_fusion.io.tiff.opening import listen, report_tiff_damage
from napari_dip_fusion.io.tiff.pieces import is_one_run
from napari_dip_fusion.io.tiff.segments import choose_chunks, open_page, read_part

__all__ = ["read_lazily"]


def read_lazily(path: Path, series: Any, piece_bytes: int, told: set[str]) -> Any:
    """Return a series as a lazy array.

    Parameters
    ----------
    path : Path
        The file that was named, for what tifffile says of the pixels.
    series : tifffile.TiffPageSeries
        One resolution of an image, whose pages were checked.
    piece_bytes : int
        About the size of the parts that are read at once.
    told : set of str
        What tifffile said of the file, and was passed on.

    Returns
    -------
    dask array or None
        None where its pages, one after the other, do not make up the array.
    """
    if series.transform is not None:
        return None
    if is_one_run(series):
        return _cut_run(series, piece_bytes)
    shape = tuple(series.keyframe.shape)
    chunks = _choose_page_chunks(series, piece_bytes)
    if (len(series) < 2 and chunks == shape) or series.size != len(series) * int(np.prod(shape)):
        return None
    leading = series.shape[: len(series.shape) - len(shape)]
    if series.shape[len(leading) :] != shape:
        leading = (len(series),)
    places = tuple(None if page is None else _find_place(page) for page in series)
    stack = _PageStack(path, places, leading, shape, series.dtype, told, chunks != shape)
    return _make_lazy(stack, chunks, piece_bytes).reshape(series.shape)


def _choose_page_chunks(series: Any, piece_bytes: int) -> tuple[int, ...]:
    """Return the size of the parts in which pages are read: whole ones, unless they are large."""
    page = series.keyframe
    if int(np.prod(page.shape)) * series.dtype.itemsize <= piece_bytes:
        return tuple(page.shape)
    return choose_chunks(page, bare=bool(page.is_final))


@dataclass(frozen=True)
class _Place:
    """Where a page lies: its directory, or its pixels if they lie there as they are."""

    file: Path
    offset: int
    index: tuple[int, ...]
    order: Literal["<", ">"]
    bare: bool


@dataclass(frozen=True)
class _PageStack:
    """The pages of a series as an array, from which dask reads the pages that it needs."""

    path: Path
    places: tuple[_Place | None, ...]
    leading: tuple[int, ...]
    page: tuple[int, ...]
    dtype: np.dtype[Any]
    told: set[str]
    cut: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.leading + self.page

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, where: tuple[slice | int, ...]) -> NDArray[Any]:
        count = len(self.leading)
        numbers = np.arange(len(self.places)).reshape(self.leading)[where[:count]]
        # Numbers of single pages come as integers.
        chosen = np.asarray(numbers)
        read = [self._read_page(self.places[n], where[count:]) for n in chosen.flat]
        return np.stack(read).reshape(*chosen.shape, *read[0].shape)

    def _read_page(self, place: _Place | None, where: tuple[slice | int, ...]) -> NDArray[Any]:
        """Return a part of a page; one that is missing was warned of, and is 0."""
        if place is None:
            return np.broadcast_to(np.zeros((), self.dtype), self.page)[where]
        require_regular(place.file)
        with report_tiff_damage(place.file):
            if place.bare:
                stored = self.dtype.newbyteorder(place.order)
                page = np.memmap(place.file, stored, "r", place.offset, self.page)
                return np.array(page[where], dtype=self.dtype)
            return self._decode(place, where)

    def _decode(self, place: _Place, where: tuple[slice | int, ...]) -> NDArray[Any]:
        with listen(self.path, told=self.told):
            if self.cut:
                page = open_page(place.file, place.offset, place.index)
                return read_part(page, place.file, where)
            with silence_logger("tifffile"):
                tif = tifffile.TiffFile(place.file)
            with tif:
                tif.filehandle.seek(place.offset)
                whole = tifffile.TiffPage(tif, place.index).asarray().reshape(self.page)
                return whole[where]


def _find_place(page: Any) -> _Place:
    """Return where a page lies."""
    tif, bare = page.parent, bool(page.is_final)
    offset = page.dataoffsets[0] if bare else page.offset
    return _Place(Path(tif.filehandle.path), int(offset), page.treeindex, tif.byteorder, bare)


@dataclass(frozen=True)
class _Run:
    """A stack that lies in one run of bytes, of which dask reads parts."""

    file: Path
    offset: int
    order: Literal["<", ">"]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, where: tuple[slice | int, ...]) -> NDArray[Any]:
        require_regular(self.file)
        stored = self.dtype.newbyteorder(self.order)
        # The file may have been cut short since it was opened.
        with report_tiff_damage(self.file):
            run = np.memmap(self.file, stored, "r", self.offset, self.shape)
            return np.array(run[where], dtype=self.dtype)


def _cut_run(series: Any, piece_bytes: int) -> Any:
    """Return a stack that lies in one run as a lazy array."""
    tif = series.parent
    file = Path(tif.filehandle.path)
    run = _Run(file, series.dataoffset, tif.byteorder, series.shape, series.dtype)
    chunks = _choose_page_chunks(series, piece_bytes)
    # The pages of a run may have other axes than the image.
    trailing = series.shape[len(series.shape) - len(chunks) :]
    fits = trailing == tuple(series.keyframe.shape)
    return _make_lazy(run, chunks if fits else trailing, piece_bytes)


def _make_lazy(pixels: _PageStack | _Run, chunks: tuple[int, ...], piece_bytes: int) -> Any:
    """Return an array for dask, of which pages are read whole, or parts of pages by themselves."""
    import dask.array as da

    leading = len(pixels.shape) - len(chunks)
    is_whole = chunks == pixels.shape[leading:]
    sizes = da.core.normalize_chunks(  # type: ignore[no-untyped-call]
        (("auto",) if is_whole else (1,)) * leading + chunks,
        shape=pixels.shape,
        limit=piece_bytes,
        dtype=pixels.dtype,
    )
    # A name made from the path would have napari's cache show a file that was replaced since.
    options: dict[str, Any] = {"name": False, "fancy": False, "meta": np.empty(0, pixels.dtype)}
    # Whole pages are large: one at a time is in memory.
    return da.from_array(pixels, sizes, lock=is_whole, **options)  # type: ignore[no-untyped-call]
