r"""Estimate sensor gains by local principal component analysis.

Sources X_i see one scene X_0 through gains beta_i: X_i = beta_i X_0 + N_i (eq. (1) of the paper
[1]_). In a patch where the gains are constant and the noise is independent and of one variance s^2
in all sources, the matrix of second moments is

.. math:: M_{ij} = \overline{X_i X_j} = \beta_i \beta_j \overline{X_0^2} + s^2 \delta_{ij}

whose leading eigenvector is beta, up to a factor: that is what is taken for the gains.

References
----------
.. [1] X. Ma, P. Hill, N. Anantrasirichai, A. Achim, "Unsupervised Image Fusion
   Using Deep Image Priors", ICIP 2022, arXiv:2110.09490.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import GainSettings
from napari_dip_fusion.interruption import advance
from napari_dip_fusion.sensor.leading import find_leading
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources
from napari_dip_fusion.sensor.strips import Slices, choose_sizes, count_planes, map_tiles
from napari_dip_fusion.sensor.windows import (
    average,
    average_blocks,
    blur,
    measure_block,
    measure_half,
    measure_reach,
)

Floats = NDArray[np.float32]
Reals = NDArray[Any]
Average = Callable[[Reals], Reals]

_DEFAULT = GainSettings()

# Bytes of the sources and their moments in float64 that are worked on at once.
_STRIP_BYTES = 32 * 2**20

ROUNDING = 1e-12
"""Moments below this fraction of the brightest squared value are rounding, not image."""


def gain_maps(
    sources: Sequence[ArrayLike] | ArrayLike,
    *,
    patch_size: int = _DEFAULT.patch_size,
    window: str = _DEFAULT.window,
    scale: str = _DEFAULT.scale,
    sharpness: float = 1.0,
    steps: Sequence[float] = (),
) -> Floats:
    """Estimate the gain of each source at each pixel.

    The gains at a pixel are the leading eigenvector, made non-negative, of the
    K x K matrix of second moments of the sources in a patch around it.

    Parameters
    ----------
    sources : array of shape (K, ..., M, N), or K arrays of shape (..., M, N)
        K >= 2 aligned gray images of any real type, planes or volumes. Intensities are used as
        they are: bring the sources to comparable units first.
    patch_size : int
        Side of the patch in pixels; odd for sliding windows.
    window : {"box", "gaussian", "block"}
        A sliding square; a sliding Gaussian of standard deviation
        ``patch_size / 4.5``; or non-overlapping blocks (incomplete ones at the
        lower and right edge use what they have).
    scale : {"unit-max", "unit-norm"}
        The largest gain at each pixel is 1, or the squares sum to 1.
    sharpness : float
        Power applied to the gains before they are scaled; 1 leaves them as they are.
    steps : sequence of float, optional
        Of a volume: distance between neighbors along each axis, in pixels of its planes, by
        default 1. Windows are as wide in the world along all axes.

    Returns
    -------
    ndarray of shape (K, ..., M, N), float32
        Gains in [0, 1]. Where the moments single out no direction (patches of
        zeros), the gains are equal.

    Raises
    ------
    ValueError
        If the sources are fewer than two, differ in shape, have fewer than two axes or are
        smaller than a patch, hold NaN or infinite values, or an option has no
        such value.

    Notes
    -----
    The paper's setting is ``patch_size=2, window="block", scale="unit-norm"``.
    Its laboratory also published 9x9 sliding patches. Gains of unit norm take
    the consensus image of equal sources to sqrt(K) times them, which a network
    that ends in a sigmoid cannot reach; ``unit-max`` gives their mean there.
    """
    stack = stack_sources(sources)
    check_gain_options(stack.shape, patch_size, window, scale, sharpness)
    check_finite(stack)
    return compute_gains(stack, patch_size, window, scale, sharpness, steps)


def check_gain_options(
    shape: tuple[int, ...], patch_size: int, window: str, scale: str, sharpness: float
) -> None:
    """Raise ValueError if an option of :func:`gain_maps` has no such value for sources of a shape.

    Parameters
    ----------
    shape : tuple of int
        Shape (K, ..., M, N) of the sources.
    patch_size, window, scale, sharpness
        As for :func:`gain_maps`.
    """
    if window not in ("box", "gaussian", "block"):
        raise ValueError(f"window must be box, gaussian or block, got {window!r}")
    if scale not in ("unit-max", "unit-norm"):
        raise ValueError(f"scale must be unit-max or unit-norm, got {scale!r}")
    if not 0 < sharpness < np.inf:
        raise ValueError(f"sharpness must be above 0, got {sharpness}")
    if patch_size < 1 or (window != "block" and patch_size % 2 == 0):
        raise ValueError(
            f"patch_size must be positive, and odd for sliding windows, got {patch_size} "
            f"with window {window!r}"
        )
    if min(shape[-2:]) < patch_size:
        raise ValueError(
            f"images must be at least one patch of {patch_size}x{patch_size} pixels, got "
            f"{shape[-2]}x{shape[-1]}; choose a smaller patch_size"
        )


def compute_gains(
    stack: NDArray[Any],
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
    steps: Sequence[float] = (),
) -> Floats:
    """Return the gains of sources.

    Parameters
    ----------
    stack : ndarray of shape (K, ..., M, N)
        The sources.
    patch_size, window, scale, sharpness, steps
        As for :func:`gain_maps`, checked already.

    Returns
    -------
    ndarray of shape (K, ..., M, N), float32
    """
    gains = np.empty(stack.shape, dtype=np.float32)
    count, shape = len(stack), stack.shape[1:]
    rounding = ROUNDING * max(float(np.square(s, dtype=np.float64).max()) for s in stack)
    average_patches = choose_average(patch_size, window, steps)

    def work(there: Slices, around: Slices, inside: Slices) -> None:
        tile = stack[:, *around].astype(np.float64)
        moments = average_products([tile], average_patches)[:, :, *inside]
        gains[:, *there] = scale_gains(find_leading(moments, rounding), scale, sharpness)
        advance(count_planes(there, shape))

    each = steps or (1.0,) * len(shape)
    halos = [0 if window == "block" else measure_window(patch_size, window, s) for s in each]
    blocks = [measure_block(patch_size, s) if window == "block" else 1 for s in each]
    sizes = choose_sizes(shape, halos, _STRIP_BYTES // (8 * count * (count + 1)), blocks)
    map_tiles(work, shape, sizes, halos)
    return gains


def measure_window(patch_size: int, window: str, step: float = 1.0) -> int:
    """Return how many samples far the window around a pixel reaches, along an axis of a step."""
    if window == "gaussian":
        return measure_reach(_choose_sigma(patch_size), step)
    if window == "box":
        return measure_half(patch_size, step)
    return measure_block(patch_size, step) - 1


def _choose_sigma(patch_size: int) -> float:
    """Return the standard deviation of the Gaussian window, in pixels.

    A patch reaches 2.25 standard deviations to either side, which is 98 % of the weight along
    each axis; the default patch of 9 pixels has 2.
    """
    return patch_size / 4.5


def choose_average(patch_size: int, window: str, steps: Sequence[float] = ()) -> Average:
    """Return the function that gives images their mean in the patch around each pixel."""
    if window == "gaussian":
        return partial(blur, sigma=_choose_sigma(patch_size), steps=steps)
    means = average if window == "box" else average_blocks
    return partial(means, size=patch_size, steps=steps)


def average_products(stacks: Sequence[Reals], take_means: Average) -> Reals:
    """Return the second moments M_ij in each patch, added up over some stacks.

    Parameters
    ----------
    stacks : sequence of ndarrays of shape (K, ...), float32 or float64
        The sources, or several bands of them.
    take_means : callable
        Gives images their mean around each pixel, as those of :mod:`.windows` do.

    Returns
    -------
    ndarray of shape (K, K, ...), of the type of the stacks
    """
    first, *others = stacks
    moments = np.empty((len(first), *first.shape), dtype=first.dtype)
    # Row by row of the matrix: the products of all pairs would take as much memory as the moments.
    for i in range(len(first)):
        products = first[i:] * first[i]
        for stack in others:
            products += stack[i:] * stack[i]
        moments[i, i:] = take_means(products)
        moments[i:, i] = moments[i, i:]
    return moments


def scale_gains(vector: Reals, scale: str, sharpness: float = 1.0) -> Reals:
    """Return gains, raised to a power and scaled as `scale` says; their largest has to be 1."""
    if sharpness != 1:
        vector = vector**sharpness
    return vector if scale == "unit-max" else vector / np.linalg.norm(vector, axis=0)
