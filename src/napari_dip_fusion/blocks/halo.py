"""How far from a pixel its sources bear on what is fused there."""

from collections.abc import Sequence

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.prior.memory import measure_network_reach
from napari_dip_fusion.sensor.model import measure_model_reach
from napari_dip_fusion.sensor.windows import measure_block

__all__ = ["list_patches", "measure_halo"]

# Pixels of a plane, and planes, that the removal of noise looks at beside those that the closed
# form needs. Its transforms have no end; with so many, blocks differ from the whole by .1 of 255
# gray levels (root mean square).
_NOISE = (32, 8)

# The same of a restoration: what explains a source's pixels falls off with distance, too.
_RESTORATION = (64, 16)

# Convolutions in a row of the network that restores, of which each sees one cell further.
_CELLS = 19


def measure_halo(
    config: FusionConfig,
    steps: Sequence[float],
    decision: Decision,
    *,
    ends: bool,
    factor: int = 2,
) -> list[int]:
    """Return the halo of a block along each axis of a frame, in its pixels.

    Parameters
    ----------
    config : FusionConfig
    steps : sequence of float
        Distance between neighbors along each of these axes, in pixels of a plane.
    decision : Decision
        What is restored.
    ends : bool
        Whether sources end within the image.
    factor : int
        The most fine pixels in a source's own, along any axis.

    Notes
    -----
    The closed form alone is exact with it. The removal of noise and restorations reach further
    than anybody can see.
    """
    gains = config.gains
    windows = (gains.patch_size, gains.window, gains.band_sigma)
    reach = measure_model_reach(*windows, list(steps), ends=ends)
    extra = [0, 0]
    if decision.noisy or decision.degraded:
        extra = [max(pair) for pair in zip(extra, _NOISE, strict=True)]
    if decision.degraded:
        extra = [max(pair) for pair in zip(extra, _RESTORATION, strict=True)]
    if decision.networked:
        extra[0] = max(extra[0], _CELLS * max(factor, 2))
    if decision.fits:
        extra = [extra[0] + measure_network_reach(config.network.depth), extra[1] + 1]
    planes = len(steps) - 2
    return [far + extra[1 if number < planes else 0] for number, far in enumerate(reach)]


def list_patches(config: FusionConfig, steps: Sequence[float]) -> list[int]:
    """Return the sizes of patches that must not be cut, along each axis; 1 for sliding windows."""
    if config.gains.window != "block":
        return [1] * len(steps)
    return [measure_block(config.gains.patch_size, step) for step in steps]
