"""Estimate how much noise an image holds, and undo what clipping does to the mean of noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

NEGLIGIBLE = 0.01
"""Noise below this standard deviation (2.5 of 255 gray levels) is left alone: it cannot be told
from fine texture."""

# Side of a block in pixels: 256 pixels tell the noise to 11 %, and a picture of 256x256 has 256
# blocks, of which some are smooth.
_BLOCK = 16

# The standard deviation of a Gaussian over its median absolute deviation, 1 / Phi^-1(3/4). The
# median, unlike the root mean square, does not see the few edges in a block.
_MAD_TO_SIGMA = 1.4826

# The noise is read off a quarter of the blocks, the smoothest. On pure noise that quantile lies 7 %
# below the standard deviation, on pictures, whose texture raises it, from 8 % below to 2 % above:
# dividing by 0.96 goes half the way.
_QUANTILE, _QUANTILE_BIAS = 0.25, 0.96

# What planes, shape (planes, M, N), are padded by for a mask of 3x3 pixels.
_MARGIN = ((0, 0), (1, 1), (1, 1))

# Blocks from which it can be told whether noise grows with brightness.
_FEW = 16

# Share of clipped pixels, and of their neighbors, up to which a block is taken to be free of them.
_CLIPPED_SHARE = 0.02

# Pixels near black or white from which it can be told whether noise was clipped there, and the
# share of them that is black or white then.
_FEW_CLIPPED, _CLIPPED_NEAR = 64, 0.1

# Planes of a volume or a series from which the noise is estimated: a few thousand blocks tell it.
_PLANES = 32


@dataclass(frozen=True)
class Clipping:
    """Where the noise of an image was cut off: at the ends of the image's range, or not."""

    dark: bool = False
    """Whether it was cut off below black; see :func:`is_clipped`."""
    bright: bool = False
    """Whether it was cut off above white as well; see :func:`undo_clipped_mean`."""


def estimate_white_and_speckle(image: Floats) -> tuple[float, float]:
    """Return what :func:`estimate_noise` and :func:`estimate_speckle` do, measured once.

    Parameters
    ----------
    image : ndarray of shape (..., M, N), float32 in [0, 1]
        A plane, or a volume or series, which has one noise: it is measured within planes, of at
        most 32, spread evenly. Planes that are constant are passed over.

    Returns
    -------
    white, speckle : float
        At most one is above 0: speckle would pass for white noise of its mean strength.
    """
    sigmas, means = _measure_blocks(image)
    speckle = _find_speckle(sigmas, means)
    return (0.0, speckle) if speckle else (_find_white(sigmas), 0.0)


def estimate_noise(image: Floats) -> float:
    """Return the standard deviation of the white noise in an image.

    The image is cut into blocks of 16x16 pixels. In each, the median absolute
    second difference (the mask of [1]_) gives a standard deviation; the lower
    quartile over the blocks is that of the noise where a quarter of the image
    is smooth.

    Parameters
    ----------
    image : ndarray of shape (..., M, N), float32 in [0, 1]
        As for :func:`estimate_white_and_speckle`.

    Returns
    -------
    float
        In the units of the image. Below :data:`NEGLIGIBLE` it is 0. Blocks
        with clipped pixels (at the ends of the image's range) are left out
        while at least four others remain, since clipping hides noise.

    References
    ----------
    .. [1] J. Immerkaer, "Fast Noise Variance Estimation", Computer Vision and Image
       Understanding 64(2), 1996, doi:10.1006/cviu.1996.0060.
    """
    return _find_white(_measure_blocks(image)[0])


def estimate_speckle(image: Floats) -> float:
    """Return the standard deviation of noise that is in proportion to the signal.

    Parameters
    ----------
    image : ndarray of shape (..., M, N), float32 in [0, 1]
        As for :func:`estimate_white_and_speckle`.

    Returns
    -------
    float
        In units of the signal: 0.2 is noise of 20 %. 0 unless the noise of the
        blocks of :func:`estimate_noise` grows with their brightness (rank
        correlation above 0.6), and varies less in proportion to it than by
        itself; below 0.05 speckle is not looked for.
    """
    return _find_speckle(*_measure_blocks(image))


