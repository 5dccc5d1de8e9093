"""Sensor gain maps by local principal component analysis, and what follows from them.

The image formation is X_i = beta_i X_0 + N_i (eq. (1) of the paper [1]_): the
sources X_i see one scene X_0 through gains beta_i.

References
----------
.. [1] X. Ma, P. Hill, N. Anantrasirichai, A. Achim, "Unsupervised Image Fusion
   Using Deep Image Priors", ICIP 2022, arXiv:2110.09490.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_dip_fusion.config import GainSettings

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_DEFAULT = GainSettings()
_STRIP_BYTES = 32 * 2**20
# Moments below this fraction of the brightest squared value are rounding, not image.
_ROUNDING = 1e-12
# Variance of a source in [0, 1] below which the guided filter takes it for flat.
_FLAT = 1e-4


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
        K >= 2 aligned grey images of any real type. Intensities are used as
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
    Its laboratory also published 9x9 sliding patches.
    """
    stack = _as_stack(sources)
    _check_options(stack, patch_size, window, scale, sharpness)
    _check_finite(stack)
    return _gains_of([stack], patch_size, window, scale, sharpness)


@dataclass(frozen=True, eq=False)
class SensorModel:
    """The gains of some sources, in one band or in two.

    In two bands, each source is a base (its Gaussian blur) and the details
    that remain, with gains of their own: X_i^b = beta_i^b X_0^b + N_i^b for
    both bands b, and T is the sum of the bands' least-squares images.

    Attributes
    ----------
    gains : ndarray of shape (K, M, N), float32
        Gains of the details, or of the whole sources in one band.
    base_gains : ndarray of shape (K, M, N), float32, or None
        Gains of the base; None in one band.
    """

    gains: Floats
    base_gains: Floats | None

    def consensus(self, bands: "Bands") -> Floats:
        """Return T of sources in bands, shape (M, N); see :func:`consensus`."""
        if self.base_gains is None:
            return consensus(bands.details, self.gains)
        assert bands.base is not None
        total: Floats = consensus(bands.base, self.base_gains)
        total += consensus(bands.details, self.gains)
        return total

    def loss_floor(self, bands: "Bands") -> float:
        """Return the loss that T leaves, summed over the bands; see :func:`loss_floor`."""
        floor = loss_floor(bands.details, self.gains)
        if self.base_gains is None:
            return floor
        assert bands.base is not None
        return floor + loss_floor(bands.base, self.base_gains)


@dataclass(frozen=True, eq=False)
class Bands:
    """Sources as base and details, each of shape (K, M, N), which add up to them.

    In one band the base is None and the details are the sources.
    """

    base: NDArray[Any] | None
    details: NDArray[Any]


def sensor_model(
    bands: Bands,
    *,
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
) -> SensorModel:
    """Estimate the gains of sources in one band or in two.

    Parameters
    ----------
    bands : Bands
        From :func:`split_bands`.
    patch_size, window, scale, sharpness
        As for :func:`gain_maps`. In two bands, `sharpness` applies to the gains
        of the details, which are then smoothed between, not across, edges of
        their source (a guided filter [2]_ of 3x3 pixels); those of the base
        come, with sharpness 1, from the sum of both bands' moments: a source
        bears on the base by its brightness and by the structure that it has
        there.

    Raises
    ------
    ValueError
        As for :func:`gain_maps`.

    References
    ----------
    .. [2] K. He, J. Sun, X. Tang, "Guided Image Filtering", IEEE PAMI 35(6), 2013,
       doi:10.1109/TPAMI.2012.213.
    """
    _check_options(bands.details, patch_size, window, scale, sharpness)
    _check_finite(bands.details)
    options = (patch_size, window, scale)
    if bands.base is None:
        return SensorModel(_gains_of([bands.details], *options, sharpness), None)
    with ThreadPoolExecutor(max_workers=1) as beside:
        base_gains = beside.submit(_gains_of, [bands.base, bands.details], *options, 1.0)
        gains = _gains_of([bands.details], *options, sharpness)
        guides = bands.base + bands.details
        gains = np.stack([_guided(g, x) for g, x in zip(gains, guides, strict=True)]).clip(0, 1)
        gains /= gains.max(axis=0) if scale == "unit-max" else np.linalg.norm(gains, axis=0)
        return SensorModel(gains, base_gains.result())


