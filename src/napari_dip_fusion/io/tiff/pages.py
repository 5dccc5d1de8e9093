"""The pages of TIFF files of any dialect are read as images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.formats import strip_ending
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.io.tiff.colors import Samples, describe_samples, require_known_samples
from napari_dip_fusion.io.tiff.lazy import read_lazily
from napari_dip_fusion.io.tiff.opening import listen
from napari_dip_fusion.io.tiff.pieces import check_pieces, is_one_run
from napari_dip_fusion.sources import Source

__all__ = ["FURTHER", "OpenTiff", "list_series", "read_series"]

FURTHER = " extra"
"""What the name of an image ends in that holds further samples beside colors (ExtraSamples)."""

# Read at once below this size, and in pieces of about this size above it.
_PIECE_BYTES = 64 * 2**20
_COARSE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class OpenTiff:
    """An open TIFF file, and the name under which it was asked for.

    Parameters
    ----------
    path : Path
        The file that was named, for messages and names.
    tif : tifffile.TiffFile
        The open file, which may be another one of the same set.
    told : set of str
        What tifffile said of it, and was passed on.
    """

    path: Path
    tif: tifffile.TiffFile
    told: set[str] = field(default_factory=set)


def list_series(opened: OpenTiff) -> list[Any]:
    """Return the series that tifffile makes of the pages of a file, with what it says of them."""
    with listen(opened.path, told=opened.told):
        return list(opened.tif.series)


def read_series(opened: OpenTiff, number: int, *, painted: bool = True) -> list[Source]:
    """Read one series: the pages that tifffile finds to make up one array.

    Parameters
    ----------
    opened : OpenTiff
        The open file.
    number : int
        Index of the series.
    painted : bool
        Whether the values of a palette stand for colors.

    Returns
    -------
    list of Source
        The image, named after the file, with its channels as an axis ``"c"`` and without
        a place; then, if it has colors, the samples that are neither color nor alpha, as
        channels. Lazy where they are large.
    """
    series = list_series(opened)[number]
    require_known_samples(opened.path, series.keyframe)
    samples = describe_samples(opened.path, series.keyframe, painted=painted)
    if samples.palette is not None:
        _require_one_palette(opened.path, series)
    levels = []
    for n, level in enumerate(series.levels):
        check_pieces(opened.path, level, quiet=n > 0)
        levels.append(samples.convert(_read_pixels(opened, number, n), level.axes))
    # All levels have the same samples; the first one is the finest.
    parts = list(zip(*levels, strict=True))
    return [_make_source(opened.path, part, samples, further=n > 0) for n, part in enumerate(parts)]


def _require_one_palette(path: Path, series: Any) -> None:
    """Refuse pages whose values stand for colors in a palette of each page's own."""
    # Of the palettes of a series tifffile knows the first page's only.
    table = series.keyframe.colormap
    for number, page in enumerate(series):
        own = None if page is None else page.aspage().colormap
        if own is not None and not np.array_equal(own, table):
            raise ImageFileError(
                f"{path} has a palette of its own in page {number}, so one value means several "
                "colors; convert it to RGB"
            )


def _make_source(
    path: Path, levels: tuple[tuple[Any, str], ...], samples: Samples, *, further: bool
) -> Source:
    """Return the resolutions of one image as a source."""
    (data, axes), *pyramid = levels
    rgb = axes.endswith("S")
    return Source(
        data,
        _name_axes(axes.removesuffix("S").lower()),
        rgb=rgb,
        name=strip_ending(path) + FURTHER * further,
        path=path,
        pyramid=tuple(level for level, _ in pyramid),
        metadata={"alpha": samples.note} if rgb and samples.note else {},
    )


def _name_axes(letters: str) -> tuple[str, ...]:
    """Return names of axes, of which no two are one; tifffile calls all unknown ones Q."""
    before = [letters[:n].count(letter) for n, letter in enumerate(letters)]
    return tuple(
        f"{letter}{n + 1}" if n else letter for letter, n in zip(letters, before, strict=True)
    )


def _read_pixels(opened: OpenTiff, number: int, level: int) -> Any:
    """Return the samples of one resolution as they are stored, lazily where they are many."""
    levels: Any = opened.tif.series[number].levels
    series = levels[level]
    nbytes = series.size * series.dtype.itemsize
    most = _PIECE_BYTES
    # Of an image that is not read at once its coarser resolutions are not, unless they are small.
    if level and levels[0].size * series.dtype.itemsize > most:
        most = min(most, _COARSE_BYTES)
    if nbytes > most:
        lazy = read_lazily(opened.path, series, most, opened.told)
        if lazy is not None:
            return lazy
    require_memory(opened.path, nbytes)
    with listen(opened.path, told=opened.told):
        # tifffile takes pages of other files, too, for parts of the file that is open.
        if is_one_run(series) or all(
            page is not None and page.parent is opened.tif for page in series
        ):
            return series.asarray().reshape(series.shape)
        shape = series.keyframe.shape
        pages = [_read_page(page, shape, series.dtype) for page in series]
        return np.stack(pages).reshape(series.shape)


def _read_page(page: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the pixels of a page, in whichever file; one that is missing is 0."""
    if page is None:
        return np.zeros(shape, dtype)
    file = page.parent.filehandle
    if not file.closed:
        return page.asarray()  # type: ignore[no-any-return]
    # The files of one image are opened in turn.
    file.open()
    try:
        return page.asarray()  # type: ignore[no-any-return]
    finally:
        file.close()
