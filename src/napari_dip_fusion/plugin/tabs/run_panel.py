"""The buttons that start and steer a fusion, and what is seen of it."""

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from psygnal import Signal
from qtpy.QtWidgets import QSpinBox

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Decided, Done, FusionResult, GainsReady
from napari_dip_fusion.fusion.events import FrameFailed, PlanesDone
from napari_dip_fusion.fusion.result import ENDINGS
from napari_dip_fusion.fusion.timing import format_seconds
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.forms.primary import mark_primary
from napari_dip_fusion.plugin.forms.question import ask
from napari_dip_fusion.plugin.layers.restored_layers import list_partly_seen, list_restored
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed, Progress, RunEvent
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.plugin.running.teller import describe_stage
from napari_dip_fusion.plugin.tabs.block_progress import (
    DashboardButton,
    describe_beginning,
    describe_block,
    describe_result,
)
from napari_dip_fusion.plugin.tabs.loss_plot import LossPlot
from napari_dip_fusion.plugin.tabs.run_progress import RunProgress, StageClock

_GAINS_TIP = (
    "Add the sensor gain of each source at each pixel, and the consensus image that the fusion "
    "aims at, at once."
)


class RunPanel(Container[Widget]):
    """Fuse, gain maps, stop, pause, discard, continue; progress and loss.

    Emits ``fuse_wanted``, ``network_wanted``, ``gains_wanted``, ``restored_wanted`` and
    ``coverage_wanted`` when these buttons are pressed; the other buttons act on the session.

    Parameters
    ----------
    session : FusionSession
    theme : str
        Name of a napari theme, for the plot.
    """

    fuse_wanted = Signal()
    network_wanted = Signal()
    gains_wanted = Signal()
    restored_wanted = Signal()
    coverage_wanted = Signal()

    def __init__(self, session: FusionSession, theme: str) -> None:
        super().__init__(labels=False)
        self._session = session
        self._ready = self._gains_ready = self._paused = self._network = False
        self._notes: list[str] = []
        self._clock = StageClock()
        self._theme = theme
        self._plot: LossPlot | None = None
        self._build_buttons()
        self._build_rest()
        session.phase_changed.connect(self._show_phase)
        session.reported.connect(self.report)
        session.noted.connect(self._add_note)
        self._show_phase()

    @property
    def plot(self) -> LossPlot:
        """The plot of the loss; made for the first run, since it takes a while."""
        if self._plot is None:
            self._plot = LossPlot(self._theme)
            self.append(NativeWidget(self._plot))
            # A run without iterations has nothing to plot.
            self._plot.hide()
        return self._plot

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        self._theme = name
        if self._plot is not None:
            self._plot.set_theme(name)

    def set_ready(self, fuse: bool, gains: bool, line: str, *, resumes: bool = False) -> None:
        """Say whether fusion and gain maps can start, and what they need or why they cannot.

        Parameters
        ----------
        fuse, gains : bool
        line : str
        resumes : bool
            Whether a fusion goes on with one that was not finished.
        """
        self._ready, self._gains_ready = fuse, gains
        self.need.value = line
        self.fuse_button.text = "Resume" if resumes else "Fuse"
        self._show_phase()

    def explain_gains(self, problem: str) -> None:
        """Say in a tooltip what the gain maps are, or why there can be none."""
        self.gains_button.tooltip = problem or _GAINS_TIP

    def show_gains_progress(self, computing: bool) -> None:
        """Let the button of the gain maps stop them while they are computed."""
        self.gains_button.text = "Stop gain maps" if computing else "Gain maps"

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

    def report(self, event: RunEvent) -> None:
        """Show an event of the run."""
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, Decided):
            self._show_decision(event)
        elif isinstance(event, PlanesDone):
            self._show_planes(event)
        elif isinstance(event, FrameFailed):
            index = ", ".join(map(str, event.index))
            self._add_note(f"frame {index} failed, and stays black: {event.message}")
        elif isinstance(event, GainsReady):
            self.speed.value = "building the network" if self._network else "scoring"
        elif isinstance(event, BlocksBegun):
            self.speed.value = describe_beginning(event)
            self.dashboard_button.set_address(event.dashboard)
        elif isinstance(event, BlockDone):
            self._show_block(event)
        elif isinstance(event, Done | BlocksDone | Failed | Discarded):
            self._show_end(event)

    # -- building -----------------------------------------------------------

    def _build_buttons(self) -> None:
        self.gains_button = PushButton(
            text="Gain maps",
            tooltip=_GAINS_TIP,
        )
        self.fuse_button = PushButton(
            text="Fuse", tooltip="Fuse the ticked layers; the result is a new layer."
        )
        self.stop_button = PushButton(
            text="Stop and keep", tooltip="End the run and keep its best image."
        )
        self.pause_button = PushButton(text="Pause", tooltip="Hold the run, or let it go on.")
        self.discard_button = PushButton(
            text="Discard", tooltip="End the run and remove its layer."
        )
        self.continue_button = PushButton(
            text="Continue for", tooltip="Go on with the last run, from where it stopped."
        )
        # Not magicgui's spin box, whose number can have no unit behind it.
        self.more = QSpinBox()
        most = int(FusionConfig.describe("iterations").maximum or 0)
        self.more.setRange(1, most)
        self.more.setValue(100)
        self.more.setSuffix(" iterations")
        self.more.valueChanged.connect(self._name_more)
        self.more.setToolTip(f"Iterations to add to the last run, to {most:,} in all.")
        self.network_button = PushButton(
            text="Run the network anyway",
            tooltip="Fuse once more, with the network's own image as the result: no noise was "
            "found, so that it can only come near the consensus image that is shown.",
        )
        self.restored_button = PushButton(
            text="Restored sources",
            tooltip="Add each source that the last run restored, as it then was, in its own units.",
        )
        self.coverage_button = PushButton(
            text="Coverage",
            tooltip="Add labels that are 1 where a source of the last run saw something, for each "
            "that did not see all.",
        )
        mark_primary(self.fuse_button)
        self.dashboard_button = DashboardButton()
        self.start_row = make_row(self.gains_button, self.fuse_button)
        self.run_row = make_row(self.stop_button, self.pause_button, self.discard_button)
        self.continue_row = make_row(self.continue_button, NativeWidget(self.more))
        self.layers_row = make_row(self.restored_button, self.coverage_button)
        self.restored_button.changed.connect(self._want_restored)
        self.coverage_button.changed.connect(self._want_coverage)
        self.fuse_button.changed.connect(self._want_fusion)
        self.gains_button.changed.connect(self._want_gains)
        self.network_button.changed.connect(self._want_network)
        self.stop_button.changed.connect(self._session.stop)
        self.pause_button.changed.connect(self._session.toggle_pause)
        self.discard_button.changed.connect(self._discard)
        self.continue_button.changed.connect(self._continue)

    def _build_rest(self) -> None:
        self.need = Text(
            tooltip="Time, if the run does not end sooner, and memory, of what is free on the "
            "device."
        )
        self.message = Text()
        self.speed = Text()
        self.progress = RunProgress(self._session)
        self.margins = (0, 0, 0, 0)
        self.extend(
            [
                self.need,
                self.start_row,
                self.progress,
                self.speed,
                self.run_row,
                self.dashboard_button,
                self.message,
                self.network_button,
                self.continue_row,
                self.layers_row,
            ]
        )
        self.message.hide()

    # -- showing ------------------------------------------------------------

    def _show_phase(self) -> None:
        phase = self._session.phase
        idle = phase is Phase.IDLE
        self.start_row.visible = idle
        self.need.visible = idle and bool(self.need.value)
        self.fuse_button.enabled = idle and self._ready
        self.gains_button.enabled = idle and self._gains_ready
        # Either the buttons that start a run, or those that steer one: never both.
        for part in (self.run_row, self.progress, self.speed):
            part.visible = not idle
        if idle:
            # The cluster goes with its run.
            self.dashboard_button.set_address("")
        self.run_row.enabled = phase in (Phase.RUNNING, Phase.PAUSED)
        self.pause_button.text = "Resume" if phase is Phase.PAUSED else "Pause"
        # Fuse, or what one is most likely to want of a run: one button stands out at a time.
        mark_primary(self.stop_button, phase is not Phase.PAUSED)
        mark_primary(self.pause_button, phase is Phase.PAUSED)
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
        self.continue_row.visible = self._session.can_continue
        self._show_layer_buttons(self._session.result if idle else None)
        self.network_button.visible = idle and self._ends_exact()
        self.network_button.enabled = self._ready

    def _show_layer_buttons(self, result: FusionResult | None) -> None:
        """Offer the layers that the last run has made beside its fused one."""
        restored = bool(result and list_restored(result))
        partly_seen = bool(result and list_partly_seen(result))
        self.restored_button.visible = restored
        self.coverage_button.visible = partly_seen
        self.layers_row.visible = restored or partly_seen

    def _show_decision(self, event: Decided) -> None:
        self._network = event.network
        if event.restored:
            self.speed.value = "restoring the sources"
            for line in event.restored:
                self._add_note(f"Restored: {line}")
        else:
            self.speed.value = "removing the noise" if event.noisy else "estimating the gains"

    def _show_progress(self, event: Progress) -> None:
        # Painted once, not at each change: a paint makes Qt compose the whole window.
        self.native.setUpdatesEnabled(False)
        try:
            self._show_steps(event)
        finally:
            self.native.setUpdatesEnabled(True)

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
        self._show_phase()

    def _add_note(self, text: str) -> None:
        # Dragging a layer, or typing a name, would repeat the same note many times.
        if text not in self._notes:
            self._notes.append(text)
            self.message.say("\n".join(self._notes))

    def _ends_exact(self) -> bool:
        """Tell whether the last run ended without a network, since none could change its image."""
        result = self._session.result
        return result is not None and result.stop_reason == "exact"

    # -- buttons ------------------------------------------------------------

    def _want_fusion(self) -> None:
        self.fuse_wanted.emit()

    def _want_network(self) -> None:
        self.network_wanted.emit()

    def _discard(self) -> None:
        """Throw the run away; where it has written something, only if that is meant."""
        blocks = self._session.blocks
        if blocks is not None and not ask(
            self.native,
            f"Throw the fusion away, and remove what is done of it, {blocks.choice.folder}?",
        ):
            return
        self._session.discard()

    def _want_gains(self) -> None:
        self.gains_wanted.emit()

    def _want_restored(self) -> None:
        self.restored_wanted.emit()

    def _want_coverage(self) -> None:
        self.coverage_wanted.emit()

    def _name_more(self, count: int) -> None:
        self.more.setSuffix(_count_iterations(count).removeprefix(str(count)))

    def _continue(self) -> None:
        result = self._session.result
        # The bar counts on from the iterations that were made.
        made = 0 if result is None else len(result.losses)
        try:
            self._session.continue_for(self.more.value())
        except ValueError as error:
            self.message.say(str(error))
            return
        self.begin(made + self.more.value(), afresh=False)


def _describe_end(event: Done) -> str:
    result = event.result
    seconds = result.record["seconds"]["total"]
    why = ENDINGS.get(result.stop_reason, result.stop_reason)
    if not len(result.losses):
        return f"Done in {format_seconds(seconds)} ({why})."
    return f"Done: {_count_iterations(len(result.losses))} in {format_seconds(seconds)} ({why})."


def _count_iterations(count: int) -> str:
    return f"{count} iteration" if count == 1 else f"{count} iterations"


def _format_rate(rate: float) -> str:
    return f"{rate:.1f} iterations/s" if rate >= 1 else f"{1 / rate:.1f} s/iteration"
