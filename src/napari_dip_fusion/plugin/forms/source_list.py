"""The list of layers to fuse: it follows the viewer and says whether they fit."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from magicgui.widgets import ComboBox, Container, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image, Labels, Layer
from psygnal import Signal
from qtpy.QtCore import Qt, QTimer

from napari_dip_fusion.plugin.forms.acquisition_form import AcquisitionForm
from napari_dip_fusion.plugin.forms.check_list import GrowingCheckList
from napari_dip_fusion.plugin.forms.layout import Text
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.forms.reference_box import ReferenceBox
from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.plugin.layers.layer_report import LayerReport, check_layers, is_stacked
from napari_dip_fusion.plugin.layers.planes import find_finest
from napari_dip_fusion.plugin.layers.result_layers import is_original
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.sources.resample import INTERPOLATIONS

# Events after which layers may no longer lie on one grid, or other planes of them are shown.
_MOVES = ("scale", "translate", "rotate", "shear", "affine", "units", "projection_mode")
_SETTLE_MS = 50
# Images that are opened or dropped together come one after the other, each as it is read.
_TOGETHER_MS = 1000
_MOST_AT_FIRST = 8
"""More images than this are hardly meant to be fused all at once."""


class SourceList(Container[Widget]):
    """Choose the layers to fuse and the reference among them.

    Every image layer of the viewer has a row, the topmost first as in
    napari's own list; a tick makes it a source. The list grows with the scroll
    area that it is in.

    The first images are ticked at once: what is selected, or else all that are visible and can be
    fused together. Whatever the person has ticked since stays as it is.

    Emits ``choice_changed`` when the choice changes, and ``checked`` when the
    report on it may have: after moves of layers and sliders too, once they settle.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    report : LayerReport
        Whether the chosen layers can be fused.
    """

    choice_changed = Signal()
    checked = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._following: dict[Layer, Subscriptions] = {}
        self._restore = "auto"
        self._events = Subscriptions()
        self.report = LayerReport(False, "")
        self._note = ""
        self._closed = False
        # Until somebody chooses, or two images or more have come.
        self._automatic = True
        # Until somebody says how much of the layers is to be fused.
        self._extent_chosen = self._wish = self._whole = False
        self._build()
        # Dragging a layer moves it a hundred times a second.
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self.check)
        self._arrivals = QTimer(self.native)
        self._arrivals.setSingleShot(True)
        self._arrivals.setInterval(_TOGETHER_MS)
        self._arrivals.timeout.connect(self._end_arrivals)
        self._follow_viewer()
        self._refresh()
        self._choose_at_first()
        self.check()

    def get_sources(self) -> list[Image]:
        """Return the ticked layers, the lowest first as they are in the viewer."""
        rows = range(self.list.count())
        return [self._layers[i] for i in rows if self.list.is_ticked(i)][::-1]

    def set_sources(self, layers: Iterable[Layer]) -> None:
        """Tick these layers and no others."""
        self._automatic = False
        wanted = list(layers)
        with self.list.mute():
            for i, layer in enumerate(self._layers):
                self.list.tick(i, layer in wanted)
        self._respond_to_ticks()

    def get_reference(self) -> Image | None:
        """Return the layer whose grid the result takes."""
        return self.reference_box.get_layer()

    def set_reference(self, layer: Layer) -> None:
        """Choose the layer whose grid the result takes, among the sources."""
        if layer in self.get_sources():
            self.reference_box.value = layer

    def get_level(self) -> int | str:
        """Return the chosen level of the reference's pyramid, or ``auto``."""
        level: int | str = self.level_box.value
        return level

    def get_interpolation(self) -> str:
        """Return how layers on other grids are resampled."""
        return str(self.interpolation_box.value)

    def get_acquisitions(self) -> list[Acquisition]:
        """Return what is said of how each of the sources was taken."""
        return [self.acquisitions.get_acquisition(layer) for layer in self.get_sources()]

    def set_restore(self, restore: str) -> None:
        """Take note of whether a fusion restores its sources, as the settings say."""
        if restore != self._restore:
            self._restore = restore
            self._settle()

    def get_whole(self) -> bool:
        """Return whether all planes are to be fused, and not only the one that is shown."""
        return self._whole

    def set_whole(self, whole: bool) -> None:
        """Choose all planes or the one that is shown, whatever the layers are from now on."""
        self.extent_box.value = whole

    def use_selected(self) -> None:
        """Take the image layers that are selected in the viewer as the sources."""
        selection = self._viewer.layers.selection
        selected = [layer for layer in self._viewer.layers if layer in selection]
        left_out = [layer.name for layer in selected if not isinstance(layer, Image)]
        self.set_sources(selected)
        # After set_sources(), whose check takes old notes away.
        if left_out:
            self._note = f"{', '.join(left_out)} left out: only image layers can be fused"
            self._show_report()

    def check(self) -> None:
        """Look at the chosen layers again, now."""
        # A timer may still fire after the end.
        if self._closed:
            return
        self._timer.stop()
        self._note = ""
        # Layers may have other units by now, or other shapes.
        self._show_acquisitions()
        self._follow_finest()
        self.report = self._suggest_extent()
        self._show_report()
        self.checked.emit()

    def close_subscriptions(self) -> None:
        """Stop following the viewer; the Qt part may be gone already."""
        self._closed = True
        self._events.close()
        for followed in self._following.values():
            followed.close()
        self._following.clear()

    def _check(self, *, whole: bool) -> LayerReport:
        return check_layers(
            self.get_sources(),
            self.get_reference(),
            self._viewer.dims,
            whole=whole,
            acquisitions=self.get_acquisitions(),
            restore=self._restore,
        )

    def _suggest_extent(self) -> LayerReport:
        """Offer whole stacks where there are some, take them if they can be fused, and report."""
        stacked = any(is_stacked(layer) for layer in self.get_sources())
        report = None
        if self._extent_chosen:
            self._whole = stacked and self._wish
        else:
            report = self._check(whole=True) if stacked else None
            self._whole = report is not None and report.fits
        with self.extent_box.changed.blocked():
            self.extent_box.value = self._whole
        self.extent_box.visible = stacked
        # It looks for the corners of volumes in each other, which is worth doing once.
        return report if report is not None and self._whole else self._check(whole=self._whole)

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        self.list = GrowingCheckList()
        self.list.setToolTip("Tick two or more image layers that show the same scene.")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.itemChanged.connect(self._take_tick)
        self.selected_button = PushButton(
            text="Use selected layers",
            tooltip="Tick the image layers that are selected in napari's layer list, and no "
            "others.",
        )
        self.selected_button.changed.connect(self.use_selected)
        self.reference_box = ReferenceBox(
            partial(find_finest, dims=self._viewer.dims),
            "The fused image takes the grid, scale and units of this layer; by default of the "
            "source with the finest pixels, so that nothing is lost.",
            label="Reference",
        )
        self.extent_box = ComboBox(
            choices=[("This plane", False), ("Whole stack", True)],
            label="Fuse",
            tooltip="The plane that is shown, or all planes of the layers: volumes in three "
            "dimensions, and time series frame by frame with the same settings.",
        )
        self.extent_box.changed.connect(self._take_extent)
        self.level_box = ComboBox(
            choices=self._list_levels,
            label="Level",
            tooltip="Level of the reference's pyramid; 0 is the finest. auto: the finest that "
            "fits the memory.",
        )
        self.interpolation_box = ComboBox(
            choices=INTERPOLATIONS,
            label="Resample",
            tooltip="How layers on other grids are resampled: linear mixes the pixels around, "
            "nearest takes the closest one.",
        )
        self.acquisitions = AcquisitionForm()
        self.acquisitions.acquisitions_changed.connect(self._respond_to_choice)
        self.reference_box.changed.connect(self._respond_to_reference)
        self.level_box.changed.connect(self._respond_to_choice)
        self.interpolation_box.changed.connect(self._respond_to_choice)
        self.status = Text()
        choices = Container[Widget]()
        choices.margins = (0, 0, 0, 0)
        choices.extend(
            [self.extent_box, self.reference_box, self.level_box, self.interpolation_box]
        )
        self.margins = (0, 0, 0, 0)
        self.extend(
            [
                NativeWidget(self.list),
                self.selected_button,
                choices,
                self.acquisitions,
                self.status,
            ]
        )

    def _follow_viewer(self) -> None:
        layers = self._viewer.layers
        for event in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            self._events.connect(event, self._refresh)
        self._events.connect(layers.selection.events.changed, self._show_selection)
        shown = self._viewer.dims.events
        self._events.connect(shown.point, self._settle_plane)
        for event in (shown.ndisplay, shown.order, shown.units):
            self._events.connect(event, self._settle)
        for event in (shown.margin_left, shown.margin_right):
            self._events.connect(event, self._settle)

    def _choose_at_first(self) -> None:
        """Tick what is selected, if that can be fused, rather than all that is visible."""
        selected = [layer for layer in self._layers if layer in self._viewer.layers.selection]
        if len(selected) >= 2:
            self.set_sources(selected)
        self._end_arrivals()

    def _end_arrivals(self) -> None:
        """Let images that come from now on change nothing, if there are some to fuse."""
        if len(self.get_sources()) >= 2:
            self._automatic = False

    def _list_first(self) -> list[Image]:
        """Return the images to tick as long as nobody has chosen any."""
        originals = [x for x in self._layers if x.visible and is_original(x)]
        if len(originals) <= 2:
            return originals
        # Three channels and five focal planes, but not an image of something else among them.
        together = check_layers(originals[::-1], None, self._viewer.dims).ok
        return originals if together and len(originals) <= _MOST_AT_FIRST else []

    # -- following ----------------------------------------------------------

    def _refresh(self) -> None:
        """Bring the rows in line with the viewer's layers."""
        before = self.get_sources()
        self._layers = [x for x in reversed(self._viewer.layers) if isinstance(x, Image)]
        ticked = before
        # After a clean sweep the next images are the first again.
        self._automatic = self._automatic or not self._layers
        if self._automatic:
            ticked = self._list_first()
            self._arrivals.start()
        with self.list.mute():
            self.list.clear()
            for layer in self._layers:
                self.list.add_row(layer.name, ticked=layer in ticked)
        self.list.fit_height()
        self._follow_layers()
        self._show_selection()
        # A new order is a change too: settings are chosen source by source.
        if before != self.get_sources():
            self._respond_to_ticks()
        else:
            self._show_choices()
            self._settle()

    def _follow_layers(self) -> None:
        labels = [x for x in self._viewer.layers if isinstance(x, Labels)]
        # Those that stay are not connected anew: events would come twice.
        for layer in [x for x in self._following if x not in [*self._layers, *labels]]:
            self._following.pop(layer).close()
        for layer in self._layers:
            if layer not in self._following:
                followed = self._following[layer] = Subscriptions()
                followed.connect(layer.events.name, self._respond_to_name)
                followed.connect(layer.events.data, self._respond_to_data)
                for name in _MOVES:
                    followed.connect(getattr(layer.events, name), self._settle)
        for layer in labels:
            if layer not in self._following:
                # They may be masks, which are known by their names.
                followed = self._following[layer] = Subscriptions()
                followed.connect(layer.events.name, self._show_acquisitions)
                followed.connect(layer.events.data, self._settle)

    def _settle(self) -> None:
        """Check the layers once nothing has changed for a moment."""
        self._timer.start()

    def _settle_plane(self) -> None:
        """Check the layers once the sliders have settled, unless all planes are fused anyway."""
        if not self._whole:
            self._settle()

    def _respond_to_name(self) -> None:
        with self.list.mute():
            for i, layer in enumerate(self._layers):
                self.list.rename(i, layer.name)
        self._show_choices()
        self._respond_to_choice()

    def _respond_to_data(self) -> None:
        # Other data have other levels.
        self._show_levels()
        self._settle()

    def _respond_to_choice(self) -> None:
        self.choice_changed.emit()
        self._settle()

    def _respond_to_reference(self) -> None:
        self._show_levels()
        self._respond_to_choice()

    def _take_tick(self) -> None:
        """Take note that somebody has ticked or unticked a layer."""
        self._automatic = False
        self._respond_to_ticks()

    def _take_extent(self, whole: bool) -> None:
        """Take note that somebody has chosen this plane or the whole stack."""
        # magicgui tells of a change, too, where the box moves and keeps its value.
        if whole != self._whole:
            self._extent_chosen, self._wish = True, whole
            self._respond_to_ticks()

    def _respond_to_ticks(self) -> None:
        self._show_choices()
        self.choice_changed.emit()
        self.check()

    # -- showing ------------------------------------------------------------

    def _show_selection(self) -> None:
        """Show the viewer's selection in bold, and count it on the button."""
        selection = self._viewer.layers.selection
        with self.list.mute():
            for i, layer in enumerate(self._layers):
                font = self.list.item(i).font()
                font.setBold(layer in selection)
                self.list.item(i).setFont(font)
        # napari selects the layer that was added last, which alone is nothing to fuse.
        count = sum(layer in selection for layer in self._layers)
        self.selected_button.text = f"Use selected layers ({count})"
        self.selected_button.enabled = count >= 2

    def _show_choices(self) -> None:
        """Offer the sources as references, and the levels of the one that is chosen."""
        self.reference_box.set_layers(self.get_sources())
        self._show_levels()
        self._show_acquisitions()

    def _show_acquisitions(self) -> None:
        """Offer fields for the sources, and the layers that there are as their masks."""
        sources = self.get_sources()
        # The topmost first, as in the list.
        others = [x for x in reversed(self._viewer.layers) if isinstance(x, Image | Labels)]
        self.acquisitions.set_layers(sources[::-1], others)
        self.acquisitions.visible = bool(sources)

    def _follow_finest(self) -> None:
        """Offer the sources anew where another of them has become the finest."""
        before = self.get_reference()
        self.reference_box.set_layers(self.get_sources())
        if self.get_reference() is not before:
            self._show_levels()
            self.choice_changed.emit()

    def _show_levels(self) -> None:
        with self.level_box.changed.blocked():
            self.level_box.reset_choices()
        # Layers without levels have the choice "auto" alone.
        self.level_box.visible = len(self.level_box.choices) > 1

    def _list_levels(self, _box: Any) -> list[tuple[str, int | str]]:
        """Return the levels of the reference's pyramid by what the box says of them."""
        levels: list[tuple[str, int | str]] = [("auto", "auto")]
        reference = self.get_reference()
        if reference is not None and reference.multiscale:
            levels += [
                (f"{i} ({' x '.join(map(str, shape))})", i)
                for i, shape in enumerate(reference.level_shapes)
            ]
        return levels

    def _show_report(self) -> None:
        report = self.report
        warned = [*report.warnings, *([self._note] if self._note else [])]
        lines = [report.message, *report.restored, *warned]
        sign = ("\N{WARNING SIGN}" if warned else "\N{CHECK MARK}") if report.ok else "✗"
        self.status.value = f"{sign} " + "\n".join(lines)
        # A choice that would change nothing is not shown.
        self.interpolation_box.visible = report.is_interpolated
