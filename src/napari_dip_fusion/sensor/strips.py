"""Cut images into strips, or tiles, with a halo: memory stays bounded however large they are.

What depends on a window around each pixel is the same from strips as from the whole image, as long
as the halo is as wide as the window reaches.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.threads import Result, map_on_threads

Slices = tuple[slice, ...]


def cut_strips(rows: int, size: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the strips of an image from top to bottom.

    Parameters
    ----------
    rows : int
        Rows of the image.
    size : int
        Rows of a strip; the last one has what is left.
    halo : int
        Rows above and below a strip that are needed to compute it, where the image has them.

    Yields
    ------
    three slices
        The rows of the strip in the image, the same with the halo, and the rows of the strip
        within the latter.
    """
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        checkpoint()
        top = max(start - halo, 0)
        yield slice(start, stop), slice(top, stop + halo), slice(start - top, stop - top)


def map_tiles(
    work: Callable[[Slices, Slices, Slices], Result],
    shape: Sequence[int],
    sizes: Sequence[int],
    halo: int,
) -> list[Result]:
    """Call a function for each tile of an image, on several threads; see :func:`.map_on_threads`.

    Parameters
    ----------
    work : callable
        Takes a slice for each axis of the tile in the image, of the same with the halo, and of the
        tile within the latter, as :func:`cut_strips` yields them for one axis. What it writes must
        lie in its tile.
    shape, sizes : sequences of int
        Of the image, and of a tile, along the axes that are cut.
    halo : int
        As for :func:`cut_strips`, along each of these axes.

    Returns
    -------
    list
        What `work` returned, tile by tile.
    """
    cuts = product(*(cut_strips(n, size, halo) for n, size in zip(shape, sizes, strict=True)))
    tiles = [tuple(zip(*strips, strict=True)) for strips in cuts]
    return map_on_threads(lambda tile: work(*tile), tiles)
