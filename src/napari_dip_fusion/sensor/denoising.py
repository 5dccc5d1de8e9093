"""Remove noise from planes and volumes, with or without a pilot that tells what to expect."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_dip_fusion.interruption import advance, checkpoint
from napari_dip_fusion.sensor.strips import Slices, cut_strips, map_tiles
from napari_dip_fusion.sensor.threads import map_on_threads

Floats = NDArray[np.float32]

# Takes the coefficients of patches of one or more images, shape (depth, rows, columns, 8, 8), and
# perhaps the variance of the noise in each patch. Returns those of the result, and the weights of
# the patches, shape (rows, columns).
_Change = Callable[..., tuple[Floats, NDArray[np.floating]]]

# Side of the patches in pixels, as in BM3D (Dabov et al. 2007, doi:10.1109/TIP.2007.901238).
_SIDE = 8

# Axes of the pixels of a patch.
_PATCH = (0, 3, 4)

# Planes of a patch in a volume. Of 2, 3, 4, 6 and 8, 4 were best where anatomy changes as fast from
# plane to plane as within a plane, for steps of 1 to 3 pixels.
_DEPTH = 4

# Distance of planes in pixels up to which neighbors help: 1.2 to 1.6 dB at 1, 0.1 to 0.2 dB at 3,
# and nothing at 4.
_THIN = 3.0

# Patches of a volume start at every second pixel for the pilot, of which only the power counts.
_PILOT_STRIDE = 2

# Coefficients below this many standard deviations count as noise. It is the hard threshold of BM3D;
# 3, which Yu and Sapiro take, blurs more.
_THRESHOLD = 2.7

# Rows at which patches start that are transformed at once; those of all rows would take 64 times
# the memory of the image.
_ROWS = 64

# Planes of a volume that a thread takes at once, at most. A halo of three planes on both sides is
# computed twice.
_PLANES = 16

# Rows that non-local means take at once: they are one long call, which nothing can interrupt. The
# halo is the distance of the patches that they compare and half a patch.
_MEANS_ROWS, _MEANS_HALO = 256, 6 + 5 // 2

# Signal below which noise in proportion to it is too weak to matter: 5 of 255 gray levels.
_DARK = np.float32(0.02)

# Keeps 0 / 0 from the gain of flat patches without noise.
_TINY = np.float32(1e-12)


def denoise(image: Floats, sigma: float, *, step: float = 1.0) -> Floats:
    """Remove white noise of a known level from a plane or a volume.

    Non-local means [1]_ and thresholding in a sliding cosine transform [2]_ err
    in different ways; their mean is the pilot of a final :func:`filter_wiener`.
    The means are taken plane by plane, the transforms, in a volume of thin slices,
    in three dimensions.

    Parameters
    ----------
    image : ndarray of shape (M, N) or (Z, M, N), float32
    sigma : float
        Standard deviation of the noise in the units of the image; 0 returns a copy.
    step : float, optional
        Distance of neighboring planes of a volume, in pixels of the plane. Above 3
        pixels, each plane is denoised by itself.

    Returns
    -------
    ndarray of the shape of `image`, float32

    Notes
    -----
    A plane of 256x256 pixels takes about 0.3 s, and a volume of 128 such planes about 20 s
    on two cores. The present stage advances by the number of planes, see
    :func:`.interruption.advance`.

    References
    ----------
    .. [1] A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising",
       CVPR 2005, doi:10.1109/CVPR.2005.38.
    .. [2] G. Yu, G. Sapiro, "DCT Image Denoising: a Simple and Effective Image Denoising
       Algorithm", IPOL 1 (2011), doi:10.5201/ipol.2011.ys-dct.
    """
    return _denoise(image, sigma, step, 1)


def _denoise(image: Floats, sigma: float, step: float, share: float) -> Floats:
    """Do as :func:`denoise`, which is this share of the work on each plane."""
    if sigma == 0:
        advance(share * _count_planes(image))
        return image.copy()
    means = _take_means(image, sigma, share / 6)
    keep = partial(_keep_large, limit=_THRESHOLD * sigma)
    kept = _average_patches(keep, (image,), step=step, stride=_PILOT_STRIDE, share=share / 6)
    pilot = np.asarray((means + kept) / 2, dtype=np.float32)
    return _filter_wiener(image, sigma, pilot, step, share * 2 / 3)


def remove_speckle(image: Floats, proportion: float, *, step: float = 1.0) -> Floats:
    """Remove noise that is in proportion to the signal.

    The logarithm makes such noise white, so that :func:`denoise` can remove it.
    There its mean is below 0, for which the result is corrected. At last,
    :func:`filter_wiener` of the image itself brings back structure.

    Parameters
    ----------
    image : ndarray of shape (M, N) or (Z, M, N), float32 in [0, 1]
    proportion : float
        Standard deviation of the noise in units of the signal.
    step : float, optional
        As for :func:`denoise`.

    Returns
    -------
    ndarray of the shape of `image`, float32

    Notes
    -----
    The present stage advances by the number of planes, see :func:`.interruption.advance`.
    """
    # log(1 + x / c), with c = _DARK, is finite at black, where the noise vanishes.
    logarithm = np.log1p(image / _DARK)
    smooth = _denoise(logarithm, proportion, step, 0.6)
    # For noise n of standard deviation s, to the second order in s,
    # E[log(c + x (1 + n))] = log(c + x) - (x s / (c + x))^2 / 2, and the share x / (c + x) is
    # 1 - e^-smooth.
    share = -np.expm1(-smooth)
    signal = _DARK * np.expm1(smooth + (share * np.float32(proportion)) ** 2 / 2)
    return _filter_wiener(image, proportion * signal, signal, step, 0.4)


def filter_wiener(
    image: Floats, sigma: float | Floats, pilot: Floats, *, step: float = 1.0
) -> Floats:
    """Keep what a pilot says is structure in a plane or a volume, and remove the rest as noise.

    In every patch, each cosine coefficient c of the image becomes
    c p^2 / (p^2 + sigma^2), where p is that of the pilot (the empirical Wiener
    filter [1]_). A patch of 8x8 pixels starts at every pixel, and the patches are
    averaged where they overlap. In a volume of thin slices, patches of 4 planes
    join them.

    Parameters
    ----------
    image, pilot : ndarray of shape (M, N) or (Z, M, N), float32
        An image with noise, and an estimate of the same image without noise.
    sigma : float or ndarray of the shape of `image`
        Standard deviation of the noise, everywhere or at each pixel. Where it
        is 0 the image stays as it is.
    step : float, optional
        As for :func:`denoise`.

    Returns
    -------
    ndarray of the shape of `image`, float32

    Notes
    -----
    The present stage advances by the number of planes, see :func:`.interruption.advance`.

    References
    ----------
    .. [1] S. Ghael, A. Sayeed, R. Baraniuk, "Improved wavelet denoising via empirical Wiener
       filtering", SPIE 3169 (1997), doi:10.1117/12.292799.
    """
    return _filter_wiener(image, sigma, pilot, step, 1)


def _filter_wiener(
    image: Floats, sigma: float | Floats, pilot: Floats, step: float, share: float
) -> Floats:
    """Do as :func:`filter_wiener`, which is this share of the work on each plane."""
    variance = np.broadcast_to(np.square(np.float32(sigma)), image.shape)
    if not variance.any():
        advance(share * _count_planes(image))
        return image.copy()
    return _average_patches(_shrink, (image, pilot), variance, step=step, stride=1, share=share)


def _shrink(
    coefficients: Floats, pilots: Floats, variances: Floats
) -> tuple[Floats, NDArray[np.floating]]:
    """Return coefficients times the gain of the Wiener filter, and the weights of the patches."""
    gain = np.square(pilots)
    gain += _TINY
    gain /= gain + variances
    # The noise that a filtered patch keeps has a variance in proportion to the sum of gain^2:
    # the average trusts patches with less of it more, as BM3D does. The floor keeps patches of
    # which next to nothing is left from counting alone.
    weight = 1 / np.maximum(np.square(gain).sum(axis=_PATCH), np.float32(0.1))
    gain *= coefficients
    return gain, weight


def _keep_large(coefficients: Floats, *, limit: float) -> tuple[Floats, NDArray[np.floating]]:
    """Return coefficients without those that noise explains, and the weights of the patches."""
    kept = np.abs(coefficients) > limit
    kept[0, ..., 0, 0] = True  # the mean of a patch, however dark
    # As above: the fewer coefficients are kept, the less noise.
    return coefficients * kept, 1 / kept.sum(axis=_PATCH)


def _take_means(image: Floats, sigma: float, share: float) -> Floats:
    """Return the non-local means of each plane, which are this share of the work on it."""
    # Imported here because it is slow to import, and clean sources do not need it.
    from skimage.restoration import denoise_nl_means

    means: Floats = np.empty_like(image)

    def work(planes: tuple[Floats, Floats]) -> None:
        noisy, smooth = planes
        for rows, around, inside in cut_strips(len(noisy), _MEANS_ROWS, _MEANS_HALO):
            # Patch size and distance are those of scikit-image's example of non-local means, which
            # takes an h of 0.6 to 0.8 sigma where the level of the noise is known.
            smooth[rows] = denoise_nl_means(
                noisy[around],
                patch_size=5,
                patch_distance=6,
                h=0.8 * sigma,
                sigma=sigma,
                fast_mode=True,
            )[inside]
        advance(share)

    map_on_threads(work, list(zip(_as_volume(image), _as_volume(means), strict=True)))
    return means


def _as_volume(image: Floats) -> Floats:
    return image.reshape(-1, *image.shape[-2:])


def _count_planes(image: Floats) -> int:
    return len(_as_volume(image))


def _average_patches(
    change: _Change,
    images: tuple[Floats, ...],
    variance: Floats | None = None,
    *,
    step: float,
    stride: int,
    share: float,
) -> Floats:
    """Change the cosine coefficients of all patches, and average the patches.

    Parameters
    ----------
    change : callable
        See :data:`_Change`.
    images : tuple of ndarrays of shape (M, N) or (Z, M, N)
        What `change` takes the coefficients of.
    variance : ndarray of the same shape, optional
        What `change` takes the mean of each patch of.
    step : float
        Distance of planes in pixels.
    stride : int
        Distance in pixels at which patches start, if they have more than one plane.
    share : float
        Share of the work on each plane.
    """
    volumes = [_as_volume(i) for i in images]
    variances = None if variance is None else _as_volume(variance)
    average = np.empty(volumes[0].shape, dtype=np.float32)
    depth = min(_DEPTH, len(average)) if step <= _THIN else 1

    def work(there: Slices, around: Slices, inside: Slices) -> None:
        slab = _Slab(
            [v[around] for v in volumes],
            None if variances is None else variances[around],
            depth,
            stride if depth > 1 else 1,
        )
        average[there] = slab.average(change, share * len(average[there]))[inside]

    slabs = -(-len(average) // (_PLANES if depth > 1 else 1))
    map_tiles(work, average.shape[:1], (-(-len(average) // slabs),), (depth - 1,))
    return average.reshape(images[0].shape)


class _Slab:
    """Some planes, cut into overlapping patches of one plane and of several.

    Patches of several planes leave less noise where anatomy goes on from plane to plane, and blur
    it where it does not: each place has its own share of both.

    Parameters
    ----------
    images, variance, stride
        As for :func:`_average_patches`, of shape (planes, M, N).
    depth : int
        Planes of a patch; 1 leaves the planes to themselves.
    """

    def __init__(
        self, images: Sequence[Floats], variance: Floats | None, depth: int, stride: int
    ) -> None:
        # With a margin of 7 pixels, every pixel of a plane lies in 64 patches (stride 1).
        margin = ((0, 0), (_SIDE - 1, _SIDE - 1), (_SIDE - 1, _SIDE - 1))
        padded = [
            np.pad(i.astype(np.float32, copy=False), margin, mode="symmetric")
            for i in (*images, *(() if variance is None else (variance,)))
        ]
        window = (_SIDE, _SIDE)
        views = [
            np.lib.stride_tricks.sliding_window_view(p, window, axis=(1, 2))[:, ::stride, ::stride]
            for p in padded
        ]
        self._variance = None if variance is None else views.pop()
        self._views = views
        self._depth, self._stride = depth, stride
        self._sum, self._weight = np.zeros((2, *padded[0].shape), dtype=np.float32)

    def average(self, change: _Change, work: float) -> Floats:
        """Return the weighted mean of all changed patches, and advance by so much work."""
        count = self._views[0].shape[1]
        size = max(_ROWS // self._depth, 1)
        for start in range(0, count, size):
            checkpoint()
            rows = slice(start, start + size)
            stacks = _average_stacks(self._transform_planes(rows, change), change, self._depth)
            for plane, (coefficients, weight) in enumerate(stacks):
                self._add(plane, start, coefficients, weight)
            advance(work * min(size, count - start) / count)
        inside = np.s_[:, _SIDE - 1 : 1 - _SIDE, _SIDE - 1 : 1 - _SIDE]
        average: Floats = self._sum[inside] / self._weight[inside]
        return average

    def _transform_planes(self, rows: slice, change: _Change) -> Iterator["_PlanePatches"]:
        """Yield, plane by plane, the patches that start at some rows."""
        for plane in range(len(self._sum)):
            # In an orthonormal transform, white noise stays white.
            coefficients: list[Floats] = [
                fft.dctn(view[plane, rows], axes=(2, 3), norm="ortho") for view in self._views
            ]
            variances = []
            if self._variance is not None:
                variances.append(self._variance[plane, rows].mean(axis=(2, 3), keepdims=True))
            yield _PlanePatches(coefficients, variances, change)

    def _add(self, plane: int, start: int, coefficients: Floats, weight: Floats) -> None:
        """Add patches of one plane that start at some rows."""
        values = fft.idctn(coefficients, axes=(2, 3), norm="ortho")
        step, top = self._stride, start * self._stride
        rows, columns = (n * step for n in weight.shape)
        # A loop over the 64 pixels of a patch adds whole images, one over the patches would add
        # single ones.
        for i in range(_SIDE):
            for j in range(_SIDE):
                place = np.s_[plane, top + i : top + i + rows : step, j : j + columns : step]
                self._sum[place] += weight * values[:, :, i, j]
                self._weight[place] += weight


class _PlanePatches:
    """Patches of one plane: what they are by themselves, and as parts of patches of more planes."""

    def __init__(
        self, coefficients: list[Floats], variances: list[Floats], change: _Change
    ) -> None:
        # The variances of the noise in each patch, if they are known, are the only item of a list.
        self.coefficients, self.variances = coefficients, variances
        changed, weight = change(*(c[None] for c in (*coefficients, *variances)))
        self._own, self._own_weight = changed[0], weight.astype(np.float32)
        self._own_share = np.zeros_like(self._own_weight)
        self._sum, self._weight = np.zeros_like(self._own), np.zeros_like(self._own_weight)

    def add(self, values: Floats, weight: Floats) -> None:
        """Add this plane's part of patches of more planes, which is overwritten."""
        # A weight is one over the noise that is left. The fourth power all but chooses what leaves
        # less, and one half favors patches of more planes, which tell structure from noise better:
        # of powers from 1 to 32 and factors from 0.5 to 1.7 these measured best.
        own_share = 1 / (1 + (weight / (np.float32(0.5) * self._own_weight)) ** 4)
        shared = weight * (1 - own_share)
        values *= shared[..., None, None]
        self._sum += values
        self._weight += shared
        self._own_share += own_share

    def average(self) -> tuple[Floats, Floats]:
        """Return the mean of the changed coefficients, and its weight."""
        if not self._weight.any():
            return self._own, self._own_weight
        own_weight = self._own_share * self._own_weight
        weight = self._weight + own_weight
        mean = self._own * own_weight[..., None, None]
        mean += self._sum
        mean /= weight[..., None, None]
        return mean, weight


