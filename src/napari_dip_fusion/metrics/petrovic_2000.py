"""Edge preservation, Pe or Q^AB/F: Xydeas and Petrovic 2000."""

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import (
    Images,
    Stack,
    check_size,
    choose_variant,
    quantize,
)
from napari_dip_fusion.metrics.sobel import differentiate, measure_strength
from napari_dip_fusion.metrics.tiles import cut_tiles

Variant: TypeAlias = Literal["laboratory", "textbook"]

_SMALLEST = 3  # side of the Sobel kernels

# MATLAB's eps, where the laboratory's code has it: in the ratios that may be 0/0.
_EPSILON = float(np.finfo(np.float64).eps)


def petrovic(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    variant: Variant = "laboratory",
) -> float:
    r"""Measure the edge preservation of Xydeas and Petrovic, Pe or :math:`Q^{AB/F}`.

    .. math:: Pe = \frac{\sum_s \sum_x Q_s(x) g_s(x)}{\sum_s \sum_x g_s(x)}

    where :math:`g_s` is the Sobel gradient magnitude of source s and :math:`Q_s` compares its
    strength and direction with the fused image's, each through a sigmoid.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.
    variant : {"laboratory", "textbook"}
        ``"laboratory"``: geometric mean of the sigmoids, scaled so that a perfect copy scores 1.
        ``"textbook"``: their product with the constants of [1]_, often reported as "Qabf"; a
        perfect copy scores 0.9748.

    Returns
    -------
    float
        0 to 1, higher is better. All-black sources give 1 for a black fused image, else 0.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`, or if there is no such variant.

    Notes
    -----
    Symmetric in the sources, but not between sources and fused image. Black is assumed outside
    the image. ``"laboratory"`` agrees with the MATLAB code published by the laboratory of
    Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*.

    References
    ----------
    .. [1] C. S. Xydeas, V. Petrovic, "Objective image fusion performance measure", Electronics
       Letters 36(4), 2000. :doi:`10.1049/el:20000267`
    """
    return score(quantize(sources, fused, data_range), variant)


def score(stack: Stack, variant: Variant) -> float:
    """Return :func:`petrovic` of a stack from :func:`.quantize`."""
    sigmoids: _Sigmoids = choose_variant(variant, _SIGMOIDS)
    check_size(stack.shape, _SMALLEST)
    padded = np.pad(stack, ((0, 0), (1, 1), (1, 1)))
    preserved = total = total_fused = 0.0
    for tile in cut_tiles(padded, overlap=_SMALLEST - 1):
        across_rows, across_columns = differentiate(tile)
        strength = measure_strength(across_rows, across_columns)
        # The direction is arctan(across columns / (across rows + eps)), as in the published code.
        across_rows += _EPSILON
        across_columns /= across_rows
        angle = np.arctan(across_columns, out=across_columns)
        preserved += float(np.vdot(_compare_edges(strength, angle, sigmoids), strength[:-1]))
        total += float(strength[:-1].sum())
        total_fused += float(strength[-1].sum())
    return preserved / total if total > 0 else float(total_fused == 0)


class _Sigmoids(NamedTuple):
    """The sigmoids of strength and direction, gain / (1 + e^(slope (value - middle))) each."""

    strength: tuple[float, float]
    """Slope and middle."""
    direction: tuple[float, float]
    gain: float
    """Product of the gains of both."""
    geometric: bool
    """Whether the square root is taken, which makes their product a geometric mean."""


_SIGMOIDS = {
    # Slopes and middles are those of the laboratory's code, whose gains are the denominators at
    # 1: equal edges have the quality 1.
    "laboratory": _Sigmoids(
        (-11, 0.7), (-24, 0.8), float((1 + np.exp(-11 * 0.3)) * (1 + np.exp(-24 * 0.2))), True
    ),
    # The constants of the paper.
    "textbook": _Sigmoids((-15, 0.5), (-22, 0.8), 0.9994 * 0.9879, False),
}


def _compare_edges(strength: Stack, angle: Stack, sigmoids: _Sigmoids) -> Stack:
    """Return Q_s, how well the fused image keeps the edge of each source at each pixel."""
    likeness = np.minimum(strength[:-1], strength[-1])
    likeness += _EPSILON
    larger = np.maximum(strength[:-1], strength[-1])
    larger += _EPSILON
    likeness /= larger
    # Directions are known modulo pi: a difference of pi is none, and one of pi / 2 the largest.
    alignment = np.subtract(angle[:-1], angle[-1], out=larger)
    np.abs(alignment, out=alignment)
    alignment -= np.pi / 2
    np.abs(alignment, out=alignment)
    alignment *= 2 / np.pi
    # The denominators of both sigmoids are multiplied first, and divided by once.
    quality = _to_denominator(likeness, *sigmoids.strength)
    quality *= _to_denominator(alignment, *sigmoids.direction)
    np.divide(sigmoids.gain, quality, out=quality)
    return np.sqrt(quality, out=quality) if sigmoids.geometric else quality


def _to_denominator(value: Stack, slope: float, middle: float) -> Stack:
    """Replace values, in place, by 1 + e^(slope (value - middle))."""
    value -= middle
    value *= slope
    np.exp(value, out=value)
    value += 1.0
    return value
