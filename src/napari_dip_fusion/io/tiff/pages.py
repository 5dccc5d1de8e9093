"""The pages of TIFF files of any dialect: opened safely, and read as the images of a series."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import declared_bytes, refuse_memory, refuse_packed
from napari_dip_fusion.io.quiet import quiet
from napari_dip_fusion.sources import Source

__all__ = ["opened", "series_image"]

# Read at once below this size, and in pieces of about this size above it.
_PIECE_BYTES = 64 * 2**20
# The most that a compression packs into one byte, where a bound is known.
_RATIO = {
    tifffile.COMPRESSION.NONE: 1,
    tifffile.COMPRESSION.LZW: 4096,
    tifffile.COMPRESSION.ADOBE_DEFLATE: 1032,
    tifffile.COMPRESSION.DEFLATE: 1032,
    tifffile.COMPRESSION.PACKBITS: 64,
    # Twelve bits are the least for 16 by 16 pixels of three samples.
    tifffile.COMPRESSION.JPEG: 512,
}


@contextmanager
def opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file and turn all that its damage can raise into one error.

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
        If the file is damaged.
    """
    with (
        report_damage(path, "read as TIFF"),
        quiet("tifffile"),
        tifffile.TiffFile(path) as tif,
    ):
        # Counting finds where the chain of pages ends, also if it leads back.
        if len(tif.pages) < 1:
            raise ImageFileError(f"{path} holds no pages; the file is damaged")
        yield tif


def series_image(path: Path, tif: tifffile.TiffFile, number: int) -> Source:
    """Return one series, channels as an axis ``"c"``, without its place.

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
        Named after the file; with an identity affine.
    """
    count = len(tif.series[number].levels)
    levels = [_level(path, tif, number, n) for n in range(count)]
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
class _Pages:
    """Reads runs of pages of a series, opening the file for each: no handle is kept."""

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
        with opened(self.path) as tif:
            level: Any = tif.series[self.series].levels[self.level]
            if not isinstance(first, slice):
                return level.pages[first].asarray()[tuple(rest)]  # type: ignore[no-any-return]
            pages = [level.pages[n] for n in range(self.shape[0])[first]]
            return np.stack([page.asarray() for page in pages])[(slice(None), *rest)]


def _level(path: Path, tif: tifffile.TiffFile, number: int, level: int) -> tuple[Any, str]:
    """Return the pixels of one resolution and their axes, colours last as S."""
    series = tif.series[number].levels[level]
    page = series.keyframe
    _check_size(path, tif, series)
    nbytes = series.size * series.dtype.itemsize
    data: Any
    if nbytes > _PIECE_BYTES and len(series.pages) > 1 and None not in series.pages:
        data = _lazy(path, series, number, level)
    else:
        refuse_memory(path, nbytes)
        data = series.asarray()
    return _colours(path, data.reshape(series.shape), series.axes, page)


def _lazy(path: Path, series: Any, number: int, level: int) -> Any:
    import dask.array as da

    shape = (len(series.pages), *series.keyframe.shape)
    pages = _Pages(path, number, level, shape, series.dtype)
    plane = pages.dtype.itemsize * int(np.prod(shape[1:]))
    run = max(_PIECE_BYTES // plane, 1)
    chunks, meta = (run, *shape[1:]), np.empty(0, series.dtype)
    return da.from_array(pages, chunks=chunks, meta=meta, lock=True)  # type: ignore[no-untyped-call]


def _check_size(path: Path, tif: tifffile.TiffFile, series: Any) -> None:
    page = series.keyframe
    itemsize = series.dtype.itemsize
    total = declared_bytes(path, series.shape, itemsize)
    ratio = _RATIO.get(page.compression)
    if ratio is not None:
        packed = int(tif.filehandle.size)
        refuse_packed(
            path, total * page.bitspersample // (8 * itemsize), packed=packed, ratio=ratio
        )
    pieces = int(np.prod(page.chunked))
    if len(page.dataoffsets) < pieces:
        raise ImageFileError(
            f"{path} declares {pieces} pieces of image but places {len(page.dataoffsets)}; "
            "it is damaged"
        )
    # A tile may be larger than the image that it covers.
    refuse_memory(path, declared_bytes(path, page.chunks, itemsize))


def _colours(path: Path, data: Any, axes: str, page: Any) -> tuple[Any, str]:
    """Bring samples to the end as RGB(A); resolve palettes and inverted grey."""
    photometric = page.photometric
    if photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise ImageFileError(f"{path} holds ink colours (CMYK); convert it to RGB first")
    if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _paint(page.colormap, data), axes + "S"
    if data.dtype.kind == "b":
        data = data.astype(np.uint8) * 255
    if data.dtype.kind not in "uif":
        raise ImageFileError(f"{path} holds {data.dtype} pixels; convert them to integer or float")
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and data.dtype.kind == "u":
        data = np.iinfo(data.dtype).max - data
    return _samples_last(data, axes)


def _paint(colormap: NDArray[np.uint16], data: Any) -> Any:
    table = np.ascontiguousarray((colormap >> 8).astype(np.uint8).T)
    if isinstance(data, np.ndarray):
        return table[data]
    chunks = (*data.chunks, (3,))
    return data.map_blocks(table.__getitem__, dtype=np.uint8, chunks=chunks, new_axis=data.ndim)


def _samples_last(data: Any, axes: str) -> tuple[Any, str]:
    if "S" not in axes:
        return data, axes
    data = np.moveaxis(data, axes.index("S"), -1)
    axes = axes.replace("S", "") + "S"
    samples = data.shape[-1]
    if samples == 1:
        return data[..., 0], axes[:-1]
    if samples == 2:
        parts = [np.repeat(data[..., :1], 3, axis=-1), data[..., 1:]]
        return np.concatenate(parts, axis=-1), axes
    if samples > 4:  # as many measurements, not colours
        return data, axes[:-1] + ("C" if "C" not in axes else "P")
    return data, axes
