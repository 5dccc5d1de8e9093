"""The buttons that start and steer a fusion, and what is seen of it."""

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from psygnal import Signal
from qtpy.QtWidgets import QSpinBox

from napari_dip_fusion.blocks import BlocksBegun, BlocksDone
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Done, FusionResult
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.forms.primary import mark_primary
from napari_dip_fusion.plugin.forms.question import ask
from napari_dip_fusion.plugin.layers.restored_layers import list_partly_seen, list_restored
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed, RunEvent
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.plugin.tabs.block_progress import (
    DashboardButton,
)
from napari_dip_fusion.plugin.tabs.loss_plot import LossPlot
from napari_dip_fusion.plugin.tabs.run_report import RunReport, count_iterations

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
        self._ready = self._gains_ready = False
        self._report = RunReport(session, theme, self.native, self.append)
        self.progress, self.speed, self.message = (
            self._report.progress,
            self._report.speed,
            self._report.message,
        )
        self._build_buttons()
        self._build_rest()
        session.phase_changed.connect(self._show_phase)
        session.reported.connect(self.report)
        session.noted.connect(self._report.add_note)
        self._show_phase()

    @property
    def plot(self) -> LossPlot:
        """The plot of the loss."""
        return self._report.plot

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        self._report.set_theme(name)

    def begin(self, iterations: int, *, afresh: bool) -> None:
        """Get ready to show a run of so many iterations."""
        self._report.begin(iterations, afresh=afresh)

    def report(self, event: RunEvent) -> None:
        """Show an event of the run."""
        self._report.show(event)
        if isinstance(event, BlocksBegun):
            self.dashboard_button.set_address(event.dashboard)
        elif isinstance(event, Done | BlocksDone | Failed | Discarded):
            self._show_phase()

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
        self._report.show_phase()
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
        self.more.setSuffix(count_iterations(count).removeprefix(str(count)))

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
