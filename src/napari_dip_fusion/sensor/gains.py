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

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_dip_fusion.config import GainSettings
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources
from napari_dip_fusion.sensor.strips import cut_strips

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_DEFAULT = GainSettings()

# Bytes of the sources and their moments in float64 that are worked on at once.
_STRIP_BYTES = 32 * 2**20

# Moments below this fraction of the brightest squared value are rounding, not image.
_ROUNDING = 1e-12


def gain_maps(
    sources: Sequence[ArrayLike] | ArrayLike,
    *,
    patch_size: int = _DEFAULT.patch_size,
    window: str = _DEFAULT.window,
    scale: str = _DEFAULT.scale,
    sharpness: float = 1.0,
) -> Floats:
    """Estimate the gain of each source at each pixel.

    The gains at a pixel are the leading eigenvector, made non-negative, of the
    K x K matrix of second moments of the sources in a patch around it.

    Parameters
    ----------
    sources : array of shape (K, M, N), or K arrays of shape (M, N)
        K >= 2 aligned gray images of any real type. Intensities are used as
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

    Returns
    -------
    ndarray of shape (K, M, N), float32
        Gains in [0, 1]. Where the moments single out no direction (patches of
        zeros), the gains are equal.

    Raises
    ------
    ValueError
        If the sources are fewer than two, differ in shape, are not 2-D or are
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
    return compute_gains([stack], patch_size, window, scale, sharpness)


def check_gain_options(
    shape: tuple[int, ...], patch_size: int, window: str, scale: str, sharpness: float
) -> None:
    """Raise ValueError if an option of :func:`gain_maps` has no such value for sources of a shape.

    Parameters
    ----------
    shape : tuple of three int
        Shape (K, M, N) of the sources.
    patch_size, window, scale, sharpness
        As for :func:`gain_maps`.
    """
    if window not in ("box", "gaussian", "block"):
        raise ValueError(f"window must be box, gaussian or block, got {window!r}")
    if scale not in ("unit-max", "unit-norm"):
        raise ValueError(f"scale must be unit-max or unit-norm, got {scale!r}")
    if not sharpness > 0:
        raise ValueError(f"sharpness must be above 0, got {sharpness}")
    if patch_size < 1 or (window != "block" and patch_size % 2 == 0):
        raise ValueError(
            f"patch_size must be positive, and odd for sliding windows, got {patch_size} "
            f"with window {window!r}"
        )
    if min(shape[1:]) < patch_size:
        raise ValueError(
            f"images must be at least one patch of {patch_size}x{patch_size} pixels, got "
            f"{shape[1]}x{shape[2]}; choose a smaller patch_size"
        )


def compute_gains(
    stacks: Sequence[NDArray[Any]], patch_size: int, window: str, scale: str, sharpness: float
) -> Floats:
    """Return the gains that follow from the sum of the moments of some stacks.

    Parameters
    ----------
    stacks : sequence of ndarrays of shape (K, M, N)
        The sources, or several bands of them.
    patch_size, window, scale, sharpness
        As for :func:`gain_maps`, checked already.

    Returns
    -------
    ndarray of shape (K, M, N), float32
    """
    gains = np.empty(stacks[0].shape, dtype=np.float32)
    count, height, width = stacks[0].shape
    rounding = _ROUNDING * sum(float(np.max(np.square(s, dtype=np.float64))) for s in stacks)
    halo = _measure_halo(patch_size, window)
    # Strips are at least four times as high as their halo, whose rows are computed twice, and hold
    # whole blocks.
    size = max(_STRIP_BYTES // (8 * width * count * (count + 1)), 4 * halo, 1)
    size = -(-size // patch_size) * patch_size
    for rows, around, inside in cut_strips(height, size, halo):
        strips = [s[:, around].astype(np.float64) for s in stacks]
        moments = _average_products(strips, patch_size, window)[:, :, inside]
        gains[:, rows] = _scale_gains(_find_leading(moments, rounding), scale, sharpness)
    return gains


def _measure_halo(patch_size: int, window: str) -> int:
    """Return how many rows above and below a strip its windows reach into."""
    if window == "block":
        return 0
    # gaussian_filter cuts its kernel off at four standard deviations.
    return patch_size // 2 if window == "box" else int(4 * _choose_sigma(patch_size) + 0.5)


def _choose_sigma(patch_size: int) -> float:
    """Return the standard deviation of the Gaussian window, in pixels.

    A patch reaches 2.25 standard deviations to either side, which is 98 % of the weight along
    each axis; the default patch of 9 pixels has 2.
    """
    return patch_size / 4.5


def _average_products(strips: Sequence[Doubles], patch_size: int, window: str) -> Doubles:
    """Return the second moments M_ij in each patch, added up over the strips.

    Parameters
    ----------
    strips : sequence of ndarrays of shape (K, rows, N)
        The same strip of several stacks.
    patch_size, window
        As for :func:`gain_maps`.

    Returns
    -------
    ndarray of shape (K, K, rows, N)
    """
    count = len(strips[0])
    moments = np.empty((count, *strips[0].shape))
    for i in range(count):
        for j in range(i, count):
            total = _average(np.sum([s[i] * s[j] for s in strips], axis=0), patch_size, window)
            moments[i, j] = moments[j, i] = total
    return moments


def _average(image: Doubles, patch_size: int, window: str) -> Doubles:
    """Return the mean of an image in the patch around each pixel."""
    if window == "box":
        return np.asarray(ndimage.uniform_filter(image, patch_size, mode="reflect"))
    if window == "gaussian":
        return np.asarray(ndimage.gaussian_filter(image, _choose_sigma(patch_size), mode="reflect"))
    return _average_blocks(image, patch_size)


def _average_blocks(image: Doubles, size: int) -> Doubles:
    """Return, at each pixel, the mean of its block; the last blocks may be smaller."""
    rows, columns = (np.arange(0, n, size) for n in image.shape)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    heights, widths = (
        np.diff(starts, append=n) for starts, n in zip((rows, columns), image.shape, strict=True)
    )
    means = sums / np.outer(heights, widths)
    return np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)


def _find_leading(moments: Doubles, rounding: float) -> Doubles:
    """Return the leading eigenvector of each matrix of moments, without signs.

    It is the square root of the diagonal of the projector on the leading
    eigenspace, which is the eigenvector's absolute value where that space is a
    line, and equal for all sources of an eigenspace of more dimensions.

    Parameters
    ----------
    moments : ndarray of shape (K, K, rows, N)
    rounding : float
        Difference of eigenvalues below which they count as equal.

    Returns
    -------
    ndarray of shape (K, rows, N)
    """
    if len(moments) == 2:
        # The leading eigenvector of a symmetric 2x2 matrix is (cos a, sin a) with
        # tan 2a = 2 M_01 / (M_00 - M_11), an order of magnitude faster than by eigh.
        difference = moments[0, 0] - moments[1, 1]
        twice_cross = 2 * moments[0, 1]
        angle = np.arctan2(twice_cross, difference) / 2
        angle[np.hypot(twice_cross, difference) <= rounding] = np.pi / 4
        pair: Doubles = np.abs(np.stack([np.cos(angle), np.sin(angle)]))
        return pair
    values, vectors = np.linalg.eigh(np.moveaxis(moments, (0, 1), (-2, -1)))
    leading = values >= values[..., -1:] - rounding  # eigh sorts them in ascending order
    projector = np.sum(np.square(vectors) * leading[..., None, :], axis=-1)
    vector: Doubles = np.moveaxis(np.sqrt(projector), -1, 0)
    return vector


def _scale_gains(vector: Doubles, scale: str, sharpness: float) -> Doubles:
    """Return gains, raised to a power and scaled as `scale` says."""
    if sharpness != 1:
        # The largest is made 1 first, since high powers of small numbers are 0.
        vector = (vector / vector.max(axis=0)) ** sharpness
    size = vector.max(axis=0) if scale == "unit-max" else np.linalg.norm(vector, axis=0)
    scaled: Doubles = vector / size
    return scaled
