"""What is seen of a run: how far it is, its loss, and what became of it."""

from collections.abc import Callable

from magicgui.widgets.bases import Widget
from qtpy.QtWidgets import QWidget

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone
from napari_dip_fusion.fusion import Decided, Done, GainsReady
from napari_dip_fusion.fusion.events import FrameFailed, PlanesDone
from napari_dip_fusion.fusion.result import ENDINGS
from napari_dip_fusion.fusion.timing import format_seconds
from napari_dip_fusion.plugin.forms.layout import Text
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed, Progress, RunEvent
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.plugin.running.teller import describe_stage
from napari_dip_fusion.plugin.tabs.block_progress import (
    describe_beginning,
    describe_block,
    describe_result,
)
from napari_dip_fusion.plugin.tabs.loss_plot import LossPlot
from napari_dip_fusion.plugin.tabs.run_progress import RunProgress, StageClock


class RunReport:
    """Shows the events of a run in parts that a panel arranges.

    Parameters
    ----------
    session : FusionSession
    theme : str
        Name of a napari theme, for the plot.
    window : QWidget
        In which the parts are.
    append : callable
        Takes the plot once there is one.

    Attributes
    ----------
    progress : RunProgress
    speed : Text
        What goes on now, and how fast.
    message : Text
        What became of the run, and what is to be said of it.
    """

    def __init__(
        self,
        session: FusionSession,
        theme: str,
        window: QWidget,
        append: Callable[[Widget], None],
    ) -> None:
        self._session, self._theme, self._window, self._append = session, theme, window, append
        self.progress = RunProgress(session)
        self.speed = Text()
        self.message = Text()
        self._paused = self._network = False
        self._notes: list[str] = []
        self._clock = StageClock()
        self._plot: LossPlot | None = None

    @property
    def plot(self) -> LossPlot:
        """The plot of the loss; made for the first run, since it takes a while."""
        if self._plot is None:
            self._plot = LossPlot(self._theme)
            self._append(NativeWidget(self._plot))
            # A run without iterations has nothing to plot.
            self._plot.hide()
        return self._plot

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        self._theme = name
        if self._plot is not None:
            self._plot.set_theme(name)

    def begin(self, iterations: int, *, afresh: bool) -> None:
        """Get ready to show a run of so many iterations."""
        self._notes = []
        self.message.say("")
        # A continuation goes on with the old curve.
        if afresh and self._plot is not None:
            self._plot.clear_data()
            self._plot.hide()
        self.speed.value = "preparing"
        self.progress.begin(iterations)

    def show(self, event: RunEvent) -> None:
        """Show an event of the run."""
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, Decided):
            self._show_decision(event)
        elif isinstance(event, PlanesDone):
            self._show_planes(event)
        elif isinstance(event, FrameFailed):
            index = ", ".join(map(str, event.index))
            self.add_note(f"frame {index} failed, and stays black: {event.message}")
        elif isinstance(event, GainsReady):
            self.speed.value = "building the network" if self._network else "scoring"
        elif isinstance(event, BlocksBegun):
            self.speed.value = describe_beginning(event)
        elif isinstance(event, BlockDone):
            self._show_block(event)
        elif isinstance(event, Done | BlocksDone | Failed | Discarded):
            self._show_end(event)

    def add_note(self, text: str) -> None:
        """Say something of the run, once."""
        # Dragging a layer, or typing a name, would repeat the same note many times.
        if text not in self._notes:
            self._notes.append(text)
            self.message.say("\n".join(self._notes))

    def show_phase(self) -> None:
        """Say what was asked of the run, until it reports again."""
        phase = self._session.phase
        if phase is Phase.PAUSED:
            self.speed.value = "paused; Resume goes on from here"
        elif phase is Phase.ENDING:
            part_of_run = "iteration" if self._session.blocks is None else "block"
            self.speed.value = f"ending after this {part_of_run}"
        elif self._paused:
            # Until the next report, which may be seconds away.
            self.speed.value = "going on"
        if self._paused != (phase is Phase.PAUSED):
            # A pause says nothing of the time that is left.
            self._clock.restart()
        self._paused = phase is Phase.PAUSED

    def _show_decision(self, event: Decided) -> None:
        self._network = event.network
        if event.restored:
            self.speed.value = "restoring the sources"
            for line in event.restored:
                self.add_note(f"Restored: {line}")
        else:
            self.speed.value = "removing the noise" if event.noisy else "estimating the gains"

    def _show_progress(self, event: Progress) -> None:
        # Painted once, not at each change: a paint makes Qt compose the whole window.
        self._window.setUpdatesEnabled(False)
        try:
            self._show_steps(event)
        finally:
            self._window.setUpdatesEnabled(True)

    def _show_steps(self, event: Progress) -> None:
        last = event.last
        text = f"{last.iteration} / {last.iterations}"
        self.progress.show_step(last.iteration, last.iterations, text)
        # A report may arrive after Pause was pressed, whose line stays.
        if self._session.phase is Phase.RUNNING:
            left = format_seconds(last.remaining)
            # Of a restoration the loss has no floor that it could come near.
            found = f"excess {last.excess:.2g}" if last.floor else f"loss {last.loss:.2g}"
            self.speed.value = f"{_format_rate(last.rate)}, {left} left, {found}"
        self.plot.show()
        self.plot.add([s.iteration for s in event.steps], [s.loss for s in event.steps], last.floor)

    def _show_planes(self, event: PlanesDone) -> None:
        left = self._clock.estimate(event.stage, event.done, event.total)
        # Planes are no iterations: a bar of them starts anew with each stage.
        parts = "planes" if self._session.blocks is None else "blocks"
        text = describe_stage(event.stage, event.done, event.total, parts)
        if event.total == 1:
            # Nothing that could be counted.
            text = event.stage
        if left is not None and left >= 1:
            text += f", {format_seconds(left)} left"
        self.progress.show_part(event.done / max(event.total, 1), text)

    def _show_block(self, event: BlockDone) -> None:
        text = describe_block(event)
        # A report may arrive after Pause was pressed, whose line stays.
        if self._session.phase is Phase.RUNNING:
            self.speed.value = text
        # Last: napari lets Qt work while it moves its bar, and the next block may be there.
        count = f"{event.done} / {event.total}"
        self.progress.show_step(event.done, event.total, count, told=text)

    def _show_end(self, event: Done | BlocksDone | Failed | Discarded) -> None:
        self.progress.close_activity()
        if isinstance(event, Done):
            text = _describe_end(event)
        elif isinstance(event, BlocksDone):
            text = describe_result(event.result)
        elif isinstance(event, Failed):
            kept = ".\nThe best image so far was kept." if event.result is not None else ""
            text = f"The fusion failed: {event.message}{kept}"
        else:
            text = event.message or "Discarded."
            if self._plot is not None:
                self._plot.hide()
        self.message.say("\n".join([text, *self._notes]))


def _describe_end(event: Done) -> str:
    result = event.result
    seconds = result.record["seconds"]["total"]
    why = ENDINGS.get(result.stop_reason, result.stop_reason)
    if not len(result.losses):
        return f"Done in {format_seconds(seconds)} ({why})."
    return f"Done: {count_iterations(len(result.losses))} in {format_seconds(seconds)} ({why})."


def count_iterations(count: int) -> str:
    """Return a number of iterations in words."""
    return f"{count} iteration" if count == 1 else f"{count} iterations"


def _format_rate(rate: float) -> str:
    return f"{rate:.1f} iterations/s" if rate >= 1 else f"{1 / rate:.1f} s/iteration"
