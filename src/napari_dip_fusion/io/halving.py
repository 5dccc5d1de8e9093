"""Coarser resolutions of images: which there are, and the means that their pixels are."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import list_kinds
from napari_dip_fusion.sources.units import abbreviate_unit, find_factor

__all__ = ["halve", "measure_level", "place_level", "plan_factors"]

# The coarsest resolution has at most so many pixels along any axis that is halved.
_COARSEST = 512
# An axis of space is halved while its pixels are at most so many times as wide as the finest.
_COMPARABLE = 1.5


def plan_factors(image: Source, *, depth: bool = True) -> list[tuple[int, ...]]:
    """Return how many pixels of an image one pixel of each resolution covers.

    Parameters
    ----------
    image : Source
        The image. The two axes of its planes are halved together, a third one of space as
        soon as its pixels are not much wider than theirs, and no other axis.
    depth : bool
        Whether a third axis of space may be halved.

    Returns
    -------
    list of tuple of int
        Powers of two along each axis, the finest resolution first, which has ones. The last
        one has at most 512 pixels along each axis that is halved.
    """
    steps, kinds = _measure_steps(image), list_kinds(image.axes, image.units)
    plane = _find_plane(image)
    third = [n for n, kind in enumerate(kinds) if kind == "space" and n not in plane]
    factors = [1] * image.ndim
    planned = [tuple(factors)]
    while True:
        present = [step * factor for step, factor in zip(steps, factors, strict=True)]
        finest = min(present[n] for n in (*plane, *third))
        near = [n for n in third if depth and present[n] <= _COMPARABLE * finest]
        sizes = measure_level(image.shape, factors)
        halved = [n for n in (*plane, *near) if sizes[n] > 1]
        if max((sizes[n] for n in halved), default=0) <= _COARSEST:
            return planned
        factors = [factor * (2 if n in halved else 1) for n, factor in enumerate(factors)]
        planned.append(tuple(factors))


def measure_level(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of a resolution: what is left over at an end is a pixel of its own."""
    return tuple(-(-size // factor) for size, factor in zip(shape, factors, strict=True))


def place_level(factors: Sequence[int]) -> NDArray[np.float64]:
    """Return the matrix from the pixel indices of a resolution to those of the finest.

    Parameters
    ----------
    factors : sequence of D int
        How many pixels one of its pixels covers along each axis.

    Returns
    -------
    ndarray of shape (D + 1, D + 1)
        A pixel lies in the middle of those that it covers.
    """
    matrix = np.diag([*map(float, factors), 1.0])
    matrix[:-1, -1] = (np.array(factors) - 1) / 2
    return matrix


def halve(pixels: NDArray[Any], axes: Sequence[int]) -> NDArray[Any]:
    """Return the means of pixels two by two along some axes.

    Parameters
    ----------
    pixels : ndarray
        Numbers or booleans.
    axes : sequence of int
        Axes to halve. The last pixel of an odd size is alone.

    Returns
    -------
    ndarray
        Of the same type; means of integers are rounded, halves up. Each pixel depends on
        those alone that it is the mean of, so that parts are halved as the whole is.
    """
    # The mean of a pixel with itself is that pixel.
    odd = [(0, size % 2 if n in axes else 0) for n, size in enumerate(pixels.shape)]
    even = np.pad(pixels, odd, mode="edge") if any(end for _, end in odd) else pixels
    parts = [even[index] for index in _list_halves(pixels.ndim, axes)]
    dtype: np.dtype[Any] = pixels.dtype
    if dtype.kind == "b":
        return _round_mean([part.view(np.uint8) for part in parts], len(axes)).view(dtype)
    if dtype.kind in "iu":
        return _round_mean(parts, len(axes))
    total = parts[0].astype(np.result_type(dtype, np.float32))
    for part in parts[1:]:
        total += part
    return (total / len(parts)).astype(dtype)


def _round_mean(parts: Sequence[NDArray[Any]], bits: int) -> NDArray[Any]:
    """Return the rounded mean of 2 ** bits arrays of integers, in their own type.

    Their sum may be too large for the type: whole parts and rests are added by themselves.
    """
    rest_mask = parts[0].dtype.type(2**bits - 1)
    whole = np.zeros_like(parts[0])
    rest = np.full_like(parts[0], 2**bits // 2)
    for part in parts:
        whole += part >> bits
        rest += part & rest_mask
    whole += rest >> bits
    return whole


def _list_halves(ndim: int, axes: Sequence[int]) -> list[tuple[slice, ...]]:
    """Return the indices of the first and the second pixels of all pairs."""
    choices = [(0, 1) if n in axes else (None,) for n in range(ndim)]
    return [
        tuple(slice(None) if first is None else slice(first, None, 2) for first in index)
        for index in product(*choices)
    ]


def _find_plane(image: Source) -> list[int]:
    """Return the last two axes of space, which are those of the planes of an arranged image."""
    kinds = list_kinds(image.axes, image.units)
    return [n for n, kind in enumerate(kinds) if kind == "space"][-2:]


def _measure_steps(image: Source) -> list[float]:
    """Return the distances between pixels in the unit of the last axis, where it is known."""
    units = [abbreviate_unit(unit) for unit in image.units]
    factors = [find_factor(unit, units[-1]) or 1.0 for unit in units]
    return [float(step * factor) for step, factor in zip(image.spacing, factors, strict=True)]
