"""Cut images into strips, or tiles, with a halo: memory stays bounded however large they are.

What depends on a window around each pixel is the same from strips as from the whole image, as long
as the halo is as wide as the window reaches.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.threads import Result, map_on_threads

Slices = tuple[slice, ...]


def cut_strips(
    rows: int, size: int, halo: int, within: slice | None = None
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the strips of an image from top to bottom.

    Parameters
    ----------
    rows : int
        Rows of the image.
    size : int
        Rows of a strip; the last one has what is left.
    halo : int
        Rows above and below a strip that are needed to compute it, where the image has them.
    within : slice, optional
        The rows that are cut into strips; by default all.

    Yields
    ------
    three slices
        The rows of the strip in the image, the same with the halo, and the rows of the strip
        within the latter.
    """
    first, last = (0, rows) if within is None else (within.start, within.stop)
    for start in range(first, last, size):
        stop = min(start + size, last)
        checkpoint()
        top = max(start - halo, 0)
        yield slice(start, stop), slice(top, min(stop + halo, rows)), slice(start - top, stop - top)


def cut_tiles(
    shape: Sequence[int],
    sizes: Sequence[int],
    halos: Sequence[int],
    within: Slices | None = None,
) -> Iterator[tuple[Slices, Slices, Slices]]:
    """Yield the tiles of an image, row by row.

    Parameters
    ----------
    shape, sizes, halos : sequences of int
        Of the image, of a tile, and of the halo as for :func:`cut_strips`, along each axis.
    within : tuple of slice, optional
        The part of the image that is cut into tiles; by default all.

    Yields
    ------
    three tuples of slice
        What :func:`cut_strips` yields, for each axis.
    """
    axes = zip(shape, sizes, halos, within or (None,) * len(shape), strict=True)
    for strips in product(*(cut_strips(*axis) for axis in axes)):
        there, around, inside = zip(*strips, strict=True)
        yield there, around, inside


def map_tiles(
    work: Callable[[Slices, Slices, Slices], Result],
    shape: Sequence[int],
    sizes: Sequence[int],
    halos: Sequence[int],
    within: Slices | None = None,
) -> list[Result]:
    """Call a function for each tile of an image, on several threads; see :func:`.map_on_threads`.

    Parameters
    ----------
    work : callable
        Takes what :func:`cut_tiles` yields. What it writes must lie in its tile.
    shape, sizes, halos, within
        As for :func:`cut_tiles`.

    Returns
    -------
    list
        What `work` returned, tile by tile.
    """
    tiles = list(cut_tiles(shape, sizes, halos, within))
    return map_on_threads(lambda tile: work(*tile), tiles)


def choose_sizes(
    shape: Sequence[int], halos: Sequence[int], most: int, multiples: Sequence[int]
) -> list[int]:
    """Return the sizes of the tiles that an image is cut into.

    Parameters
    ----------
    shape, halos : sequences of int
        As for :func:`map_tiles`.
    most : int
        Samples that a tile with its halo may have, unless its sides would be below two halos, of
        which more would be computed twice than once.
    multiples : sequence of int
        Of which the sizes are made, along each axis.

    Returns
    -------
    list of int
        Each axis is cut into even parts, so that the least is computed twice; of equal axes the
        first, so that tiles are strips where they can be.
    """
    first, *others = (_list_sizes(*axis) for axis in zip(shape, halos, multiples, strict=True))

    def count_samples(sizes: Sequence[int]) -> int:
        # Where a tile is the whole of an axis, it has no halo.
        sides = zip(sizes, shape, halos, strict=True)
        return math.prod(min(size + 2 * halo, length) for size, length, halo in sides)

    found = []
    # Of equal ones, those are found first whose last axes are whole.
    for reversed_sides in product(*reversed(others)):
        sides = reversed_sides[::-1]
        # The longest that fits: of shorter ones, more is computed twice.
        size = next((n for n in first if count_samples((n, *sides)) <= most), first[-1])
        sizes = [size, *sides]
        computed = count_samples(sizes)
        share = computed / math.prod(map(min, sizes, shape))
        found.append((max(computed, most), share, sizes))
    # Of those that fit, that of which least is computed twice, and else the smallest.
    return min(found, key=lambda each: each[:2])[2]


def _list_sizes(length: int, halo: int, multiple: int) -> list[int]:
    """Return the sizes of even parts of an axis, from the whole down to twice the halo."""
    sizes = [-(-length // multiple) * multiple]
    while shorter := _cut_evenly(length, sizes[-1], multiple):
        if shorter < 2 * halo:
            break
        sizes.append(shorter)
    return sizes


def _cut_evenly(length: int, size: int, multiple: int) -> int:
    """Return the next size below one that cuts a length into even parts; 0 if there is none."""
    if size <= multiple:
        return 0
    parts = -(-length // (size - multiple))
    even = -(-length // parts)
    return -(-even // multiple) * multiple


def count_planes(tile: Slices, shape: Sequence[int]) -> float:
    """Return how many planes of an image a tile is, which may be parts of several."""
    pixels = math.prod(int(s.stop) - int(s.start) for s in tile)
    return pixels / math.prod(shape[-2:])
