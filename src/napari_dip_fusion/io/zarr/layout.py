"""How an image that is written block by block is stored: its resolutions and their chunks.

A chunk that pixels of two blocks lie in could be written by one process at a time only. So
chunks divide blocks, down to the resolution at which blocks become too small for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.halving import halve, measure_level, place_level, plan_factors
from napari_dip_fusion.io.zarr.fields import arrange
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import list_kinds

__all__ = ["Layout", "StoredLevel", "add_levels", "make_layout"]

# The largest chunks of planes, and of volumes: a million voxels.
_PLANE_CHUNK = (1, 512, 512)
_VOLUME_CHUNK = (16, 256, 256)
# Blocks own no resolution of which their part has fewer pixels: its files would be many.
_FEWEST_PIXELS = 2**14
# Blocks that can only be cut into chunks smaller by this than the largest are refused.
_SMALLEST_SHARE = 8


@dataclass(frozen=True)
class StoredLevel:
    """One resolution as it is stored.

    Attributes
    ----------
    shape, chunks : tuple of int
        Sizes of the whole and of a chunk along each axis that is stored, one of colors included.
    factors : tuple of int
        How many pixels of the finest resolution one pixel covers along each of them.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]

    def cut(self, part: Sequence[slice]) -> tuple[slice, ...]:
        """Return what depends on a part of the finest resolution."""
        return tuple(
            slice(one.start // factor, -(-one.stop // factor))
            for one, factor in zip(part, self.factors, strict=True)
        )


@dataclass(frozen=True)
class Layout:
    """What is stored of an image, and where its blocks lie in it.

    Attributes
    ----------
    levels : tuple of StoredLevel
        The finest first.
    owned : int
        How many of the levels consist of chunks that belong to one block each.
    shape, block : tuple of int
        Sizes of the image and of a block along the axes of the image, without colors.
    order : tuple of int
        The axes of the image that are stored, in the order in which they are. Others have
        one pixel.
    colors : int
        How many colors there are, 0 in gray.
    color_axis : int
        Where the axis of colors is stored.
    """

    levels: tuple[StoredLevel, ...]
    owned: int
    shape: tuple[int, ...]
    block: tuple[int, ...]
    order: tuple[int, ...]
    colors: int
    color_axis: int

    def measure_block(self, start: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the block that begins at a pixel, colors last.

        Raises
        ------
        ValueError
            If no block begins there.
        """
        places = list(zip(start, self.block, self.shape, strict=True))
        if any(n % size or not 0 <= n < whole for n, size, whole in places):
            raise ValueError(
                f"blocks of {self.block} pixels begin at multiples of their sizes within "
                f"{self.shape}, got {tuple(start)}"
            )
        sizes = tuple(min(size, whole - n) for n, size, whole in places)
        return (*sizes, self.colors) if self.colors else sizes

    def cut(self, start: Sequence[int]) -> tuple[slice, ...]:
        """Return where a block lies along the axes that are stored."""
        sizes = self.measure_block(start)
        part = [slice(int(start[n]), int(start[n]) + sizes[n]) for n in self.order]
        if self.colors:
            part.insert(self.color_axis, slice(0, self.colors))
        return tuple(part)

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return a block, whose colors are last, with its axes as they are stored."""
        kept = sorted(self.order)
        pixels = np.squeeze(pixels, tuple(n for n in range(len(self.shape)) if n not in kept))
        order = [kept.index(n) for n in self.order]
        if not self.colors:
            return pixels.transpose(order)
        return np.moveaxis(pixels.transpose([*order, len(order)]), -1, self.color_axis)

    def find_finer(self, part: Sequence[slice], level: int) -> tuple[slice, ...]:
        """Return of which part of the next finer level a part of a level is the means."""
        fine, coarse = self.levels[level - 1], self.levels[level]
        ratios = [many // few for many, few in zip(coarse.factors, fine.factors, strict=True)]
        return tuple(
            slice(one.start * ratio, min(one.stop * ratio, size))
            for one, ratio, size in zip(part, ratios, fine.shape, strict=True)
        )

    def coarsen(self, pixels: NDArray[Any], level: int) -> NDArray[Any]:
        """Return a part of a level as pixels of the next coarser one."""
        fine, coarse = self.levels[level].factors, self.levels[level + 1].factors
        return halve(pixels, [n for n in range(len(fine)) if fine[n] != coarse[n]])


def add_levels(image: Source) -> Source:
    """Return an image with its axes as they are stored, and its coarser resolutions, all blank."""
    image = arrange(image)
    planned = plan_factors(image)[1:]
    colors = image.data.shape[image.ndim :]
    blank = np.zeros((), image.dtype)
    levels = [np.broadcast_to(blank, (*measure_level(image.shape, f), *colors)) for f in planned]
    places = tuple(map(place_level, planned))
    return image.replace(pyramid=tuple(levels), level_affines=places)


def make_layout(image: Source, block: Sequence[int]) -> Layout:
    """Return how an image is stored of which blocks are written.

    Parameters
    ----------
    image : Source
        Only its shape, type, axes and place count.
    block : sequence of int
        Pixels of a block along each axis; 1 along those that are none of space.

    Raises
    ------
    ValueError
        If blocks of this size cannot be cut into chunks and halved.
    """
    _check_block(image, block)
    arranged = arrange(image)
    order = tuple(image.axes.index(name) for name in arranged.axes)
    cutting = _Cutting.of(arranged, [int(block[n]) for n in order])
    planned = plan_factors(arranged)
    owned = cutting.count_owned(planned)
    if not owned:
        raise ValueError(
            f"blocks of {tuple(block)} pixels cannot be cut into even chunks and halved; choose "
            "sizes that are multiples of 64, or those of the whole image"
        )
    color_axis = list_kinds(arranged.axes, arranged.units).count("time")
    colors = image.data.shape[-1] if image.rgb else 0

    def insert(sizes: Sequence[int], size: int) -> tuple[int, ...]:
        return (*sizes[:color_axis], size, *sizes[color_axis:]) if colors else tuple(sizes)

    levels = [
        StoredLevel(
            insert(measure_level(arranged.shape, factors), colors),
            insert(cutting.choose_chunks(factors, shared=number >= owned), colors),
            insert(factors, 1),
        )
        for number, factors in enumerate(planned)
    ]
    sizes = tuple(map(int, block))
    return Layout(tuple(levels), owned, image.shape, sizes, order, colors, color_axis)


def _check_block(image: Source, block: Sequence[int]) -> None:
    """Refuse blocks that no image of these axes is written in."""
    kinds = list_kinds(image.axes, image.units)
    if len(block) != image.ndim or any(
        size < 1 or (size > 1 and kind != "space") for size, kind in zip(block, kinds, strict=False)
    ):
        raise ValueError(
            f"a block needs a size of 1 or more along each axis of {', '.join(image.axes)}, and 1 "
            f"along those that are none of space, got {tuple(block)}"
        )


@dataclass(frozen=True)
class _Cutting:
    """How blocks are cut into chunks, along the axes that are stored without colors.

    Attributes
    ----------
    shape, block, largest : sequence of int
        Sizes of the image, of a block, and of the largest chunk.
    """

    shape: Sequence[int]
    block: Sequence[int]
    largest: Sequence[int]

    @classmethod
    def of(cls, image: Source, block: Sequence[int]) -> "_Cutting":
        """Return the cutting of an arranged image, of which the axes of space are the last."""
        space = list_kinds(image.axes, image.units).count("space")
        chunk = _VOLUME_CHUNK if space == 3 and block[-3] > 1 else _PLANE_CHUNK
        return cls(image.shape, block, (*(1,) * (image.ndim - space), *chunk[-space:]))

    def count_owned(self, planned: Sequence[Sequence[int]]) -> int:
        """Return of how many levels blocks own whole chunks, and can make the one that follows."""
        owned = sum(1 for _ in takewhile(self._is_owned, planned))
        while 0 < owned < len(planned) and self._measure_part(planned[owned]) is None:
            owned -= 1
        return owned

    def choose_chunks(self, factors: Sequence[int], *, shared: bool) -> tuple[int, ...]:
        """Return the size of the chunks of a level that belong to blocks, or that are shared."""
        part = None if shared else self._measure_part(factors)
        if part is None:
            sizes = measure_level(self.shape, factors)
            return tuple(map(min, sizes, self.largest))
        return tuple(
            min(size, most) if whole <= block else _find_divisor(size, most)
            for size, most, whole, block in zip(
                part, self.largest, self.shape, self.block, strict=True
            )
        )

    def _is_owned(self, factors: Sequence[int]) -> bool:
        part = self._measure_part(factors)
        if part is None or (max(factors) > 1 and math.prod(part) < _FEWEST_PIXELS):
            return False
        chunks = self.choose_chunks(factors, shared=False)
        return all(
            chunk >= min(size, most // _SMALLEST_SHARE)
            for chunk, size, most in zip(chunks, part, self.largest, strict=True)
        )

    def _measure_part(self, factors: Sequence[int]) -> tuple[int, ...] | None:
        """Return the size of a block on a level, None where blocks share pixels of it."""
        cut = zip(self.shape, self.block, factors, strict=True)
        # The last block may end anywhere, and so may one that holds all of an axis.
        if any(whole > size and size % factor for whole, size, factor in cut):
            return None
        return measure_level(list(map(min, self.shape, self.block)), factors)


def _find_divisor(size: int, most: int) -> int:
    """Return the largest divisor that is at most so large."""
    return next(n for n in range(min(size, most), 0, -1) if size % n == 0)
