"""Analyze sources before any optimization: their noise, gains and consensus image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.sensor.consensus import consensus_weight
from napari_dip_fusion.sensor.denoising import filter_wiener, remove_speckle
from napari_dip_fusion.sensor.model import SensorModel, fit_sensor_model
from napari_dip_fusion.sensor.noise import (
    Clipping,
    estimate_white_and_speckle,
    is_clipped,
    is_clipped_above,
    undo_clipped_mean,
    undo_clipping,
)
from napari_dip_fusion.sensor.scales import denoise_at_scales
from napari_dip_fusion.sensor.strips import Slices
from napari_dip_fusion.sensor.threads import map_on_threads
from napari_dip_fusion.sources.own_pixels import OwnPixels

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Sources, their noise and their sensor model.

    Attributes
    ----------
    noise : tuple of float
        Standard deviation of each source's noise; 0 for a source without. For
        noise in proportion to the signal, the root of its mean variance. For a source that was
        interpolated: on its own grid, before that.
    variances : tuple of K ndarrays that broadcast to (..., M, N)
        Variance of the noise in the prepared sources, everywhere or at each pixel: what
        interpolation left of it.
    denoised : ndarray of shape (K, ..., M, N)
        The sources without noise, from which the gains come.
    model : SensorModel or None
        The gains; None where they were not to be kept.
    target : ndarray of shape (..., M, N)
        T of the noisy sources, to which the network is fitted. The mean that
        clipping gave the noise of dark pixels is subtracted.
    consensus : ndarray of shape (..., M, N)
        T of the denoised sources; without noise, the target itself. Only gains of unit norm take
        it out of [0, 1].
    floor : float
        Smallest value of the loss.
    step : float
        Distance between neighboring planes of a volume, in pixels of a plane.
    restored : ndarray of shape (K, ..., M, N), or None
        The sources as they were restored before the analysis; None where none was.
    clipped : tuple of bool
        Whether the noise of each source was cut off at black.
    """

    noise: tuple[float, ...]
    variances: tuple[Floats, ...]
    denoised: Floats
    model: SensorModel | None
    target: Floats
    consensus: Floats
    floor: float
    step: float = 1.0
    restored: Floats | None = None
    clipped: tuple[bool, ...] = ()

    @property
    def gains(self) -> Floats:
        """The gains of the sources, those of the details where there are two bands."""
        assert self.model is not None, "the gains were not kept"
        return self.model.gains

    @property
    def guides(self) -> Floats:
        """The denoised sources and their consensus image, shape (K + 1, ..., M, N).

        The network sees them, in place of the paper's random input, where its
        settings say so.
        """
        return np.concatenate([self.denoised, self.consensus[None]])

    @property
    def weight(self) -> Floats:
        """The weight sum_i beta_i^2 of each pixel in the loss, shape (..., M, N)."""
        return consensus_weight(self.gains)

    @property
    def expected_excess(self) -> float:
        """The excess loss mean(w (x - T)^2) of an image x without noise.

        A fit that goes below it fits the noise that is in the target: it is
        where the discrepancy principle stops.
        """
        return float(np.mean(self.weight * np.square(self.target - self.consensus)))

    def restore_structure(self, image: Floats) -> Floats:
        """Return an image with the structure of the target that noise cannot explain.

        The mean of `image` and the denoised consensus image tells structure
        from noise in an empirical Wiener filter of the target; the result is
        the mean of the filtered target and the denoised consensus image, which
        err in different ways. It is meant for sources with noise.

        Parameters
        ----------
        image : ndarray of shape (..., M, N)
            The image that the network explains.

        Returns
        -------
        ndarray of shape (..., M, N), float32 in [0, 1]
        """
        # The noise of T = sum_i beta_i X_i / w has the variance sum_i beta_i^2 s_i^2 / w^2.
        variance = np.zeros_like(self.target)
        for source, beta in zip(self.variances, self.gains, strict=True):
            variance += source * beta**2
        sigma = np.sqrt(variance, out=variance)
        sigma /= self.weight
        pilot = np.asarray((image + self.consensus) / 2, dtype=np.float32)
        filtered = filter_wiener(self.target, sigma, pilot, step=self.step).clip(0, 1)
        return np.asarray((filtered + self.consensus) / 2, dtype=np.float32)


@dataclass(frozen=True)
class SourceNoise:
    """The noise that was found in one source, on its own grid; both are 0 in a source without."""

    white: float = 0.0
    """Standard deviation of noise that is the same everywhere."""
    speckle: float = 0.0
    """Standard deviation of noise in proportion to the signal, in units of the signal."""
    clipping: Clipping | None = None
    """Where the noise was cut off; by default that is looked for in the pixels themselves."""

    def __bool__(self) -> bool:
        return self.white > 0 or self.speckle > 0