def split_bands(sources: Sequence[ArrayLike] | ArrayLike, sigma: float) -> Bands:
    """Split sources into their Gaussian blur and the details that remain.

    Parameters
    ----------
    sources : array of shape (K, M, N), or K arrays of shape (M, N)
    sigma : float
        Standard deviation of the blur in pixels; 0 for one band.
    """
    stack = _as_stack(sources)
    if sigma == 0:
        return Bands(None, stack)
    base = np.stack([ndimage.gaussian_filter(s, sigma, mode="reflect") for s in stack])
    return Bands(base, stack - base)


def _guided(image: Floats, guide: Floats) -> Floats:
    """Smooth an image where its guide is flat: locally a line in the guide's values."""

    def mean(values: Floats) -> Floats:
        return np.asarray(ndimage.uniform_filter(values, 3, mode="reflect"))

    mean_p, mean_x = mean(image), mean(guide)
    variance = mean(guide * guide) - mean_x**2
    slope = (mean(guide * image) - mean_x * mean_p) / (variance + np.float32(_FLAT))
    smooth: Floats = mean(slope) * guide + mean(mean_p - slope * mean_x)
    return smooth


def _gains_of(
    stacks: Sequence[NDArray[Any]],
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
) -> Floats:
    """Gains by the sum of the moments of some stacks, each (K, M, N)."""
    gains = np.empty(stacks[0].shape, dtype=np.float32)
    rounding = _ROUNDING * sum(float(np.max(np.square(s, dtype=np.float64))) for s in stacks)
    for strips in zip(*(_strips(s, patch_size, window) for s in stacks), strict=True):
        (start, stop, inside), _ = strips[0]
        moments = _moments([strip for _, strip in strips], patch_size, window)
        gains[:, start:stop] = _scaled(_leading(moments[:, :, inside], rounding), scale, sharpness)
    return gains


