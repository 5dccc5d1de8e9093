"""Two layers shown in turn, so that the eye sees where they differ."""

from napari import Viewer
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions


class Flicker(QObject):
    """Alternates two image layers, and puts all others back when it stops.

    Emits ``turned`` with whether the first of the two is shown now, and
    ``stopped`` when it ends, by :meth:`stop` or because one of them was removed.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    turned = Signal(bool)
    stopped = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._pair: tuple[Image, Image] | None = None
        self._before: list[tuple[Image, bool]] = []
        self._first = True
        self._events = Subscriptions()
        # No Qt parent: when the widget is destroyed the timer must still be there to be stopped.
        self._timer = QTimer()
        self._timer.timeout.connect(self.turn)

    @property
    def running(self) -> bool:
        """Whether two layers alternate."""
        return self._pair is not None

    def start(self, first: Image, second: Image, rate: float) -> None:
        """Show one layer, then the other, in turn.

        Parameters
        ----------
        first, second : Image
            In the viewer.
        rate : float
            Changes a second.

        Raises
        ------
        ValueError
            If the layers are the same one, or are not both in the viewer.
        """
        self.stop()
        if first == second:
            raise ValueError("choose two different images")
        if first not in self._viewer.layers or second not in self._viewer.layers:
            raise ValueError("choose two images that are in the viewer")
        self._pair, self._first = (first, second), True
        self._before = [(layer, layer.visible) for layer in (first, second)]
        self._hide_others()
        self._show_pair()
        self._events.connect(self._viewer.layers.events.inserted, self._hide_others)
        self._events.connect(self._viewer.layers.events.removed, self._stop_if_removed)
        self.set_rate(rate)
        self._timer.start()

    def set_rate(self, rate: float) -> None:
        """Change the layers so many times a second."""
        self._timer.setInterval(round(1000 / rate))

    def turn(self) -> None:
        """Show the other layer."""
        self._first = not self._first
        self._show_pair()

    def stop(self) -> None:
        """End the flicker and show again what was shown before."""
        if self.close():
            self.stopped.emit()

    def close(self) -> bool:
        """Stop without a signal; the Qt part of this object may be gone already.

        Returns
        -------
        bool
            Whether it was running.
        """
        if self._pair is None:
            return False
        self._pair = None
        # At the exit of a script, Qt may have taken its timers away before this is called.
        if isalive(self._timer):
            self._timer.stop()
        self._events.close()
        # Nothing is put back twice, and no removed layer is held in memory.
        before, self._before = self._before, []
        for layer, visible in before:
            if layer in self._viewer.layers:
                layer.visible = visible
        return True

    def _show_pair(self) -> None:
        if self._pair is not None:
            first, second = self._pair
            # Show before hiding, so that there is never a frame without either of them.
            shown, hidden = (first, second) if self._first else (second, first)
            shown.visible = True
            hidden.visible = False
            self.turned.emit(self._first)

    def _hide_others(self) -> None:
        """Hide the other images that are visible, and remember to show them again."""
        assert self._pair is not None
        for layer in self._viewer.layers:
            # Points and shapes stay: they mark what is looked at.
            covers = isinstance(layer, Image) and layer.visible
            if covers and layer not in self._pair:
                self._before.append((layer, True))
                layer.visible = False

    def _stop_if_removed(self) -> None:
        pair = self._pair or ()
        if any(layer not in self._viewer.layers for layer in pair):
            self.stop()
