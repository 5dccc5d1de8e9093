"""The tab that makes a fusion: its settings, its run, its code and its metrics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image, Layer
from napari.utils.notifications import show_error

from napari_dip_fusion.blocks import BlocksDone
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Done
from napari_dip_fusion.fusion.decision import may_run_network
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget, make_collapsible, make_line
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.layers.layer_record import find_acquisitions, find_config
from napari_dip_fusion.plugin.layers.restored_layers import (
    add_coverage_layers,
    add_restored_layers,
)
from napari_dip_fusion.plugin.running.active_runs import has_active_run
from napari_dip_fusion.plugin.running.forecast import Forecast, describe_need
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.plan import name_as_now
from napari_dip_fusion.plugin.running.run_events import Failed, RunEvent
from napari_dip_fusion.plugin.tabs.block_actions import BlockActions
from napari_dip_fusion.plugin.tabs.code_buttons import CodeButtons
from napari_dip_fusion.plugin.tabs.gain_maps import GainMaps
from napari_dip_fusion.plugin.tabs.metrics_table import MetricsTable
from napari_dip_fusion.plugin.tabs.plane_finder import PlaneFinder
from napari_dip_fusion.plugin.tabs.run_panel import RunPanel
from napari_dip_fusion.plugin.tabs.scoring import Scoring

_WINDOWS_LEFT_OUT = (
    ", but for its intensity windows, one for each source: set these by the layers' contrast limits"
)

_TOO_LARGE = (
    "These images do not fit into memory, in which gain maps, metrics and comparisons have them "
    "whole; choose a coarser level, or this plane"
)


def _needs_torch(config: FusionConfig) -> bool:
    """Tell whether a run may come to a network, which may depend on its sources."""
    other = METHODS.get(config.method)
    return may_run_network(config) if other is None else other.needs_torch


def _expect_iterations(config: FusionConfig, count: int) -> int:
    """Return how many iterations a run may make, as long as it does not know its networks.

    Parameters
    ----------
    config : FusionConfig
    count : int
        Number of sources.
    """
    is_restored = config.restoration.restore != "never"
    return config.fit.count_restoring(count) if is_restored else config.fit.fitting_iterations


class FuseTab(Container[Widget]):
    """Fuse the chosen layers, watch, and score the result.

    Parameters
    ----------
    viewer : napari.Viewer
    planner : Planner
        Takes sources and settings; its form becomes a part of this tab.

    Attributes
    ----------
    too_large : str
        Why there are neither gain maps nor metrics nor comparisons of the chosen layers; empty
        where they fit into memory.
    """

    def __init__(self, viewer: Viewer, planner: Planner) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._sources = planner.sources
        self._planner = planner
        self._torch_problem = ""
        self.too_large = ""
        self.settings = planner.settings
        self.blocks = planner.blocks
        self.session = FusionSession(viewer)
        self.panel = RunPanel(self.session, viewer.theme)
        self.metrics = MetricsTable(viewer)
        self.forecast = Forecast()
        self.plane_finder = PlaneFinder(viewer)
        self.code = CodeButtons(viewer, planner, self.session)
        self._build()
        unfold = partial(self.folded_metrics.expand, animate=False)
        self.scoring = Scoring(planner, self.session, self.metrics, unfold)
        self._gain_maps = GainMaps(viewer, planner, self.panel)
        self.panel.fuse_wanted.connect(self.fuse)
        self.panel.network_wanted.connect(partial(self.fuse, network="always"))
        self.panel.restored_wanted.connect(partial(self._add_layers, add_restored_layers))
        self.panel.coverage_wanted.connect(partial(self._add_layers, add_coverage_layers))
        self._block_actions = BlockActions(planner, self.session, self.panel, self.update_ready)
        self.code.told.connect(self.panel.message.say)
        self.session.reported.connect(self._report)
        self.session.phase_changed.connect(self.follow_runs)
        self.forecast.changed.connect(self.update_ready)
        self.closers: tuple[Callable[[], None], ...] = (
            self._gain_maps.close,
            self.scoring.close,
            self._block_actions.close,
            self.code.close_tasks,
            self.forecast.close,
            self.session.close,
            self.panel.progress.close_activity,
            self.plane_finder.close_subscriptions,
            self.metrics.planes.close_subscriptions,
        )

    # -- what the buttons do --------------------------------------------------

    def fuse(self, **changes: Any) -> None:
        """Fuse the chosen layers, with changes of the settings that the form has."""
        try:
            plan = self._planner.take()
            plan = replace(plan, config=plan.config.replace(**changes))
            self.session.start(plan)
        except ValueError as error:
            self.panel.message.say(str(error))
            return
        self.code.begin(plan)
        self.panel.begin(_expect_iterations(plan.config, len(plan.readers)), afresh=True)

    def abandon(self) -> list[str]:
        """End all that goes on, for the widget is closed, and return what became of it."""
        told = [self.session.abandon(), self._gain_maps.abandon()]
        return [line for line in told if line]

    def recall_settings(self) -> None:
        """Show the settings that the selected layer was fused with."""
        try:
            selection = self._viewer.layers.selection
            # Of several, the layer that is in sight.
            topmost_first = [x for x in reversed(self._viewer.layers) if x in selection]
            config, fused = find_config(topmost_first)
            self.settings.show_config(config)
        except ValueError as error:
            self.panel.message.say(str(error))
            return
        # The form has contrast limits of layers in their place.
        windows = "" if isinstance(config.intensity, str) else _WINDOWS_LEFT_OUT
        for layer, taken in find_acquisitions(self._viewer, fused):
            self._sources.acquisitions.set_acquisition(layer, taken)
        self.panel.message.say(f"these are the settings of {fused.name}{windows}")

    # -- following the widget -------------------------------------------------

    def update_layers(self) -> None:
        """Take note of the sources and images that there are now."""
        self.settings.intensity.set_sources(self._sources.get_sources())
        self.metrics.set_candidates([x for x in self._viewer.layers if isinstance(x, Image)])

    def update_ready(self) -> None:
        """Say whether a fusion can start, and what it needs."""
        if not has_active_run():
            self._planner.suggest_blocks()
        self.too_large = "" if self._planner.fits_at_once() else _TOO_LARGE
        self.panel.explain_gains(self.too_large)
        self.scoring.explain(self.too_large)
        if not self._sources.report.ok:
            self.forecast.hold()
            self.panel.set_ready(False, False, "")
            return
        try:
            plan = self._planner.take()
        except (ValueError, ImportError) as error:
            self.forecast.hold()
            self.panel.set_ready(False, False, str(error))
            return
        gains = not self.too_large
        # Gain maps and metrics need no torch, nor do most of the other methods.
        if self._torch_problem and _needs_torch(plan.config):
            self.forecast.hold()
            self.panel.set_ready(False, gains, self._torch_problem)
            return
        if plan.blocks is not None:
            # Nothing is tried beforehand: how long it takes is seen after the first blocks.
            self.forecast.hold()
            self._block_actions.show_need(plan, plan.blocks, gains=gains)
            return
        expected = None
        # Beside a run, the next one would seem to take twice as long.
        if not has_active_run():
            expected = self.forecast.ask(
                plan.config, plan.shape, len(plan.readers), plan.steps, degraded=plan.degraded
            )
        self.panel.set_ready(True, gains, describe_need(plan, expected))

    def follow_runs(self) -> None:
        """Estimate nothing while something runs, in this tab or the other."""
        if has_active_run():
            self.forecast.hold()
        else:
            self.update_ready()

    def set_torch_problem(self, problem: str) -> None:
        """Say why no network can run; empty if one can."""
        self._torch_problem = problem
        self.update_ready()

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        self.recall_button = PushButton(
            text="Settings of the selected layer",
            tooltip="Show the settings that the selected fused layer was made with, as its run "
            "record has them.",
        )
        self.recall_button.changed.connect(self.recall_settings)
        self.folded_metrics = make_collapsible("Metrics", self.metrics)
        self.margins = (0, 0, 0, 0)
        self.extend(
            [
                self.settings,
                self.blocks,
                make_line(),
                self.panel,
                self.plane_finder,
                self.code,
                self.recall_button,
                make_line(),
                NativeWidget(self.folded_metrics),
            ]
        )

    # -- results ----------------------------------------------------------------

    def _report(self, event: RunEvent) -> None:
        if isinstance(event, Failed):
            # In napari's corner as well: the widget may be out of sight by now.
            show_error(f"DIP Fusion: {event.message}")
        fused = self.session.fused
        if fused is not None and fused.layer is not None:
            self.plane_finder.follow(fused.layer)
        if isinstance(event, Done):
            self.scoring.score_result()
        elif isinstance(event, BlocksDone) and event.result.is_complete:
            self.blocks.offer_next()
            self.update_ready()
            self.scoring.show_recorded(event.result.metrics)

    def _add_layers(self, add: Callable[..., Sequence[Layer]]) -> None:
        """Add layers of the last run, whose sources are called as they are now."""
        plan, result = self.session.plan, self.session.result
        if plan is None or result is None:
            return
        added = add(self._viewer, result, name_as_now(plan, self._viewer).names, plan.place)
        self.panel.message.say(f"added: {', '.join(layer.name for layer in added)}")
