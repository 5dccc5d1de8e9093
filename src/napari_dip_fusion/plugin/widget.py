"""The dock widget: the sources above what is done with them, and its life in napari."""

from collections.abc import Callable, Iterable
from functools import partial

from napari import Viewer
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QTabBar, QVBoxLayout, QWidget

from napari_dip_fusion.plugin.forms.method_list import lacking_weights
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.forms.preferences import load_preferences
from napari_dip_fusion.plugin.forms.settings import SettingsForm
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.tabs.compare_tab import CompareTab
from napari_dip_fusion.plugin.tabs.fuse_tab import FuseTab
from napari_dip_fusion.prior.devices import list_devices, torch_is_imported

_TABS = {
    "Fuse": "Fuse the chosen layers by the Deep Image Prior, with all its settings.",
    "Compare": "Fuse the chosen layers by several methods, and compare the results.",
}


class DipFusionWidget(QWidget):
    """Choose layers, then fuse them, or compare what several methods make of them.

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
        planner = Planner(napari_viewer, self.sources, self.settings)
        self.fuse_tab = FuseTab(napari_viewer, planner)
        self.compare_tab = CompareTab(napari_viewer, planner)
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
        self.show_tab(self.fuse_tab)
        self.fuse_tab.fuse()

    def compute_metrics(self) -> None:
        """Score the compared layers against the ticked sources."""
        self.show_tab(self.fuse_tab)
        self.fuse_tab.compute_metrics()

    def show_tab(self, tab: QWidget) -> None:
        """Show the tab of a fusion or that of a comparison."""
        self.tabs.setCurrentIndex(self._pages.index(tab))

    def shutdown(self) -> None:
        """End a run and stop following the viewer."""
        _close_all(self._closers)

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        # A tab bar and not a tab widget, which is as high as the highest of its pages.
        self.tabs = QTabBar()
        self.tabs.setExpanding(True)
        self._pages: list[QWidget] = [self.fuse_tab, self.compare_tab]
        for name, tip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tip)
        self.tabs.currentChanged.connect(self._show_page)
        self._show_page(0)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(QLabel("<b>Sources</b>"))
        for part in (self.sources, self.tabs, *self._pages):
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

    def _show_page(self, index: int) -> None:
        for i, page in enumerate(self._pages):
            page.setVisible(i == index)

    def _connect(self) -> None:
        self.sources.changed.connect(self._layers_changed)
        self.sources.checked.connect(self._update_ready)
        self.settings.changed.connect(self._update_ready)
        self.compare_tab.session.phase_changed.connect(self.fuse_tab.follow_runs)
        self._events.connect(self.viewer.events.theme, self._theme_changed)
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            self._events.connect(event, self._layers_changed)
        self._closers = (
            self._tasks.close,
            *self.fuse_tab.closers,
            *self.compare_tab.closers,
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
        self.compare_tab.update_ready(self.sources.report.ok)

    def _theme_changed(self) -> None:
        self.panel.plot.set_theme(self.viewer.theme)

    # -- torch and devices --------------------------------------------------------

    def _probe_torch(self) -> None:
        """Import torch outside the GUI thread, and learn what there is for it."""
        if torch_is_imported():
            self._show_probe(_probe())
        else:
            self._tasks.start(_probe, DipFusionWidget._show_probe)

    def _show_probe(self, found: tuple[list[str], list[str]] | Failed) -> None:
        if isinstance(found, Failed):
            self.fuse_tab.set_torch_problem(found.message)
            self.compare_tab.methods.set_torch_problem(found.message)
        else:
            devices, without_weights = found
            self.compare_tab.methods.set_without_weights(without_weights)
            self.settings.set_devices(devices)
            self._update_ready()


def _probe() -> tuple[list[str], list[str]]:
    """Return the devices, and the methods whose weights are missing; imports torch."""
    return list_devices(), lacking_weights()


def _close_all(closers: Iterable[Callable[[], None]]) -> None:
    for close in closers:
        close()
