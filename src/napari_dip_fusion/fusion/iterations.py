"""The loop of a fit: its progress, its previews, and the rule that ends it."""

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Done, Event, Preview, StepDone
from napari_dip_fusion.fusion.result import FusionResult, RunState, complete
from napari_dip_fusion.prior.stopping import Discrepancy, Plateau

Losses = NDArray[np.float64]

_NO_LOSSES: Losses = np.empty(0)


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
    losses = list(losses_before)
    total = len(losses) + iterations
    reason: str | None = None
    computing = 0.0
    # The time budget counts what came before: preparation, gains, earlier iterations.
    begun = time.perf_counter() - sum(seconds.values())
    ending = _Ending(run.config, run.analysis.expected_excess, begun)
    clock = _PreviewClock(preview_rate)
    floor = run.analysis.floor
    try:
        for step in run.fit.run(iterations):
            # The fit knows the excess alone: the floor is the same for every image.
            losses.append(step.excess + floor)
            computing += step.seconds
            rate = (len(losses) - len(losses_before)) / computing
            yield StepDone(step.iteration, total, losses[-1], floor, rate)
            if clock.is_due():
                assert run.fit.image is not None
                yield Preview(step.iteration, run.prepared.add_color(run.fit.image))
            # Between two iterations network and optimizer are whole: a run holds, ends and goes on
            # here, and nowhere else.
            if control.paused:
                control.wait_while_paused()
            control.raise_if_discarded()
            reason = "stopped" if control.stopped else ending.reason(step.excess, step.seconds)
            if reason:
                break
    except StoppedError:
        raise
    except FusionError as error:
        if run.fit.image is not None:
            error.result = _finish(run, losses, "failed", seconds, computing, control)
        raise
    yield Done(_finish(run, losses, reason or "iterations", seconds, computing, control))


def _finish(
    run: RunState,
    losses: list[float],
    reason: str,
    seconds: dict[str, float],
    computing: float,
    control: Control,
) -> FusionResult:
    """Return the result of the iterations so far, with its structure given back."""
    fused = run.fit.image
    assert fused is not None
    start = time.perf_counter()
    # Without noise all that the network misses would be given back, and no network have run.
    if run.config.denoising.give_back and any(run.analysis.noise):
        with control.watch_discarding():
            fused = run.analysis.restore_structure(fused)
    fitting = seconds.get("fit", 0.0) + computing + time.perf_counter() - start
    with control.watch_discarding():
        return complete(
            fused,
            run.prepared,
            run.config,
            run.scoring,
            seconds={**seconds, "fit": fitting},
            stop_reason=reason,
            analysis=run.analysis,
            run=run,
            losses=np.array(losses),
        )


class _Ending:
    """The rules of a run's settings that say whether it has reached its end."""

    def __init__(self, config: FusionConfig, noise: float, start: float) -> None:
        self._config = config
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
