"""The tab that runs several methods and shows them side by side."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt

from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.method_list import MethodList
from napari_dip_fusion.plugin.forms.metrics_choice import MetricsChoice
from napari_dip_fusion.plugin.forms.native_widget import make_line
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.forms.primary import mark_primary
from napari_dip_fusion.plugin.layers.plane_view import is_result_plane, show_plane
from napari_dip_fusion.plugin.running.comparison_run import (
    ComparisonEnded,
    MethodDone,
    MethodLeftOut,
    MethodProgress,
)
from napari_dip_fusion.plugin.running.comparison_session import ComparisonSession, MethodResult
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed
from napari_dip_fusion.plugin.running.scores import Values, score_images
from napari_dip_fusion.plugin.running.session import Phase
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.tabs.pair_view import PairView
from napari_dip_fusion.plugin.tabs.run_progress import RunProgress
from napari_dip_fusion.plugin.tabs.score_table import LEGEND, ScoreRow, ScoreTable

_STEPS = 100
"""Steps of the progress bar for each method."""


_COMPARE = (
    "Fuse the chosen layers by each ticked method; each result is a new layer. Intensity and "
    "computing are as set under Fuse."
)


class CompareTab(Container[Widget]):
    """Tick methods, run them, and compare their results.

    Parameters
    ----------
    viewer : napari.Viewer
    planner : Planner
        It takes plans of the chosen sources. Of the settings on the Fuse tab, those of
        intensity and computing hold for all methods, the others for "own settings" alone.
    """

    def __init__(self, viewer: Viewer, planner: Planner) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._planner = planner
        self._notes: list[str] = []
        self._tasks = Tasks(self)
        self._shown: list[MethodResult] = []
        self._names: tuple[str, ...] = ()
        self._total = 0
        self._sources_ok = False
        self.session = ComparisonSession(viewer)
        self.methods = MethodList()
        self.table = ScoreTable("Method", "comparison.csv")
        # Names of methods differ at their beginning, those of layers at both ends.
        self.table.table.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.pair = PairView(viewer, self._get_intensities, planner.sources.get_whole)
        self._build()
        self.methods.choice_changed.connect(self._show_phase)
        self.table.row_clicked.connect(self.show_result)
        self.session.phase_changed.connect(self._show_phase)
        self.session.reported.connect(self._report)
        self.session.noted.connect(self._add_note)
        self._show_phase()
        self.closers: tuple[Callable[[], None], ...] = (
            self._tasks.close,
            self.session.close,
            self.pair.close_subscriptions,
            self.progress.close_activity,
        )

    def compare(self) -> None:
        """Run the ticked methods on the chosen sources."""
        try:
            plan = self._planner.take(at_once=True)
            entries = self.methods.make_entries(plan.config)
            if not entries:
                raise ValueError("tick one method or more")
            self.session.start(plan, entries, self.all_metrics.get_names())
        except ValueError as error:
            self.message.say(str(error))
            return
        # The list of sources may change during the run; the table is about these.
        self._names, self._total, self._notes = plan.names, len(entries), []
        self._shown = []
        self.message.say("")
        self.table.show_rows([])
        self.table.status.say("")
        self.running.value = "preparing the sources"
        self.progress.begin(_STEPS * self._total)

    def show_result(self, index: int) -> None:
        """Show and select the layer of a row, in place of those of the other rows."""
        chosen = self._shown[index].layer
        if chosen is None:
            return
        # It would go on to show its own two layers.
        self.pair.flicker.stop()
        self._viewer.layers.selection.active = chosen
        # A slider may have moved away from the plane that was fused.
        if is_result_plane(chosen):
            show_plane(self._viewer, chosen)
        for result in self.session.results:
            if result.layer is not None:
                result.layer.visible = result.layer == chosen

    def update_ready(self, ok: bool, problem: str = "") -> None:
        """Take note of whether the chosen layers can be fused, and why they cannot be compared."""
        self._sources_ok = ok and not problem
        self.run_button.tooltip = problem or _COMPARE
        self._show_phase()

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        self.all_metrics = MetricsChoice()
        self.all_metrics.changed.connect(self._respond_to_metrics)
        self.run_button = PushButton(
            text="Compare",
            tooltip=_COMPARE,
        )
        self.run_button.changed.connect(self.compare)
        self.stop_button = PushButton(
            text="Stop", tooltip="Run no more methods; the results so far are kept."
        )
        self.stop_button.changed.connect(self.session.stop)
        # Only one of them can be pressed at a time.
        mark_primary(self.run_button)
        mark_primary(self.stop_button)
        self.progress = RunProgress(self.session)
        self.running = Text()
        self.message = Text()
        self.margins = (0, 0, 0, 0)
        self.extend(
            [
                self.methods,
                make_row(self.all_metrics, self.run_button),
                self.progress,
                make_row(self.running, self.stop_button, stretch=0),
                self.message,
                self.table,
                make_line(),
                self.pair,
            ]
        )
        self.message.hide()

    def _get_intensities(self) -> dict[Image, dict[str, Any]]:
        """Return how the chosen sources become [0, 1]."""
        # Without sources that fit, any two images can still be compared.
        try:
            plan = self._planner.take(at_once=True)
        except ValueError:
            return {}
        given, percentiles = plan.config.intensity, plan.config.percentiles
        modes = [given] * len(plan.layers) if isinstance(given, str) else given
        return {
            layer: {"intensity": mode, "percentiles": percentiles}
            for layer, mode in zip(plan.layers, modes, strict=True)
        }

    # -- showing --------------------------------------------------------------

    def _show_phase(self) -> None:
        phase = self.session.phase
        idle = phase is Phase.IDLE
        self.methods.enabled = idle
        self.all_metrics.enabled = idle
        self.run_button.enabled = idle and self._sources_ok and bool(self.methods.get_chosen())
        for part in (self.progress, self.running, self.stop_button):
            part.visible = not idle
        self.stop_button.enabled = phase is Phase.RUNNING
        if phase is Phase.ENDING:
            self.running.value = "ending as soon as this method can be left"

    def _report(self, event: Any) -> None:
        if isinstance(event, MethodProgress):
            self._show_progress(event)
        elif isinstance(event, MethodDone):
            self._show_results()
        elif isinstance(event, MethodLeftOut):
            self._add_note(f"{event.entry.label} left out: {event.reason}")
        elif isinstance(event, ComparisonEnded | Failed | Discarded):
            self._show_end(event)

    def _show_progress(self, event: MethodProgress) -> None:
        # One stage after the other begins at 0: the bar shall not go back.
        whole = 0 if event.stage else event.part
        value = round(_STEPS * (event.done + whole))
        self.progress.show_step(value, _STEPS * self._total, f"{event.done + 1} of {self._total}")
        if self.session.phase is Phase.RUNNING:
            # Methods that do not iterate have nothing to tell between start and end.
            part = f"{event.stage} {event.part:.0%}".strip() if event.part else event.stage
            self.running.value = f"{event.entry.label}, {part}" if part else event.entry.label

    def _respond_to_metrics(self) -> None:
        """Show the metrics that are chosen now, and compute those that were not yet."""
        names, prepared = self.all_metrics.get_names(), self.session.prepared
        lacking = [r for r in self.session.results if not set(names) <= set(r.metrics)]
        there = [result for result in lacking if result.layer is not None]
        if not there or prepared is None:
            self._show_results()
            return
        self.table.status.say("computing")
        call = partial(score_images, prepared.images, [r.get_image() for r in there], names)
        self._tasks.start(call, CompareTab._take_metrics, there)

    def _take_metrics(
        self, results: Sequence[MethodResult], values: Sequence[Values] | Failed
    ) -> None:
        if isinstance(values, Failed):
            self.table.status.say(values.message)
            return
        for result, more in zip(results, values, strict=True):
            # What the run itself has computed stays.
            result.metrics = {**more, **result.metrics}
        self._show_results()

    def _show_results(self) -> None:
        names = self.all_metrics.get_names()
        results = self.session.results
        # The image of a removed layer cannot be scored any more.
        self._shown = [result for result in results if set(names) <= set(result.metrics)]
        rows = [
            ScoreRow(
                result.entry.short,
                {name: result.metrics[name] for name in names},
                seconds=result.seconds,
                tip=f"{result.entry.label}: click to show it in place of the other results",
                key=result.entry.key,
            )
            for result in self._shown
        ]
        self.table.show_rows(rows)
        if not results:
            return
        mean = f"{results[0].mean}; " if results[0].mean else ""
        self.table.status.say(f"against {', '.join(self._names)}; {mean}higher is better, {LEGEND}")

    def _show_end(self, event: ComparisonEnded | Failed | Discarded) -> None:
        self.progress.close_activity()
        done = len(self.session.results)
        if isinstance(event, Failed):
            # In napari's corner as well: the tab may be out of sight by now.
            show_error(f"DIP Fusion: {event.message}")
            text = f"The comparison failed: {event.message}"
        elif isinstance(event, ComparisonEnded) and not event.stopped:
            text = f"Done: {done} of {self._total} methods."
        else:
            text = f"Stopped: {done} of {self._total} methods were finished."
        self.message.say("\n".join([text, *self._notes]))
        # The last two are what one looks at first: the slowest methods come last.
        layers = [r.layer for r in self.session.results if r.layer is not None]
        if len(layers) > 1:
            self.pair.suggest_pair(layers[-1], layers[-2])

    def _add_note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            self.message.say("\n".join(self._notes))
