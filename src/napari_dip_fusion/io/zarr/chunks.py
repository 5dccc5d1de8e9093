"""Which chunks of a Zarr array are stored: those that are not read as its fill value.

Writers leave out chunks that are empty, so a missing one is no damage by itself; but a folder
that was copied in part looks the same, and nobody is to take its zeros for pixels unawares.
"""

import math
import os
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_separator", "find_stored_planes"]

# Looking for a file takes microseconds on a disk, and a thousand times that over a network.
_MOST_LOOKS = 4000
_FLAT = re.compile(r"\d+(\.\d+)+")


def find_separator(path: Path, declared: str) -> str:
    """Return what stands between the numbers in the names of the chunks of Zarr 2.

    Version 0.2 of OME-Zarr brought folders in folders before Zarr had a field to say so.

    Parameters
    ----------
    path : Path
        Folder of the array.
    declared : str
        What its metadata say.

    Returns
    -------
    str
        ``"."`` or ``"/"``, as the names in the folder have it; `declared` where they do not say.
    """
    with os.scandir(path) as entries:
        for entry in entries:
            if _FLAT.fullmatch(entry.name):
                return "."
            if entry.name.isdigit() and entry.is_dir():
                return "/"
    return declared


def find_stored_planes(
    path: Path, grid: Sequence[int], plane: Sequence[int], name: Callable[[tuple[int, ...]], str]
) -> NDArray[np.bool_] | None:
    """Tell of which planes an array has at least one chunk.

    Parameters
    ----------
    path : Path
        Folder of the array.
    grid : sequence of int
        Number of chunks along each axis; of shards, where the files hold shards.
    plane : sequence of int
        The axes that a plane extends along; with none of them each chunk counts for itself.
    name : callable
        Function from the numbers of a chunk to the name of its file within the folder.

    Returns
    -------
    ndarray of bool or None
        One for each index of the grid along the other axes; None where it takes too many
        looks to tell.
    """
    beside = [n for n in range(len(grid)) if n not in plane]
    others = [grid[n] for n in beside]
    if math.prod(others) > _MOST_LOOKS:
        return None
    # Where each axis stands among those beside the plane and those of it.
    places = [[*beside, *plane].index(n) for n in range(len(grid))]
    # Much faster than paths are, of which there may be many.
    folder = os.path.join(path, "")
    stored = np.zeros(others, dtype=bool)
    looks = 0
    for index in product(*map(range, others)):
        for within in product(*(range(grid[n]) for n in plane)):
            looks += 1
            chunk = index + within
            if os.path.exists(folder + name(tuple([chunk[n] for n in places]))):
                stored[index] = True
                break
            if looks > _MOST_LOOKS:
                return None
    return stored
