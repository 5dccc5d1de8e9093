"""How much memory a run needs, and whether there is so much."""

import math
from collections.abc import Sequence

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion.decision import (
    fits_network,
    may_run_network,
    restores_by_network,
)
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.prior.devices import measure_free_memory
from napari_dip_fusion.prior.memory import estimate_network_memory

Shape = tuple[int, ...]

# Float32 values a pixel of a volume that a run without a network holds at its peak, with noise and
# gains that are kept: so many, and so many for each source; and the bytes of tiles for each source.
# Measured as peak resident memory of 2 and 4 sources of 64x256x256 and 128x256x256 pixels.
_VOLUME, _TILES = (5, 7), 60e6

# Bytes of the network that restores a source, on its crops, and for each pixel of a plane that it
# is applied to.
_RESTORING = (600e6, 100)

# Images of a series that there are in the end: what is fused, T, the undershoot, and one to spare.
_KEPT_IMAGES = 4


def estimate_memory(
    config: FusionConfig,
    shape: Shape,
    count: int,
    *,
    network: bool | None = None,
    steps: Sequence[float] | None = None,
) -> int:
    """Estimate the memory of a run in bytes.

    Parameters
    ----------
    config : FusionConfig
    shape : tuple of int
        Size of the images in pixels, (M, N) or (..., M, N).
    count : int
        Number of sources K.
    network : bool, optional
        Whether a network runs, where it is known; by default whether one may.
    steps : sequence of float, optional
        As for :func:`.estimate_run`: what is worked at is one frame of a series.

    Returns
    -------
    int
    """
    network = may_run_network(config) if network is None else network
    if config.method not in (DIP, CONSENSUS):
        return METHODS[config.method].estimate_memory(shape, count)
    axes = count_frame_axes((1.0,) * len(shape) if steps is None else steps, config)
    frame, frames = shape[axes:], math.prod(shape[:axes])
    # Of all frames there are the sources, both gains of each, and some images.
    kept = 4 * math.prod(shape) * (3 * count + _KEPT_IMAGES) if frames > 1 else 0
    # Which networks may run at all: it may be the noise that calls for them.
    fits, restores = (network and may(config, True) for may in (fits_network, restores_by_network))
    fitted = estimate_network_memory(config.network, frame, count) if fits else 0
    restoring, each_pixel = _RESTORING
    restored = int(restoring + each_pixel * math.prod(frame[-2:])) if restores else 0
    if math.prod(frame[:-2]) == 1:
        # Without a network, our own method is its closed form.
        own = METHODS[CONSENSUS].estimate_memory(frame[-2:], count)
        return (max(fitted, own + restored) if network else own) + kept
    once, each = _VOLUME
    needed = int(4 * math.prod(frame) * (once + each * count) + _TILES * count)
    # A volume is analyzed as a whole, and then fitted by crops.
    return max(needed + restored, fitted) + kept


def check_memory(
    config: FusionConfig,
    shape: Shape,
    count: int,
    device: str,
    *,
    network: bool,
    smallest: int,
    steps: Sequence[float] | None = None,
) -> None:
    """Refuse a run that needs more memory than is free.

    Parameters
    ----------
    config, shape, count, steps
        As for :func:`estimate_memory`.
    device : str
        A device that is there.
    network : bool
        Whether a network runs.
    smallest : int
        Side in pixels below which no smaller images are advised.

    Raises
    ------
    ValueError
        If there is too little memory; the message says what would fit.
    """
    lack = explain_lack(config, shape, count, device, network=network, steps=steps)
    if lack:
        free = measure_free_memory(device)
        advice = _advise_what_fits(config, shape, count, free, network, smallest, steps)
        raise ValueError(f"{lack}; {advice}")


def explain_lack(
    config: FusionConfig,
    shape: Shape,
    count: int,
    device: str = "cpu",
    *,
    network: bool | None = None,
    steps: Sequence[float] | None = None,
) -> str:
    """Return how much memory a run needs and how much is free; empty where that is enough.

    Parameters
    ----------
    config, shape, count, device, network, steps
        As for :func:`check_memory`, and :func:`estimate_memory`.
    """
    needed = estimate_memory(config, shape, count, network=network, steps=steps)
    free = measure_free_memory(device)
    if needed <= free:
        return ""
    wide = network and fits_network(config, True)
    width = f" with width {config.network.width}" if wide else ""
    size = "x".join(map(str, shape))
    return (
        f"{size} pixels{width} need about {needed / 1e9:.1f} GB, but {device} has "
        f"{free / 1e9:.1f} GB free"
    )


def _advise_what_fits(
    config: FusionConfig,
    shape: Shape,
    count: int,
    free: int,
    network: bool,
    smallest: int,
    steps: Sequence[float] | None,
) -> str:
    """Return advice on a run that needs no more memory than is free."""
    *stack, rows, columns = shape
    wide = config.network.width

    def fits(width: int, shape: Shape, *, network: bool = network) -> bool:
        tried, own = config.replace(width=width), steps and steps[-len(shape) :]
        return estimate_memory(tried, shape, count, network=network, steps=own) <= free

    # Halves of the width, and sides that are shorter in steps of a twentieth.
    narrower = [wide >> n for n in range(1, 8) if wide >> n >= 4]
    widths = narrower if network and fits_network(config, True) else []
    sizes = [(*stack, rows * n // 20, columns * n // 20) for n in range(19, 0, -1)]
    width = next((w for w in widths if fits(w, shape)), None)
    size = next((s for s in sizes if fits(wide, s)), None)
    fitting = [f"width {width}"] if width else []
    if network and fits(wide, shape, network=False):
        fitting.append("no network (network=never)")
    if size and min(size[-2:]) >= smallest:
        fitting.append(f"images of at most {'x'.join(map(str, size))} pixels")
    if stack and fits(wide, (rows, columns)):
        fitting.append("one plane")
    return f"use {', or '.join(fitting)}" if fitting else "free memory, or use another machine"
