"""What napari's menus call: they open the widget and press its buttons."""

from napari.layers import Image
from napari.viewer import Viewer

from napari_dip_fusion.plugin.layers.layer_record import find_sources, get_record
from napari_dip_fusion.plugin.widget import DipFusionWidget

DOCK = "Fuse images (DIP Fusion)"
"""What napari's Plugins menu calls the dock, so that it finds the one opened here."""


def fuse_selected(viewer: Viewer) -> None:
    """Open the widget and fuse the layers that are selected."""
    selected = _list_selected(viewer)
    widget = _open(viewer)
    if len(selected) < 2:
        widget.panel.message.say(
            f"select two or more image layers in the layer list first (selected: {len(selected)})"
        )
        return
    widget.sources.set_sources(selected)
    widget.fuse()


def score_selected(viewer: Viewer) -> None:
    """Open the widget and score the selected fused layer against its sources.

    A layer that this plugin made knows its sources. Of three or more selected
    layers of any origin, the topmost is taken for the fused image.
    """
    selected = _list_selected(viewer)
    widget = _open(viewer)
    fused = [layer for layer in selected if get_record(layer) is not None]
    if not fused and len(selected) >= 3:
        # napari counts layers from the lowest up.
        fused = selected[-1:]
    recorded = find_sources(viewer, fused[0]) if fused else []
    # Of layers from elsewhere, the others that are selected are taken for the sources.
    sources = recorded or [layer for layer in selected if layer not in fused]
    if len(sources) >= 2:
        widget.sources.set_sources(sources)
    for layer in fused:
        widget.metrics.add_layer(layer)
    widget.folded_metrics.expand(animate=False)
    widget.compute_metrics()


def _open(viewer: Viewer) -> DipFusionWidget:
    """Return the widget at its first tab, visible; the one that is open, from whatever menu."""
    docked = viewer.window.dock_widgets.values()
    widget = next((w for w in docked if isinstance(w, DipFusionWidget)), None)
    if widget is None:
        widget = DipFusionWidget(viewer)
        viewer.window.add_dock_widget(widget, name=DOCK)
    widget.show_tab(widget.fuse_tab)
    # It may have been hidden, or lie as a tab behind another dock.
    dock = widget.native.parent()
    dock.show()
    dock.raise_()
    return widget


def _list_selected(viewer: Viewer) -> list[Image]:
    selection = viewer.layers.selection
    return [x for x in viewer.layers if x in selection and isinstance(x, Image)]
