"""Images are compared with each other, those that are too large to be read by samples of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.cutting import Cutter
from napari_dip_fusion.sources import Source

_SIZE = 256
"""Rows and columns of a sample."""

Slices = tuple[slice, ...]


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two images are the same, bit for bit."""
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def holds_samples(image: Any, wanted: Any, ndim: int) -> bool:
    """Tell whether two arrays are the same where samples of them are taken.

    Parameters
    ----------
    image, wanted : array-like
        Anything that is sliced like arrays; samples of it are read.
    ndim : int
        Number of axes, without one of colors.
    """
    if tuple(image.shape) != tuple(wanted.shape) or image.dtype != wanted.dtype:
        return False
    shape = tuple(wanted.shape[:ndim])
    return all(is_same(image[part], wanted[part]) for part in _list_samples(shape))


def _list_samples(shape: tuple[int, ...]) -> Iterator[Slices]:
    """Yield nine parts of an image: corners, edges and the middle, each of one plane.

    Parameters
    ----------
    shape : tuple of int
        Sizes without an axis of colors; planes lie along the last two.
    """
    rows, columns = (_spread(size, min(_SIZE, size)) for size in shape[-2:])
    planes = [_spread(size, 1) for size in shape[:-2]]
    for row, top in enumerate(rows):
        for column, left in enumerate(columns):
            # The first planes with the first rows: another plane for each part would tell no more.
            front = [starts[(row + column) % 3] for starts in planes]
            starts = [*front, top, left]
            sizes = [1] * len(front) + [min(_SIZE, size) for size in shape[-2:]]
            yield tuple(slice(n, n + size) for n, size in zip(starts, sizes, strict=True))


def lie_alike(one: list[Source], other: list[Source], reference: int) -> list[bool]:
    """Tell of each source whether it lies on the reference as another one lies on another one.

    Parameters
    ----------
    one, other : list of Source
        Of the same pixels, placed in worlds of their own.
    reference : int
        Which of them is the reference.
    """
    first, second = (Cutter.take(images, reference=reference).matches for images in (one, other))
    pairs = zip(first, second, strict=True)
    return [_is_same_place(np.asarray(a.matrix), np.asarray(b.matrix)) for a, b in pairs]


def show_alike(one: list[Source], other: list[Source], reference: int, plane: str) -> list[bool]:
    """Tell of each source whether a plane of the reference shows the same of it, where sampled.

    Parameters
    ----------
    one : list of Source
    other : list of Source
        Of which the reference has one plane.
    reference : int
    plane : str
        Of the reference of the first ones, as for :func:`.resample_to_reference`.
    """
    first = Cutter.take(one, reference=reference, plane=plane)
    second = Cutter.take(other, reference=reference)
    shape = first.place.shape[-2:]
    if second.place.shape[-2:] != shape:
        return [False] * len(one)
    parts = list(_list_samples(shape))
    cuts = [zip(_cut(first, part), _cut(second, part), strict=True) for part in parts]
    return [all(is_same(*pair) for pair in pairs) for pairs in zip(*cuts, strict=True)]


def _cut(cutter: Cutter, part: Slices) -> list[NDArray[Any]]:
    """Return a part of one plane of each source."""
    return cutter.cut((*(slice(0, 1),) * (cutter.place.ndim - 2), *part)).grid.arrays


def _spread(size: int, part: int) -> tuple[int, int, int]:
    """Return where parts of a size begin that lie at the beginning, in the middle, at the end."""
    return 0, (size - part) // 2, size - part


def _is_same_place(one: Any, other: Any) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-9, atol=1e-6))
