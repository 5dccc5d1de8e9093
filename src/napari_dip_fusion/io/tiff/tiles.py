"""Large images are written to OME-TIFF part by part: in pages, or in tiles with a pyramid.

They are halved on their way. Resolutions wait in a file of their own until it is their turn.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.halving import halve
from napari_dip_fusion.io.streaming import Part, count_most, iterate_parts, iterate_runs, read
from napari_dip_fusion.sources import Source

__all__ = [
    "BIGTIFF_BYTES",
    "TILE",
    "count_pyramid_bytes",
    "is_tiled",
    "iterate_tiles",
    "write_pages",
    "write_tiles",
]

# Offsets of plain TIFF have 32 bits; 128 MiB are left for all that is no pixel.
BIGTIFF_BYTES = 2**32 - 2**27
"""Images of more bytes are written with offsets of 64 bits."""

TILE = 512
"""Rows and columns of a tile."""

# Planes with more pixels along a side are written in tiles.
_LARGEST_PLAIN = 4096
# The coarsest resolution has at most so many pixels along a side.
_COARSEST = 512
# Bytes that tifffile packs at once.
_BUFFER = 2**26


def is_tiled(image: Source) -> bool:
    """Tell whether the planes of an image are so large that they are written in tiles."""
    plane = image.data.shape[image.ndim - 2 :]
    return bool(max(plane[:2]) > _LARGEST_PLAIN or math.prod(plane) > count_most(image.data))


def count_pyramid_bytes(image: Source) -> int:
    """Return how many bytes the pixels of an image have with those of its coarser resolutions."""
    shapes = _list_shapes(image) if is_tiled(image) else [image.data.shape]
    return sum(map(math.prod, shapes)) * image.dtype.itemsize


def write_pages(writer: Any, image: Source, dtype: np.dtype[Any], options: dict[str, Any]) -> None:
    """Write an image plane after plane.

    Parameters
    ----------
    writer : tifffile.TiffWriter
        The open file.
    image : Source
        Its last axes are y and x. Several of its planes are read at once.
    dtype : dtype
        The type in which it is written.
    options : dict
        Arguments of :meth:`tifffile.TiffWriter.write`.
    """
    pages = _iterate_pages(image, dtype)
    writer.write(pages, shape=image.data.shape, dtype=dtype, buffersize=_BUFFER, **options)


def write_tiles(
    writer: Any, image: Source, dtype: np.dtype[Any], options: dict[str, Any], folder: Path
) -> None:
    """Write an image with large planes in tiles, and its coarser resolutions beneath it.

    Parameters
    ----------
    writer, image, dtype, options
        As of :func:`write_pages`. Of its pyramid those resolutions are written that are half
        as large as the one before.
    folder : Path
        Where resolutions that are computed wait for their turn.
    """
    shapes = _list_shapes(image)
    provided = _find_provided(image, shapes)
    options = {**options, "tile": (TILE, TILE), "dtype": dtype, "buffersize": _BUFFER}
    own, data = {"metadata": options.pop("metadata")}, image.data
    with tempfile.TemporaryDirectory(prefix=".", suffix="-pyramid", dir=folder) as scratch:
        for number, shape in enumerate(shapes):
            coarse, target = None, None
            if number + 1 < len(provided):
                coarse = provided[number + 1]
            elif number + 1 < len(shapes):
                coarse = target = _Scratch(Path(scratch, str(number)), shapes[number + 1], dtype)
            place = {"subfiletype": 1} if number else {"subifds": len(shapes) - 1, **own}
            tiles = iterate_tiles(data, image.rgb, dtype, target)
            writer.write(tiles, shape=shape, **options, **place)
            data = coarse


def iterate_tiles(
    data: Any, rgb: bool, dtype: np.dtype[Any], coarse: Any = None
) -> Iterator[NDArray[Any]]:
    """Yield the tiles of an image in the order in which a file holds them.

    Parameters
    ----------
    data : array-like
        The image.
    rgb : bool
        Whether its last axis holds colors.
    dtype : dtype
        The type of the tiles.
    coarse : array-like, optional
        Where the halved image goes.

    Yields
    ------
    ndarray
        A tile, smaller at the ends of the image.
    """
    y = len(data.shape) - 2 - rgb
    for part in iterate_parts(data.shape, _choose_part(data, y)):
        pixels = read(data, part).astype(dtype, copy=False)
        if coarse is not None:
            halved = [slice(one.start // 2, -(-one.stop // 2)) for one in part[y : y + 2]]
            coarse[(*part[:y], *halved, *part[y + 2 :])] = halve(pixels, (y, y + 1))
        plane = pixels.reshape(pixels.shape[y:])
        for rows, columns, *_ in iterate_parts(plane.shape[:2], (TILE, TILE)):
            yield plane[rows, columns]


@dataclass(frozen=True)
class _Scratch:
    """Pixels in a file, of which parts are written and read."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, part: Part) -> NDArray[Any]:
        return np.array(self._map("r")[part])

    def __setitem__(self, part: Part, pixels: NDArray[Any]) -> None:
        self._map("r+" if self.path.exists() else "w+")[part] = pixels

    def _map(self, mode: Any) -> NDArray[Any]:
        # Mapped anew each time, so that what was looked at takes no memory any more.
        return np.memmap(self.path, self.dtype, mode, shape=self.shape)


def _list_shapes(image: Source) -> list[tuple[int, ...]]:
    """Return the shapes of all resolutions that are written, the finest first."""
    y = image.ndim - 2
    shapes = [tuple(image.data.shape)]
    while max(shapes[-1][y : y + 2]) > _COARSEST:
        shapes.append(_halve_shape(shapes[-1], y))
    return shapes


def _halve_shape(shape: tuple[int, ...], y: int) -> tuple[int, ...]:
    return (*shape[:y], *(-(-size // 2) for size in shape[y : y + 2]), *shape[y + 2 :])


def _find_provided(image: Source, shapes: list[tuple[int, ...]]) -> list[Any]:
    """Return the resolutions that an image has where they are written, the finest first."""
    provided = [image.data]
    for number, level in enumerate(image.pyramid, start=1):
        fits = number < len(shapes) and tuple(level.shape) == shapes[number]
        if not fits or image.measure_level_shift(number) > 1:
            break
        provided.append(level)
    return provided


def _iterate_pages(image: Source, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    shape = image.data.shape[image.ndim - 2 :]
    for part in iterate_runs(image.data):
        yield from read(image.data, part).astype(dtype, copy=False).reshape(-1, *shape)


def _choose_part(data: Any, y: int) -> tuple[int, ...]:
    """Return the size of parts that are rows of tiles, or pieces of one row if these are long."""
    height, width, *colors = data.shape[y:]
    tiles = max(count_most(data) // (TILE * TILE * math.prod(colors)), 1)
    across = -(-width // TILE)
    rows = max(tiles // across, 1)
    columns = min(tiles, across)
    return (*(1,) * y, min(rows * TILE, height), min(columns * TILE, width), *colors)
