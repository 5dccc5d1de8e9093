"""One comparison from its start to its end: worker, layers, results."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QObject

from napari_dip_fusion.plugin.layers.layer_record import note_sources
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.layers.result_layers import add_fused_layer, make_metadata
from napari_dip_fusion.plugin.running.active_runs import refuse_second_run
from napari_dip_fusion.plugin.running.comparison_run import (
    ComparisonEnded,
    ComparisonEvent,
    Entry,
    MethodDone,
    MethodLeftOut,
    run_methods,
)
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed, RunControl
from napari_dip_fusion.plugin.running.session import Phase, Session
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepared import PreparedSources


@dataclass(eq=False)
class MethodResult:
    """A method's scores, and its image as long as that is in the viewer.

    `mean` is as of :class:`.MethodDone`.
    """

    entry: Entry
    metrics: dict[str, float]
    seconds: float
    layer: Image | None
    mean: str = ""

    def get_image(self) -> Source:
        """Return the image of the layer, without the axes along which it has one plane."""
        assert self.layer is not None
        # Nothing else has length 1: images have 8 x 8 pixels or more, and colors are three.
        return Source(np.squeeze(self.layer.data), rgb=bool(self.layer.rgb))


class ComparisonSession(Session):
    """Runs one comparison at a time, and adds a layer for each result.

    It reports ComparisonEvents, and ends with ComparisonEnded, Failed or Discarded. When
    MethodDone is reported, the layer of that method is in the viewer already.

    Attributes
    ----------
    results : list of MethodResult
        What the methods of the last comparison have made.
    left_out : list of MethodLeftOut
        The methods of the last comparison that could not fuse its sources.
    prepared : PreparedSources or None
        The sources of the last comparison, as long as one of its images is there.
    """

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(viewer, parent)
        self._names: tuple[str, ...] = ()
        self._layer_ids: tuple[Hashable, ...] = ()
        self._place: Placement | None = None
        self.results: list[MethodResult] = []
        self.left_out: list[MethodLeftOut] = []
        self.prepared: PreparedSources | None = None
        self._events.connect(viewer.layers.events.removed, self._forget_removed)

    def start(self, plan: Plan, entries: Sequence[Entry], which: Sequence[str]) -> None:
        """Run methods on the sources of a plan; what the last comparison gave is forgotten.

        Parameters
        ----------
        plan : Plan
        entries : sequence of Entry
        which : sequence of str
            Names of metrics.

        Raises
        ------
        ValueError
            If a fusion or a comparison runs already.
        """
        refuse_second_run()
        self.results, self.left_out, self.prepared = [], [], None
        # Not the plan, which holds the pixels of the sources.
        self._names, self._place = plan.names, plan.place
        self._layer_ids = plan.layer_ids
        self._run(plan, partial(run_methods, entries=entries, which=which))

    def abandon(self) -> str:
        """End the run, whose panel is closed; the images of methods that are finished stay."""
        running = self._control is not None
        self.close()
        if not running:
            return ""
        return (
            f"comparison ended, images kept: {len(self.results)}: the panel was closed during the "
            f"comparison on {' + '.join(self._names)}"
        )

    def _take(
        self, event: ComparisonEvent | Failed | Discarded, control: RunControl
    ) -> ComparisonEvent | Failed | Discarded:
        if isinstance(event, PreparedSources):
            self.prepared = event
        elif isinstance(event, MethodDone):
            self._add(event)
        elif isinstance(event, MethodLeftOut):
            self.left_out.append(event)
        elif isinstance(event, ComparisonEnded | Failed | Discarded):
            self._end()
        return event

    def _add(self, event: MethodDone) -> None:
        assert self._place is not None
        layer = add_fused_layer(
            self._viewer,
            event.image,
            f"{event.entry.short}: {' + '.join(self._names)}",
            self._place,
            metadata=make_metadata(event.record, event.metrics, self._place),
        )
        note_sources(layer, self._layer_ids)
        # A row of the table; its image lives as long as its layer.
        self.results.append(
            MethodResult(event.entry, event.metrics, event.seconds, layer, event.mean)
        )

    def _forget_removed(self) -> None:
        """Let go of the memory of layers that the user removes; their scores stay."""
        # A comparison may leave a dozen images, of which the user keeps one.
        for result in self.results:
            if result.layer is not None and result.layer not in self._viewer.layers:
                result.layer = None
        if self.phase is Phase.IDLE and not any(result.layer for result in self.results):
            self.prepared = None
