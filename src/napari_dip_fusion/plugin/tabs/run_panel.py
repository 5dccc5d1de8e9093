"""The buttons that start and steer a fusion, and what is seen of it."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QSpinBox, QVBoxLayout, QWidget

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Done, GainsReady
from napari_dip_fusion.fusion.timing import readable_seconds
from napari_dip_fusion.plugin.forms.rows import button, label, row
from napari_dip_fusion.plugin.running.activity import ActivityBar
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed, Progress, RunEvent
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.plugin.tabs.loss_plot import LossPlot

ENDINGS = {
    "iterations": "all iterations were made",
    "noise": "what is left is noise",
    "clean": "no noise: the rest is given back",
    "plateau": "the excess no longer falls",
    "time": "its time was used up",
    "stopped": "stopped, and the best image kept",
}
"""How a run ended, by :attr:`FusionResult.stop_reason`."""


class RunPanel(QWidget):
    """Fuse, gain maps, stop, pause, discard, continue; progress and loss.

    Emits ``fuse_wanted`` and ``gains_wanted`` when these buttons are pressed;
    the other buttons act on the session.

    Parameters
    ----------
    session : FusionSession
    theme : str
        Name of a napari theme, for the plot.
    """

    fuse_wanted = Signal()
    gains_wanted = Signal()

    def __init__(self, session: FusionSession, theme: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._ready = self._gains_ready = False
        self._notes: list[str] = []
        self._bar: ActivityBar | None = None
        self._build(theme)
        session.phase_changed.connect(self._show_phase)
        session.reported.connect(self.report)
        session.noted.connect(self._add_note)
        self._show_phase()

    def set_ready(self, fuse: bool, gains: bool, line: str) -> None:
        """Say whether fusion and gain maps can start, and what they need or why they cannot."""
        self._ready, self._gains_ready = fuse, gains
        self.need.setText(line)
        self._show_phase()

    def show_message(self, text: str) -> None:
        """Show how the last run ended, or what hinders the next."""
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def begin(self, iterations: int, *, afresh: bool) -> None:
        """Get ready to show a run of so many iterations."""
        self._notes = []
        self.show_message("")
        if afresh:
            self.plot.clear_data()
        # Not (0, 0): a bar that moves to and fro paints the window all the time.
        self.progress.setRange(0, iterations)
        self.progress.reset()
        self.progress.setFormat("")
        self.speed.setText("preparing")
        self._close_bar()
        self._bar = ActivityBar(iterations, self._session.stop, self)
        # napari lets Qt work while it makes the bar: a short run may have ended by now.
        if self._session.phase is Phase.IDLE:
            self._close_bar()

    def report(self, event: RunEvent) -> None:
        """Show an event of the run."""
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, GainsReady):
            self.speed.setText("building the network")
        elif isinstance(event, Done | Failed | Discarded):
            self._show_end(event)

    def close_bar(self) -> None:
        """Remove the bar from napari's activity area."""
        self._close_bar()

    # -- building -----------------------------------------------------------

    def _build(self, theme: str) -> None:
        self.gains_button = button(
            "Gain maps",
            "Add one layer for the gain of each source, and the consensus image T: what "
            "the fusion aims at, at once.",
        )
        self.fuse_button = button("Fuse", "Fuse the ticked layers; the result is a new layer.")
        self.stop_button = button("Stop and keep", "End the run and keep its best image.")
        self.pause_button = button("Pause", "Hold the run, or let it go on.")
        self.discard_button = button("Discard", "End the run and remove its layer.")
        self.continue_button = button(
            "Continue for", "Go on with the last run, from where it stopped."
        )
        self.more = QSpinBox()
        most = int(FusionConfig.describe("iterations").maximum or 0)
        self.more.setRange(1, most)
        self.more.setValue(100)
        self.more.setSuffix(" iterations")
        self.more.setToolTip(f"Iterations to add to the last run, to {most:,} in all.")
        self.need = label()
        self.need.setToolTip(
            "Time, if the run does not end sooner, and memory, of what is free on the device."
        )
        self.message = label()
        self.speed = label()
        self.progress = QProgressBar()
        self.plot = LossPlot(theme)
        self.start_row = row(self.gains_button, self.fuse_button)
        self.run_row = row(self.stop_button, self.pause_button, self.discard_button)
        self.continue_row = row(self.continue_button, self.more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            self.need,
            self.start_row,
            self.progress,
            self.speed,
            self.run_row,
            self.message,
            self.continue_row,
            self.plot,
        ):
            layout.addWidget(part)
        self.plot.hide()
        self.message.hide()
        self._connect()

    def _connect(self) -> None:
        self.fuse_button.clicked.connect(self.fuse_wanted)
        self.gains_button.clicked.connect(self.gains_wanted)
        self.stop_button.clicked.connect(self._session.stop)
        self.pause_button.clicked.connect(self._session.toggle_pause)
        self.discard_button.clicked.connect(self._session.discard)
        self.continue_button.clicked.connect(self._continue)

    # -- showing ------------------------------------------------------------

    def _show_phase(self) -> None:
        phase = self._session.phase
        idle = phase is Phase.IDLE
        self.start_row.setVisible(idle)
        self.need.setVisible(idle and bool(self.need.text()))
        self.fuse_button.setEnabled(idle and self._ready)
        self.gains_button.setEnabled(idle and self._gains_ready)
        for part in (self.run_row, self.progress, self.speed):
            part.setVisible(not idle)
        self.run_row.setEnabled(phase in (Phase.RUNNING, Phase.PAUSED))
        self.pause_button.setText("Resume" if phase is Phase.PAUSED else "Pause")
        if phase is Phase.PAUSED:
            self.speed.setText("paused; Resume goes on from here")
        elif phase is Phase.ENDING:
            self.speed.setText("ending after this iteration")
        self.continue_row.setVisible(self._session.can_continue)
        if not idle:
            self.plot.show()

    def _show_progress(self, event: Progress) -> None:
        # Painted once, not at each change: a paint makes Qt compose the whole window.
        self.setUpdatesEnabled(False)
        try:
            self._show_steps(event)
        finally:
            self.setUpdatesEnabled(True)

    def _show_steps(self, event: Progress) -> None:
        last = event.last
        self.progress.setRange(0, last.iterations)
        self.progress.setValue(last.iteration)
        self.progress.setFormat(f"{last.iteration} / {last.iterations}")
        if self._session.phase is Phase.RUNNING:
            left = readable_seconds(last.remaining)
            self.speed.setText(f"{_rate(last.rate)}, {left} left, excess {last.excess:.2g}")
        self.plot.add([s.iteration for s in event.steps], [s.loss for s in event.steps], last.floor)
        if self._bar is not None:
            self._bar.show(last.iteration)

    def _show_end(self, event: Done | Failed | Discarded) -> None:
        self._close_bar()
        if isinstance(event, Done):
            text = _ending(event)
            self.plot.setVisible(len(event.result.losses) > 0)
        elif isinstance(event, Failed):
            kept = ".\nThe best image so far was kept." if event.result is not None else ""
            text = f"The fusion failed: {event.message}{kept}"
        else:
            text = "Discarded."
            self.plot.hide()
        self.show_message("\n".join([text, *self._notes]))
        self._show_phase()

    def _add_note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            self.show_message("\n".join(self._notes))

    def _continue(self) -> None:
        result = self._session.result
        made = 0 if result is None else len(result.losses)
        try:
            self._session.continue_for(self.more.value())
        except ValueError as error:
            self.show_message(str(error))
            return
        self.begin(made + self.more.value(), afresh=False)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _ending(event: Done) -> str:
    result = event.result
    seconds = result.record["seconds"]["total"]
    if not len(result.losses):
        return f"Done in {readable_seconds(seconds)}, without iterations."
    return (
        f"Done: {len(result.losses)} iterations in {readable_seconds(seconds)} "
        f"({ENDINGS.get(result.stop_reason, result.stop_reason)})."
    )


def _rate(rate: float) -> str:
    return f"{rate:.1f} iterations/s" if rate >= 1 else f"{1 / rate:.1f} s/iteration"
