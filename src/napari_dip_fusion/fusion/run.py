"""The way of a run from its decision to its result, of a plane, a volume or a series."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Done, Event, GainsReady, PlanesDone, Preview
from napari_dip_fusion.fusion.frames import analyze_frame, list_frames
from napari_dip_fusion.fusion.iterations import iterate
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.fusion.result import (
    Findings,
    FusionResult,
    RunState,
    Scoring,
    complete,
    name_closed_form,
)
from napari_dip_fusion.fusion.series import Series
from napari_dip_fusion.sensor.analysis import Analysis, SourceNoise
from napari_dip_fusion.sources.prepare import PreparedSources


@dataclass(frozen=True)
class Run:
    """A run whose sources are prepared, and of which it is known whether a network is needed."""

    prepared: PreparedSources
    config: FusionConfig
    noise: tuple[SourceNoise, ...]
    network: bool
    scoring: Scoring
    control: Control
    start: float
    look_at: tuple[int, ...]

    def fuse_frame(
        self,
        preview_rate: float,
        keep_gains: bool,
        keep_state: bool,
    ) -> Iterator[Event]:
        """Yield the events of a plane or a volume from its gains to Done."""
        prepared, control = self.prepared, self.control
        keep = keep_gains or self.network
        analysis = yield from analyze_frame(
            prepared, self.config, self.noise, control, keep_model=keep
        )
        if keep_gains:
            yield describe_gains(prepared, Findings.take(analysis))
        if preview_rate > 0:
            yield Preview(0, prepared.add_color(analysis.consensus.clip(0, 1)))
        seconds = {"gains": time.perf_counter() - self.start}
        if not self.network:
            kept = analysis if keep_gains else replace(analysis, model=None)
            yield Done((yield from self._take_consensus(kept, seconds)))
            return

        # torch takes a second or more to import: the gains are shown before.
        from napari_dip_fusion.prior.crops import make_fit

        fit = make_fit(analysis.target, analysis.weight, analysis.guides, self.config)
        where = self.look_at
        run = RunState(self.config, prepared, analysis, fit, self.scoring, keep_state, where)
        yield from iterate(run, self.config.fit.fitting_iterations, seconds, control, preview_rate)

    def fuse_series(self, preview_rate: float, keep_gains: bool) -> Iterator[Event]:
        """Yield the events of the frames of a series, then its gains and Done."""
        prepared, scoring = self.prepared, self.scoring
        series = Series(
            prepared,
            self.config,
            self.noise,
            self.network,
            scoring,
            frames=list(list_frames(prepared, self.config)),
            begun=self.start,
            look_at=self.look_at,
            keep_gains=keep_gains,
        )
        seconds = {"gains": time.perf_counter() - self.start}
        yield from series.fuse(self.control, preview_rate)
        seconds["fit"] = time.perf_counter() - self.start - seconds["gains"]
        if keep_gains:
            yield describe_gains(prepared, series.findings)

        def work() -> FusionResult:
            return complete(
                series.image,
                prepared,
                self.config,
                replace(scoring, notes={**series.notes, **scoring.notes}),
                seconds=seconds,
                stop_reason=series.reason,
                findings=series.findings,
                run=series.run,
                losses=np.array(series.track.losses),
                missing=[index for index in series.frames if index not in series.done],
            )

        yield Done((yield from observe(work, self.control.watch_discarding, prepared.plane_count)))

    def _take_consensus(
        self, analysis: Analysis, seconds: Mapping[str, float]
    ) -> Generator[PlanesDone, None, FusionResult]:
        """Return the consensus image as the result, without a network."""

        def work() -> FusionResult:
            return complete(
                analysis.consensus.clip(0, 1),
                self.prepared,
                self.config,
                self.scoring,
                seconds={**seconds, "fit": 0.0},
                stop_reason=name_closed_form(self.config),
                findings=Findings.take(analysis),
            )

        planes = self.prepared.plane_count
        return (yield from observe(work, self.control.watch_discarding, planes))


def find_plane(prepared: PreparedSources, look_at: Sequence[int] | None) -> tuple[int, ...]:
    """Return the index of the plane that is looked at: by default the middle one."""
    stack = prepared.shape[:-2]
    if look_at is None:
        return tuple(size // 2 for size in stack)
    inside = len(look_at) == len(stack) and all(
        0 <= n < m for n, m in zip(look_at, stack, strict=True)
    )
    if not inside:
        raise ValueError(
            f"look_at must be an index along {', '.join(prepared.stack_axes) or 'no axis'} of "
            f"sizes {stack}, got {tuple(look_at)}"
        )
    return tuple(look_at)


def describe_gains(prepared: PreparedSources, findings: Findings) -> GainsReady:
    """Return the event that tells what was found of the sources."""
    assert findings.gains is not None
    assert findings.consensus is not None
    return GainsReady(
        sources=prepared,
        gains=findings.gains,
        base_gains=findings.base_gains,
        consensus=findings.consensus,
        floor=findings.floor,
        noise=findings.noise,
    )
