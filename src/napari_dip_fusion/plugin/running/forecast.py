"""How long the next run would take, estimated in a worker thread."""

from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Control
from napari_dip_fusion.fusion.decision import may_run_network
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.fusion.timing import (
    Estimate,
    estimate_run,
    format_bytes,
)
from napari_dip_fusion.plugin.running.active_runs import has_active_run
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.prior.devices import measure_free_memory, resolve_device, torch_is_imported

DELAY = 500
"""Milliseconds for which settings must stay as they are before they are tried."""

Question = tuple[FusionConfig, tuple[int, ...], int, tuple[float, ...], bool]
"""Settings, size of the images, number of sources, distance of neighbors along each axis, and
whether a source lost resolution or sharpness."""


class Forecast(QObject):
    """Estimates one run after the other, and remembers what came of it.

    Emits ``changed`` when the estimate that was asked for last is known. An
    estimate that nobody asks for any more, or that would slow a run down, is
    given up.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._tasks = Tasks(self)
        self._asked: Question | None = None
        self._control: Control | None = None
        # None for runs that cannot be tried: the run itself says why.
        self._known: dict[Question, Estimate | None] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._timer.timeout.connect(self._start)

    def ask(
        self,
        config: FusionConfig,
        shape: tuple[int, ...],
        count: int,
        steps: tuple[float, ...] = (1.0, 1.0),
        *,
        degraded: bool = False,
    ) -> Estimate | None:
        """Return the estimate of a run if it is known; otherwise it will be."""
        question = (config, shape, count, steps, degraded)
        if question != self._asked:
            self.hold()
            self._asked = question
        if question not in self._known:
            self._timer.start()
        return self._known.get(question)

    def hold(self) -> None:
        """Estimate nothing until the next question."""
        self._timer.stop()
        self._give_up()

    def close(self) -> None:
        """End the estimate that goes on, and receive nothing any more."""
        # The timer stays as it is: when the program exits, the Qt part may be gone already.
        # Without a question it starts nothing.
        self._give_up()
        self._tasks.close()

    def _give_up(self) -> None:
        self._asked = None
        if self._control is not None:
            self._control.stop()

    def _start(self) -> None:
        if self._asked is None or self._asked in self._known:
            return
        # The import would freeze the window, and a run would make every time too long.
        if not torch_is_imported() or has_active_run():
            return
        if self._control is not None:
            # One that was given up has not returned yet: two at once would measure each other.
            self._timer.start()
            return
        self._control = control = Control()
        config, shape, count, steps, degraded = self._asked
        call = partial(
            estimate_run, config, shape, count, degraded=degraded, steps=steps, control=control
        )
        self._tasks.start(call, Forecast._receive, self._asked, control, control=control)

    def _receive(self, question: Question, control: Control, found: Estimate | Failed) -> None:
        self._control = None
        if control.stopped:
            return
        # What cannot be tried now will not be tried again and again.
        self._known[question] = None if isinstance(found, Failed) else found
        if question == self._asked:
            self.changed.emit()


def describe_need(plan: Plan, expected: Estimate | None) -> str:
    """Say what a fusion needs, and warn if there is less memory.

    Parameters
    ----------
    plan : Plan
    expected : Estimate or None
        None as long as the time is not known.
    """
    # Only a network may run on a GPU.
    network = may_run_network(plan.config) and torch_is_imported()
    device = resolve_device(plan.config.compute.device) if network else "cpu"
    needed = estimate_memory(plan.config, plan.shape, len(plan.readers), steps=plan.steps)
    free = measure_free_memory(device)
    time = "" if expected is None else f"{expected.time}, "
    # One line at the widget's least width, so that nothing moves when the time is known.
    line = f"About {time}{format_bytes(needed)} of {format_bytes(free)} on {device}"
    if needed <= free:
        return line
    less = "this plane, a smaller width" if plan.whole else "a smaller width"
    return f"\N{WARNING SIGN} {line}: choose {less}, or smaller images"
