"""One fusion from its start to its end: worker, layer, result."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from napari import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion import (
    Done,
    FusionResult,
    Preview,
    continue_fuse,
    estimate_gains,
    iter_fuse,
)
from napari_dip_fusion.fusion.events import FrameDone
from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.plugin.layers.fused_layer import FusedLayer
from napari_dip_fusion.plugin.layers.growing_layer import GrowingLayer
from napari_dip_fusion.plugin.layers.layer_record import note_sources
from napari_dip_fusion.plugin.layers.result_layers import name_fused, name_network, show_consensus
from napari_dip_fusion.plugin.running.active_runs import refuse_second_run
from napari_dip_fusion.plugin.running.block_choice import BlockChoice
from napari_dip_fusion.plugin.running.block_run import BlockRun, iter_run
from napari_dip_fusion.plugin.running.plan import Look, Plan
from napari_dip_fusion.plugin.running.provenance import Provenance, read_sources
from napari_dip_fusion.plugin.running.run_events import (
    Discarded,
    Failed,
    FirstLook,
    RunControl,
    RunEvent,
    release_memory,
)
from napari_dip_fusion.plugin.running.session import Phase, Session

if TYPE_CHECKING:
    from napari_dip_fusion.fusion import Event


class FusionSession(Session):
    """Runs one fusion at a time, and shows its images in one layer.

    It reports RunEvents, and before them the Provenance of its sources; what an event changes in
    the layer is done before it is reported.

    Attributes
    ----------
    plan : Plan or None
        The plan of the last run; its layers and readers are dropped when the run ends.
    fused : FusedLayer or None
        The layer of the last run. What a network that is fitted to the fused image makes on the
        way is a worse image, which is shown in a layer of its own under it until the run ends.
    result : FusionResult or None
        The result of the last run, with what a continuation and the metrics need; None of a run
        block by block.
    blocks : BlockRun or None
        The last run, where it goes or went block by block.
    """

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(viewer, parent)
        self.plan: Plan | None = None
        self.fused: FusedLayer | None = None
        self._network: FusedLayer | None = None
        self.result: FusionResult | None = None
        self.blocks: BlockRun | None = None
        self._events.connect(viewer.layers.events.removed, self._check_fused_layer)

    @property
    def can_continue(self) -> bool:
        """Whether the last run can be continued."""
        return (
            self.phase is Phase.IDLE
            and self.result is not None
            and self.result.state is not None
            and self.fused is not None
            and self.fused.in_viewer
        )

    def start(self, plan: Plan) -> None:
        """Fuse.

        Raises
        ------
        ValueError
            If a fusion or a comparison runs already.
        """
        refuse_second_run()
        earlier = self.fused
        # The last network goes before the next one comes: both might not fit the device.
        self.forget()
        self.plan = plan
        if plan.blocks is not None:
            growing = earlier if isinstance(earlier, GrowingLayer) else None
            self.blocks = BlockRun(self._viewer, plan, growing)
            self.fused = self.blocks.fused
            self._run(plan, partial(iter_run, focus=self.blocks.focus))
            return
        self.fused = FusedLayer(self._viewer, name_fused(plan.names), plan.place)
        self._network = self._make_network_layer(plan)
        self._run(plan, _fuse_layers)

    def continue_for(self, iterations: int) -> None:
        """Add iterations to the last run.

        Raises
        ------
        ValueError
            If a fusion or a comparison runs already, there is nothing to
            continue, or the iterations would be too many.
        """
        refuse_second_run()
        result, plan = self.result, self.plan
        if not self.can_continue or result is None or plan is None:
            raise ValueError("there is no fusion to continue; press Fuse to start one")
        # Said before the run starts, as long as the number can still be changed.
        made, most = len(result.losses), int(FusionConfig.describe("iterations").maximum or 0)
        if made + iterations > most:
            raise ValueError(
                f"{made:,} iterations were made and {most:,} are the most; continue for at most "
                f"{most - made:,}"
            )

        def events(plan: Plan, control: RunControl) -> "Iterator[Event]":
            return continue_fuse(
                result, iterations, control=control, preview_rate=plan.preview_rate
            )

        self._network = self._make_network_layer(plan)
        self._run(plan, events)

    def discard(self) -> None:
        """End the run within one iteration and throw its image away, and what it has written."""
        if self._control is not None:
            self._control.erases = True
            self._control.discard()
            self._set_phase(Phase.ENDING)

    def toggle_pause(self) -> None:
        """Pause a run that goes on, or resume one that is paused."""
        if self._control is None:
            return
        if self.phase is Phase.RUNNING:
            self._control.pause()
            self._set_phase(Phase.PAUSED)
        elif self.phase is Phase.PAUSED:
            self._control.resume()
            self._set_phase(Phase.RUNNING)

    def drop_unfinished(self, choice: BlockChoice) -> None:
        """Remove the layer of a run that was not finished, whose file goes away."""
        if self.blocks is not None and self.blocks.choice.folder == choice.folder:
            self.blocks.discard()
            self.forget()
            self.phase_changed.emit()

    def forget(self) -> None:
        """Give back the memory of the last run; it can then not be continued."""
        self.result = None
        self.fused = None
        self.plan = None
        if self.blocks is not None:
            self.blocks.close()
            self.blocks = None
        # torch keeps the freed memory of a GPU to itself until it is told to give it back.
        release_memory()

    def close(self) -> None:
        """End the run without a result, and listen to nothing any more."""
        super().close()
        self.forget()

    def abandon(self) -> str:
        """End the run, whose panel is closed, and take its previews back."""
        running, plan, fused, result = self._control is not None, self.plan, self.fused, self.result
        blocks = self.blocks
        # First: nobody is to be told of the layer that goes.
        self.close()
        self._drop_network_layer()
        if not running or plan is None or fused is None:
            return ""
        # What became of the image comes first: napari's notice shows few words.
        told = f"the panel was closed during the fusion of {' + '.join(plan.names)}"
        if blocks is not None:
            return f"what is done is kept in {blocks.choice.folder}: {told}"
        if result is None:
            fused.discard()
            return f"preview removed: {told}"
        if fused.in_viewer:
            fused.finish(result)
        return f"earlier result put back: {told}"

    def _take(self, event: RunEvent | Provenance, control: RunControl) -> RunEvent | Provenance:
        assert self.fused is not None
        if isinstance(event, Preview):
            # From here on the worker may send the next one.
            control.preview_waiting = False
            shown = self._network if event.fitted else self.fused
            if not control.discarded and shown is not None:
                self._show_preview(shown, event.image, event.plane)
        elif isinstance(event, FirstLook):
            if not control.discarded:
                self.fused.preview_part(event.image, event.where)
        elif isinstance(event, FrameDone):
            if not control.discarded:
                self._show_preview(self.fused, event.image, event.index)
        elif isinstance(event, BlocksBegun | BlockDone):
            if not control.discarded and self.blocks is not None:
                self.blocks.take(event)
        elif isinstance(event, Done | BlocksDone | Failed | Discarded):
            # Done may have been on its way when the user discarded the run.
            event = Discarded() if control.discarded else event
            if self.blocks is not None:
                self._finish_blocks(self.blocks, event)
            elif not isinstance(event, BlocksDone):
                self._finish(event)
            if self.plan is not None:
                # What a continuation and the metrics need is in the result.
                self.plan = self.plan.drop_data()
            self._end()
        return event

    def _show_preview(
        self, shown: FusedLayer, image: NDArray[Any], index: tuple[int, ...] | None
    ) -> None:
        """Show an image of the run: the whole, or the plane or frame at an index."""
        if index is None or self.plan is None:
            shown.preview(image)
        else:
            shown.preview_part(image, self.plan.place.locate(index))

    def _finish(self, event: Done | Failed | Discarded) -> None:
        assert self.fused is not None
        self._drop_network_layer()
        if not isinstance(event, Discarded) and event.result is not None:
            self.fused.finish(event.result)
            self.result = event.result
            if self.plan is not None and self.fused.layer is not None:
                note_sources(self.fused.layer, self.plan.layer_ids)
        elif self.result is not None:
            # A continuation came to nothing: its network has moved on, the image goes back.
            if self.fused.in_viewer:
                self.fused.finish(self.result)
            self.forget()
        else:
            self.fused.discard()
            self.forget()

    def _finish_blocks(
        self, blocks: BlockRun, event: Done | BlocksDone | Failed | Discarded
    ) -> None:
        if isinstance(event, BlocksDone):
            blocks.finish(event.result)
        elif isinstance(event, Failed):
            blocks.keep()
        else:
            blocks.discard()
            self.forget()

    def _make_network_layer(self, plan: Plan) -> FusedLayer:
        name = name_network(plan.names)
        return FusedLayer(self._viewer, name, plan.place, above=self.fused)

    def _drop_network_layer(self) -> None:
        if self._network is not None:
            self._network.discard()
            self._network = None

    def _check_fused_layer(self) -> None:
        """Respond to a removal of the fused layer, if it is gone."""
        if self.fused is None or not self.fused.removed:
            return
        self._drop_network_layer()
        if self.phase is Phase.IDLE:
            self.forget()
            self.phase_changed.emit()
        elif self.phase is not Phase.ENDING:
            self.noted.emit(
                "the fused layer was removed; the run goes on and adds its result at the end "
                "(Discard ends it)"
            )


def _fuse_layers(plan: Plan, control: RunControl) -> "Iterator[Event | FirstLook | Provenance]":
    """Read the layers and fuse them; runs in the worker thread."""
    if plan.look is not None and plan.preview_rate > 0:
        yield from _look_first(plan.look, plan.config, control)
    sources, provenance = read_sources(plan)
    # Known even if the run comes to nothing: its code may be wanted.
    yield provenance
    grid = plan.grid
    if plan.look is not None:
        grid["look_at"] = plan.look.index
    yield from iter_fuse(
        sources,
        plan.config,
        control=control,
        preview_rate=plan.preview_rate,
        # For Continue.
        keep_state=True,
        notes={**plan.notes, **provenance.notes},
        **grid,
    )


def _look_first(look: Look, config: FusionConfig, control: RunControl) -> "Iterator[FirstLook]":
    """Fuse the plane on the screen alone, in closed form, so that it is seen at once."""
    if config.method not in (DIP, CONSENSUS):
        return
    # What is to be said of the sources is said of all of their planes.
    with silence_warnings():
        try:
            planes = [reader.read() for reader in look.readers]
            # What restores them comes later: interpolated sources are there in a blink.
            ready = estimate_gains(planes, config.replace(restore="never"), control=control)
        # Sources that do not meet in this plane, or that are too small along its axes.
        except ValueError:
            return
    yield FirstLook(show_consensus(ready.sources, ready.consensus), look.where)
