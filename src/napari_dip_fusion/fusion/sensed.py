"""One source on its own pixels, and what the denoiser makes of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration.denoiser import choose_steps, restore_by_denoiser
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.restoration.planes import reconsider_noise
from napari_dip_fusion.sensor.analysis import SourceNoise, clean_own_pixels, clean_pixels
from napari_dip_fusion.sources.observation import Observation
from napari_dip_fusion.sources.own_pixels import OwnPixels

if TYPE_CHECKING:
    from napari_dip_fusion.restoration.restorer import Restorer

Floats = NDArray[np.float32]

# Share of its noise from which on a source is restored once more with less.
_MISTAKEN = 0.8


@dataclass(frozen=True)
class Learned:
    """What was learned of a source from samples of it, and holds for every part of it.

    Attributes
    ----------
    noise : RestorationNoise
        Its noise, of a known level.
    deviation : float
        Standard deviation of that noise, as the denoiser takes it.
    pixels : int
        Fine pixels of the whole source.
    weights : bytes or None
        The network that was trained to restore it; None where none is at work.
    """

    noise: RestorationNoise
    deviation: float
    pixels: int
    weights: bytes | None = None


@dataclass(eq=False)
class Part:
    """One source on its own pixels, and what its restoration has made of it.

    Attributes
    ----------
    pixels : ndarray of shape (R, C) or (S, R, C)
        What the sensor saw, in [0, 1].
    degradation : Degradation
        What lies between those pixels and the fine ones.
    noise : RestorationNoise
        The noise of the pixels.
    deviation : float
        Standard deviation of that noise.
    place : callable
        Brings fine pixels to those of the fusion.
    pilot : ndarray
        The fine pixels, restored without a network.
    step : float
        Distance between the planes of a volume, in pixels of a plane.
    """

    pixels: Floats
    degradation: Degradation
    noise: RestorationNoise
    deviation: float
    place: Callable[[Floats], Floats]
    pilot: Floats
    step: float = 1.0


def observe_part(
    seen: Observation,
    noise: SourceNoise,
    fallback: Floats,
    learned: Learned | None = None,
    *,
    whole: int = 0,
) -> Part:
    """Return a degraded source with what the denoiser makes of it.

    Parameters
    ----------
    seen : Observation
    noise : SourceNoise
        That of the source.
    fallback : ndarray
        The source as it was interpolated, which stays where its sensor saw nothing.
    learned : Learned, optional
        Of a source that this is a part of.
    whole : int, optional
        Fine pixels of a source of which samples are looked at, where nothing was learned yet.
    """
    weaker = math.sqrt(seen.noise_share)
    noise = _weaken(noise, weaker)
    clean = clean_pixels(seen.pixels, noise, seen.step)
    degradation = Degradation(seen.pixels.shape, seen.factors, seen.sigmas, seen.kernel, seen.seen)
    steps = choose_steps(learned.pixels if learned else whole or math.prod(degradation.fine_shape))
    restore = partial(restore_by_denoiser, clean.unbiased, degradation, steps=steps, step=seen.step)
    deviation = learned.deviation if learned else clean.deviation
    pilot = restore(deviation)
    kind = RestorationNoise(noise.white, noise.speckle, clean.clipped)
    if learned:
        kind = learned.noise
    # Structure as small as coarse pixels is found as noise, and what a pilot leaves tells how much
    # of it.
    likely = reconsider_noise(kind, seen.pixels, pilot, degradation)
    if likely.white < _MISTAKEN * kind.white:
        kind, deviation = likely, likely.white
        pilot = restore(deviation)
    return Part(
        pixels=seen.pixels,
        degradation=degradation,
        noise=kind,
        deviation=deviation,
        place=lambda fine: seen.to_target(fine, fallback),
        pilot=pilot,
        step=seen.step,
    )


def make_own_part(
    own: OwnPixels, noise: SourceNoise, image: Floats, learned: Learned | None = None
) -> Part:
    """Return a noisy source that was interpolated, on its own pixels.

    Parameters
    ----------
    own : OwnPixels
    noise : SourceNoise
        That of the source.
    image : ndarray
        The source as it was interpolated, which stays where its sensor saw nothing.
    learned : Learned, optional
        Of a source that this is a part of.
    """

    def place(fine: Floats) -> Floats:
        return np.where(own.inside, own.interpolate(fine), image)

    weaker = float(np.sqrt(np.mean(own.variance_share)))
    left = _weaken(noise, weaker)
    clean, pixels = clean_own_pixels(own, noise), own.plane
    found = RestorationNoise(left.white, left.speckle, clean.clipped)
    return Part(
        pixels=pixels,
        degradation=make_identity(pixels.shape),
        noise=learned.noise if learned else found,
        deviation=clean.deviation,
        place=place,
        pilot=clean.denoised,
        step=own.step,
    )


def make_restorer(
    part: Part, number: int, config: FusionConfig, learned: Learned | None = None
) -> "Restorer":
    """Return the network that restores a source, new or as it was learned.

    Parameters
    ----------
    part : Part
        The source.
    number : int
        Its index: no two sources have networks of the same seed.
    config : FusionConfig
    learned : Learned, optional
        Of a source that this is a part of.
    """
    # torch takes a second or more to import: what the denoiser made is shown before.
    from napari_dip_fusion.restoration.restorer import Restorer

    return Restorer(
        part.pixels,
        part.pilot,
        part.degradation,
        part.noise,
        compute=config.compute,
        seed=config.fit.seed + number,
        step=part.step,
        whole=learned.pixels if learned else 0,
        weights=learned.weights if learned else None,
    )


def _weaken(noise: SourceNoise, share: float) -> SourceNoise:
    """Return noise of which this share of the standard deviation is left."""
    return replace(noise, white=noise.white * share, speckle=noise.speckle * share)


def make_identity(shape: tuple[int, ...]) -> Degradation:
    """Return what a sensor does that takes nothing from an image."""
    return Degradation(shape, (1,) * len(shape), (0.0,) * len(shape))
