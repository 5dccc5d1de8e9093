"""Samples that are spread over a whole image, from which it is known what holds for all of it."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.layout import Slices

__all__ = ["choose_samples", "pick_richest", "stack_alike"]

Floats = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

# An image of so many pixels is looked at as a whole.
_WHOLE = 2**21
# Of larger ones so many samples are taken, with so many rows and columns, and planes of a volume:
# 32 planes is what the estimate of noise looks at.
_COUNT, _SIDE, _PLANES = 32, 256, 16
_BASES = (2, 3, 5, 7, 11)


def choose_samples(shape: Sequence[int], frame: Sequence[int]) -> list[Slices]:
    """Return parts of an image that are spread over all of it, always the same ones.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    frame : sequence of int
        Numbers of the axes of what is fused at once.

    Returns
    -------
    list of tuple of slice
        The pixels of each part along all axes. The whole image where it is small and one frame.
        Otherwise 32 parts of 256x256 pixels, of volumes with 16 planes, or as many as have as
        many pixels as the image, if these are fewer. Their places are a Hammersley set [1]_: evenly
        spread along each axis, and in each plane of two of them.

    References
    ----------
    .. [1] J. M. Hammersley, "Monte Carlo methods for solving multivariable problems", Annals of the
       New York Academy of Sciences 86(3), 1960, doi:10.1111/j.1749-6632.1960.tb42846.x.
    """
    sides = [min(size, 1) for size in shape]
    for axis, most in zip(frame, [_PLANES] * (len(frame) - 2) + [_SIDE, _SIDE], strict=True):
        sides[axis] = min(shape[axis], most)
    whole = all(shape[n] == 1 for n in range(len(shape)) if n not in frame)
    if whole and math.prod(shape) <= _WHOLE:
        return [tuple(slice(0, size) for size in shape)]
    # No more than have pixels of their own: what is seen many times would count as much evidence.
    count = min(_COUNT, -(-math.prod(shape) // math.prod(sides)))
    open_axes = [n for n, size in enumerate(shape) if size > sides[n]]
    places: dict[tuple[int, ...], None] = {}
    for number in range(count):
        starts = [0] * len(shape)
        point = [(number + 0.5) / count, *(_reverse_digits(number, base) for base in _BASES)]
        for axis, place in zip(open_axes, point, strict=False):
            starts[axis] = int(place * (shape[axis] - sides[axis] + 1))
        places[tuple(starts)] = None
    return [
        tuple(slice(start, start + side) for start, side in zip(place, sides, strict=True))
        for place in places
    ]


def pick_richest(images: Sequence[Floats], count: int) -> list[int]:
    """Return the indices of those samples that show most, in their order.

    Parameters
    ----------
    images : sequence of ndarray
    count : int
        How many, at most.
    """
    richness = [float(image.std()) for image in images]
    best = sorted(range(len(images)), key=lambda n: -richness[n])[:count]
    return sorted(best)


def stack_alike(images: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
    """Return images as one stack, cut to the sizes that all of them have."""
    sizes = np.min([image.shape for image in images], axis=0)
    part = tuple(slice(0, int(size)) for size in sizes)
    return np.stack([image[part] for image in images])


def _reverse_digits(number: int, base: int) -> float:
    """Return the number in [0, 1) whose digits behind the point are those of a number, reversed."""
    place, share = 0.0, 1 / base
    while number:
        number, digit = divmod(number, base)
        place += digit * share
        share /= base
    return place
