"""The list of layers to fuse: it follows the viewer and says whether they fit."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dip_fusion.plugin.layers.layer_report import LayerReport, check_layers
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.sources.resample import INTERPOLATIONS

_MOVES = ("name", "scale", "translate", "rotate", "shear", "affine", "units", "data")
_ROWS_SHOWN = 5  # at least, where there are so many
_SHARE = 1 / 3  # of the height around, that the rows may take
_ROW_HEIGHT = 22
_SETTLE_MS = 50


class SourceList(QWidget):
    """Choose the layers to fuse and the reference among them.

    Every image layer of the viewer has a row, the topmost first as in
    napari's own list; a tick makes it a source. The list grows with the scroll
    area that it is in.

    Emits ``changed`` when the choice changes, and ``checked`` when the report
    on it may have: after moves of layers and sliders too, once they settle.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    report : LayerReport
        Whether the chosen layers can be fused.
    """

    changed = Signal()
    checked = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._following: dict[Image, Subscriptions] = {}
        self._events = Subscriptions()
        self.report = LayerReport(False, "")
        self._note = ""
        self._closed = False
        self._area: QScrollArea | None = None
        self._build()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self.check)
        self._follow_viewer()
        self._refresh()
        self._choose_at_first()
        self.check()

    def sources(self) -> list[Image]:
        """Return the ticked layers, the lowest first as they are in the viewer."""
        rows = (self.list.item(i) for i in range(self.list.count()))
        ticked = [r.checkState() == Qt.CheckState.Checked for r in rows]
        return [layer for layer, t in zip(self._layers, ticked, strict=True) if t][::-1]

    def set_sources(self, layers: Iterable[Layer]) -> None:
        """Tick these layers and no others."""
        wanted = list(layers)
        with self._silent_list():
            for i, layer in enumerate(self._layers):
                self.list.item(i).setCheckState(_state(layer in wanted))
        self._sources_changed()

    def reference(self) -> Image | None:
        """Return the layer whose grid the result takes."""
        sources = self.sources()
        index = self.reference_box.currentIndex()
        return sources[index] if 0 <= index < len(sources) else None

    def set_reference(self, layer: Layer) -> None:
        """Choose the layer whose grid the result takes, among the sources."""
        if layer in self.sources():
            self.reference_box.setCurrentIndex(self.sources().index(layer))

    def level(self) -> int | str:
        """Return the chosen level of the reference's pyramid."""
        text = self.level_box.currentText()
        return int(text.split()[0]) if text[:1].isdigit() else "auto"

    def interpolation(self) -> str:
        """Return how layers on other grids are resampled."""
        return str(self.interpolation_box.currentText())

    def use_selected(self) -> None:
        """Take the image layers that are selected in the viewer as the sources."""
        selection = self._viewer.layers.selection
        selected = [layer for layer in self._viewer.layers if layer in selection]
        left_out = [layer.name for layer in selected if not isinstance(layer, Image)]
        self.set_sources(selected)
        if left_out:
            self._note = f"{', '.join(left_out)} left out: only image layers can be fused"
            self._show_report()

    def check(self) -> None:
        """Look at the chosen layers again, now."""
        if self._closed:
            return
        self._timer.stop()
        self._note = ""
        self.report = check_layers(self.sources(), self.reference(), self._viewer.dims)
        self._show_report()
        self.checked.emit()

    def close_subscriptions(self) -> None:
        """Stop following the viewer; the Qt part may be gone already."""
        self._closed = True
        self._events.close()
        for followed in self._following.values():
            followed.close()
        self._following.clear()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the height of the scroll area around, from now on."""
        super().showEvent(event)
        if self._area is None:
            self._area = _scroll_area(self)
            if self._area is not None:
                self._area.installEventFilter(self)
                self._fit_height()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Show more or fewer rows when the scroll area has another height."""
        if event.type() == QEvent.Type.Resize and watched is self._area:
            self._fit_height()
        return False

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        self.list = QListWidget()
        self.list.setToolTip("Tick two or more image layers that show the same scene.")
        self.list.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.list.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.itemChanged.connect(self._sources_changed)
        self.selected_button = QPushButton("Use selected layers")
        self.selected_button.setToolTip(
            "Tick the image layers that are selected in napari's layer list, and no others."
        )
        self.selected_button.clicked.connect(self.use_selected)
        self.reference_box = _box("The fused image takes the grid, scale and units of this layer.")
        self.reference_box.currentIndexChanged.connect(self._reference_changed)
        self.level_box = _box(
            "Level of the reference's pyramid; 0 is the finest. auto: the finest that fits "
            "the memory."
        )
        self.level_box.currentIndexChanged.connect(self._changed)
        self.interpolation_box = _box(
            "How layers on other grids are resampled: linear mixes the pixels around, nearest "
            "takes the closest one."
        )
        self.interpolation_box.addItems(INTERPOLATIONS)
        self.interpolation_box.currentIndexChanged.connect(self._changed)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.addRow("Reference", self.reference_box)
        self.form.addRow("Level", self.level_box)
        self.form.addRow("Resample", self.interpolation_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.list, self.selected_button):
            layout.addWidget(part)
        layout.addLayout(self.form)
        layout.addWidget(self.status)

    def _follow_viewer(self) -> None:
        layers = self._viewer.layers
        for event in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            self._events.connect(event, self._refresh)
        self._events.connect(layers.selection.events.changed, self._selection_changed)
        for event in (self._viewer.dims.events.point, self._viewer.dims.events.ndisplay):
            self._events.connect(event, self._settle)
        self._events.connect(self._viewer.dims.events.order, self._settle)

    def _choose_at_first(self) -> None:
        """Tick what is selected, or else the only two images there are."""
        selected = [layer for layer in self._layers if layer in self._viewer.layers.selection]
        if len(selected) >= 2:
            self.set_sources(selected)
        elif len(originals := self._originals()) == 2:
            self.set_sources(originals)

    def _originals(self) -> list[Image]:
        """Return the images that are visible and not made by a fusion."""
        return [
            layer for layer in self._layers if layer.visible and "dip_fusion" not in layer.metadata
        ]

    # -- following ----------------------------------------------------------

    def _refresh(self) -> None:
        """Bring the rows in line with the viewer's layers."""
        before = self.sources()
        self._layers = [x for x in reversed(self._viewer.layers) if isinstance(x, Image)]
        with self._silent_list():
            self.list.clear()
            for layer in self._layers:
                self.list.addItem(_item(layer, layer in before))
        self._fit_height()
        self._follow_layers()
        self._selection_changed()
        # A new order is a change too: settings are chosen source by source.
        if before != self.sources():
            self._sources_changed()
        else:
            self._show_reference()
            self._settle()

    def _fit_height(self) -> None:
        """Show as many rows as there are and the height around allows."""
        most = _ROWS_SHOWN
        if self._area is not None:
            most = max(most, int(self._area.height() * _SHARE) // _ROW_HEIGHT)
        rows = min(max(len(self._layers), 2), most)
        self.list.setFixedHeight(rows * _ROW_HEIGHT + 2 * self.list.frameWidth() + 4)

    def _follow_layers(self) -> None:
        for layer in [x for x in self._following if x not in self._layers]:
            self._following.pop(layer).close()
        for layer in self._layers:
            if layer not in self._following:
                subscriptions = Subscriptions()
                for name in _MOVES:
                    respond = self._renamed if name == "name" else self._settle
                    subscriptions.connect(getattr(layer.events, name), respond)
                self._following[layer] = subscriptions

    def _renamed(self) -> None:
        with self._silent_list():
            for i, layer in enumerate(self._layers):
                self.list.item(i).setText(layer.name)
        self._show_reference()
        self.changed.emit()
        self._settle()

    def _selection_changed(self) -> None:
        """Show the viewer's selection in bold, and count it on the button."""
        selection = self._viewer.layers.selection
        with self._silent_list():
            for i, layer in enumerate(self._layers):
                font = self.list.item(i).font()
                font.setBold(layer in selection)
                self.list.item(i).setFont(font)
        count = sum(layer in selection for layer in self._layers)
        self.selected_button.setText(f"Use selected layers ({count})")
        self.selected_button.setEnabled(count >= 2)

    def _settle(self) -> None:
        self._timer.start()

    def _changed(self) -> None:
        self.changed.emit()
        self._settle()

    def _reference_changed(self) -> None:
        self._show_levels()
        self._changed()

    def _sources_changed(self) -> None:
        self._show_reference()
        self.changed.emit()
        self.check()

    def _show_reference(self) -> None:
        """List the sources as references, keeping the one that is chosen."""
        box, names = self.reference_box, [layer.name for layer in self.sources()]
        kept = getattr(self, "_reference", None)
        box.blockSignals(True)
        box.clear()
        box.addItems(names)
        if kept in self.sources():
            box.setCurrentIndex(self.sources().index(kept))
        box.blockSignals(False)
        self._show_levels()

    def _show_levels(self) -> None:
        self._reference = self.reference()
        multiscale = self._reference is not None and self._reference.multiscale
        levels = ["auto"]
        if self._reference is not None and multiscale:
            levels += [
                f"{i} ({' x '.join(map(str, shape))})"
                for i, shape in enumerate(self._reference.level_shapes)
            ]
        box = self.level_box
        if levels != [box.itemText(i) for i in range(box.count())]:
            box.blockSignals(True)
            box.clear()
            box.addItems(levels)
            box.blockSignals(False)
        self.form.setRowVisible(self.level_box, multiscale)

    def _show_report(self) -> None:
        report = self.report
        lines = [report.message, *report.warnings, *([self._note] if self._note else [])]
        sign = ("\N{WARNING SIGN}" if len(lines) > 1 else "\N{CHECK MARK}") if report.ok else "✗"
        self.status.setText(f"{sign} " + "\n".join(lines))
        self.form.setRowVisible(self.interpolation_box, bool(report.resampled))

    @contextmanager
    def _silent_list(self) -> Iterator[None]:
        self.list.blockSignals(True)
        try:
            yield
        finally:
            self.list.blockSignals(False)


def _scroll_area(widget: QWidget) -> QScrollArea | None:
    """Return the scroll area that a widget is in, if it is in any."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent


def _item(layer: Image, ticked: bool) -> QListWidgetItem:
    item = QListWidgetItem(layer.name)
    item.setSizeHint(QSize(0, _ROW_HEIGHT))
    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(_state(ticked))
    return item


def _state(ticked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked


def _box(tip: str, items: Sequence[str] = ()) -> QComboBox:
    box = QComboBox()
    box.addItems(list(items))
    box.setToolTip(tip)
    # Long layer names are cut by the box, never by the window.
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box
