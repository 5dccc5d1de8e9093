"""The way of a run from its decision to its result, of a plane, a volume or a series."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.fusion.events import Done, Event, GainsReady, PlanesDone, Preview
from napari_dip_fusion.fusion.frames import list_frames
from napari_dip_fusion.fusion.iterations import Track, iterate
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.fusion.restoring import Restoring
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
from napari_dip_fusion.sources.prepared import PreparedSources


@dataclass(frozen=True)
class Run:
    """A run whose sources are prepared, and of which it is known what is done about them."""

    prepared: PreparedSources
    config: FusionConfig
    noise: tuple[SourceNoise, ...]
    decision: Decision
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
        prepared, decision = self.prepared, self.decision
        restoring = Restoring(prepared, decision, self.config, self.noise, self.control)
        analysis = yield from restoring.begin(keep_model=keep_gains or decision.network)
        if keep_gains:
            yield describe_gains(prepared, Findings.take(analysis))
        if preview_rate > 0:
            yield Preview(0, prepared.add_color(analysis.consensus.clip(0, 1)))
        noted = replace(self, scoring=self.scoring.add(restoring.describe()))
        state = RestorationState(noted, restoring, keep_state)
        seconds = {"gains": time.perf_counter() - self.start}
        if decision.networked:
            yield from state.restore(
                self.config.fit.count_restoring(len(decision.networked)),
                seconds,
                preview_rate,
                keep_gains=keep_gains,
            )
        elif decision.fits:
            yield from noted.fit(analysis, seconds, preview_rate, keep_state)
        else:
            kept = analysis if keep_gains else replace(analysis, model=None)
            yield Done((yield from noted.take_consensus(kept, seconds)))

    def fit(
        self, analysis: Analysis, seconds: dict[str, float], preview_rate: float, keep_state: bool
    ) -> Iterator[Event]:
        """Yield the events of the network that is fitted to the fused image, to Done."""
        # torch takes a second or more to import: the gains are shown before.
        from napari_dip_fusion.prior.crops import make_fit

        fit = make_fit(analysis.target, analysis.weight, analysis.guides, self.config)
        run = RunState(
            self.config, self.prepared, analysis, fit, self.scoring, keep_state, self.look_at
        )
        iterations = self.config.fit.fitting_iterations
        yield from iterate(run, iterations, seconds, self.control, preview_rate)

    def fuse_series(self, preview_rate: float, keep_gains: bool) -> Iterator[Event]:
        """Yield the events of the frames of a series, then its gains and Done."""
        prepared, scoring = self.prepared, self.scoring
        series = Series(
            prepared,
            self.config,
            self.noise,
            self.decision,
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
                scoring.add(series.notes),
                seconds=seconds,
                stop_reason=series.reason,
                findings=series.findings,
                run=series.run or series.restoring,
                losses=np.array(series.track.losses),
                missing=[index for index in series.frames if index not in series.done],
            )

        yield Done((yield from observe(work, self.control.watch_discarding, prepared.plane_count)))

    def take_consensus(
        self,
        analysis: Analysis,
        seconds: Mapping[str, float],
        reason: str = "",
        *,
        state: "RestorationState | None" = None,
        losses: Sequence[float] = (),
    ) -> Generator[PlanesDone, None, FusionResult]:
        """Return the consensus image as the result.

        Parameters
        ----------
        analysis : Analysis
        seconds : dict of str to float
            Time of the stages before, by name.
        reason : str
            What ended the networks that restored the sources; by default there were none.
        state : RestorationState, optional
            Those networks.
        losses : sequence of float
            Of all of their iterations.
        """
        findings = Findings.take(analysis)
        if state is not None:
            # The losses are those of the networks, and have no floor.
            findings.floor = 0.0
        restored = analysis.restored is not None

        def work() -> FusionResult:
            return complete(
                analysis.consensus.clip(0, 1),
                self.prepared,
                self.config,
                self.scoring,
                seconds={"fit": 0.0, **seconds},
                stop_reason=reason or name_closed_form(self.config, restored=restored),
                findings=findings,
                run=state,
                losses=np.array(losses, dtype=np.float64),
            )

        planes = self.prepared.plane_count
        return (yield from observe(work, self.control.watch_discarding, planes))


@dataclass(frozen=True)
class RestorationState:
    """The networks that restore the sources of a run, by which it is continued."""

    run: Run
    restoring: Restoring
    keep_state: bool

    @property
    def device(self) -> str:
        """Where the networks compute."""
        return self.restoring.device

    @property
    def threads(self) -> int:
        """Processor threads of the networks."""
        return self.restoring.threads

    def take_up(self, control: Control, iterations: int) -> "RestorationState":
        """Return the same networks under another control, and without a time budget.

        Parameters
        ----------
        control : Control
        iterations : int
            Of all runs together, for the record.
        """
        config = self.run.config.replace(time_budget=0.0, iterations=iterations)
        scoring = self.run.scoring.add({"continued": True})
        run = replace(self.run, config=config, control=control, scoring=scoring)
        restoring = self.restoring.take_up(config, control)
        return replace(self, run=run, restoring=restoring)

    def restore(
        self,
        iterations: int,
        seconds: Mapping[str, float],
        preview_rate: float,
        *,
        losses_before: Sequence[float] = (),
        keep_gains: bool = True,
    ) -> Iterator[Event]:
        """Yield the events of the networks that restore the sources, to Done.

        Parameters
        ----------
        iterations : int
            Of all of them together.
        seconds : dict of str to float
            Time of the stages before, by name.
        preview_rate : float
            0 for no previews.
        losses_before : sequence of float
            Losses of the iterations of an earlier run that this one continues.
        keep_gains : bool
            Whether the gains are part of the result.
        """
        start, run = time.perf_counter(), self.run
        track = Track(list(losses_before))
        begun = start - sum(seconds.values())
        try:
            reason = yield from self.restoring.improve(iterations, begun, preview_rate, track)
        except FusionError as error:
            # What was restored so far is better than nothing.
            if track.made:
                done = self._finish(track, "failed", seconds, start, keep_model=True)
                error.result = yield from done
            raise
        if run.decision.fits:
            analysis = yield from self.restoring.finish()
            spent = {**seconds, "restoration": time.perf_counter() - start}
            yield from run.fit(analysis, spent, preview_rate, self.keep_state)
            return
        yield Done((yield from self._finish(track, reason, seconds, start, keep_model=keep_gains)))

    def _finish(
        self,
        track: Track,
        reason: str,
        seconds: Mapping[str, float],
        start: float,
        *,
        keep_model: bool,
    ) -> Generator[PlanesDone, None, FusionResult]:
        """Return the result of the sources as they are restored by now."""
        analysis = yield from self.restoring.finish(keep_model=keep_model)
        if not keep_model:
            analysis = replace(analysis, model=None)
        fitting = seconds.get("fit", 0.0) + time.perf_counter() - start
        return (
            yield from self.run.take_consensus(
                analysis, {**seconds, "fit": fitting}, reason, state=self, losses=track.losses
            )
        )


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
