"""How much noise an image holds, and what clipping does to the mean of noise."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special, stats

Floats = NDArray[np.float32]

NEGLIGIBLE = 0.01
"""Noise below this standard deviation (2.5 of 255 gray levels) is left alone: it cannot be told
from fine texture."""

# Second differences across and down, of unit gain for white noise (Immerkaer 1996).
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
_BLOCK = 16
# Blocks from which a proportion can be told.
_FEW = 16
_MAD_TO_SIGMA = 1.4826
# A quarter of all blocks is smoother than this; for pure noise it lies 3 % below the mean.
_QUANTILE, _QUANTILE_BIAS = 0.25, 0.96


def estimate_noise(image: Floats) -> float:
    """Return the standard deviation of the white noise in an image.

    The image is cut into blocks of 16x16 pixels. In each, the median absolute
    second difference (the mask of [1]_) gives a standard deviation; the lower
    quartile over the blocks is that of the noise where a quarter of the image
    is smooth.

    Parameters
    ----------
    image : ndarray of shape (M, N), float32 in [0, 1]

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
    sigmas, _ = _block_noise(image)
    sigma = float(np.quantile(sigmas, _QUANTILE)) / _QUANTILE_BIAS
    return sigma if sigma >= NEGLIGIBLE else 0.0


def estimate_speckle(image: Floats) -> float:
    """Return the standard deviation of noise that is in proportion to the signal.

    Parameters
    ----------
    image : ndarray of shape (M, N), float32 in [0, 1]

    Returns
    -------
    float
        In units of the signal: 0.2 is noise of 20 %. 0 unless the noise of the
        blocks of :func:`estimate_noise` grows with their brightness (rank
        correlation above 0.6), and varies less in proportion to it than by
        itself; below 0.05 speckle is not looked for.
    """
    sigmas, means = _block_noise(image)
    if len(sigmas) < _FEW or not means.all():
        return 0.0
    low, median, high = np.quantile(sigmas / means, (0.25, 0.5, 0.75))
    plain = np.quantile(sigmas, (0.25, 0.5, 0.75))
    steadier = (high - low) * plain[1] < (plain[2] - plain[0]) * median
    if median < 0.05 or not steadier or stats.spearmanr(means, sigmas).statistic < 0.6:
        return 0.0
    return float(median)


def _block_noise(image: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return standard deviation of the noise, and mean, of the blocks with least clipping."""
    difference = np.abs(ndimage.convolve(image.astype(np.float64), _MASK, mode="reflect"))
    clipped = (image <= image.min()) | (image >= image.max())
    near = ndimage.uniform_filter(clipped.astype(np.float64), 3, mode="reflect")
    blocks, share = _blocks(difference), _blocks(near).mean(axis=-1)
    few = max(4, len(blocks) // 50)
    # Ordered by what is clipped, so that the least clipped serve where all are.
    free = share <= max(0.02, np.sort(share)[min(few, len(share)) - 1])
    means = _blocks(image.astype(np.float64))[free].mean(axis=-1)
    return _MAD_TO_SIGMA * np.median(blocks[free], axis=-1), means


def _blocks(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut into whole blocks, shape (blocks, pixels); images below one block are one."""
    size = min(_BLOCK, *image.shape)
    rows, columns = (n // size * size for n in image.shape)
    cut = image[:rows, :columns].reshape(rows // size, size, columns // size, size)
    return cut.swapaxes(1, 2).reshape(-1, size * size)


def is_clipped(image: Floats, denoised: Floats, sigma: float) -> bool:
    """Return whether the noise of an image was cut off at the lower end.

    Where the denoised image is darker than the noise, an image that was clipped
    after the noise came holds its smallest value beside brighter pixels; one that was not
    clipped, or has no noise there, does not.

    Parameters
    ----------
    image, denoised : ndarray of shape (M, N), float32 in [0, 1]
    sigma : float
        Standard deviation of the noise.
    """
    dark = (denoised > 0.2 * sigma) & (denoised < sigma)
    if np.count_nonzero(dark) < 64:
        return False
    # Of noise around 0.4 sigma, what the mean of clipped noise at black is, a third is below 0.
    return bool(np.mean(image[dark] <= image.min()) > 0.1)


def clipped_mean(signal: Floats, sigma: float) -> Floats:
    """Return the mean of max(0, signal + noise) for Gaussian noise.

    Parameters
    ----------
    signal : ndarray
    sigma : float
        Standard deviation of the noise, above 0.
    """
    z = signal.astype(np.float64) / sigma
    mean = sigma * (z * special.ndtr(z) + np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
    return np.asarray(mean, dtype=np.float32)


def unclipped(mean: Floats, sigma: float) -> Floats:
    """Return the signal whose clipped noisy version has this mean: undo :func:`clipped_mean`.

    Parameters
    ----------
    mean : ndarray
    sigma : float
        Standard deviation of the noise, above 0.

    Returns
    -------
    ndarray
        At least 0: means below that of noise around black are black.
    """
    table = np.linspace(0, 6 * sigma, 4096, dtype=np.float32)
    signal = np.interp(mean, clipped_mean(table, sigma), table)
    return np.where(mean > 5 * sigma, mean, signal).astype(np.float32)