def _average_stacks(
    planes: Iterable[_PlanePatches], change: _Change, depth: int
) -> Iterator[tuple[Floats, Floats]]:
    """Change all patches of some planes, and yield what :meth:`_PlanePatches.average` returns."""
    recent: deque[_PlanePatches] = deque(maxlen=depth)
    for plane in planes:
        recent.append(plane)
        if len(recent) < depth:
            continue
        if depth > 1:
            _change_across(recent, change)
        # Patches that are still to come begin at later planes.
        yield recent[0].average()
    recent.popleft()
    for plane in recent:
        yield plane.average()


def _change_across(planes: Sequence[_PlanePatches], change: _Change) -> None:
    """Change the patches that consist of all of some planes."""
    transform = fft.dct(np.eye(len(planes)), axis=0, norm="ortho").astype(np.float32)
    blocks = [_combine(transform, c) for c in zip(*(p.coefficients for p in planes), strict=True)]
    variances = [np.mean(v, axis=0) for v in zip(*(p.variances for p in planes), strict=True)]
    changed, weight = change(*blocks, *variances)
    # The noise that is left is spread over the planes.
    weight = (len(planes) * weight).astype(np.float32)
    for plane, part in zip(planes, _combine(transform.T, changed), strict=True):
        plane.add(part, weight)


def _combine(matrix: Floats, parts: Sequence[Floats] | Floats) -> Floats:
    """Return the product of a small matrix and a stack of arrays.

    It takes a quarter of the time of a fast transform of so few samples, and unlike a product of
    matrices it takes no threads of its own.
    """
    combined = np.empty((len(matrix), *parts[0].shape), dtype=np.float32)
    term = np.empty_like(combined[0])
    for row, total in zip(matrix, combined, strict=True):
        np.multiply(parts[0], row[0], out=total)
        for factor, part in zip(row[1:], parts[1:], strict=True):
            total += np.multiply(part, factor, out=term)
    return combined
