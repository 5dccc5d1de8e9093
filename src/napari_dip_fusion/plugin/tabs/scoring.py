"""The metrics of a run that ended, and of layers that are compared with it, for their table."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from napari.layers import Image

from napari_dip_fusion.fusion import Control
from napari_dip_fusion.interruption import make_observable
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.scores import Scores, score_layers, score_result, take_scores
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.running.teller import Teller
from napari_dip_fusion.plugin.tabs.metrics_table import MetricsTable

_OF_SAMPLES = "Of samples that are spread over the image"

_MOST_AT_ONCE = 2**21
"""Values of a stack whose baselines are scored without being asked for: it takes seconds."""


class Scoring:
    """Fills the table of metrics.

    Parameters
    ----------
    planner : Planner
    session : FusionSession
    table : MetricsTable
        Whose buttons ask for them.
    unfold : callable
        Brings the table in sight.
    """

    def __init__(
        self,
        planner: Planner,
        session: FusionSession,
        table: MetricsTable,
        unfold: Callable[[], None],
    ) -> None:
        self._planner, self._session, self._table, self._unfold = planner, session, table, unfold
        self._tasks = Tasks(self)
        self._number = 0
        self._control = Control()
        self._result_is_scored = False
        self._problem = ""
        self._teller = Teller(table.status.say, table.native)
        table.wanted.connect(self.compute)
        table.metrics_changed.connect(self._repeat)

    def explain(self, problem: str) -> None:
        """Say why the chosen layers cannot be scored; empty where they can."""
        self._problem = problem
        self._table.explain(problem)

    def compute(self) -> None:
        """Score the layers that have a row against the chosen sources."""
        layers = self._table.get_layers()
        try:
            if self._problem:
                raise ValueError(self._problem)
            plan = self._planner.take(at_once=True)
            images = self._planner.make_readers(layers, plan)
        except ValueError as error:
            self._table.status.say(str(error))
            return
        self._result_is_scored = False
        which = self._table.all_metrics.get_names()
        self._start(partial(score_layers, plan.drop_layers(), images, which), plan.names, layers)

    def score_result(self) -> None:
        """Fill the table for the run that ended, with its own sources."""
        plan, fused, result = self._session.plan, self._session.fused, self._session.result
        if plan is None or fused is None or fused.layer is None or result is None:
            return
        self._table.add_layer(fused.layer)
        self._unfold()
        self._result_is_scored = True
        which = self._table.all_metrics.get_names()
        known = take_scores(result, which)
        if known is not None and result.plane_metrics:
            # At once: the baselines of a stack take a while, those of a large one minutes.
            self._table.show_scores(known, plan.names, [fused.layer])
            if result.image.size > _MOST_AT_ONCE:
                self._drop()
                self._table.status.say(f"{self._table.status.value}; Compute adds the baselines")
                return
        self._start(partial(score_result, result, which), plan.names, [fused.layer])

    def show_recorded(self, metrics: Mapping[str, float]) -> None:
        """Show the metrics that a run block by block has in its record."""
        plan, fused = self._session.plan, self._session.fused
        if plan is None or fused is None or fused.layer is None:
            return
        # Scores that are still computed are those of something else.
        self._drop()
        self._result_is_scored = False
        self._table.add_layer(fused.layer)
        self._unfold()
        self._table.show_scores(Scores((metrics,), {}), plan.names, [fused.layer], of=_OF_SAMPLES)

    def close(self) -> None:
        """Receive nothing any more; the Qt part may be gone already."""
        self._tasks.close()
        self._control.stop()

    def _repeat(self) -> None:
        """Score what the table shows with the metrics that are chosen now."""
        # The result of a run, and with it what it was scored by, goes with its layer.
        if self._result_is_scored and self._session.result is not None:
            self.score_result()
        else:
            self.compute()

    def _start(
        self, call: Callable[[], Scores], names: Sequence[str], layers: Sequence[Image]
    ) -> None:
        # In a thread: a plane may be read from a slow disk, and the metrics take a second.
        self._drop()
        self._control = control = Control()
        self._teller.begin("computing")
        self._tasks.start(
            partial(_watch, call, control, self._teller),
            Scoring._show,
            self._number,
            names,
            layers,
            control=control,
        )

    def _drop(self) -> None:
        """Give up scores that nobody waits for any more: those of a volume take a while."""
        self._number += 1
        self._control.stop()

    def _show(
        self,
        number: int,
        names: Sequence[str],
        layers: Sequence[Image],
        scores: Scores | Failed,
    ) -> None:
        # What was asked for last is shown, whatever thread is the last to end.
        if number != self._number:
            return
        self._teller.end()
        if isinstance(scores, Failed):
            self._table.status.say(scores.message)
        else:
            self._table.show_scores(scores, names, layers)


def _watch(call: Callable[[], Scores], control: Control, teller: Teller) -> Scores:
    with control.watch(), make_observable(teller.tell):
        return call()
