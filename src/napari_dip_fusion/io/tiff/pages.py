"""TIFF files of any dialect are opened safely, and their pages read as images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import (
    DEFLATE_RATIO,
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)
from napari_dip_fusion.io.regular import require_regular
from napari_dip_fusion.io.silence import silence_logger
from napari_dip_fusion.io.tiff.colors import convert_colors
from napari_dip_fusion.io.tiff.ome_xml import list_named_files
from napari_dip_fusion.sources import Source

__all__ = ["open_tiff", "read_series"]

# Read at once below this size, and in pieces of about this size above it.
_PIECE_BYTES = 64 * 2**20
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


@contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file, and turn all that its damage can raise into one error.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    tifffile.TiffFile
        The open file.

    Raises
    ------
    ImageFileError
        If the file is damaged or no plain file, or names parts that are not read.
    """
    require_regular(path)
    with (
        report_damage(path, "read as TIFF"),
        silence_logger("tifffile"),
        tifffile.TiffFile(path) as tif,
    ):
        # Each page points at the next one. Counting finds where the chain ends, also if
        # it leads back to an earlier page.
        if len(tif.pages) < 1:
            raise ImageFileError(f"{path} holds no pages; the file is damaged")
        _check_named_files(path, tif)
        yield tif


def _check_named_files(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuse an image that spreads over what are no files, or lie in other folders.

    tifffile opens whatever the OME-XML, or the index of Micro-Manager, names as a part of it.
    """
    names = list_named_files(tif.ome_metadata or "")
    if tif.is_micromanager:
        names += _list_micromanager_files(path.parent)
    for name in names:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name:
            raise ImageFileError(f"{path} points out of its folder ({name!r}); it is not read")
        # tifffile leaves planes blank whose file is missing.
        if (path.parent / name).exists():
            require_regular(path.parent / name)


def _list_micromanager_files(folder: Path) -> list[str]:
    """Return the names of the files that Micro-Manager's stacks in a folder may go on in."""
    names = [file.name for file in folder.glob("*_MMStack*.tif")]
    index = folder / "NDTiff.index"
    if index.exists():
        require_regular(index)
        names += [name for _, name, *_ in tifffile.read_ndtiff_index(index)]
    return names


def read_series(path: Path, tif: tifffile.TiffFile, number: int) -> Source:
    """Read one series: the pages that tifffile finds to make up one array.

    Parameters
    ----------
    path : Path
        The file.
    tif : tifffile.TiffFile
        The open file.
    number : int
        Index of the series.

    Returns
    -------
    Source
        Named after the file, with its channels as an axis ``"c"`` and without a place;
        lazy if it is large and has several pages.
    """
    count = len(tif.series[number].levels)
    levels = [_read_level(path, tif, number, n) for n in range(count)]
    data, *pyramid = [level for level, _ in levels]
    axes = levels[0][1]
    return Source(
        data,
        tuple(axes.replace("S", "").lower()),
        rgb="S" in axes,
        name=path.name.split(".")[0] or path.name,
        path=path,
        pyramid=tuple(pyramid),
    )


@dataclass(frozen=True)
class _PageStack:
    """The pages of a series as an array, from which dask reads runs of pages.

    The file is opened for each run, so that no handle is kept by a lazy image.
    """

    path: Path
    series: int
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, where: tuple[slice | int, ...]) -> NDArray[Any]:
        first, *rest = where
        with open_tiff(self.path) as tif:
            level: Any = tif.series[self.series].levels[self.level]
            if not isinstance(first, slice):
                return level.pages[first].asarray()[tuple(rest)]  # type: ignore[no-any-return]
            pages = [level.pages[n] for n in range(self.shape[0])[first]]
            return np.stack([page.asarray() for page in pages])[(slice(None), *rest)]


def _read_level(path: Path, tif: tifffile.TiffFile, number: int, level: int) -> tuple[Any, str]:
    """Return the pixels of one resolution and tifffile's letters of their axes, colors last."""
    series = tif.series[number].levels[level]
    # All pages of a series are like its keyframe.
    page = series.keyframe
    _check_size(path, tif, series)
    nbytes = series.size * series.dtype.itemsize
    data: Any
    # A missing page is None; tifffile fills it only when all are read at once.
    if nbytes > _PIECE_BYTES and len(series.pages) > 1 and None not in series.pages:
        data = _stack_lazily(path, series, number, level)
    else:
        require_memory(path, nbytes)
        data = series.asarray()
    return convert_colors(path, data.reshape(series.shape), series.axes, page)


def _stack_lazily(path: Path, series: Any, number: int, level: int) -> Any:
    import dask.array as da

    shape = (len(series.pages), *series.keyframe.shape)
    pages = _PageStack(path, number, level, shape, series.dtype)
    plane = pages.dtype.itemsize * int(np.prod(shape[1:]))
    run = max(_PIECE_BYTES // plane, 1)
    chunks, meta = (run, *shape[1:]), np.empty(0, series.dtype)
    return da.from_array(pages, chunks=chunks, meta=meta, lock=True)  # type: ignore[no-untyped-call]


def _check_size(path: Path, tif: tifffile.TiffFile, series: Any) -> None:
    """Refuse a series that declares more than the file or the memory can hold."""
    page = series.keyframe
    itemsize = series.dtype.itemsize
    total = count_declared_bytes(path, series.shape, itemsize)
    ratio = _RATIO.get(page.compression)
    if ratio is not None:
        packed = int(tif.filehandle.size)
        # Samples of 1 to 7 bits are unpacked to whole bytes.
        nbytes = total * page.bitspersample // (8 * itemsize)
        require_packed_bytes(path, nbytes, packed=packed, ratio=ratio)
    # Pieces are the strips or tiles; StripOffsets or TileOffsets place each of them.
    pieces = int(np.prod(page.chunked))
    if len(page.dataoffsets) < pieces:
        raise ImageFileError(
            f"{path} declares {pieces} pieces of image but places {len(page.dataoffsets)}; "
            "it is damaged"
        )
    # A tile may be larger than the image that it covers.
    require_memory(path, count_declared_bytes(path, page.chunks, itemsize))
