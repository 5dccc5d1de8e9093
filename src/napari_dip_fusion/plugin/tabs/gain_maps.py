"""The gain maps of the chosen layers, which are added beside any fusion."""

from functools import partial

from napari import Viewer

from napari_dip_fusion.fusion import Control, GainsReady, PlanesDone, iter_gains
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.layers.result_layers import (
    ROLE,
    add_fused_layer,
    add_gain_layers,
    name_consensus,
    show_consensus,
)
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import read_on_grid
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.running.teller import Teller
from napari_dip_fusion.plugin.tabs.run_panel import RunPanel


class GainMaps:
    """Adds gain maps and the consensus image, or stops those that are computed.

    Parameters
    ----------
    viewer : napari.Viewer
    planner : Planner
    panel : RunPanel
        Whose button asks for them.
    """

    def __init__(self, viewer: Viewer, planner: Planner, panel: RunPanel) -> None:
        self._viewer, self._planner, self._panel = viewer, planner, panel
        self._tasks = Tasks(self)
        # The sources whose gain maps are being computed, and what stops them.
        self._names: tuple[str, ...] = ()
        self._control = Control()
        self._teller = Teller(panel.message.say, panel.native)
        panel.gains_wanted.connect(self.add_or_stop)

    def add_or_stop(self) -> None:
        """Add the gain maps and the consensus image of the chosen layers, or stop those begun."""
        if self._names:
            self._control.stop()
            return
        try:
            plan = self._planner.take(at_once=True).drop_layers()
        except ValueError as error:
            self._panel.message.say(str(error))
            return
        self._teller.begin("computing the gain maps")
        self._names = plan.names
        self._control = control = Control()
        self._panel.show_gains_progress(True)
        call = partial(_estimate_gains, plan, control, self._teller)
        self._tasks.start(call, GainMaps._show, plan, control=control)

    def abandon(self) -> str:
        """End what is computed, for the widget is closed, and return what became of it."""
        self._control.discard()
        if not self._names:
            return ""
        names = " + ".join(self._names)
        return f"no gain maps: the panel was closed while those of {names} were computed"

    def close(self) -> None:
        """Receive nothing any more; the Qt part may be gone already."""
        self._tasks.close()

    def _show(self, plan: Plan, ready: GainsReady | Failed) -> None:
        self._names = ()
        self._teller.end()
        self._panel.show_gains_progress(False)
        if isinstance(ready, Failed):
            self._panel.message.say(ready.message)
            return
        self._panel.message.say("")
        image = show_consensus(ready.sources, ready.consensus)
        maps, base = ready.gains, ready.base_gains
        add_gain_layers(self._viewer, maps, plan.names, plan.place, base_gains=base)
        name = name_consensus(plan.names)
        add_fused_layer(self._viewer, image, name, plan.place, metadata={ROLE: "consensus"})


def _estimate_gains(plan: Plan, control: Control, teller: Teller) -> GainsReady:
    for event in iter_gains(read_on_grid(plan), plan.config, control=control):
        if isinstance(event, PlanesDone):
            teller.tell(event.stage, event.done, event.total)
        elif isinstance(event, GainsReady):
            return event
    raise AssertionError("iter_gains ends with GainsReady")
