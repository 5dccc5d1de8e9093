"""How an image is cut into blocks, and which pixels around each of them it takes to fuse it."""

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

__all__ = ["Layout", "Region", "choose_layout"]

Index = tuple[int, ...]
Slices = tuple[slice, ...]

# Blocks begin at multiples of so many pixels along rows and columns, and of planes: filters that
# halve an image then halve its parts alike, and the resolutions of a pyramid fit together.
_MULTIPLE, _PLANES = 64, 16

# Pixels of a block by default. Two blocks of planes at once take .5 GB, with noise and networks
# 1.6 GB; a halo of 36 pixels adds 10 % to their work, one of 76 with noise 21 %.
_PLANE, _VOLUME = (1536, 1536), (64, 256, 256)


@dataclass(frozen=True)
class Region:
    """A block of an image.

    Attributes
    ----------
    index : tuple of int
        Number of the block along each axis.
    core : tuple of slice
        Its pixels in the image.
    around : tuple of slice
        The same with the halo, as far as the image reaches.
    inside : tuple of slice
        The block within the latter.
    """

    index: Index
    core: Slices
    around: Slices
    inside: Slices

    @property
    def start(self) -> tuple[int, ...]:
        """The first pixel of the block along each axis."""
        return tuple(int(part.start) for part in self.core)

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return math.prod(part.stop - part.start for part in self.core)


@dataclass(frozen=True)
class Layout:
    """An image cut into blocks.

    Attributes
    ----------
    shape : tuple of int
        Sizes of the image along all of its axes.
    block : tuple of int
        Sizes of a block; those at the end of an axis have what is left. 1 along axes whose frames
        share nothing.
    halo : tuple of int
        Pixels on both sides of a block that bear on it.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    halo: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many blocks there are along each axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return math.prod(self.grid)

    def holds(self, index: Index) -> bool:
        """Tell whether there is a block of an index."""
        grid = self.grid
        return len(index) == len(grid) and all(
            0 <= number < count for number, count in zip(index, grid, strict=True)
        )

    def locate(self, index: Index) -> Region:
        """Return the block of an index."""
        parts = []
        sides = zip(index, self.shape, self.block, self.halo, strict=True)
        for number, size, block, halo in sides:
            start, stop = number * block, min((number + 1) * block, size)
            top = max(start - halo, 0)
            around = slice(top, min(stop + halo, size))
            parts.append((slice(start, stop), around, slice(start - top, stop - top)))
        core, around_all, inside = zip(*parts, strict=True)
        return Region(index, core, around_all, inside)

    def __iter__(self) -> Iterator[Index]:
        """Yield the indices of all blocks, from the first to the last."""
        yield from product(*map(range, self.grid))

    def find(self, place: Sequence[int]) -> Index:
        """Return the index of the block that a pixel, which may lie outside, is nearest to."""
        return tuple(
            min(max(int(n) // block, 0), count - 1)
            for n, block, count in zip(place, self.block, self.grid, strict=True)
        )

    def describe(self) -> dict[str, list[int]]:
        """Return what a run record says of the blocks."""
        return {"block": list(self.block), "halo": list(self.halo), "count": [self.count]}


def choose_layout(
    shape: Sequence[int],
    frame: Sequence[int],
    reach: Sequence[int],
    block: Sequence[int] | int | None,
    patch: Sequence[int] = (),
    *,
    unit: int = 1,
) -> Layout:
    """Return how an image is cut into blocks.

    Parameters
    ----------
    shape : sequence of int
        Sizes of the image along all of its axes.
    frame : sequence of int
        Numbers of the axes of what is fused at once: rows and columns, or planes before them.
    reach : sequence of int
        How far, along those axes, pixels bear on each other.
    block : int, sequence of int or None
        Sizes of a block along the last of those axes, or one size for rows and columns. They are
        rounded up to whole multiples of 64 pixels, and of 16 planes. By default 1536x1536, and
        64x256x256 of a volume.
    patch : sequence of int, optional
        Sizes of patches that are not to be cut, along those axes.
    unit : int
        Of which the first rows and columns that are read of blocks are multiples.

    Raises
    ------
    ValueError
        If the block is none, or smaller than its halo.
    """
    wanted = _spread(block, len(frame))
    patches = list(patch) or [1] * len(frame)
    sizes, halo = [1] * len(shape), [0] * len(shape)
    planes = len(frame) - 2
    for number, (axis, size, far, whole) in enumerate(
        zip(frame, wanted, reach, patches, strict=True)
    ):
        own = 1 if number < planes else unit
        multiple = math.lcm(_PLANES if number < planes else _MULTIPLE, whole, own)
        sizes[axis] = min(-(-size // multiple), -(-shape[axis] // multiple)) * multiple
        # Filters that halve a plane twice are to find the same pixels.
        step = math.lcm(1 if number < planes else 4, whole, own)
        halo[axis] = -(-far // step) * step if sizes[axis] < shape[axis] else 0
        if sizes[axis] < shape[axis] and sizes[axis] < halo[axis]:
            raise ValueError(
                f"a block must be larger than its halo, {halo[axis]} pixels along axis {axis}, got "
                f"{size}; use blocks of at least {-(-halo[axis] // multiple) * multiple}"
            )
    return Layout(tuple(shape), tuple(sizes), tuple(halo))


def _spread(block: Sequence[int] | int | None, count: int) -> tuple[int, ...]:
    """Return the size of a block along each axis of a frame."""
    default = _VOLUME if count > 2 else _PLANE
    if block is None:
        return default
    try:
        # Numbers of NumPy are numbers, too.
        sizes = tuple(map(operator.index, block if isinstance(block, Iterable) else [block] * 2))
    except TypeError:
        sizes = ()
    if not 1 <= len(sizes) <= count or min(sizes) < 1:
        raise ValueError(
            f"a block has a size of 1 or more along each of the last {count} axes, as a whole "
            f"number of pixels, or one for rows and columns, got {block!r}"
        )
    return (*default[: count - len(sizes)], *sizes)
