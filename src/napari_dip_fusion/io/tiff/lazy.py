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
    if len(series) < 2 or series.size != len(series) * int(np.prod(shape)):
        return None
    leading = series.shape[: len(series.shape) - len(shape)]
    if series.shape[len(leading) :] != shape:
        leading = (len(series),)
    places = tuple(None if page is None else _find_place(page) for page in series)
    stack = _PageStack(path, places, leading, shape, series.dtype, told)
    return _make_lazy(stack, len(leading), piece_bytes).reshape(series.shape)


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
        read = [self._read_page(self.places[n])[where[count:]] for n in chosen.flat]
        return np.stack(read).reshape(*chosen.shape, *read[0].shape)

    def _read_page(self, place: _Place | None) -> NDArray[Any]:
        """Return the pixels of a page; one that is missing was warned of, and is 0."""
        if place is None:
            return np.zeros(self.page, self.dtype)
        require_regular(place.file)
        with report_tiff_damage(place.file):
            return self._decode(place).reshape(self.page)

    def _decode(self, place: _Place) -> NDArray[Any]:
        if place.bare:
            count, stored = int(np.prod(self.page)), self.dtype.newbyteorder(place.order)
            pixels = np.fromfile(place.file, stored, count, offset=place.offset)
            return pixels.astype(self.dtype, copy=False)
        with silence_logger("tifffile"):
            tif = tifffile.TiffFile(place.file)
        with tif, listen(self.path, told=self.told):
            tif.filehandle.seek(place.offset)
            return tifffile.TiffPage(tif, place.index).asarray()


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
    return _make_lazy(run, len(series.shape) - len(series.keyframe.shape), piece_bytes)


def _make_lazy(pixels: _PageStack | _Run, leading: int, piece_bytes: int) -> Any:
    """Return an array for dask, of which planes are read whole and other axes are cut."""
    import dask.array as da

    sizes = da.core.normalize_chunks(  # type: ignore[no-untyped-call]
        ("auto",) * leading + (-1,) * (len(pixels.shape) - leading),
        shape=pixels.shape,
        limit=piece_bytes,
        dtype=pixels.dtype,
    )
    # A name made from the path would have napari's cache show a file that was replaced since.
    options: dict[str, Any] = {"name": False, "lock": True, "meta": np.empty(0, pixels.dtype)}
    return da.from_array(pixels, chunks=sizes, **options)  # type: ignore[no-untyped-call]