def consensus(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> Floats:
    """Return T, the least-squares image of the sources under their gains.

    T = sum_i beta_i X_i / sum_i beta_i^2 minimises sum_i (X_i - beta_i x)^2 at
    every pixel: it is what the network is fitted to.

    Parameters
    ----------
    sources, gains : arrays of shape (K, M, N)

    Returns
    -------
    ndarray of shape (M, N), float32
        For sources in [0, 1]: in [0, 1] with ``unit-max`` gains of agreeing
        sources, up to sqrt(K) with ``unit-norm`` gains.

    Raises
    ------
    ValueError
        If the shapes differ, or all gains of a pixel are zero.
    """
    x, beta = _matched(sources, gains)
    weight = consensus_weight(beta)
    empty = int(np.count_nonzero(weight <= 0))
    if empty:
        raise ValueError(
            f"each pixel needs a gain above zero in one source, got {empty} pixels without; "
            "correct the gain maps there"
        )
    total: Floats = np.einsum("kmn,kmn->mn", beta, x) / weight
    return total


def consensus_weight(gains: ArrayLike) -> Floats:
    """Return w = sum_i beta_i^2, the weight of each pixel in the loss, shape (M, N)."""
    beta = np.asarray(gains, dtype=np.float32)
    weight: Floats = np.einsum("kmn,kmn->mn", beta, beta)
    return weight


def loss_floor(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> float:
    """Return the smallest value that the loss can take, reached by T alone.

    The loss is L(x) = mean over pixels of sum_i (X_i - beta_i x)^2 = mean of
    w (x - T)^2 plus this floor.
    """
    x, beta = _matched(sources, gains)
    image = consensus(x, beta)
    return float(
        sum(
            np.mean(np.square(xi - bi * image, dtype=np.float64))
            for xi, bi in zip(x, beta, strict=True)
        )
    )


def _as_stack(sources: Sequence[ArrayLike] | ArrayLike) -> NDArray[Any]:
    arrays = [np.asarray(s) for s in sources]  # type: ignore[union-attr]
    if len(arrays) < 2:
        raise ValueError(f"gains need two or more sources, got {len(arrays)}")
    for i, a in enumerate(arrays):
        if a.ndim != 2:
            raise ValueError(
                f"sources must be grey images of shape (M, N), got {a.shape} for source {i}; "
                "reduce colour to luma with prepare_sources()"
            )
        if a.shape != arrays[0].shape:
            raise ValueError(
                f"sources must share one shape, got {arrays[0].shape} for source 0 and "
                f"{a.shape} for source {i}; resample them to one grid first"
            )
    return np.stack(arrays).astype(np.float32, copy=False)


def _matched(sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike) -> tuple[Floats, Floats]:
    x = _as_stack(sources)
    beta = np.asarray(gains, dtype=np.float32)
    if x.shape != beta.shape:
        raise ValueError(
            f"gains must have the shape of the sources, got {beta.shape} for {x.shape}"
        )
    return x, beta


def _check_finite(stack: NDArray[Any]) -> None:
    for i, s in enumerate(stack):
        if not np.isfinite(s).all():
            raise ValueError(
                f"source {i} has NaN or infinite values; replace them first, for example with "
                "numpy.nan_to_num"
            )


def _check_options(
    stack: NDArray[Any], patch_size: int, window: str, scale: str, sharpness: float
) -> None:
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
    if min(stack.shape[1:]) < patch_size:
        raise ValueError(
            f"images must be at least one patch of {patch_size}x{patch_size} pixels, got "
            f"{stack.shape[1]}x{stack.shape[2]}; choose a smaller patch_size"
        )


def _sigma(patch_size: int) -> float:
    return patch_size / 4.5


def _halo(patch_size: int, window: str) -> int:
    """Rows around a strip that its windows reach into."""
    if window == "block":
        return 0
    return patch_size // 2 if window == "box" else int(4 * _sigma(patch_size) + 0.5)


def _strips(
    stack: NDArray[Any], patch_size: int, window: str
) -> Iterator[tuple[tuple[int, int, slice], Doubles]]:
    """Yield (first row, last row, rows inside the strip) and the strip in float64."""
    count, height, width = stack.shape
    halo = _halo(patch_size, window)
    size = max(_STRIP_BYTES // (8 * width * count * (count + 1)), 4 * halo, 1)
    size = -(-size // patch_size) * patch_size
    for start in range(0, height, size):
        stop = min(start + size, height)
        top = max(start - halo, 0)
        inside = slice(start - top, stop - top)
        yield (start, stop, inside), stack[:, top : stop + halo].astype(np.float64)


def _moments(strips: Sequence[Doubles], patch_size: int, window: str) -> Doubles:
    """Windowed second moments of strips, added up, shape (K, K, rows, N)."""
    count = len(strips[0])
    moments = np.empty((count, *strips[0].shape))
    for i in range(count):
        for j in range(i, count):
            total = _window_mean(np.sum([s[i] * s[j] for s in strips], axis=0), patch_size, window)
            moments[i, j] = moments[j, i] = total
    return moments


def _added(terms: Iterable[Doubles]) -> Doubles:
    return reduce(np.add, terms)


def _window_mean(image: Doubles, patch_size: int, window: str) -> Doubles:
    if window == "box":
        return np.asarray(ndimage.uniform_filter(image, patch_size, mode="reflect"))
    if window == "gaussian":
        return np.asarray(ndimage.gaussian_filter(image, _sigma(patch_size), mode="reflect"))
    return _block_mean(image, patch_size)


def _block_mean(image: Doubles, size: int) -> Doubles:
    rows, columns = (np.arange(0, n, size) for n in image.shape)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    heights, widths = (
        np.diff(starts, append=n) for starts, n in zip((rows, columns), image.shape, strict=True)
    )
    means = sums / np.outer(heights, widths)
    return np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)


def _leading(moments: Doubles, rounding: float) -> Doubles:
    """Leading eigenvector without signs, shape (K, rows, N).

    It is the square root of the diagonal of the projector on the leading
    eigenspace, which is the eigenvector's absolute value where that space is a
    line, and equal for all sources of an eigenspace of more dimensions.
    """
    if len(moments) == 2:
        difference = moments[0, 0] - moments[1, 1]
        twice_cross = 2 * moments[0, 1]
        angle = np.arctan2(twice_cross, difference) / 2
        angle[np.hypot(twice_cross, difference) <= rounding] = np.pi / 4
        pair: Doubles = np.abs(np.stack([np.cos(angle), np.sin(angle)]))
        return pair
    values, vectors = np.linalg.eigh(np.moveaxis(moments, (0, 1), (-2, -1)))
    leading = values >= values[..., -1:] - rounding
    projector = np.sum(np.square(vectors) * leading[..., None, :], axis=-1)
    vector: Doubles = np.moveaxis(np.sqrt(projector), -1, 0)
    return vector


def _scaled(vector: Doubles, scale: str, sharpness: float) -> Doubles:
    if sharpness != 1:
        vector = (vector / vector.max(axis=0)) ** sharpness
    size = vector.max(axis=0) if scale == "unit-max" else np.linalg.norm(vector, axis=0)
    scaled: Doubles = vector / size
    return scaled
