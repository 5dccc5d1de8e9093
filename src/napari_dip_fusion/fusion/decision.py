"""What a run does about its sources: which of them are restored, and which networks are at work."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_dip_fusion.config import DIP, FusionConfig
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration.planes import network_pays
from napari_dip_fusion.sensor.analysis import SourceNoise
from napari_dip_fusion.sources.observation import Observation, ObservedFrames
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.prepared import PreparedSources


@dataclass(frozen=True)
class Decision:
    """What is done about the sources of a run.

    Attributes
    ----------
    degraded : tuple of int
        Indices of the sources that lost resolution or sharpness, and are restored.
    noisy : tuple of int
        Indices of the others that are restored because there is noise in them.
    networked : tuple of int
        Indices of those that a network restores, behind the denoiser.
    fits : bool
        Whether the network of the paper is fitted to the fused image.
    lines : tuple of str
        What is restored and why, one line a source.
    """

    degraded: tuple[int, ...] = ()
    noisy: tuple[int, ...] = ()
    networked: tuple[int, ...] = ()
    fits: bool = False
    lines: tuple[str, ...] = ()

    @property
    def restored(self) -> tuple[int, ...]:
        """Indices of all sources that are restored."""
        return tuple(sorted(self.degraded + self.noisy))

    @property
    def network(self) -> bool:
        """Whether any network is at work."""
        return bool(self.networked) or self.fits


def decide(
    prepared: PreparedSources, config: FusionConfig, noise: Sequence[SourceNoise]
) -> Decision:
    """Return what a run does about its sources.

    Parameters
    ----------
    prepared : PreparedSources
    config : FusionConfig
    noise : sequence of K SourceNoise
    """
    noisy = any(noise)
    fits = fits_network(config, noisy)
    if config.restoration.restore == "never":
        return Decision(fits=fits)
    degraded = list_degraded(prepared, config)
    others = tuple(n for n, found in enumerate(noise) if found and n not in degraded)
    networked = [
        number
        for number in sorted(degraded + others)
        if restores_by_network(config, noisy, bool(degraded))
        and _is_worth_a_network(prepared, number, config, number in degraded)
    ]
    lines = [
        _describe(prepared, number, noise[number], number in degraded)
        for number in sorted(degraded + others)
    ]
    return Decision(degraded, others, tuple(networked), fits, tuple(lines))


def list_degraded(prepared: PreparedSources, config: FusionConfig) -> tuple[int, ...]:
    """Return the indices of the sources that lost resolution or sharpness, and can be restored.

    A volume is restored as a whole: planes that are fused one by one are not.
    """
    axes = count_frame_axes(prepared.steps, config)
    return tuple(
        number
        for number, seen in enumerate(prepared.observations)
        if seen is not None and axes == (seen.axes if isinstance(seen, ObservedFrames) else 0)
    )


def may_run_network(config: FusionConfig) -> bool:
    """Tell whether a run may come to need a network, which may depend on its sources."""
    return config.method == DIP and config.fit.network != "never"


def restores_by_network(config: FusionConfig, noisy: bool, degraded: bool = False) -> bool:
    """Tell whether sources are restored by a network, behind the denoiser.

    Parameters
    ----------
    config : FusionConfig
    noisy, degraded : bool
        Whether there is noise in any of them, and whether any lost resolution or sharpness.
    """
    wanted = may_run_network(config) and config.restoration.restore != "never"
    return wanted and (noisy or degraded)


def fits_network(config: FusionConfig, noisy: bool) -> bool:
    """Tell whether the network of the paper is fitted to the fused image: where it can change it.

    Parameters
    ----------
    config : FusionConfig
    noisy : bool
        Whether noise was found in a source.
    """
    if not may_run_network(config):
        return False
    if config.fit.network == "always" or not config.denoising.give_back:
        return True
    # Where the structure that a network misses is given back, nothing is missing without noise;
    # and where sources are restored, no noise is left.
    return noisy and config.restoration.restore == "never"


def network_is_worth_it(shape: Sequence[int], step: float, *, degraded: bool) -> bool:
    """Tell whether a network makes more of a source than the denoiser does, for its time.

    Parameters
    ----------
    shape : sequence of int
        Of a plane or a volume.
    step : float
        Distance between the planes of a volume, in pixels of a plane.
    degraded : bool
        Whether it lost more than noise took from it.
    """
    axes = len(shape)
    blur = (1.0 if degraded else 0.0,) * axes
    return network_pays(Degradation(tuple(shape), (1,) * axes, blur), step)


def _is_worth_a_network(
    prepared: PreparedSources, number: int, config: FusionConfig, degraded: bool
) -> bool:
    """Tell whether a network makes more of a source of a run than the denoiser does."""
    seen = prepared.observations[number] if degraded else None
    if isinstance(seen, Observation):
        return network_is_worth_it(seen.fine_shape, seen.step, degraded=True)
    own = prepared.own_pixels[number] if prepared.own_pixels else None
    if isinstance(own, OwnPixels):
        return network_is_worth_it(own.planes.shape[1:], own.step, degraded=False)
    axes = count_frame_axes(prepared.steps, config)
    frame, steps = prepared.shape[axes:], prepared.steps[axes:]
    return network_is_worth_it(frame, steps[0], degraded=degraded)


def needs_network(config: FusionConfig, noisy: bool, degraded: bool = False) -> bool:
    """Tell whether a run needs any network; see :func:`restores_by_network`."""
    return restores_by_network(config, noisy, degraded) or fits_network(config, noisy)


def _describe(prepared: PreparedSources, number: int, noise: SourceNoise, degraded: bool) -> str:
    """Return what is restored of a source, and why."""
    seen = prepared.observations[number] if degraded else None
    why = [] if seen is None else [seen.describe()]
    if noise.white:
        why.append(f"noise of {255 * noise.white:.1f}/255")
    elif noise.speckle:
        why.append(f"speckle of {100 * noise.speckle:.0f} %")
    return f"{prepared.descriptions[number]['name']}: {'; '.join(why)}"
