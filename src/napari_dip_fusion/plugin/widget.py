"""The dock widget: the sources above what is done with them, and its life in napari."""

from collections.abc import Callable, Iterable
from functools import partial

from napari import Viewer
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_dip_fusion.devices import list_devices
from napari_dip_fusion.plugin.fuse_tab import FuseTab
from napari_dip_fusion.plugin.plan import torch_is_imported
from napari_dip_fusion.plugin.preferences import load_preferences
from napari_dip_fusion.plugin.rows import line
from napari_dip_fusion.plugin.run import Failed
from napari_dip_fusion.plugin.settings_form import SettingsForm
from napari_dip_fusion.plugin.source_list import SourceList
from napari_dip_fusion.plugin.subscriptions import Subscriptions
from napari_dip_fusion.plugin.tasks import Tasks


class DipFusionWidget(QWidget):
    """Choose layers, fuse them, watch, and compare the result.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Injected by napari.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._docked = False
        self._tasks = Tasks(self)
        self._events = Subscriptions()
        self.sources = SourceList(napari_viewer)
        self.settings = SettingsForm(load_preferences())
        self.fuse_tab = FuseTab(napari_viewer, self.sources, self.settings)
        self.session = self.fuse_tab.session
        self.panel = self.fuse_tab.panel
        self.metrics = self.fuse_tab.metrics
        self.folded_metrics = self.fuse_tab.folded_metrics
        self._build()
        self._connect()
        self._layers_changed()
        self._update_ready()
        self._probe_torch()

    def fuse(self) -> None:
        """Fuse the ticked layers."""
        self.fuse_tab.fuse()

    def compute_metrics(self) -> None:
        """Score the compared layers against the ticked sources."""
        self.fuse_tab.compute_metrics()

    def shutdown(self) -> None:
        """End a run and stop following the viewer."""
        _close_all(self._closers)

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(QLabel("<b>Sources</b>"))
        for part in (self.sources, line(), self.fuse_tab):
            layout.addWidget(part)
        layout.addStretch(1)
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.scroll)
        self.setMinimumWidth(350)

    def _connect(self) -> None:
        self.sources.changed.connect(self._layers_changed)
        self.sources.checked.connect(self._update_ready)
        self.settings.changed.connect(self._update_ready)
        self._events.connect(self.viewer.events.theme, self._theme_changed)
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            self._events.connect(event, self._layers_changed)
        self._closers = (
            self._tasks.close,
            *self.fuse_tab.closers,
            self.sources.close_subscriptions,
            self._events.close,
        )
        # The widget's own methods are not called when it is destroyed.
        self.destroyed.connect(partial(_close_all, self._closers))

    def event(self, event: QEvent) -> bool:
        """Notice when napari takes the widget out of its dock, which ends it."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.shutdown()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    # -- following the viewer ---------------------------------------------------

    def _layers_changed(self) -> None:
        self.fuse_tab.update_layers()

    def _update_ready(self) -> None:
        self.fuse_tab.update_ready()

    def _theme_changed(self) -> None:
        self.panel.plot.set_theme(self.viewer.theme)

    # -- torch and devices --------------------------------------------------------

    def _probe_torch(self) -> None:
        """Import torch outside the GUI thread, and learn which devices there are."""
        if torch_is_imported():
            self._show_devices(list_devices())
        else:
            self._tasks.start(list_devices, DipFusionWidget._show_devices)

    def _show_devices(self, devices: list[str] | Failed) -> None:
        if isinstance(devices, Failed):
            self.fuse_tab.set_torch_problem(devices.message)
        else:
            self.settings.set_devices(devices)
            self._update_ready()


def _close_all(closers: Iterable[Callable[[], None]]) -> None:
    for close in closers:
        close()
