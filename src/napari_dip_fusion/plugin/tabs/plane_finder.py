"""The way back to a fused plane that has gone out of sight because a slider moved."""

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image

from napari_dip_fusion.plugin.forms.layout import Text
from napari_dip_fusion.plugin.layers.plane_view import is_plane_shown, is_result_plane, show_plane
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions


class PlaneFinder(Container[Widget]):
    """Says that a fused plane lies at another slice, and goes there; hidden while it is in sight.

    It is about the layer that is selected in the viewer, if that is a fused plane, and else about
    the one of the last run.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._last: Image | None = None
        self._away = False
        self._events = Subscriptions()
        self.line = Text()
        self.button = PushButton(
            text="Go to its plane", tooltip="Move the sliders to the slice of the fused plane."
        )
        self.button.changed.connect(self.show_layer)
        self.margins = (0, 0, 0, 0)
        self.extend([self.line, self.button])
        dims, layers = viewer.dims.events, viewer.layers
        for event in (dims.point, dims.order, dims.ndisplay, layers.events.removed):
            self._events.connect(event, self.update_line)
        self._events.connect(layers.selection.events.changed, self.update_line)
        self.hide()
        self.update_line()

    def follow(self, layer: Image) -> None:
        """Be about the layer of this run, from now on."""
        self._last = layer
        self.update_line()

    def find_layer(self) -> Image | None:
        """Return the fused plane that is meant, None if there is none."""
        layers = self._viewer.layers
        meant = (layers.selection.active, self._last if self._last in layers else None)
        return next((layer for layer in meant if is_result_plane(layer)), None)

    def show_layer(self) -> None:
        """Move the sliders to the fused plane."""
        layer = self.find_layer()
        if layer is not None:
            show_plane(self._viewer, layer)
            self.update_line()

    def update_line(self) -> None:
        """Say whether the fused plane is out of sight."""
        layer = self.find_layer()
        away = layer is not None and not is_plane_shown(layer, self._viewer.dims)
        # At each step of a slider: nothing is laid out anew unless something changes.
        if away and layer is not None:
            line = f"{layer.name} lies at another slice."
            if self.line.value != line:
                self.line.value = line
        # Not what Qt calls visible, which a tab that is not shown never is.
        if away != self._away:
            self._away = self.visible = away

    def close_subscriptions(self) -> None:
        """Follow the viewer no more; the Qt part may be gone already."""
        self._events.close()
