"""Cut large images into pieces whose temporaries stay in the processor's cache."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint

# Rows and columns of a tile: 128 KiB of float64 a plane, so that the planes of a pair and a few
# temporaries fit the second-level cache of most processors.
_TILE = (64, 256)


def cut_tiles(stack: NDArray[Any], overlap: int = 0) -> Iterator[NDArray[Any]]:
    """Yield tiles of all planes of a stack, from left to right and from top to bottom.

    Parameters
    ----------
    stack : ndarray of shape (P, M, N)
    overlap : int
        Rows and columns that a tile shares with its neighbors: one less than the side of the
        windows whose results are added up over the tiles, so that each window lies in one tile.

    Yields
    ------
    ndarray of shape (P, m, n)
        Views of the stack.
    """
    for rows in cut_rows(stack.shape[1], overlap):
        for left in range(0, stack.shape[2] - overlap, _TILE[1]):
            yield stack[:, rows, left : left + _TILE[1] + overlap]


def cut_rows(count: int, overlap: int = 0) -> Iterator[slice]:
    """Yield slices that cut `count` rows to the height of tiles, with `overlap` shared rows."""
    for top in range(0, count - overlap, _TILE[0]):
        checkpoint()
        yield slice(top, top + _TILE[0] + overlap)
