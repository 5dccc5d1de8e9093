"""What is known of the sources before any optimisation: noise, gains and consensus image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.denoising import denoise, wiener
from napari_dip_fusion.gains import (
    Bands,
    SensorModel,
    consensus_weight,
    sensor_model,
    split_bands,
)
from napari_dip_fusion.noise import clipped_mean, estimate_noise, is_clipped, unclipped

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Sources, their noise and their sensor model.

    Attributes
    ----------
    noise : tuple of float
        Standard deviation of each source's noise; 0 where there is none.
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
        levels = np.asarray(self.noise, dtype=np.float32)
        variance = np.einsum("k,kmn->mn", levels**2, beta**2)
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
    estimated = [estimate_noise(i) if config.noise == "auto" else 0.0 for i in images]
    cleaned = [_cleaned(i, s) for i, s in zip(images, estimated, strict=True)]
    denoised = np.stack([d for _, d in cleaned])
    bands = split_bands(denoised, config.band_sigma)
    model = _model(bands, config)
    target = consensus = model.consensus(bands)
    if any(estimated):
        unbiased = np.stack([u for u, _ in cleaned])
        target = model.consensus(split_bands(unbiased, config.band_sigma))
        consensus = consensus.clip(0, 1)
        bands = split_bands(images, config.band_sigma)
    return Analysis(
        noise=tuple(estimated),
        denoised=denoised,
        model=model,
        target=target,
        consensus=consensus,
        floor=model.loss_floor(bands),
    )


def quick_consensus(images: Floats, config: FusionConfig) -> Floats:
    """Return T of the sources as they are, in [0, 1], shape (M, N): a first image at once."""
    bands = split_bands(images, config.band_sigma)
    return _model(bands, config).consensus(bands).clip(0, 1)


def _model(bands: Bands, config: FusionConfig) -> SensorModel:
    return sensor_model(
        bands,
        patch_size=config.patch_size,
        window=config.window,
        scale=config.scale,
        centered=config.centered,
        sharpness=config.sharpness,
    )


def _cleaned(image: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return an image without the mean of clipped noise, and without noise."""
    if sigma == 0:
        return image, image
    smooth = denoise(image, sigma)
    if not is_clipped(image, smooth, sigma):
        return image, smooth.clip(0, 1)
    signal = unclipped(smooth, sigma)
    unbiased = image - (clipped_mean(signal, sigma) - signal)
    return unbiased, wiener(unbiased, sigma, signal).clip(0, 1)
