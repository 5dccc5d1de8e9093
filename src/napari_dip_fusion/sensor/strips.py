"""Cut images into strips of rows with a halo, so that memory stays bounded however large they are.

What depends on a window around each pixel is the same from strips as from the whole image, as long
as the halo is as wide as the window reaches.
"""

from collections.abc import Callable, Iterator

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.threads import Result, map_on_threads

Strip = tuple[slice, slice, slice]


def cut_strips(rows: int, size: int, halo: int) -> Iterator[Strip]:
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


def map_strips(
    work: Callable[[slice, slice, slice], Result], rows: int, size: int, halo: int
) -> list[Result]:
    """Call a function for each strip of an image, on several threads; see :func:`.map_on_threads`.

    Parameters
    ----------
    work : callable
        Takes what :func:`cut_strips` yields. What it writes must lie in the rows of its strip.
    rows, size, halo : int
        As for :func:`cut_strips`.

    Returns
    -------
    list
        What `work` returned, from top to bottom.
    """
    return map_on_threads(lambda strip: work(*strip), list(cut_strips(rows, size, halo)))
