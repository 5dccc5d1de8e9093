"""Which of several grids is the finest, and how much two of them see of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from napari_dip_fusion.sources.resample import Matrix, combine_affines, measure_part

__all__ = [
    "SMALL_COVERAGE",
    "Coverage",
    "format_part",
    "list_coverage_warnings",
    "measure_both_ways",
    "measure_pixel",
    "pick_finest",
]


SMALL_COVERAGE = 0.6
"""Callers warn where an image covers less than this fraction of the target, or the other way."""

# Headers write one spacing with more and with fewer digits: it is the same grid's.
_SAME_AREA = 1e-3

_FEWEST_PIXELS = 8 * 8
"""Of fewer pixels than the smallest image that can be fused, next to nothing is seen."""


@dataclass(frozen=True)
class Coverage:
    """How much an image and a target plane, or volume, see of each other.

    Attributes
    ----------
    of_target : float
        Fraction of the target's area, or volume, that lies inside the image.
    of_image : float
        Fraction of the image, where it is cut by a target's plane, that lies inside
        the target.
    pixels : float
        How many pixels of the image that fraction is.
    """

    of_target: float
    of_image: float
    pixels: float


def measure_pixel(affine: ArrayLike, axes: Sequence[int]) -> float:
    """Return the area in the world of a pixel of an image's planes.

    Parameters
    ----------
    affine : array of shape (n + 1, n + 1)
        Pixel to world coordinates of the image.
    axes : sequence of two int
        Axes of the image that the planes extend along.

    Examples
    --------
    >>> measure_pixel(np.diag([5, 0.5, 0.5, 1]), [1, 2])
    0.25
    """
    steps = np.asarray(affine, float)[:-1, :-1][:, axes]
    return float(np.sqrt(max(np.linalg.det(steps.T @ steps), 0.0)))


def pick_finest(areas: Sequence[float]) -> int:
    """Return the index of the smallest of several areas of pixels, the first of equals.

    Parameters
    ----------
    areas : sequence of float
        From :func:`measure_pixel`, in one unit; infinity for what is left out.
    """
    best = 0
    for number, area in enumerate(areas):
        if area < areas[best] * (1 - _SAME_AREA):
            best = number
    return best


def measure_both_ways(
    affine: ArrayLike, shape: tuple[int, ...], to_affine: ArrayLike, to_shape: tuple[int, ...]
) -> Coverage:
    """Measure how much an image and a target plane, or volume, see of each other.

    No pixels are read, so it takes the same time for images of every size.

    Parameters
    ----------
    affine, shape, to_affine, to_shape
        As of :func:`.is_on_grid`.

    Examples
    --------
    >>> measure_both_ways(np.diag([2, 2, 1]), (20, 20), np.eye(3), (20, 20)).of_target
    1.0
    """
    matrix = combine_affines(np.asarray(affine, float), np.asarray(to_affine, float))
    sizes = np.array(to_shape)
    both = measure_part(matrix, shape, np.full(len(sizes), -0.5), sizes - 0.5)
    whole = measure_part(matrix, shape, *_enclose(matrix, shape))
    linear = matrix[:-1, :-1]
    # Pixels of the image in one pixel of the target: the area that the matrix makes of 1.
    density = float(np.sqrt(max(np.linalg.det(linear.T @ linear), 0.0)))
    return Coverage(
        # Rounding takes back what the tolerance at the edges adds.
        of_target=round(min(both / prod(to_shape), 1.0), 4),
        # To four digits, however small: a pixel of a large image is not nothing.
        of_image=float(f"{min(both / whole, 1.0):.4g}") if whole > 0 else 0.0,
        pixels=both * density,
    )


def list_coverage_warnings(name: str, reference: str, coverage: Coverage) -> list[str]:
    """Say what somebody should know of a source before it is fused, told both ways.

    Parameters
    ----------
    name, reference : str
        What the source, and the one whose grid is taken, are called.
    coverage : Coverage
        Of the source, with the reference's plane or volume as target.

    Returns
    -------
    list of str
        None or one line.
    """
    covered, kept = format_part(coverage.of_target), format_part(coverage.of_image)
    if coverage.pixels < _FEWEST_PIXELS:
        count = f"{coverage.pixels:.2g}" if coverage.pixels < 1 else f"{coverage.pixels:.0f}"
        return [
            f"next to nothing is seen of {name}: {count} of its pixels ({kept}) lie in "
            f"{reference}, of which it covers {covered}; check its scale and units"
        ]
    if coverage.of_target < SMALL_COVERAGE:
        return [f"{name} covers only {covered} of {reference}, in which {kept} of it lies"]
    if coverage.of_image < SMALL_COVERAGE:
        return [
            f"only {kept} of {name} lies in {reference}, of which it covers {covered}; the rest is "
            "not fused unless another reference is chosen"
        ]
    return []


def format_part(fraction: float) -> str:
    """Return a fraction as percents, in which next to nothing is not nothing."""
    return "<1%" if 0 < fraction < 0.005 else f"{fraction:.0%}"


def _enclose(matrix: Matrix, shape: tuple[int, ...]) -> tuple[Matrix, Matrix]:
    """Return the corners of a box of the target around all that the target can see of the image."""
    inverse = np.linalg.pinv(matrix[:-1, :-1])
    middle = inverse @ ((np.array(shape) - 1) / 2 - matrix[:-1, -1])
    # No pixel of the image is further from its middle than half of it along each axis.
    reach = 1.01 * np.abs(inverse) @ np.array(shape)
    return middle - reach, middle + reach
