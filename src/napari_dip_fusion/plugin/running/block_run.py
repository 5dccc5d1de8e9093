"""One run block by block: what its worker does, and the layer that grows with it."""

import time
from collections.abc import Iterator
from typing import Any

from napari.components import ViewerModel

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksResult, iter_fuse_blocks
from napari_dip_fusion.blocks.schedule import Focus
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import Control
from napari_dip_fusion.plugin.layers.gaze import Gaze
from napari_dip_fusion.plugin.layers.growing_layer import GrowingLayer
from napari_dip_fusion.plugin.layers.layer_record import note_sources
from napari_dip_fusion.plugin.layers.result_layers import name_fused
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import read_sources
from napari_dip_fusion.plugin.running.run_events import Discarded, RunControl

_INTERVAL = 0.5
"""Smallest time in seconds between two looks at what was written."""

_SHARE = 10
"""In 3-D napari reads all of the coarsest resolution at each look: it rests so many times as long
as that took."""


class BlockRun:
    """The layer of a run that goes block by block, and what somebody looks at meanwhile.

    Parameters
    ----------
    viewer : napari.Viewer
    plan : Plan
        With its layers, and ``blocks``.
    earlier : GrowingLayer or None
        The layer of the run before, which may be gone on with.

    Attributes
    ----------
    fused : GrowingLayer
    begun : BlocksBegun or None
        What is known since the image is there.
    result : BlocksResult or None
        What the run has left.
    focus : Focus
        The pixel that somebody looks at.
    """

    def __init__(self, viewer: ViewerModel, plan: Plan, earlier: GrowingLayer | None) -> None:
        assert plan.blocks is not None
        self.choice = plan.blocks
        self._layer_ids = plan.layer_ids
        self.fused = GrowingLayer(viewer, name_fused(plan.names), plan.place)
        if earlier is not None and earlier.in_viewer and earlier.path == self.choice.image:
            self.fused = earlier
        self.begun: BlocksBegun | None = None
        self.result: BlocksResult | None = None
        self.focus = Focus()
        reference = plan.layers[plan.names.index(plan.reference)]
        read = plan.readers[plan.names.index(plan.reference)].source
        # Of one plane, whichever is on screen, rows and columns are the last axes.
        self._axes = plan.place.plane["axes"]
        self._before = (0,) * (read.ndim - len(self._axes))
        self._gaze = Gaze(viewer, reference, plan.level, self._look_at)
        self._rests_until = 0.0

    def take(self, event: BlocksBegun | BlockDone) -> None:
        """Show what an event tells of; in the GUI thread, as all that follows."""
        if isinstance(event, BlocksBegun):
            self.begun = event
            self.fused.grow(event.image)
        elif time.perf_counter() >= self._rests_until:
            self._refresh()

    def finish(self, result: BlocksResult) -> None:
        """Show what the run has left: the file with its record, or what is done of it."""
        self.result = result
        self.close()
        if result.is_complete:
            self.fused.complete(result.path, result.record, result.metrics)
            assert self.fused.layer is not None
            note_sources(self.fused.layer, self._layer_ids)
        else:
            self.fused.refresh()

    def keep(self) -> None:
        """Leave the layer as it is, at the end of a run that was not finished."""
        self.close()
        if self.fused.in_viewer:
            self.fused.refresh()

    def discard(self) -> None:
        """Remove the layer of a run that was thrown away."""
        self.close()
        self.fused.discard()

    def close(self) -> None:
        """Follow the camera no longer."""
        self._gaze.close()

    def _look_at(self, pixel: tuple[int, ...]) -> None:
        """Begin with the blocks around a pixel of the reference's layer."""
        self.focus.look_at((*self._before, *(pixel[axis] for axis in self._axes)))

    def _refresh(self) -> None:
        start = time.perf_counter()
        self.fused.refresh()
        now = time.perf_counter()
        # What is written meanwhile is seen at the next look.
        self._rests_until = now + max(_INTERVAL, _SHARE * (now - start))


def iter_run(plan: Plan, control: RunControl, focus: Focus) -> Iterator[Any]:
    """Yield the events of a run in a worker thread, which gets no layers and no viewer."""
    assert plan.blocks is not None
    try:
        yield from iter_block_events(plan, control, focus)
    except StoppedError:
        if control.discarded:
            raise
        yield Discarded("Stopped before a block was done; Resume goes on.")
    except MemoryError as error:
        raise FusionError(
            "Not enough memory; what is done is kept: close other layers or programs, and Resume "
            "goes on with it"
        ) from error
    finally:
        # Not where napari was closed, or the panel: there what is done is kept.
        if control.erases:
            plan.blocks.throw_away()


def iter_block_events(plan: Plan, control: Control, focus: Focus) -> Iterator[Any]:
    """Yield the provenance of the sources of a plan, and the events of their fusion."""
    choice = plan.blocks
    assert choice is not None
    sources, provenance = read_sources(plan)
    yield provenance
    try:
        yield from iter_fuse_blocks(
            sources,
            choice.output,
            plan.config,
            workers=choice.workers,
            block=choice.block or None,
            resume=choice.resumes,
            notes={**plan.notes, **provenance.notes},
            control=control,
            schedule=focus,
            **plan.grid,
        )
    except FileExistsError as error:
        raise ValueError(str(error)) from error
