"""The tab that makes a fusion: its settings, its run, its code and its metrics."""

from collections.abc import Callable, Mapping, Sequence
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
from napari_dip_fusion.fusion import Control, Done, GainsReady, PlanesDone, iter_gains
from napari_dip_fusion.fusion.decision import may_run_network
from napari_dip_fusion.interruption import make_observable
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget, make_collapsible, make_line
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.layers.layer_record import find_acquisitions, find_config
from napari_dip_fusion.plugin.layers.restored_layers import (
    add_coverage_layers,
    add_restored_layers,
)
from napari_dip_fusion.plugin.layers.result_layers import (
    ROLE,
    add_fused_layer,
    add_gain_layers,
    name_consensus,
    show_consensus,
)
from napari_dip_fusion.plugin.running.active_runs import has_active_run
from napari_dip_fusion.plugin.running.forecast import Forecast, describe_need
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.plan import Plan, name_as_now
from napari_dip_fusion.plugin.running.provenance import read_on_grid
from napari_dip_fusion.plugin.running.run_events import Failed, RunEvent
from napari_dip_fusion.plugin.running.scores import Scores, score_layers, score_result, take_scores
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.running.teller import Teller
from napari_dip_fusion.plugin.tabs.block_actions import BlockActions
from napari_dip_fusion.plugin.tabs.code_buttons import CodeButtons
from napari_dip_fusion.plugin.tabs.metrics_table import MetricsTable
from napari_dip_fusion.plugin.tabs.plane_finder import PlaneFinder
from napari_dip_fusion.plugin.tabs.run_panel import RunPanel

_WINDOWS_LEFT_OUT = (
    ", but for its intensity windows, one for each source: set these by the layers' contrast limits"
)

_TOO_LARGE = (
    "These images do not fit into memory, in which gain maps, metrics and comparisons have them "
    "whole; choose a coarser level, or this plane"
)

_OF_SAMPLES = "Of samples that are spread over the image"

