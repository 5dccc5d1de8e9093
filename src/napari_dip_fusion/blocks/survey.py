"""The sources are looked at before any block: their windows, their noise, their networks."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.cutting import Cutter
from napari_dip_fusion.blocks.engine import Engine
from napari_dip_fusion.blocks.fitting import fit_samples
from napari_dip_fusion.blocks.layout import Index, Layout, Slices
from napari_dip_fusion.blocks.learning import Learner
from napari_dip_fusion.blocks.parts import prepare_part
from napari_dip_fusion.blocks.samples import stack_alike
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.config import FusionConfig, Window
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import decide
from napari_dip_fusion.fusion.events import Decided, Event, PlanesDone
from napari_dip_fusion.sensor.analysis import SourceNoise, find_clipping, find_noise
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.own_pixels import OwnPixels, ResampledSource
from napari_dip_fusion.sources.prepared import PreparedSources
from napari_dip_fusion.sources.restorable import widen_window
from napari_dip_fusion.sources.scaling import find_limits, find_window, spread_intensity

__all__ = ["Survey"]

Floats = NDArray[np.float32]
Limits = tuple[float, float] | None

# Samples on which it is looked for clipped noise.
_FEW = 8


@dataclass
class Survey:
    """What is looked at of the sources of a run.

    Attributes
    ----------
    cutter : Cutter
    layout : Layout
        Of the reference's pixels, without a halo.
    samples : list of tuple of slice
        The parts that stand for all.
    config : FusionConfig
    names : tuple of str
        Of the sources, for errors.
    """

    cutter: Cutter
    layout: Layout
    samples: list[Slices]
    config: FusionConfig
    names: tuple[str, ...]

    def find_statistics(
        self,
        engine: Engine,
        control: Control,
        begun: float,
        check: Callable[[Statistics], object],
    ) -> Generator[Event, None, Statistics]:
        """Return what holds for all blocks, and yield how far that is.

        Parameters
        ----------
        engine : Engine
            On which the extremes of the sources are looked for.
        control : Control
        begun : float
            When the run began, by :func:`time.perf_counter`.
        check : callable
            Raises an error over what could not be used, before networks are fitted.
        """
        windows = yield from self.find_windows(engine, control)
        prepared, hashes = self.read_samples(windows)
        with control.watch():
            noise = self._find_noise(prepared)
        richest = max(prepared, key=_count_seen)
        decision = decide(richest, self.config, noise)
        yield Decided(any(noise), decision.network, decision.lines)
        statistics = Statistics(windows, noise, decision, hashes=hashes)
        check(statistics)
        if decision.restored:
            pixels = int(np.prod(self.layout.shape))
            learner = Learner(prepared, noise, decision, self.config, pixels)
            yield from learner.learn(control, begun)
            statistics = replace(
                statistics,
                learned=learner.learned,
                restoration=tuple(learner.notes),
                losses=tuple(learner.losses),
            )
        if decision.fits:
            statistics = yield from fit_samples(prepared, statistics, self.config, control, begun)
        # A network that was stopped on its way is not to make any block.
        control.raise_if_stopped()
        return statistics

    def read_samples(
        self, windows: Sequence[Window]
    ) -> tuple[list[PreparedSources], tuple[tuple[str, ...], ...]]:
        """Return the samples in [0, 1], and what hashes they have."""
        read = [self.read_sample(sample, windows) for sample in self.samples]
        return [sources for sources, _ in read], tuple(hashes for _, hashes in read)

    def read_sample(
        self, sample: tuple[slice, ...], windows: Sequence[Window]
    ) -> tuple[PreparedSources, tuple[str, ...]]:
        """Return one of the samples in [0, 1], and its hashes."""
        cut = self.cutter.cut(sample)
        return prepare_part(cut, windows, self.config, self.names), cut.hashes

    def hash_samples(self) -> tuple[tuple[str, ...], ...]:
        """Return the hashes of the samples, of which one after the other is in memory."""
        return tuple(self.cutter.hash(sample) for sample in self.samples)

    def find_windows(
        self, engine: Engine, control: Control
    ) -> Generator[Event, None, tuple[Window, ...]]:
        """Return the intensity window of each source.

        Extremes are those of all pixels, percentiles those of the samples.
        """
        modes = spread_intensity(self.config.intensity, len(self.cutter.sources))
        kinds = [source.dtype for source in self.cutter.sources]
        by_limits = [
            m == "minmax" or (m == "auto" and kind != np.uint8)
            for m, kind in zip(modes, kinds, strict=True)
        ]
        limits: list[Limits] = [None] * len(modes)
        if any(by_limits):
            limits = yield from self._find_limits(engine, control)
        windows = []
        for number, (mode, name) in enumerate(zip(modes, self.names, strict=True)):
            if by_limits[number]:
                ends = np.array(limits[number] or (0.0, 0.0))
                windows.append(find_window(ends, "minmax", self.config.percentiles, name))
            else:
                windows.append(self._find_window(number, mode))
        return tuple(windows)

    def _find_limits(
        self, engine: Engine, control: Control
    ) -> Generator[Event, None, list[Limits]]:
        """Return the smallest and the largest value that was seen of each source."""
        job = LimitsJob(self.cutter, self.layout, self.config, self.names)
        limits: list[Limits] = [None] * len(self.cutter.sources)
        yield PlanesDone("intensity windows", 0, self.layout.count)
        blocks = engine.run(find_block_limits, job, self.layout, control)
        for done, (_, found) in enumerate(blocks, 1):
            limits = [_join(*pair) for pair in zip(limits, found, strict=True)]
            yield PlanesDone("intensity windows", done, self.layout.count)
        control.raise_if_stopped()
        return limits

    def _find_window(self, number: int, mode: str | Window) -> Window:
        """Return a window that does not depend on all pixels."""
        name, percentiles = self.names[number], self.config.percentiles
        if mode != "percentiles":
            blank = np.empty(0, self.cutter.sources[number].dtype)
            return find_window(blank, mode, percentiles, name)
        values = [_take_seen(self.cutter.cut(s).grid.images[number]) for s in self.samples]
        return find_window(np.concatenate(values), mode, percentiles, name)

    def _find_noise(self, prepared: list[PreparedSources]) -> tuple[SourceNoise, ...]:
        """Return the noise of each source, and where it was cut off."""
        count = len(self.cutter.sources)
        images = [_list_pixels(prepared, number) for number in range(count)]
        # A sample that a source saw nothing of says nothing of it.
        shown = [[i for i in each if np.ptp(i) > 0] or each for each in images]
        found = find_noise([stack_alike(each) for each in shown], self.config)
        step = prepared[0].steps[0] if len(prepared[0].shape) > 2 else 1.0
        return tuple(
            replace(noise, clipping=find_clipping(each[:: -(-len(each) // _FEW)], noise, step=step))
            for noise, each in zip(found, shown, strict=True)
        )


@dataclass(frozen=True, eq=False)
class LimitsJob:
    """What it takes to find the extremes of a block."""

    cutter: Cutter
    layout: Layout
    config: FusionConfig
    names: tuple[str, ...]


def find_block_limits(job: LimitsJob, index: Index) -> list[Limits]:
    """Return the smallest and the largest value of each source in a block; None for nothing seen.

    Raises
    ------
    ValueError
        If values are no numbers where something was seen.
    """
    images = job.cutter.cut(job.layout.locate(index).core).grid.images
    found: list[Limits] = []
    for image, name in zip(images, job.names, strict=True):
        seen = _take_seen(image)
        if seen.size == 0:
            found.append(None)
            continue
        window = find_limits(seen, None)
        if not np.isfinite(window).all():
            raise ValueError(
                f"{name} has NaN or infinite values; replace them first, for example with "
                "numpy.nan_to_num"
            )
        found.append(widen_window(window, image, "minmax", job.config.restoration.restore))
    return found


def _take_seen(image: Source) -> NDArray[Any]:
    """Return the values of an image that were seen, without alpha."""
    values = image.to_numpy()
    values = values[..., :3] if image.rgb else values
    inside = image.inside if isinstance(image, ResampledSource) else image.mask
    masked = image.is_masked if isinstance(image, ResampledSource) else inside is not None
    return values[np.asarray(inside)] if masked else values


def _join(one: Limits, other: Limits) -> Limits:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _count_seen(sample: PreparedSources) -> tuple[int, float]:
    """Return how many sources a sample shows something of on their own pixels, and how much."""
    own = sum(seen is not None for seen in sample.observations)
    return own, float(sum(image.std() for image in sample.images))


def _list_pixels(prepared: Sequence[PreparedSources], number: int) -> list[Floats]:
    """Return the pixels of a source in which its noise is looked for, of each sample."""
    pixels = []
    for sample in prepared:
        own = sample.own_pixels[number] if sample.own_pixels else None
        pixels.append(own.planes[0] if isinstance(own, OwnPixels) else sample.images[number])
    kept = min(image.ndim for image in pixels)
    return [image for image in pixels if image.ndim == kept]
