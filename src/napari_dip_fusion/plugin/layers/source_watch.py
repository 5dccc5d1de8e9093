"""What happens to the source layers of a run while it goes on."""

from collections.abc import Sequence

from napari import Viewer
from napari.layers import Layer
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
        self._sources: dict[str, Layer] = {}
        self._events = Subscriptions()

    def follow(self, layers: Sequence[Layer], names: Sequence[str]) -> None:
        """Follow these layers, which have these names, and no others."""
        self.close()
        # The continuation of a run has the names of its sources, but no layers any more.
        self._sources = dict(zip(names, layers, strict=False))
        # Names are remembered, since layers may be renamed before they are removed.
        self._events.connect(self._viewer.layers.events.removed, self._note_removal)
        for layer in layers:
            self._events.connect(layer.events.data, self._note_change)
            self._events.connect(layer.events.name, self._note_new_name)

    def close(self) -> None:
        """Follow no layers, and hold none."""
        self._events.close()
        self._sources = {}

    def _note_removal(self) -> None:
        for name, layer in self._sources.items():
            if layer not in self._viewer.layers:
                self.noted.emit(f"{name} was removed; the run goes on with its data")

    def _note_change(self) -> None:
        self.noted.emit("a source changed; the run goes on with the data it started with")

    def _note_new_name(self) -> None:
        self.noted.emit("a source was renamed; the run record keeps the name it started with")
