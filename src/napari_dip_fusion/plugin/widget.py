"""The dock widget: the sources above what is done with them."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from magicgui.widgets import Container
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.utils.notifications import show_warning
from qtpy.QtCore import QLocale, Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QTabBar

from napari_dip_fusion.config import CONSENSUS, DIP
from napari_dip_fusion.plugin.forms.layout import Text
from napari_dip_fusion.plugin.forms.method_list import list_lacking_weights
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.forms.preferences import load_preferences
from napari_dip_fusion.plugin.forms.primary import make_primary_style
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


class DipFusionWidget(Container[Widget]):
    """Choose layers, then fuse them, or compare what several methods make of them.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Injected by napari.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
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
        self._update_restore()
        self._update_layers()
        self._probe_torch()

    def fuse(self) -> None:
        """Fuse the ticked layers."""
        self.show_tab(self.fuse_tab)
        self.fuse_tab.fuse()

    def compute_metrics(self) -> None:
        """Score the layers that have a row against the ticked sources."""
        self.show_tab(self.fuse_tab)
        self.fuse_tab.scoring.compute()

    def show_tab(self, tab: Widget) -> None:
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
        self._pages: tuple[Widget, ...] = (self.fuse_tab, self.compare_tab)
        for name, tip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tip)
        content = Container[Widget](
            widgets=[
                Text("<b>Sources</b>"),
                self.sources,
                NativeWidget(self.tabs),
                self.fuse_tab,
                self.compare_tab,
            ],
            labels=False,
        )
        content.margins = (6, 6, 6, 6)
        # All room that is left stays at the bottom, and the parts keep their heights.
        content.native.layout().addStretch(1)
        self.tabs.currentChanged.connect(self._show_page)
        self._show_page(0)
        # Not the scroll area of a container, which napari leaves behind: it docks what is inside.
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(content.native)
        self._content = content
        self._show_theme()
        self.margins = (0, 0, 0, 0)
        self.append(NativeWidget(self.scroll))
        self.min_width = 350
        # Spin boxes would write numbers as the system does, with a comma perhaps; beside them
        # texts, tooltips and files have a point.
        self.native.setLocale(QLocale.c())

    def _show_page(self, index: int) -> None:
        for i, page in enumerate(self._pages):
            page.visible = i == index

    def _connect(self) -> None:
        self.sources.choice_changed.connect(self._update_layers)
        self.sources.checked.connect(self._update_ready)
        self.settings.config_changed.connect(self._update_restore)
        self.settings.config_changed.connect(self._update_ready)
        self.compare_tab.session.phase_changed.connect(self.fuse_tab.follow_runs)
        self._events.connect(self.viewer.events.theme, self._show_theme)
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            self._events.connect(event, self._update_layers)
        # None of them touches the Qt side of a part, which may be gone when it is called.
        self._closers = (
            self._tasks.close,
            *self.fuse_tab.closers,
            *self.compare_tab.closers,
            self.sources.close_subscriptions,
            self._events.close,
        )
        self.native_parent_changed.connect(self._check_dock)
        # napari may also destroy the Qt part without another word.
        self.native.destroyed.connect(partial(_close_all, self._closers))

    def _check_dock(self, parent: Any) -> None:
        """Notice when napari takes the widget out of its dock, which ends it."""
        if self._docked and parent is None:
            told = [*self.fuse_tab.abandon(), self.compare_tab.session.abandon()]
            self.shutdown()
            for line in filter(None, told):
                # Not while napari takes the dock apart: Qt would crash when the program exits.
                QTimer.singleShot(0, partial(show_warning, f"DIP Fusion: {line}"))
            # Nobody owns it now. Left until the program exits, its plot would outlive Qt's
            # application, and crash the process.
            self.native.deleteLater()
        self._docked = parent is not None

    # -- following the viewer ---------------------------------------------------

    def _update_layers(self) -> None:
        self.fuse_tab.update_layers()

    def _update_restore(self) -> None:
        """Let the line under the sources say what the settings restore."""
        fields = self.settings.fields
        knows_sensors = fields["method"].value in (DIP, CONSENSUS)
        self.sources.set_restore(str(fields["restore"].value) if knows_sensors else "")

    def _update_ready(self) -> None:
        self.fuse_tab.update_ready()
        self.compare_tab.update_ready(self.sources.report.ok, self.fuse_tab.too_large)

    def _show_theme(self) -> None:
        self.panel.set_theme(self.viewer.theme)
        self.metrics.planes.set_theme(self.viewer.theme)
        self._content.native.setStyleSheet(make_primary_style(self.viewer.theme))

    # -- torch and devices --------------------------------------------------------

    def _probe_torch(self) -> None:
        """Import torch outside the GUI thread, and learn what there is for it."""
        # It takes seconds the first time, which the window would stand still for.
        if torch_is_imported():
            self._show_probe(_probe())
        else:
            self._update_ready()
            self._tasks.start(_probe, DipFusionWidget._show_probe)

    def _show_probe(self, found: tuple[list[str], list[str]] | Failed) -> None:
        if isinstance(found, Failed):
            self.fuse_tab.set_torch_problem(found.message)
            self.compare_tab.methods.set_torch_problem(found.message)
        else:
            devices, without_weights = found
            self.compare_tab.methods.set_without_weights(without_weights)
            # The form tells of the change, which says what is ready now.
            self.settings.set_devices(devices)


def _probe() -> tuple[list[str], list[str]]:
    """Return the devices, and the methods whose weights are missing; imports torch."""
    return list_devices(), list_lacking_weights()


def _close_all(closers: Iterable[Callable[[], None]]) -> None:
    for close in closers:
        close()