def find_noise(
    images: Sequence[Floats], config: FusionConfig, own_pixels: Sequence[OwnPixels | None] = ()
) -> tuple[SourceNoise, ...]:
    """Estimate the noise of each prepared source, without removing it.

    Parameters
    ----------
    images, config, own_pixels
        As for :func:`analyze`, or frames of a series along a first axis. Where the settings say
        so, no noise is looked for.
    """
    if config.denoising.noise != "auto":
        return (SourceNoise(),) * len(images)
    pixels = [i if own is None else own.planes[0] for i, own in zip_longest(images, own_pixels)]
    return tuple(map_on_threads(_find_noise, pixels))


def find_clipping(images: Sequence[Floats], noise: SourceNoise, *, step: float = 1.0) -> Clipping:
    """Tell where the noise of a source was cut off, from samples of it.

    Parameters
    ----------
    images : sequence of ndarray of shape (M, N) or (Z, M, N), float32 in [0, 1]
        Samples.
    noise : SourceNoise
        What was found in the source. Of noise in proportion to the signal, none is cut off.
    step : float
        As for :func:`clean_pixels`.
    """
    sigma = noise.white
    if sigma == 0:
        return Clipping()
    smooth = np.concatenate([denoise_at_scales(i, sigma, step=step).ravel() for i in images])
    pixels = np.concatenate([image.ravel() for image in images])
    if not is_clipped(pixels, smooth, sigma):
        return Clipping()
    return Clipping(True, is_clipped_above(pixels, undo_clipping(smooth, sigma), sigma))


def analyze(
    images: Floats,
    config: FusionConfig,
    noise: Sequence[SourceNoise] | None = None,
    *,
    own_pixels: Sequence[OwnPixels | None] = (),
    inside: Sequence[NDArray[np.bool_] | None] = (),
    steps: Sequence[float] = (),
    keep_model: bool = True,
    wanted: Slices | None = None,
) -> Analysis:
    """Remove the noise of prepared sources, and estimate their gains and consensus image.

    Parameters
    ----------
    images : ndarray of shape (K, M, N) or (K, Z, M, N), float32 in [0, 1]
        The prepared sources, planes or volumes.
    config : FusionConfig
        Its groups ``gains`` and ``denoising`` are used.
    noise : sequence of K SourceNoise, optional
        From :func:`find_noise`, which is called without it.
    own_pixels : sequence of OwnPixels or None, optional
        What each source was interpolated from; None for one that was not. Noise is then found
        and removed there, and carried through the interpolation.
    inside : sequence of ndarray of shape (..., M, N) or None, optional
        Which pixels each source saw; None for one that saw all.
    steps : sequence of float, optional
        Distance between neighbors along each axis of a volume, in pixels of a plane; by default 1.
    keep_model : bool
        Whether the gains are kept of sources without noise; those of others are always.
    wanted : tuple of slice, optional
        As for :func:`.fit_sensor_model`, of sources without noise: target and consensus are those
        of this part alone.

    Returns
    -------
    Analysis

    Raises
    ------
    ValueError
        If the images are smaller than a patch.
    """
    known = find_noise(list(images), config, own_pixels) if noise is None else noise
    step = steps[0] if len(steps) > 2 else 1.0
    noisy = any(known)
    assert not (noisy and wanted), "the noise of a part is removed from all of it"
    denoised, cleaned = clean_sources(images, known, own_pixels, step=step)
    settings = config.gains.model_dump(exclude={"volumes"})
    with stage("gains", images[0].size / math.prod(images.shape[-2:])):
        fit = fit_sensor_model(
            denoised,
            **settings,
            steps=steps,
            fields=inside,
            keep_model=keep_model or noisy,
            wanted=wanted,
        )
    consensus, floor = fit.image, fit.floor
    target = consensus
    if noisy:
        assert fit.model is not None
        # The gains are those of the denoised sources, because noise would draw them towards the
        # noisiest source; target and floor are made with them from the noisy sources.
        consensus = consensus.clip(0, 1)
        target, _ = fit.model.solve([c.unbiased for c in cleaned], inside)
        _, floor = fit.model.solve(list(images), inside)
    return Analysis(
        noise=tuple(c.deviation for c in cleaned),
        variances=tuple(c.variance for c in cleaned),
        denoised=denoised,
        model=fit.model,
        target=target,
        consensus=consensus,
        floor=floor,
        step=step,
        clipped=tuple(c.clipped for c in cleaned),
    )


