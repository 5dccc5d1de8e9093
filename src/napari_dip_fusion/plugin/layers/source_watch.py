"""What happens to the source layers of a run while it goes on."""

from collections.abc import Hashable, Sequence

from napari import Viewer
from napari.layers import Layer
from napari.utils.events import Event
from qtpy.QtCore import QObject, Signal

from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions


class SourceWatch(QObject):
    """Follows the sources of a run, which goes on with what it started with.

    Emits ``noted`` with a line for the user when a source is removed, changed
    or renamed.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    noted = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._sources: list[Layer] = []
        self._names: dict[Hashable, str] = {}
        self._events = Subscriptions()

    def follow(self, layers: Sequence[Layer], names: Sequence[str]) -> None:
        """Follow these layers, which have these names, and no others."""
        self.close()
        self._sources = list(layers)
        # Names are remembered, since layers may be renamed before they are removed. The
        # continuation of a run has the names of its sources, but no layers any more.
        self._names = {x.unique_id: name for x, name in zip(layers, names, strict=False)}
        self._events.connect(self._viewer.layers.events.removed, self._note_removal)
        for layer in layers:
            self._events.connect(layer.events.data, self._note_change)
            self._events.connect(layer.events.name, self._note_new_name)

    def close(self) -> None:
        """Follow no layers, and hold none."""
        self._events.close()
        self._sources = []

    def _note_removal(self) -> None:
        for layer in self._sources:
            if layer not in self._viewer.layers:
                name = self._names[layer.unique_id]
                self.noted.emit(f"{name} was removed; the run goes on with its data")

    def _note_change(self, event: Event) -> None:
        name = self._names[event.source.unique_id]
        self.noted.emit(f"{name} changed; the run goes on with the data it started with")

    def _note_new_name(self, event: Event) -> None:
        name = self._names[event.source.unique_id]
        self.noted.emit(f"{name} was renamed; the run record keeps the name it started with")
