"""Remove noise from single images, with or without a second image that tells what to expect."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.strips import cut_strips

Floats = NDArray[np.float32]

# Side of the patches in pixels, as in BM3D (Dabov et al. 2007, doi:10.1109/TIP.2007.901238).
_SIDE = 8

# Coefficients below this many standard deviations count as noise. It is the hard threshold of BM3D;
# 3, which Yu and Sapiro take, blurs more.
_THRESHOLD = 2.7

# Rows of the image whose patches are transformed at once; those of all rows would take 64 times the
# memory of the image.
_ROWS = 64

# Rows that non-local means take at once: they are one long call, which nothing can interrupt. The
# halo is the distance of the patches that they compare and half a patch.
_MEANS_ROWS, _MEANS_HALO = 256, 6 + 5 // 2

# Signal below which noise in proportion to it is too weak to matter: 5 of 255 gray levels.
_DARK = np.float32(0.02)

# Keeps 0 / 0 from the gain of flat patches without noise.
_TINY = np.float32(1e-12)


def denoise(image: Floats, sigma: float) -> Floats:
    """Remove white noise of a known level from one image.

    Non-local means [1]_ and thresholding in a sliding cosine transform [2]_ err
    in different ways; their mean is the pilot of a final :func:`filter_wiener`.

    Parameters
    ----------
    image : ndarray of shape (M, N), float32
    sigma : float
        Standard deviation of the noise in the units of the image; 0 returns a copy.

    Returns
    -------
    ndarray of shape (M, N), float32

    Notes
    -----
    An image of 256x256 pixels takes about 0.3 s.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising",
       CVPR 2005, doi:10.1109/CVPR.2005.38.
    .. [2] G. Yu, G. Sapiro, "DCT Image Denoising: a Simple and Effective Image Denoising
       Algorithm", IPOL 1 (2011), doi:10.5201/ipol.2011.ys-dct.
    """
    if sigma == 0:
        return image.copy()
    # Imported here because it is slow to import, and clean sources do not need it.
    from skimage.restoration import denoise_nl_means

    means: Floats = np.empty_like(image)
    for rows, around, inside in cut_strips(len(image), _MEANS_ROWS, _MEANS_HALO):
        # Patch size and distance are those of scikit-image's example of non-local means, which
        # takes an h of 0.6 to 0.8 sigma where the level of the noise is known.
        means[rows] = denoise_nl_means(
            image[around],
            patch_size=5,
            patch_distance=6,
            h=0.8 * sigma,
            sigma=sigma,
            fast_mode=True,
        )[inside]
    pilot = np.asarray((means + _threshold(image, sigma)) / 2, dtype=np.float32)
    return filter_wiener(image, sigma, pilot)


def remove_speckle(image: Floats, proportion: float) -> Floats:
    """Remove noise that is in proportion to the signal.

    The logarithm makes such noise white, so that :func:`denoise` can remove it.
    There its mean is below 0, for which the result is corrected. At last,
    :func:`filter_wiener` of the image itself brings back structure.

    Parameters
    ----------
    image : ndarray of shape (M, N), float32 in [0, 1]
    proportion : float
        Standard deviation of the noise in units of the signal.

    Returns
    -------
    ndarray of shape (M, N), float32
    """
    # log(1 + x / c), with c = _DARK, is finite at black, where the noise vanishes.
    logarithm = np.log1p(image / _DARK)
    smooth = denoise(logarithm, proportion)
    # For noise n of standard deviation s, to the second order in s,
    # E[log(c + x (1 + n))] = log(c + x) - (x s / (c + x))^2 / 2, and the share x / (c + x) is
    # 1 - e^-smooth.
    share = -np.expm1(-smooth)
    signal = _DARK * np.expm1(smooth + (share * np.float32(proportion)) ** 2 / 2)
    return filter_wiener(image, proportion * signal, signal)


def filter_wiener(image: Floats, sigma: float | Floats, pilot: Floats) -> Floats:
    """Keep what a pilot says is structure in an image, and remove the rest as noise.

    In every 8x8 patch, each cosine coefficient c of the image becomes
    c p^2 / (p^2 + sigma^2), where p is that of the pilot (the empirical Wiener
    filter [1]_). A patch starts at every pixel, and the patches are averaged
    where they overlap.

    Parameters
    ----------
    image, pilot : ndarray of shape (M, N), float32
        An image with noise, and an estimate of the same image without noise.
    sigma : float or ndarray of shape (M, N)
        Standard deviation of the noise, everywhere or at each pixel. Where it
        is 0 the image stays as it is.

    Returns
    -------
    ndarray of shape (M, N), float32

    References
    ----------
    .. [1] S. Ghael, A. Sayeed, R. Baraniuk, "Improved wavelet denoising via empirical Wiener
       filtering", SPIE 3169 (1997), doi:10.1117/12.292799.
    """
    variance = np.broadcast_to(np.square(np.float32(sigma)), image.shape)
    if not variance.any():
        return image.copy()
    average = _PatchAverage(image.shape)
    for start, (patches, pilots, variances) in _cut_patches(image, pilot, variance):
        power = np.square(_transform(pilots)) + _TINY
        gain = power / (power + variances.mean(axis=(2, 3), keepdims=True))
        # The noise that a filtered patch keeps has a variance in proportion to the sum of gain^2:
        # the average trusts patches with less of it more, as BM3D does. The floor keeps patches of
        # which next to nothing is left from counting alone.
        weight = 1 / np.maximum(np.square(gain).sum(axis=(2, 3)), np.float32(0.1))
        average.add(start, _transform(patches) * gain, weight)
    return average.image()


def _threshold(image: Floats, sigma: float) -> Floats:
    """Return an image without the cosine coefficients that noise explains."""
    average = _PatchAverage(image.shape)
    for start, (patches,) in _cut_patches(image):
        coefficients = _transform(patches)
        kept = np.abs(coefficients) > _THRESHOLD * sigma
        kept[..., 0, 0] = True  # the mean of a patch, however dark
        # As above: the fewer coefficients are kept, the less noise.
        average.add(start, coefficients * kept, 1 / kept.sum(axis=(2, 3)))
    return average.image()


def _cut_patches(*images: Floats) -> Iterator[tuple[int, list[Floats]]]:
    """Yield all patches of some images in groups of rows.

    Parameters
    ----------
    *images : ndarrays of shape (M, N)

    Yields
    ------
    int
        The row, of the image with its margin, that the patches of the group start at.
    list of ndarrays of shape (rows, columns, 8, 8)
        The patches of each image, one for each pixel at which a patch can start.
    """
    # With a margin of 7 pixels, every pixel of the image lies in 64 patches.
    views = [
        np.lib.stride_tricks.sliding_window_view(
            np.pad(i.astype(np.float32, copy=False), _SIDE - 1, mode="symmetric"), (_SIDE, _SIDE)
        )
        for i in images
    ]
    for start in range(0, len(views[0]), _ROWS):
        checkpoint()
        yield start, [view[start : start + _ROWS] for view in views]


def _transform(patches: Floats) -> Floats:
    """Return the orthonormal cosine transform of patches, in which white noise stays white."""
    transformed: Floats = fft.dctn(patches, axes=(2, 3), norm="ortho")
    return transformed


class _PatchAverage:
    """The weighted mean of overlapping patches, which are given as cosine coefficients."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        size = tuple(n + 2 * (_SIDE - 1) for n in shape)
        self._sum = np.zeros(size, dtype=np.float32)
        self._weight = np.zeros(size, dtype=np.float32)

    def add(self, start: int, coefficients: Floats, weight: NDArray[np.floating]) -> None:
        """Add the patches of a group of rows that starts at a row; see :func:`_cut_patches`."""
        values = fft.idctn(coefficients, axes=(2, 3), norm="ortho")
        weight = weight.astype(np.float32)
        rows, columns = weight.shape
        # A loop over the 64 pixels of a patch adds whole images, one over the patches would add
        # single ones.
        for i in range(_SIDE):
            for j in range(_SIDE):
                place = np.s_[start + i : start + i + rows, j : j + columns]
                self._sum[place] += weight * values[:, :, i, j]
                self._weight[place] += weight

    def image(self) -> Floats:
        """Return the mean, without the margin."""
        inside = np.s_[_SIDE - 1 : 1 - _SIDE, _SIDE - 1 : 1 - _SIDE]
        average: Floats = self._sum[inside] / self._weight[inside]
        return average
