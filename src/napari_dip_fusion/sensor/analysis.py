"""What is known of the sources before any optimisation: noise, gains and consensus image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.denoising import denoise, despeckle, wiener
from napari_dip_fusion.sensor.gains import (
    Bands,
    SensorModel,
    consensus_weight,
    sensor_model,
    split_bands,
)
from napari_dip_fusion.sensor.noise import (
    clipped_mean,
    estimate_noise,
    estimate_speckle,
    is_clipped,
    unclipped,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Sources, their noise and their sensor model.

    Attributes
    ----------
    noise : tuple of float
        Standard deviation of each source's noise; 0 where there is none, the
        root of the mean variance where it is in proportion to the signal.
    variances : ndarray of shape (K, 1, 1) or (K, M, N)
        Variance of each source's noise, everywhere or at each pixel.
    denoised : ndarray of shape (K, M, N)
        The sources without noise: the gains come from them.
    model : SensorModel
    target : ndarray of shape (M, N)
        T of the noisy sources: what the network is fitted to. The mean that
        clipping gave dark noise is taken off.
    consensus : ndarray of shape (M, N)
        T of the denoised sources; the target itself without noise.
    floor : float
        Smallest value of the loss.
    """

    noise: tuple[float, ...]
    variances: Floats
    denoised: Floats
    model: SensorModel
    target: Floats
    consensus: Floats
    floor: float

    @property
    def guides(self) -> Floats:
        """Denoised sources and their consensus image, shape (K + 1, M, N)."""
        return np.concatenate([self.denoised, self.consensus[None]])

    @property
    def weight(self) -> Floats:
        """The weight sum_i beta_i^2 of each pixel in the loss, shape (M, N)."""
        return consensus_weight(self.model.gains)

    @property
    def expected_excess(self) -> float:
        """Excess loss of an image without noise: the noise that is in the target."""
        return float(np.mean(self.weight * np.square(self.target - self.consensus)))

    def given_back(self, image: Floats) -> Floats:
        """Return an image with the structure of the target that noise cannot explain.

        The mean of `image` and the denoised consensus image tells structure
        from noise in an empirical Wiener filter of the target; the result is
        the mean of the filtered target and the denoised consensus image, which
        err in different ways. Without noise that is the target itself.

        Parameters
        ----------
        image : ndarray of shape (M, N)
            What the network explains.

        Returns
        -------
        ndarray of shape (M, N), float32 in [0, 1]
        """
        if not any(self.noise):
            return self.target.clip(0, 1)
        beta = self.model.gains
        variance = np.sum(self.variances * beta**2, axis=0)
        sigma = np.asarray(np.sqrt(variance) / self.weight, dtype=np.float32)
        pilot = np.asarray((image + self.consensus) / 2, dtype=np.float32)
        filtered = wiener(self.target, sigma, pilot).clip(0, 1)
        return np.asarray((filtered + self.consensus) / 2, dtype=np.float32)


def analyze(images: Floats, config: FusionConfig) -> Analysis:
    """Estimate noise, gains and consensus image of prepared sources.

    Parameters
    ----------
    images : ndarray of shape (K, M, N), float32 in [0, 1]
    config : FusionConfig

    Raises
    ------
    ValueError
        If the images are smaller than a patch.
    """
    cleaned = [_cleaned(i, config.denoising.noise == "auto") for i in images]
    denoised = np.stack([c.denoised for c in cleaned])
    noise = tuple(float(np.sqrt(np.mean(c.variance))) for c in cleaned)
    bands = split_bands(denoised, config.gains.band_sigma)
    model = _model(bands, config)
    target = consensus = model.consensus(bands)
    if any(noise):
        unbiased = np.stack([c.unbiased for c in cleaned])
        target = model.consensus(split_bands(unbiased, config.gains.band_sigma))
        consensus = consensus.clip(0, 1)
        bands = split_bands(images, config.gains.band_sigma)
    return Analysis(
        noise=noise,
        variances=np.stack(np.broadcast_arrays(*(np.atleast_2d(c.variance) for c in cleaned))),
        denoised=denoised,
        model=model,
        target=target,
        consensus=consensus,
        floor=model.loss_floor(bands),
    )


def quick_consensus(images: Floats, config: FusionConfig) -> Floats:
    """Return T of the sources as they are, in [0, 1], shape (M, N): a first image at once."""
    bands = split_bands(images, config.gains.band_sigma)
    return _model(bands, config).consensus(bands).clip(0, 1)


def _model(bands: Bands, config: FusionConfig) -> SensorModel:
    return sensor_model(
        bands,
        patch_size=config.gains.patch_size,
        window=config.gains.window,
        scale=config.gains.scale,
        sharpness=config.gains.sharpness,
    )


@dataclass(frozen=True, eq=False)
class _Cleaned:
    """A source without the mean of clipped noise, without noise, and the noise's variance."""

    unbiased: Floats
    denoised: Floats
    variance: Floats


def _cleaned(image: Floats, look: bool) -> _Cleaned:
    proportion = estimate_speckle(image) if look else 0.0
    if proportion > 0:
        signal = despeckle(image, proportion).clip(0, 1)
        return _Cleaned(image, signal, np.square(np.float32(proportion) * signal))
    sigma = estimate_noise(image) if look else 0.0
    variance = np.square(np.asarray(sigma, dtype=np.float32))
    if sigma == 0:
        return _Cleaned(image, image, variance)
    smooth = denoise(image, sigma)
    if not is_clipped(image, smooth, sigma):
        return _Cleaned(image, smooth.clip(0, 1), variance)
    signal = unclipped(smooth, sigma)
    unbiased = image - (clipped_mean(signal, sigma) - signal)
    return _Cleaned(unbiased, wiener(unbiased, sigma, signal).clip(0, 1), variance)