def _find_white(sigmas: Doubles) -> float:
    sigma = float(np.quantile(sigmas, _QUANTILE)) / _QUANTILE_BIAS
    return sigma if sigma >= NEGLIGIBLE else 0.0


def _find_speckle(sigmas: Doubles, means: Doubles) -> float:
    if len(sigmas) < _FEW or not means.all():
        return 0.0
    low, median, high = np.quantile(sigmas / means, (0.25, 0.5, 0.75))
    plain = np.quantile(sigmas, (0.25, 0.5, 0.75))
    # (high - low) / median, the relative spread, of noise over brightness and of noise alone.
    steadier = (high - low) * plain[1] < (plain[2] - plain[0]) * median
    if median < 0.05 or not steadier:
        return 0.0
    # Imported here because it is slow to import, and most sources do not need it.
    from scipy import stats

    return 0.0 if stats.spearmanr(means, sigmas).statistic < 0.6 else float(median)


def _measure_blocks(image: Floats) -> tuple[Doubles, Doubles]:
    """Return standard deviation of the noise, and mean, of the blocks with least clipping."""
    planes = _choose_planes(image)
    differences = _cut_blocks(np.abs(_take_second_differences(planes)))
    share = _count_near_clipped(planes) / (9 * differences.shape[-1])
    few = max(4, len(share) // 50)
    # Where hardly any block is free, those with least clipping have to serve: 2 %, at least four.
    free = share <= max(_CLIPPED_SHARE, np.sort(share)[min(few, len(share)) - 1])
    means = _cut_blocks(planes)[free].mean(axis=-1, dtype=np.float64)
    return _MAD_TO_SIGMA * _take_medians(differences[free]), means


def _choose_planes(image: Floats) -> Floats:
    """Return planes of an image, shape (planes, M, N), that stand for all of them."""
    planes = image.reshape(-1, *image.shape[-2:])
    # Planes without anything, such as those beyond a field of view, say nothing of the noise.
    shown = np.flatnonzero(planes.min(axis=(1, 2)) < planes.max(axis=(1, 2)))
    if len(shown) == 0:
        return planes[:1]
    count = min(len(shown), _PLANES)
    # In the middle of as many equal parts.
    return planes[shown[(2 * np.arange(count) + 1) * len(shown) // (2 * count)]]


def _take_medians(blocks: Floats) -> Doubles:
    """Return the median of each row, which sorted rows give in a fifth of numpy.median's time."""
    ordered, count = np.sort(blocks, axis=-1), blocks.shape[-1]
    middle = ordered[:, [(count - 1) // 2, count // 2]]
    return np.asarray(middle.mean(axis=-1, dtype=np.float64))


def _take_second_differences(image: Floats) -> Floats:
    """Return second differences across of second differences down, in which noise stays as it is.

    The mask is [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] / 6 (Immerkaer 1996), which gives 0 where the
    image is a plane. Its squares sum to 1.
    """
    padded = np.pad(image, _MARGIN, mode="symmetric")
    differences: Floats = np.diff(np.diff(padded, n=2, axis=1), n=2, axis=2)
    differences /= 6
    return differences


def _count_near_clipped(image: Floats) -> NDArray[np.int64]:
    """Return how many pixels in the 3x3 windows of a block's pixels are clipped, of each block."""
    clipped = (image <= image.min()) | (image >= image.max())
    # The mask of the differences reaches one pixel far: those of neighbors are wrong, too.
    padded = np.pad(clipped.astype(np.uint8), _MARGIN, mode="symmetric")
    near = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    near = near[:, :, :-2] + near[:, :, 1:-1] + near[:, :, 2:]
    return np.asarray(_cut_blocks(near).sum(axis=-1, dtype=np.int64))


def _cut_blocks(image: NDArray[Any]) -> NDArray[Any]:
    """Cut planes into whole blocks, shape (blocks, pixels); a smaller plane is one block."""
    size = min(_BLOCK, *image.shape[1:])
    rows, columns = (n // size * size for n in image.shape[1:])
    cut = image[:, :rows, :columns].reshape(-1, rows // size, size, columns // size, size)
    return cut.swapaxes(2, 3).reshape(-1, size * size)


def is_clipped(image: Floats, denoised: Floats, sigma: float) -> bool:
    """Tell whether the noise of an image was cut off at the lower end.

    A camera cuts off the noise that would make a dark pixel darker than black, so that in dark
    areas many pixels have exactly the smallest value of the image. Without clipping, hardly
    one has it. Dark areas are those where the denoised image lies below `sigma`.

    Parameters
    ----------
    image, denoised : ndarray of shape (..., M, N), float32 in [0, 1]
    sigma : float
        Standard deviation of the noise.
    """
    # The mean of noise that was clipped at black is sigma / sqrt(2 pi) = 0.4 sigma: that is what
    # black areas look like after denoising.
    dark = (denoised > 0.2 * sigma) & (denoised < sigma)
    if np.count_nonzero(dark) < _FEW_CLIPPED:
        return False
    # Noise falls below black in half of the pixels where the signal is black, and in a sixth where
    # it is sigma; all of these have the smallest value after clipping. Without clipping, hardly
    # one has it.
    return bool(np.mean(image[dark] <= image.min()) > _CLIPPED_NEAR)


def compute_clipped_mean(signal: Floats, sigma: float) -> Floats:
    """Return the mean of max(0, signal + noise) for Gaussian noise.

    Parameters
    ----------
    signal : ndarray
    sigma : float
        Standard deviation of the noise, above 0.

    Returns
    -------
    ndarray of the shape of `signal`, float32
    """
    # s (z Phi(z) + phi(z)) for z = signal / s: Phi is the normal distribution, phi its density.
    z = signal.astype(np.float64) / sigma
    mean = sigma * (z * special.ndtr(z) + np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
    return np.asarray(mean, dtype=np.float32)


def is_clipped_above(pixels: Floats, signal: Floats, sigma: float) -> bool:
    """Tell whether noise that was cut off below black was cut off above white, too.

    It was if more than a tenth of the pixels whose signal lies within `sigma` of white are white:
    the brightest pixel of a source whose range was stretched is alone there.

    Parameters
    ----------
    pixels, signal, sigma
        As for :func:`undo_clipped_mean`.
    """
    bright = pixels[signal > 1 - sigma]
    return bool(bright.size >= _FEW_CLIPPED and np.mean(bright >= 1) > _CLIPPED_NEAR)


def undo_clipped_mean(
    pixels: Floats, signal: Floats, sigma: float, *, above: bool | None = None
) -> Floats:
    """Return noisy pixels less the mean that clipping gave their noise.

    Parameters
    ----------
    pixels, signal : ndarray, float32 in [0, 1]
        An image with its noise, which was cut off below black, and an estimate of it without.
    sigma : float
        Standard deviation of the noise; with 0, the pixels are returned.
    above : bool, optional
        Whether it was cut off above white, too; by default :func:`is_clipped_above` tells.
    """
    if sigma == 0:
        return pixels
    mean = compute_clipped_mean(signal, sigma)
    if is_clipped_above(pixels, signal, sigma) if above is None else above:
        # What is cut off above white is what would be left of noise around signal - 1.
        mean -= compute_clipped_mean(signal - 1, sigma)
    unbiased: Floats = pixels - (mean - signal)
    return unbiased


def undo_clipping(mean: Floats, sigma: float) -> Floats:
    """Return the signal whose clipped noisy version has this mean.

    It is the inverse of :func:`compute_clipped_mean`.

    Parameters
    ----------
    mean : ndarray
        Values of a denoised image.
    sigma : float
        Standard deviation of the noise, above 0.

    Returns
    -------
    ndarray of the shape of `mean`, float32
        At least 0: means below that of clipped noise at black are black.
    """
    # From five standard deviations above black, one in three million pixels is clipped.
    table = np.linspace(0, 6 * sigma, 4096, dtype=np.float32)
    signal = np.interp(mean, compute_clipped_mean(table, sigma), table)
    return np.where(mean > 5 * sigma, mean, signal).astype(np.float32)
