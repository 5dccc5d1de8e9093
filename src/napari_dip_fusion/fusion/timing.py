"""How long a run will take, from a few iterations and a run on small images timed beforehand."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Done, StepDone
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.fusion.steps import iter_fuse, needs_network
from napari_dip_fusion.prior.devices import resolve_device
from napari_dip_fusion.prior.memory import pad_size

Shape = tuple[int, int]

# Pixels of the images that are tried. An iteration is tried at full size up to 512x512, so that
# caches and memory behave as in the run; what comes before and after it is tried on small images.
_FIT_PIXELS, _FIT_WIDTH, _REST_PIXELS = 512 * 512, 32, 128 * 128
# Iterations until the time of one is steady: caches and memory are filled by then.
_WARM_UP = 2
# Iterations are timed until there are enough of them, or they took long enough.
_MOST, _FEWEST, _SECONDS = 30, 3, 1.0

# The settings that make a difference to the time of an iteration, and to that of the rest of a run:
# runs that differ in others share what was measured.
_FIT_GROUPS = ("network", "denoising", "compute")
_REST_GROUPS = ("method", "gains", "denoising")


@dataclass(frozen=True)
class Estimate:
    """What a run will need.

    Attributes
    ----------
    seconds : float
        Time if all iterations are made, or the time budget is used up; a run
        that converges ends sooner.
    memory : int
        Bytes.
    clean_seconds : float or None
        Time if no noise is found in the sources, and no network needed; None where it is known
        what they hold, or makes no difference.
    """

    seconds: float
    memory: int
    clean_seconds: float | None = None

    @property
    def time(self) -> str:
        """The time, as a person would say it."""
        most = f"{format_seconds(self.seconds)} at most"
        if self.clean_seconds is None:
            return most
        return f"{format_seconds(self.clean_seconds)}, or with noise {most}"

    def __str__(self) -> str:
        return f"about {self.time}, {format_bytes(self.memory)}"


def format_seconds(seconds: float) -> str:
    """Return a time as a person would say it.

    Examples
    --------
    >>> [format_seconds(s) for s in (0.04, 0.32, 9, 50, 130, 9000)]
    ['0.04 s', '0.3 s', '9 s', '50 s', '2 min', '2.5 h']
    """
    if seconds < 90:
        digits = 0 if seconds >= 2 else 1 if seconds >= 0.095 else 2
        return f"{seconds:.{digits}f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def format_bytes(count: float) -> str:
    """Return a size in memory as a person would say it.

    Examples
    --------
    >>> format_bytes(280_400_000), format_bytes(1_260_000_000)
    ('280 MB', '1.3 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


# What was measured in this process, by what was tried and on how many sources of what size.
_known: dict[tuple[str, FusionConfig, Shape, int], float] = {}

# What the rest of a run is called there, by whether a network runs and whether there is noise.
_RESTS = {
    (True, True): "rest of a noisy fit",
    (True, False): "rest of a fit",
    (False, True): "noisy rest",
    (False, False): "rest",
}


def estimate_run(
    config: FusionConfig,
    shape: Shape,
    count: int,
    device: str | None = None,
    *,
    noisy: bool | None = None,
    control: Control | None = None,
) -> Estimate:
    """Estimate time and memory of a run on this machine, as busy as it is now.

    Parameters
    ----------
    config : FusionConfig
    shape : (M, N)
        Size of the images in pixels.
    count : int
        Number of sources K.
    device : str, optional
        In place of ``config.compute.device``.
    noisy : bool, optional
        Whether there is noise in the sources, where that is known.
    control : Control, optional
        Gives up an estimate, within an iteration, when it is stopped.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If there is no such device.
    FusionError
        If the network cannot be run there, or the estimate was given up.

    Notes
    -----
    A few iterations are timed on images of this size, or, above 512x512 pixels
    and for networks wider than the default, on smaller ones and scaled by the
    number of pixels; so is what comes before and after them. Times are
    remembered in the process, so that only the first estimate of its kind
    takes a second or two.
    """
    control = Control() if control is None else control
    config = config if device is None else config.replace(device=device)
    if noisy is None and config.method in (DIP, CONSENSUS) and config.denoising.noise == "auto":
        most = estimate_run(config, shape, count, noisy=True, control=control)
        # As long as it is not known whether a network runs, both may come.
        if needs_network(config, True) == needs_network(config, False):
            return most
        clean = estimate_run(config, shape, count, noisy=False, control=control)
        return replace(most, clean_seconds=clean.seconds)
    network = needs_network(config, bool(noisy))
    if network:
        # Only a network computes elsewhere, and only for one is torch imported.
        device = resolve_device(config.compute.device)
        config = config.replace(device=device, threads=_count_threads(config))
    seconds = _estimate_rest(config, shape, count, network, bool(noisy), control)
    if network:
        rest = seconds
        seconds += config.fit.iterations * _estimate_iteration(config, shape, count, control)
        if config.fit.time_budget > 0:
            seconds = min(seconds, max(config.fit.time_budget, rest))
    return Estimate(seconds, estimate_memory(config, shape, count, network=network))


def forget() -> None:
    """Forget all measurements, so that the next estimate is made for the machine as it is then."""
    _known.clear()


def _estimate_iteration(config: FusionConfig, shape: Shape, count: int, control: Control) -> float:
    """Return the seconds of one iteration."""
    depth = config.network.depth
    # The cost of a convolution grows with the square of the width: wide networks see less.
    padded = (pad_size(shape[0], depth), pad_size(shape[1], depth))
    most = _FIT_PIXELS * min(1.0, (_FIT_WIDTH / config.network.width) ** 2)
    tried = _reduce_shape(padded, most, least=pad_size(1, depth))
    tried = (pad_size(tried[0], depth), pad_size(tried[1], depth))
    relevant = _keep_groups(config, _FIT_GROUPS)

    def measure() -> float:
        return _time_iteration(relevant, tried, count, control)

    seconds = _recall_or_measure(("fit", relevant, tried, count), measure)
    return seconds * math.prod(padded) / math.prod(tried)


def _estimate_rest(
    config: FusionConfig, shape: Shape, count: int, network: bool, noisy: bool, control: Control
) -> float:
    """Return the seconds of a run without its iterations."""
    tried = _reduce_shape(shape, _REST_PIXELS, least=config.gains.patch_size)
    relevant = _keep_groups(config, _REST_GROUPS)

    def measure() -> float:
        return _time_rest(relevant, tried, count, network, noisy, control)

    return _recall_or_measure((_RESTS[network, noisy], relevant, tried, count), measure) * (
        math.prod(shape) / math.prod(tried)
    )


def _recall_or_measure(
    key: tuple[str, FusionConfig, Shape, int], measure: Callable[[], float]
) -> float:
    if key not in _known:
        _known[key] = measure()
    return _known[key]


def _time_iteration(config: FusionConfig, shape: Shape, count: int, control: Control) -> float:
    from napari_dip_fusion.prior.fit import Fit

    images = _make_images(shape, count, noisy=True)
    # What is fitted makes no difference to the time, so that no gains are estimated for it.
    target = images.mean(axis=0)
    fit = Fit(target, np.ones_like(target), np.concatenate([images, target[None]]), config)
    seconds: list[float] = []
    start = time.perf_counter()
    for step in fit.run(_WARM_UP + _MOST):
        _raise_if_stopped(control)
        if step.iteration > _WARM_UP:
            seconds.append(step.seconds)
        if len(seconds) >= _FEWEST and time.perf_counter() - start > _SECONDS:
            break
    return statistics.median(seconds)


def _time_rest(
    config: FusionConfig, shape: Shape, count: int, network: bool, noisy: bool, control: Control
) -> float:
    run = "always" if network else "never"
    once = config.replace(iterations=1, stop="iterations", network=run)
    iteration = total = 0.0
    for event in iter_fuse(list(_make_images(shape, count, noisy=noisy)), once):
        _raise_if_stopped(control)
        if isinstance(event, StepDone):
            iteration = 1 / event.rate
        elif isinstance(event, Done):
            total = event.result.record["seconds"]["total"]
    return total - iteration


def _make_images(shape: Shape, count: int, *, noisy: bool) -> NDArray[np.float32]:
    """Return ramps that rise one way and another, with noise or without."""
    ramp = np.linspace(0.2, 0.8, shape[1], dtype=np.float32)
    images = np.broadcast_to(ramp, (count, *shape)).copy()
    images[1::2] = images[1::2, :, ::-1]
    if noisy:
        images += np.random.default_rng(0).normal(0, 0.05, images.shape).astype(np.float32)
    clipped: NDArray[np.float32] = images.clip(0, 1)
    return clipped


def _reduce_shape(shape: Shape, pixels: float, *, least: int) -> Shape:
    """Return a shape of about as many pixels at most, but no side below `least`."""
    factor = min(1.0, math.sqrt(pixels / math.prod(shape)))
    rows, columns = (max(int(n * factor), min(n, least)) for n in shape)
    return rows, columns


def _keep_groups(config: FusionConfig, groups: tuple[str, ...]) -> FusionConfig:
    """Return the settings of these groups, with the defaults of all others."""
    leaves = config.leaves()
    kept = {s.name: leaves[s.name] for s in FusionConfig.settings() if s.group in groups}
    return FusionConfig(**kept)


def _count_threads(config: FusionConfig) -> int:
    """Return the threads that torch will use: a change of its own choice changes the time."""
    import torch

    return config.compute.threads or torch.get_num_threads()


def _raise_if_stopped(control: Control) -> None:
    if control.stopped:
        raise FusionError("the estimate was given up")