def clean_sources(
    images: Floats,
    noise: Sequence[SourceNoise],
    own_pixels: Sequence[OwnPixels | None] = (),
    *,
    step: float = 1.0,
) -> tuple[Floats, "list[CleanPixels]"]:
    """Remove the noise of prepared sources.

    Parameters
    ----------
    images, noise, own_pixels
        As for :func:`analyze`.
    step : float
        As for :func:`clean_pixels`.

    Returns
    -------
    denoised : ndarray of shape (K, ..., M, N)
        The images themselves where none has noise.
    cleaned : list of K CleanPixels
    """
    # Without noise, nothing is copied.
    denoised = np.empty_like(images) if any(noise) else images
    cleaned = []
    for number, each in enumerate(zip_longest(images, noise, own_pixels)):
        clean = _clean_source(*each, step, number)
        if denoised is not images:
            denoised[number] = clean.denoised
        cleaned.append(replace(clean, denoised=denoised[number]))
    return denoised, cleaned


@dataclass(frozen=True, eq=False)
class CleanPixels:
    """Pixels without their noise, and what is known of that noise."""

    unbiased: Floats
    """The source with its noise, but without the mean that clipping gave the noise."""
    denoised: Floats
    """The source without its noise."""
    variance: Floats
    """Variance of the noise, everywhere or at each pixel."""
    deviation: float
    """Standard deviation of the noise on the source's own grid."""
    clipped: bool = False
    """Whether the noise was cut off at black."""


def _find_noise(image: Floats) -> SourceNoise:
    white, speckle = estimate_white_and_speckle(image)
    return SourceNoise(white=white, speckle=speckle)


def _clean_source(
    image: Floats, noise: SourceNoise, own: OwnPixels | None, step: float, number: int
) -> CleanPixels:
    """Remove the noise of a source on its own grid."""
    if not noise:
        return clean_pixels(image, noise)
    pixels = image if own is None else own.planes[0]
    with stage(f"noise of source {number + 1}", pixels.size / math.prod(pixels.shape[-2:])):
        if own is None:
            return clean_pixels(image, noise, step)
        clean = clean_own_pixels(own, noise)
    # The source is interpolated once more, and as its denoised image is: what tells them apart is
    # noise then, and not how a plane through a volume is interpolated.
    variance = own.interpolate_variance(np.broadcast_to(clean.variance, clean.denoised.shape))
    return CleanPixels(
        np.where(own.inside, own.interpolate(clean.unbiased), image),
        np.where(own.inside, own.interpolate(clean.denoised), image),
        np.where(own.inside, variance, np.float32(0)),
        clean.deviation,
        clean.clipped,
    )


def clean_own_pixels(own: OwnPixels, noise: SourceNoise) -> CleanPixels:
    """Return the plane through a source on its own rows and columns without its noise.

    Parameters
    ----------
    own : OwnPixels
    noise : SourceNoise
        Of the source; there is some.
    """
    return _clean(own.planes[0], own.plane, own.variance_share, noise, own.step)


def clean_pixels(pixels: Floats, noise: SourceNoise, step: float = 1.0) -> CleanPixels:
    """Return the pixels of one image without their noise.

    Parameters
    ----------
    pixels : ndarray of shape (M, N) or (Z, M, N), float32 in [0, 1]
    noise : SourceNoise
        What was found in it.
    step : float
        Distance between the planes of a volume, in pixels of a plane.
    """
    if not noise:
        return CleanPixels(pixels, pixels, np.zeros((), dtype=np.float32), 0.0)
    return _clean(pixels, pixels, 1.0, noise, step)


def _clean(
    pixels: Floats, image: Floats, share: float | Floats, noise: SourceNoise, step: float
) -> CleanPixels:
    """Remove the noise of an image.

    The `noise` is that of `pixels`. The image may be a mean of several of them, in which the
    noise has this `share` of its variance, everywhere or at each pixel.
    """
    left = np.sqrt(np.float32(share))
    level = float(np.sqrt(np.mean(share)))
    if noise.speckle > 0:
        signal = remove_speckle(image, noise.speckle * level, step=step).clip(0, 1)
        variance = np.square(np.float32(noise.speckle) * signal)
        return CleanPixels(image, signal, variance * np.float32(share), _take_root(variance))
    sigma = noise.white
    variance = np.square(np.asarray(sigma, dtype=np.float32))
    carried, deviation = variance * np.float32(share), _take_root(variance)
    smooth = denoise_at_scales(image, sigma * level, step=step)
    known = noise.clipping
    if not (is_clipped(pixels, smooth, sigma) if known is None else known.dark):
        return CleanPixels(image, smooth.clip(0, 1), carried, deviation)
    # Clipped noise has a mean above 0 in the dark, which denoising keeps: black turns gray. The
    # mean is that of the pixels, however many of them the image is a mean of.
    signal = undo_clipping(smooth, sigma)
    above = None if known is None else known.bright
    unbiased = undo_clipped_mean(image, signal, sigma, above=above)
    denoised = filter_wiener(unbiased, np.float32(sigma) * left, signal, step=step).clip(0, 1)
    return CleanPixels(unbiased, denoised, carried, deviation, clipped=True)


def _take_root(variance: Floats) -> float:
    return float(np.sqrt(np.mean(variance)))
