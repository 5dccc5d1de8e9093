"""One fusion of a widget from its start to its end: worker, layer, result."""

import enum
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Done, FusionResult, Preview, continue_fuse, iter_fuse
from napari_dip_fusion.plugin.layers.fused_layer import FusedLayer
from napari_dip_fusion.plugin.layers.reading import Placement, PlaneReader
from napari_dip_fusion.plugin.layers.source_watch import SourceWatch
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.turns import end_turn, require_turn, take_turn
from napari_dip_fusion.plugin.running.worker import (
    Discarded,
    Failed,
    RunControl,
    RunEvent,
    release_memory,
    start_worker,
)

if TYPE_CHECKING:
    from napari_dip_fusion.fusion import Event


class State(enum.Enum):
    """What a session is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"


@dataclass(frozen=True, eq=False)
class Request:
    """What to fuse, taken from layers and form when the run starts.

    Attributes
    ----------
    layers : tuple of Image
        The sources; only watched, never read again.
    names, paths
        Of the sources at the start.
    readers : tuple of PlaneReader
    place : Placement
        Where the result goes.
    config : FusionConfig
    fused_name : str
    preview_rate : float
        Largest number of preview images a second; 0 for none.
    """

    layers: tuple[Image, ...]
    names: tuple[str, ...]
    paths: tuple[str | None, ...]
    readers: tuple[PlaneReader, ...]
    place: Placement
    config: FusionConfig
    fused_name: str
    preview_rate: float = 0.0


class FusionSession(QObject):
    """Runs one fusion at a time, and shows its images in one layer.

    Signals
    -------
    state_changed
        The session does something else now.
    reported (RunEvent)
        The worker reports; after the layer was updated.
    noted (str)
        Something happened to a layer of the run that the user should know.
    """

    state_changed = Signal()
    reported = Signal(object)
    noted = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._control: RunControl | None = None
        self._watch = Subscriptions()
        self._sources = SourceWatch(viewer, self)
        self._sources.noted.connect(self.noted)
        self.state = State.IDLE
        self.request: Request | None = None
        self.fused: FusedLayer | None = None
        self.result: FusionResult | None = None

    @property
    def can_continue(self) -> bool:
        """Whether the last run can be continued."""
        return (
            self.state is State.IDLE
            and self.result is not None
            and self.result.state is not None
            and self.fused is not None
            and self.fused.there
        )

    def start(self, request: Request) -> None:
        """Fuse.

        Raises
        ------
        ValueError
            If a fusion runs already.
        """
        require_turn()
        self.forget()
        self.request = request
        self.fused = FusedLayer(self._viewer, request.fused_name, request.place)
        control = RunControl()
        self._run(partial(_fuse_planes, request, control), control)

    def continue_for(self, iterations: int) -> None:
        """Add iterations to the last run.

        Raises
        ------
        ValueError
            If a fusion runs already, there is nothing to continue, or the
            iterations would be too many.
        """
        require_turn()
        if not self.can_continue or self.result is None:
            raise ValueError("there is no fusion to continue; press Fuse to start one")
        made, most = len(self.result.losses), int(FusionConfig.describe("iterations").maximum or 0)
        if made + iterations > most:
            raise ValueError(
                f"{made:,} iterations were made and {most:,} are the most; continue for at most "
                f"{most - made:,}"
            )
        control = RunControl()
        rate = 0.0 if self.request is None else self.request.preview_rate
        go_on = partial(continue_fuse, self.result, iterations, control=control, preview_rate=rate)
        self._run(go_on, control)

    def stop(self) -> None:
        """End the run within one iteration and keep its best image."""
        if self._control is not None:
            self._control.stop()
            self._become(State.ENDING)

    def discard(self) -> None:
        """End the run within one iteration and throw its image away."""
        if self._control is not None:
            self._control.discard()
            self._become(State.ENDING)

    def toggle_pause(self) -> None:
        """Pause a run that goes on, or resume one that is paused."""
        if self._control is None:
            return
        if self.state is State.RUNNING:
            self._control.pause()
            self._become(State.PAUSED)
        elif self.state is State.PAUSED:
            self._control.resume()
            self._become(State.RUNNING)

    def forget(self) -> None:
        """Give back the memory of the last run; it can then not be continued."""
        self.result = None
        self.fused = None
        self.request = None
        release_memory()

    def close(self) -> None:
        """End a run without a result, and listen to nothing any more."""
        if self._control is not None:
            self._control.discard()
        # No signal: when the program exits, the Qt part may be gone already.
        self._release()
        self.forget()

    # -- the run ------------------------------------------------------------

    def _run(self, events: "Callable[[], Iterator[Event]]", control: RunControl) -> None:
        self._control = control
        take_turn(self)
        self._watch_layers()
        self._become(State.RUNNING)
        # A run that was given up may still report; only the present one is heard.
        start_worker(events, control, _receiver(weakref.ref(self), control))

    def receive(self, event: RunEvent, control: RunControl) -> None:
        """Take an event of a worker; runs in the GUI thread."""
        if control is not self._control or self.fused is None:
            return
        if isinstance(event, Preview):
            control.preview_waiting = False
            if not control.discarded:
                self.fused.preview(event.image)
        elif isinstance(event, Done | Failed | Discarded):
            event = Discarded() if control.discarded else event
            self._finish(event)
            self._end()
        self.reported.emit(event)
        if self.state is State.IDLE:
            self._drop_sources()

    def _drop_sources(self) -> None:
        """Hold no layers or pixels any more: what a continuation needs is in the result."""
        if self.request is not None:
            self.request = replace(self.request, layers=(), names=(), readers=())

    def _finish(self, event: Done | Failed | Discarded) -> None:
        assert self.fused is not None
        if not isinstance(event, Discarded) and event.result is not None:
            self.fused.finish(event.result)
            self.result = event.result
        elif self.result is not None:
            # A continuation came to nothing: its network has moved on, the image goes back.
            if self.fused.there:
                self.fused.finish(self.result)
            self.forget()
        else:
            self.fused.discard()
            self.forget()

    def _release(self) -> None:
        self._control = None
        end_turn(self)
        self._watch.close()
        self._sources.close()
        self.state = State.IDLE

    def _end(self) -> None:
        self._release()
        self.state_changed.emit()
        if self.result is not None:
            self._watch.connect(self._viewer.layers.events.removed, self._forget_if_removed)

    def _become(self, state: State) -> None:
        self.state = state
        if state is State.ENDING:
            self._sources.close()
        self.state_changed.emit()

    # -- the layers of the run ----------------------------------------------

    def _watch_layers(self) -> None:
        self._watch.close()
        if self.request is not None:
            self._watch.connect(self._viewer.layers.events.removed, self._layer_removed)
            self._sources.follow(self.request.layers, self.request.names)

    def _layer_removed(self) -> None:
        if self.fused is not None and self.fused.removed and self.state is not State.ENDING:
            self.noted.emit(
                "the fused layer was removed; the run goes on and adds its result at the end "
                "(Discard ends it)"
            )

    def _forget_if_removed(self) -> None:
        if self.fused is not None and self.fused.removed:
            self.forget()
            self.state_changed.emit()


def _fuse_planes(request: Request, control: RunControl) -> "Iterator[Event]":
    """Read the planes and fuse them; runs in the worker thread."""
    planes = [reader.read() for reader in request.readers]
    return iter_fuse(
        planes,
        request.config,
        names=request.names,
        paths=request.paths,
        control=control,
        preview_rate=request.preview_rate,
        keep_state=True,
    )


def _receiver(
    session: "weakref.ref[FusionSession]", control: RunControl
) -> Callable[[RunEvent], None]:
    """Return what passes the events of a run on, as long as the session lives."""

    def receive(event: RunEvent) -> None:
        alive = session()
        if alive is not None:
            alive.receive(event, control)

    return receive
