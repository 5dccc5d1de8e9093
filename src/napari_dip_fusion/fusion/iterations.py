"""The loop of a fit: its progress, its previews, and the rule that ends it."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Done, Event, PlanesDone, Preview, StepDone
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.fusion.result import Findings, FusionResult, RunState, complete
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.prior.stopping import Discrepancy, Plateau, RunningMean

Floats = NDArray[np.float32]
Losses = NDArray[np.float64]

_NO_LOSSES: Losses = np.empty(0)


@dataclass
class Track:
    """How far a fit has come: what is known of it however it ends.

    Attributes
    ----------
    losses : list of float
        Of all iterations; of the fits of earlier frames, too, in a series.
    computing : float
        Seconds of the iterations of this run.
    made : int
        Iterations of this run.
    """

    losses: list[float] = field(default_factory=list)
    computing: float = 0.0
    made: int = 0


def iterate(
    run: RunState,
    iterations: int,
    seconds: dict[str, float],
    control: Control,
    preview_rate: float,
    *,
    losses_before: Losses = _NO_LOSSES,
) -> Iterator[Event]:
    """Yield the events of a fit from its next iteration to Done.

    Parameters
    ----------
    run : RunState
    iterations : int
        Iterations to make at most.
    seconds : dict of str to float
        Time of the stages before, by name.
    control : Control
    preview_rate : float
        Largest number of previews a second; 0 for none.
    losses_before : ndarray
        Losses of the iterations of an earlier run that this one continues; iterations are
        numbered after them.

    Raises
    ------
    FusionError
        If the fit fails; its ``result`` holds the best image so far.
    StoppedError
        If the run is thrown away.
    """
    track = Track(list(losses_before))
    # The time budget counts what came before: preparation, gains, earlier iterations.
    begun = time.perf_counter() - sum(seconds.values())
    try:
        reason = yield from optimize(run, iterations, begun, control, preview_rate, track)
    except StoppedError:
        raise
    except FusionError as error:
        if track.made:
            error.result = yield from _finish(run, track, "failed", seconds, control)
        raise
    yield Done((yield from _finish(run, track, reason, seconds, control)))


def optimize(
    run: RunState,
    iterations: int,
    begun: float,
    control: Control,
    preview_rate: float,
    track: Track,
) -> Generator[Event, None, str]:
    """Yield the iterations of a fit and their previews; return what ended them.

    Parameters
    ----------
    run, iterations, control, preview_rate
        As for :func:`iterate`.
    begun : float
        When the run began, by :func:`time.perf_counter`.
    track : Track
        Iterations are numbered after those that it has, and added to it.
    """
    ending = _Ending(run.config, run.analysis.expected_excess, begun, run.fit.smoothing)
    clock = _PreviewClock(preview_rate)
    floor, total = run.analysis.floor, len(track.losses) + iterations
    for step in run.fit.run(iterations):
        # The fit knows the excess alone: the floor is the same for every image.
        track.losses.append(step.excess + floor)
        track.computing += step.seconds
        track.made += 1
        rate = track.made / track.computing
        yield StepDone(len(track.losses), total, track.losses[-1], floor, rate)
        if clock.is_due():
            yield _show(run, step.iteration)
        # Between two iterations network and optimizer are whole: a run holds, ends and goes on
        # here, and nowhere else.
        if control.paused:
            control.wait_while_paused()
        control.raise_if_discarded()
        reason = "stopped" if control.stopped else ending.reason(step.excess, step.seconds)
        if reason:
            return reason
    return "iterations"


def _show(run: RunState, iteration: int) -> Preview:
    """Return what the network explains by now: of a volume, the plane that is looked at."""
    prepared, index = run.prepared, run.look_at
    if len(prepared.shape) == 2:
        image = run.fit.image
        assert image is not None
        return Preview(iteration, prepared.add_color(image), run.frame or None, fitted=True)
    plane = prepared.take(index).add_color(run.fit.show_plane(index[-1]))
    return Preview(iteration, plane, run.frame + index, fitted=True)


def take_image(run: RunState, control: Control) -> Generator[PlanesDone, None, Floats]:
    """Return the image of a fit, with its structure given back."""

    def work() -> Floats:
        with stage("network", run.prepared.plane_count):
            image = run.fit.image
        assert image is not None
        # Without noise all that the network misses would be given back, and no network have run;
        # in restored sources there is none.
        noisy = any(run.analysis.noise) and run.analysis.restored is None
        if not (run.config.denoising.give_back and noisy):
            return image
        with stage("structure", run.prepared.plane_count):
            return run.analysis.restore_structure(image)

    return (yield from observe(work, control.watch_discarding, run.prepared.plane_count))


def _finish(
    run: RunState, track: Track, reason: str, seconds: dict[str, float], control: Control
) -> Generator[PlanesDone, None, FusionResult]:
    """Return the result of the iterations so far."""
    start = time.perf_counter()
    fused = yield from take_image(run, control)
    fitting = seconds.get("fit", 0.0) + track.computing + time.perf_counter() - start
    # A run that is not continued has no more use for what it gives out.
    findings = Findings.copy if run.keep_state else Findings.take

    def work() -> FusionResult:
        return complete(
            fused,
            run.prepared,
            run.config,
            run.scoring,
            seconds={**seconds, "fit": fitting},
            stop_reason=reason,
            findings=findings(run.analysis),
            run=run,
            losses=np.array(track.losses),
        )

    return (yield from observe(work, control.watch_discarding, run.prepared.plane_count))


class _Ending:
    """The rules of a run's settings that say whether it has reached its end."""

    def __init__(self, config: FusionConfig, noise: float, start: float, smoothing: int) -> None:
        self._config = config
        self._mean = RunningMean(smoothing)
        self._plateau = Plateau(config.fit.patience, config.fit.min_improvement)
        self._noise = Discrepancy(noise)
        self._start = start

    def reason(self, excess: float, seconds: float) -> str | None:
        """Return the rule that ends the run, None while it goes on.

        Parameters
        ----------
        excess : float
            Of the iteration that was just made.
        seconds : float
            Time that it took: the next one would take as long.
        """
        # A batch of crops tells of a few planes only: one of empty ones must not end the run.
        excess = self._mean.update(excess)
        budget = self._config.fit.time_budget
        if budget and time.perf_counter() - self._start + seconds > budget:
            return "time"
        if self._config.fit.stop == "iterations":
            return None
        if self._config.fit.stop == "noise" and self._noise.update(excess):
            return "noise"
        return "plateau" if self._plateau.update(excess) else None


class _PreviewClock:
    """A clock that says when the next preview is due: the first at once, and none at rate 0."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate > 0 else float("inf")
        self._last = float("-inf") if rate > 0 else time.perf_counter()

    def is_due(self) -> bool:
        """Tell whether a preview is due now; if so, the next one is an interval later."""
        now = time.perf_counter()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True