_MOST_AT_ONCE = 2**21
"""Values of a stack whose baselines are scored without being asked for: it takes seconds."""


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
        self._tasks = Tasks(self)
        self._planner = planner
        self._torch_problem = ""
        # The sources whose gain maps are being computed, and what stops them.
        self._gains_of: tuple[str, ...] = ()
        self._gains_control = Control()
        self._scoring = 0
        self._scoring_control = Control()
        self._result_is_scored = False
        self.too_large = ""
        self.settings = planner.settings
        self.blocks = planner.blocks
        self.session = FusionSession(viewer)
        self.panel = RunPanel(self.session, viewer.theme)
        self.metrics = MetricsTable(viewer)
        self.forecast = Forecast()
        self.plane_finder = PlaneFinder(viewer)
        self.code = CodeButtons(viewer, planner, self.session)
        self._gains_teller = Teller(self.panel.message.say, self.native)
        self._scores_teller = Teller(self.metrics.status.say, self.native)
        self._build()
        self.panel.fuse_wanted.connect(self.fuse)
        self.panel.network_wanted.connect(partial(self.fuse, network="always"))
        self.panel.gains_wanted.connect(self.add_gain_maps)
        self.panel.restored_wanted.connect(partial(self._add_layers, add_restored_layers))
        self.panel.coverage_wanted.connect(partial(self._add_layers, add_coverage_layers))
        self._block_actions = BlockActions(planner, self.session, self.panel, self.update_ready)
        self.code.told.connect(self.panel.message.say)
        self.metrics.wanted.connect(self.compute_metrics)
        self.metrics.metrics_changed.connect(self._repeat_scores)
        self.session.reported.connect(self._report)
        self.session.phase_changed.connect(self.follow_runs)
        self.forecast.changed.connect(self.update_ready)
        self.closers: tuple[Callable[[], None], ...] = (
            self._tasks.close,
            self._block_actions.close,
            self.code.close_tasks,
            self.forecast.close,
            self.session.close,
            self.panel.progress.close_activity,
            self.plane_finder.close_subscriptions,
            self.metrics.planes.close_subscriptions,
            self._stop_scoring,
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

    def add_gain_maps(self) -> None:
        """Add the gain maps and the consensus image of the chosen layers, or stop those begun."""
        if self._gains_of:
            self._gains_control.stop()
            return
        try:
            plan = self._planner.take(at_once=True).drop_layers()
        except ValueError as error:
            self.panel.message.say(str(error))
            return
        self._gains_teller.begin("computing the gain maps")
        self._gains_of = plan.names
        self._gains_control = control = Control()
        self.panel.show_gains_progress(True)
        call = partial(_estimate_gains, plan, control, self._gains_teller)
        self._tasks.start(call, FuseTab._show_gains, plan, control=control)

    def abandon(self) -> list[str]:
        """End all that goes on, for the widget is closed, and return what became of it."""
        self._gains_control.discard()
        told = [self.session.abandon()]
        if self._gains_of:
            names = " + ".join(self._gains_of)
            told.append(f"no gain maps: the panel was closed while those of {names} were computed")
        return [line for line in told if line]

    def compute_metrics(self) -> None:
        """Score the layers that have a row against the chosen sources."""
        layers = self.metrics.get_layers()
        try:
            if self.too_large:
                raise ValueError(self.too_large)
            plan = self._planner.take(at_once=True)
            images = self._planner.make_readers(layers, plan)
        except ValueError as error:
            self.metrics.status.say(str(error))
            return
        self._result_is_scored = False
        call = partial(
            score_layers, plan.drop_layers(), images, self.metrics.all_metrics.get_names()
        )
        self._start_scoring(call, plan.names, layers)

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
        self.metrics.explain(self.too_large)
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
            self._score_result()
        elif isinstance(event, BlocksDone) and event.result.is_complete:
            self.blocks.offer_next()
            self.update_ready()
            self._show_metrics(event.result.metrics)

    def _score_result(self) -> None:
        """Fill the metrics table for the run that ended, with its own sources."""
        plan, fused, result = self.session.plan, self.session.fused, self.session.result
        if plan is None or fused is None or fused.layer is None or result is None:
            return
        self.metrics.add_layer(fused.layer)
        self.folded_metrics.expand(animate=False)
        self._result_is_scored = True
        which = self.metrics.all_metrics.get_names()
        known = take_scores(result, which)
        if known is not None and result.plane_metrics:
            # At once: the baselines of a stack take a while, those of a large one minutes.
            self.metrics.show_scores(known, plan.names, [fused.layer])
            if result.image.size > _MOST_AT_ONCE:
                self._scoring += 1
                self._stop_scoring()
                self.metrics.status.say(f"{self.metrics.status.value}; Compute adds the baselines")
                return
        call = partial(score_result, result, which)
        self._start_scoring(call, plan.names, [fused.layer])

    def _show_metrics(self, metrics: Mapping[str, float]) -> None:
        """Show the metrics that a run block by block has in its record."""
        plan, fused = self.session.plan, self.session.fused
        if plan is None or fused is None or fused.layer is None:
            return
        # Scores that are still computed are those of something else.
        self._scoring += 1
        self._stop_scoring()
        self._result_is_scored = False
        self.metrics.add_layer(fused.layer)
        self.folded_metrics.expand(animate=False)
        self.metrics.show_scores(Scores((metrics,), {}), plan.names, [fused.layer], of=_OF_SAMPLES)

    def _repeat_scores(self) -> None:
        """Score what the table shows with the metrics that are chosen now."""
        # The result of a run, and with it what it was scored by, goes with its layer.
        if self._result_is_scored and self.session.result is not None:
            self._score_result()
        else:
            self.compute_metrics()

    def _start_scoring(
        self, call: Callable[[], Scores], names: Sequence[str], layers: Sequence[Image]
    ) -> None:
        # In a thread: a plane may be read from a slow disk, and the metrics take a second.
        self._scoring += 1
        self._stop_scoring()
        self._scoring_control = control = Control()
        self._scores_teller.begin("computing")
        self._tasks.start(
            partial(_watch, call, control, self._scores_teller),
            FuseTab._show_scores,
            self._scoring,
            names,
            layers,
            control=control,
        )

    def _stop_scoring(self) -> None:
        """Give up scores that nobody waits for any more: those of a volume take a while."""
        self._scoring_control.stop()

    def _show_scores(
        self,
        number: int,
        names: Sequence[str],
        layers: Sequence[Image],
        scores: Scores | Failed,
    ) -> None:
        # What was asked for last is shown, whatever thread is the last to end.
        if number != self._scoring:
            return
        self._scores_teller.end()
        if isinstance(scores, Failed):
            self.metrics.status.say(scores.message)
        else:
            self.metrics.show_scores(scores, names, layers)

    def _add_layers(self, add: Callable[..., Sequence[Layer]]) -> None:
        """Add layers of the last run, whose sources are called as they are now."""
        plan, result = self.session.plan, self.session.result
        if plan is None or result is None:
            return
        added = add(self._viewer, result, name_as_now(plan, self._viewer).names, plan.place)
        self.panel.message.say(f"added: {', '.join(layer.name for layer in added)}")

    def _show_gains(self, plan: Plan, ready: GainsReady | Failed) -> None:
        self._gains_of = ()
        self._gains_teller.end()
        self.panel.show_gains_progress(False)
        if isinstance(ready, Failed):
            self.panel.message.say(ready.message)
            return
        self.panel.message.say("")
        image = show_consensus(ready.sources, ready.consensus)
        maps, base = ready.gains, ready.base_gains
        add_gain_layers(self._viewer, maps, plan.names, plan.place, base_gains=base)
        name = name_consensus(plan.names)
        add_fused_layer(self._viewer, image, name, plan.place, metadata={ROLE: "consensus"})


def _watch(call: Callable[[], Scores], control: Control, teller: Teller) -> Scores:
    with control.watch(), make_observable(teller.tell):
        return call()


def _estimate_gains(plan: Plan, control: Control, teller: Teller) -> GainsReady:
    for event in iter_gains(read_on_grid(plan), plan.config, control=control):
        if isinstance(event, PlanesDone):
            teller.tell(event.stage, event.done, event.total)
        elif isinstance(event, GainsReady):
            return event
    raise AssertionError("iter_gains ends with GainsReady")
