"""How long a run will take, from a few iterations and a run on small images timed beforehand."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import (
    fits_network,
    needs_network,
    network_is_worth_it,
    restores_by_network,
)
from napari_dip_fusion.fusion.events import Done, StepDone
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.fusion.sensed import make_identity
from napari_dip_fusion.fusion.series import count_later_iterations
from napari_dip_fusion.fusion.steps import iter_fuse
from napari_dip_fusion.prior.devices import resolve_device
from napari_dip_fusion.prior.memory import STATISTICS, choose_crops, pad_size
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sources import Source

if TYPE_CHECKING:
    from napari_dip_fusion.prior.fit import Fit, Step

Shape = tuple[int, ...]
Steps = tuple[float, ...]

# Pixels of the images that are tried. An iteration is tried at full size up to 512x512, so that
# caches and memory behave as in the run; what comes before and after it is tried on small images.
_FIT_PIXELS, _FIT_WIDTH, _REST_PIXELS = 512 * 512, 32, 128 * 128
# Planes, and pixels of each, of the volumes that are tried, without noise and with it, which takes
# much longer.
_REST_VOLUMES = {False: (16, 96 * 96), True: (12, 64 * 64)}
# A pixel of a large volume takes longer than one of those, which need no halos and fit into caches:
# 1.3 times as long in one of 7 times as many pixels, 2.4 times in one of 57 times as many.
_SLOWING, _SLOWEST = 0.2, 2.5
# Iterations until the time of one is steady: caches and memory are filled by then.
_WARM_UP = 2
# Iterations are timed until there are enough of them, or they took long enough.
_MOST, _FEWEST, _SECONDS = 30, 3, 1.0

# The settings that make a difference to the time of an iteration, and to that of the rest of a run:
# runs that differ in others share what was measured.
_FIT_GROUPS = ("network", "denoising", "compute")
_REST_GROUPS = ("method", "gains", "denoising", "restoration")
# Side of the images on which iterations of a restoration are tried: it sees crops of that size.
_RESTORED_SIDE = 96
# Noise of the sources that stand for noisy ones.
_TRIED_NOISE = 0.05
# Blur of the sources that stand for degraded ones, in pixels.
_TRIED_FWHM = 3.0


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
    """Return a size in memory, or on disk, as a person would say it.

    Examples
    --------
    >>> format_bytes(280_400_000), format_bytes(1_260_000_000), format_bytes(42_000)
    ('280 MB', '1.3 GB', '42 kB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


# What was measured in this process, by what was tried and on how many sources of what size.
_Key = tuple[str, FusionConfig, Shape, Steps, int]
_known: dict[_Key, float] = {}


def estimate_run(
    config: FusionConfig,
    shape: Shape,
    count: int,
    device: str | None = None,
    *,
    noisy: bool | None = None,
    degraded: bool = False,
    steps: Sequence[float] | None = None,
    control: Control | None = None,
) -> Estimate:
    """Estimate time and memory of a run on this machine, as busy as it is now.

    Parameters
    ----------
    config : FusionConfig
    shape : tuple of int
        Size of the images in pixels: (M, N) of planes, (Z, M, N) of volumes, with other axes of
        a series in front.
    count : int
        Number of sources K.
    device : str, optional
        In place of ``config.compute.device``.
    noisy : bool, optional
        Whether there is noise in the sources, where that is known.
    degraded : bool
        Whether a source lost resolution or sharpness, and is restored.
    steps : sequence of float, optional
        Distance of neighbors along each of these axes, as in :class:`.PreparedSources`, where it
        is infinite from frame to frame; by default 1 along all axes.
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
    number of pixels; so is what comes before and after them, of volumes on a
    small volume. Times are remembered in the process, so that only the first
    estimate of its kind takes a second or two.
    """
    steps = tuple(steps) if steps is not None else (1.0,) * len(shape)
    control = Control() if control is None else control
    config = config if device is None else config.replace(device=device)
    if noisy is None and config.method in (DIP, CONSENSUS) and config.denoising.noise == "auto":
        ask = partial(
            estimate_run, config, shape, count, degraded=degraded, steps=steps, control=control
        )
        most = ask(noisy=True)
        # As long as it is not known whether a network runs, both may come.
        if needs_network(config, True, degraded) == needs_network(config, False, degraded):
            return most
        clean = ask(noisy=False)
        return replace(most, clean_seconds=clean.seconds)
    degraded = degraded and config.restoration.restore != "never"
    network = needs_network(config, bool(noisy), degraded)
    if network:
        # Only a network computes elsewhere, and only for one is torch imported.
        device = resolve_device(config.compute.device)
        config = config.replace(device=device, threads=_count_threads(config))
    run = _Run(config, shape, steps, count, bool(noisy), degraded, control)
    seconds = run.frames * _estimate_rest(run)
    if network:
        rest = seconds
        seconds += _estimate_restorations(run) + _estimate_fits(run)
        if config.fit.time_budget > 0:
            seconds = min(seconds, max(run.frames * config.fit.time_budget, rest))
    memory = estimate_memory(config, shape, count, network=network, steps=steps)
    return Estimate(seconds, memory)


def forget() -> None:
    """Forget all measurements, so that the next estimate is made for the machine as it is then."""
    _known.clear()


@dataclass(frozen=True)
class _Run:
    """A run that is asked about."""

    config: FusionConfig
    shape: Shape
    steps: Steps
    count: int
    noisy: bool
    degraded: bool
    control: Control

    @property
    def restores(self) -> bool:
        """Whether networks restore sources."""
        wanted = restores_by_network(self.config, self.noisy, self.degraded)
        step = self.frame_steps[0]
        return wanted and network_is_worth_it(self.frame, step, degraded=self.degraded)

    @property
    def fits(self) -> bool:
        """Whether a network is fitted to the fused image."""
        return fits_network(self.config, self.noisy)

    @property
    def kind(self) -> str:
        """What the run does, for the name under which its times are remembered."""
        done = {
            "restoring": self.restores,
            "fitting": self.fits,
            "noisy": self.noisy,
            "degraded": self.degraded,
        }
        return " ".join(name for name, is_so in done.items() if is_so)

    @property
    def _frame_axes(self) -> int:
        return count_frame_axes(self.steps, self.config)

    @property
    def frame(self) -> Shape:
        """Shape of what is fused at once."""
        return self.shape[self._frame_axes :]

    @property
    def frame_steps(self) -> Steps:
        """Steps of what is fused at once."""
        return self.steps[self._frame_axes :]

    @property
    def frames(self) -> int:
        """How many frames are fused one after another."""
        return math.prod(self.shape[: self._frame_axes])

    @property
    def shares_network(self) -> bool:
        """Whether the frames of a series go on with one network."""
        return self.frames > 1 and self.config.gains.volumes == "whole"

    def count_iterations(self, most: int) -> int:
        """Return the iterations of all frames, the first of which gets so many."""
        later = count_later_iterations(most) if self.shares_network else most
        return most + (self.frames - 1) * later

    @property
    def fits_crops(self) -> bool:
        """Whether the network sees crops, and not a plane as it is."""
        return math.prod(self.frame[:-2]) > 1


def _estimate_restorations(run: _Run) -> float:
    """Return the seconds of all iterations of the networks that restore sources."""
    if not run.restores:
        return 0.0
    iterations = run.count_iterations(run.config.fit.count_restoring(run.count))
    tried = tuple(min(n, _RESTORED_SIDE) for n in run.frame[-2:])
    iteration = _recall_fit(
        run, "restoration", tried, lambda config: _time_restoration(config, tried, run)
    )
    return iterations * iteration


def _estimate_fits(run: _Run) -> float:
    """Return the seconds of all iterations, and of the images that the networks make in the end."""
    if not run.fits:
        return 0.0
    iterations = run.count_iterations(run.config.fit.fitting_iterations)
    if not run.fits_crops:
        return iterations * _estimate_iteration(run)
    depth = run.config.network.depth
    stack, plane = run.frame[:-2], run.frame[-2:]
    crops, *sides = choose_crops((math.prod(stack), *plane), depth)
    # A batch of crops is tried as it is, on as many planes.
    tried = (crops, *sides)
    iteration = _recall_fit(run, "fit of crops", tried, lambda c: _time_iteration(c, tried, run))
    image = _recall_fit(run, "image of crops", tried, lambda c: _time_image(c, tried, run))
    padded, seen = (math.prod(pad_size(n, depth) for n in size) for size in (plane, sides))
    # Beside the planes, the network sees some batches for its statistics.
    statistics = STATISTICS * crops * seen
    share = (statistics + math.prod(stack) * padded) / (statistics + crops * seen)
    return iterations * iteration + run.frames * share * image


def _estimate_iteration(run: _Run) -> float:
    """Return the seconds of one iteration on a plane."""
    depth = run.config.network.depth
    # The cost of a convolution grows with the square of the width: wide networks see less.
    padded = tuple(pad_size(n, depth) for n in run.frame[-2:])
    most = _FIT_PIXELS * min(1.0, (_FIT_WIDTH / run.config.network.width) ** 2)
    reduced = _reduce_shape(padded, most, least=pad_size(1, depth))
    tried = tuple(pad_size(n, depth) for n in reduced)
    seconds = _recall_fit(run, "fit", tried, lambda config: _time_iteration(config, tried, run))
    return seconds * math.prod(padded) / math.prod(tried)


def _recall_fit(
    run: _Run, what: str, tried: Shape, measure: Callable[[FusionConfig], float]
) -> float:
    relevant = _keep_groups(run.config, _FIT_GROUPS)
    return _recall_or_measure((what, relevant, tried, (), run.count), lambda: measure(relevant))


def _estimate_rest(run: _Run) -> float:
    """Return the seconds of a frame without its iterations, and without what crops are seen for."""
    *stack, rows, columns = run.frame
    planes, pixels = _REST_VOLUMES[run.noisy]
    most = pixels if stack else _REST_PIXELS
    plane = _reduce_shape((rows, columns), most, least=run.config.gains.patch_size)
    tried = (*(min(n, planes) for n in stack), *plane)
    relevant = _keep_groups(run.config, _REST_GROUPS)
    if run.fits_crops and run.fits:
        # Of a network that takes next to no time: its own time is estimated apart.
        relevant = relevant.replace(width=4, depth=2)
    seconds = _recall_or_measure(
        (f"rest {run.kind}", relevant, tried, run.frame_steps, run.count),
        lambda: _time_rest(relevant, tried, run),
    )
    times = math.prod(run.frame) / math.prod(tried)
    return seconds * times * (min(times**_SLOWING, _SLOWEST) if stack else 1.0)


def _recall_or_measure(key: _Key, measure: Callable[[], float]) -> float:
    if key not in _known:
        _known[key] = measure()
    return _known[key]


def _time_iteration(config: FusionConfig, shape: Shape, run: _Run) -> float:
    return _time_steps(_make_fit(config, shape, run.count).run(_WARM_UP + _MOST), run)


def _time_restoration(config: FusionConfig, shape: Shape, run: _Run) -> float:
    from napari_dip_fusion.restoration.restorer import Restorer

    pixels = _make_images(shape, 1, noisy=True)[0]
    identity = make_identity(shape)
    noise = RestorationNoise(_TRIED_NOISE)
    restorer = Restorer(pixels, pixels, identity, noise, compute=config.compute, seed=0)
    return _time_steps(restorer.run(config.fit.count_restoring(1)), run)


def _time_steps(steps: Iterator["Step"], run: _Run) -> float:
    """Return the median seconds of some iterations."""
    seconds: list[float] = []
    start = time.perf_counter()
    for step in islice(steps, _WARM_UP + _MOST):
        _raise_if_stopped(run.control)
        if step.iteration > _WARM_UP:
            seconds.append(step.seconds)
        if len(seconds) >= _FEWEST and time.perf_counter() - start > _SECONDS:
            break
    return statistics.median(seconds)


def _time_image(config: FusionConfig, shape: Shape, run: _Run) -> float:
    fit = _make_fit(config, shape, run.count)
    for _ in fit.run(1):
        _raise_if_stopped(run.control)
    start = time.perf_counter()
    with run.control.watch():
        _ = fit.image
    return time.perf_counter() - start


def _make_fit(config: FusionConfig, shape: Shape, count: int) -> "Fit":
    from napari_dip_fusion.prior.crops import make_fit

    images = _make_images(shape, count, noisy=True)
    # What is fitted makes no difference to the time, so that no gains are estimated for it.
    target = images.mean(axis=0)
    inputs = np.concatenate([images, target[None]])
    return make_fit(target, np.ones_like(target), inputs, config)


def _time_rest(config: FusionConfig, shape: Shape, run: _Run) -> float:
    network = "always" if run.fits else "auto" if run.restores else "never"
    once = config.replace(iterations=1, stop="iterations", network=network)
    axes, affine = ("z", "y", "x")[-len(shape) :], np.diag([*run.frame_steps, 1.0])
    images = [
        Source(image, axes=axes, affine=affine, units=("mm",) * len(axes))
        for image in _make_images(shape, run.count, noisy=run.noisy)
    ]
    if run.degraded:
        images[-1] = images[-1].replace(fwhm=_TRIED_FWHM)
    iterating = total = 0.0
    for event in iter_fuse(images, once, keep_gains=False):
        _raise_if_stopped(run.control)
        if isinstance(event, StepDone):
            iterating = event.iteration / event.rate
        elif isinstance(event, Done):
            total = event.result.record["seconds"]["total"]
    return total - iterating


def _make_images(shape: Shape, count: int, *, noisy: bool) -> NDArray[np.float32]:
    """Return ramps that rise one way and another, with noise or without."""
    ramp = np.linspace(0.2, 0.8, shape[-1], dtype=np.float32)
    images = np.broadcast_to(ramp, (count, *shape)).copy()
    images[1::2] = images[1::2, ..., ::-1]
    if noisy:
        noise = np.random.default_rng(0).normal(0, _TRIED_NOISE, images.shape)
        images += noise.astype(np.float32)
    clipped: NDArray[np.float32] = images.clip(0, 1)
    return clipped


def _reduce_shape(shape: Shape, pixels: float, *, least: int) -> Shape:
    """Return a shape of about as many pixels at most, but no side below `least`."""
    factor = min(1.0, math.sqrt(pixels / math.prod(shape)))
    return tuple(max(int(n * factor), min(n, least)) for n in shape)


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
