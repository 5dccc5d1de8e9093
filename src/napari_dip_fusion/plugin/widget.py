"""The dock widget: puts the panels together, and translates between them and the core."""

import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from napari import Viewer
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.devices import available_memory, list_devices, resolve_device
from napari_dip_fusion.estimate import estimate_memory
from napari_dip_fusion.fusion import Done, GainsReady, estimate_gains
from napari_dip_fusion.plugin.comparison import compare
from napari_dip_fusion.plugin.export import Recipe, as_command, as_script, repeating
from napari_dip_fusion.plugin.layers import (
    Placement,
    PlaneReader,
    add_fused_layer,
    add_gain_layers,
    chosen_level,
    consensus_image,
    consensus_name,
    contrast_windows,
    fused_name,
    layer_paths,
    placement,
    plane_readers,
    recorded_config,
)
from napari_dip_fusion.plugin.metrics_table import MetricsTable
from napari_dip_fusion.plugin.preferences import load_preferences
from napari_dip_fusion.plugin.rows import button, row
from napari_dip_fusion.plugin.run import Failed, RunEvent, start_task
from napari_dip_fusion.plugin.run_panel import RunPanel
from napari_dip_fusion.plugin.session import FusionSession, Request
from napari_dip_fusion.plugin.settings_form import SettingsForm
from napari_dip_fusion.plugin.source_list import SourceList
from napari_dip_fusion.plugin.subscriptions import Subscriptions

_WINDOWS_LEFT_OUT = (
    ", but for its intensity windows, one for each source: set these by the layers' contrast limits"
)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The sources and settings as they are now."""

    layers: tuple[Image, ...]
    reference: Image
    config: FusionConfig
    level: int
    readers: tuple[PlaneReader, ...]
    place: Placement

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)


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
        self._closed = Event()
        self._torch_problem = ""
        self._recipe: Recipe | None = None
        self._events = Subscriptions()
        self.session = FusionSession(napari_viewer)
        self.sources = SourceList(napari_viewer)
        self.settings = SettingsForm(load_preferences())
        self.panel = RunPanel(self.session, napari_viewer.theme)
        self.metrics = MetricsTable()
        self._build()
        self._connect()
        self._layers_changed()
        self._update_ready()
        self._probe_torch()

    # -- what the buttons do --------------------------------------------------

    def fuse(self) -> None:
        """Fuse the ticked layers."""
        try:
            plan = self._plan()
            self.session.start(_request(plan))
        except ValueError as error:
            self.panel.show_message(str(error))
            return
        self._recipe = self._recipe_of(plan)
        self.panel.begin(plan.config.iterations, afresh=True)

    def add_gain_maps(self) -> None:
        """Add the gain maps and the consensus image of the ticked layers."""
        try:
            plan = self._plan()
        except ValueError as error:
            self.panel.show_message(str(error))
            return
        self.panel.show_message("computing the gain maps")
        self._start(partial(_gains, plan), DipFusionWidget._show_gains, plan)

    def compute_metrics(self) -> None:
        """Score the compared layers against the ticked sources."""
        try:
            plan = self._plan()
            compared = self.metrics.compared()
            readers = self._readers(compared, plan)
        except ValueError as error:
            self.metrics.show_message(str(error))
            return
        self.metrics.show_message("computing")
        images = dict(zip((layer.name for layer in compared), readers, strict=True))
        call = partial(compare, plan.readers, images, plan.config, self.metrics.which())
        self._start(call, DipFusionWidget._show_scores, plan.names)

    def copy_script(self) -> None:
        """Put a script on the clipboard that repeats the last run, or would make the next."""
        self._copy(as_script)

    def copy_command(self) -> None:
        """Put a command on the clipboard that repeats the last run, or would make the next."""
        self._copy(as_command)

    def recall_settings(self) -> None:
        """Show the settings that the selected layer was fused with."""
        try:
            selection = self.viewer.layers.selection
            topmost_first = [x for x in reversed(self.viewer.layers) if x in selection]
            config, name = recorded_config(topmost_first)
            self.settings.show_config(config)
        except ValueError as error:
            self.panel.show_message(str(error))
            return
        windows = "" if isinstance(config.intensity, str) else _WINDOWS_LEFT_OUT
        self.panel.show_message(f"these are the settings of {name}{windows}")

    def shutdown(self) -> None:
        """End a run and stop following the viewer."""
        _close_all(self._closers)

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(QLabel("<b>Sources</b>"))
        for part in (self.sources, _line(), self.settings, _line(), self.panel):
            layout.addWidget(part)
        script = button("Copy as script", "Python code that repeats the last run in napari.")
        command = button("Copy as command", "A command that repeats the last run on the files.")
        recall = button(
            "Settings of the selected layer",
            "Show the settings that the selected fused layer was made with, as its run record "
            "has them.",
        )
        script.clicked.connect(self.copy_script)
        command.clicked.connect(self.copy_command)
        recall.clicked.connect(self.recall_settings)
        layout.addWidget(row(script, command))
        layout.addWidget(recall)
        layout.addWidget(_line())
        self.folded_metrics = QCollapsible("Metrics", collapsedIcon="▶", expandedIcon="▼")
        self.folded_metrics.setDuration(0)
        self.folded_metrics.layout().setContentsMargins(0, 0, 0, 0)
        self.folded_metrics.addWidget(self.metrics)
        layout.addWidget(self.folded_metrics)
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
        self.panel.fuse_wanted.connect(self.fuse)
        self.panel.gains_wanted.connect(self.add_gain_maps)
        self.metrics.wanted.connect(self.compute_metrics)
        self.session.reported.connect(self._report)
        self._events.connect(self.viewer.events.theme, self._theme_changed)
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            self._events.connect(event, self._layers_changed)
        self._closers = (
            self._closed.set,
            self.session.close,
            self.sources.close_subscriptions,
            self.panel.close_bar,
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

    # -- sources and settings --------------------------------------------------

    def _layers_changed(self) -> None:
        self.settings.intensity.set_sources([layer.name for layer in self.sources.sources()])
        self.metrics.set_candidates([x for x in self.viewer.layers if isinstance(x, Image)])

    def _plan(self) -> _Plan:
        """Take sources and settings as they are now.

        Raises
        ------
        ValueError
            If they cannot be fused; the message says what to do.
        """
        layers, reference = tuple(self.sources.sources()), self.sources.reference()
        if not self.sources.report.ok or reference is None:
            raise ValueError(self.sources.report.message)
        config = self.settings.config(contrast_windows(layers))
        level = chosen_level(
            reference,
            self.viewer.dims,
            level=self.sources.level(),
            count=len(layers),
            config=config,
        )
        readers = plane_readers(
            layers,
            reference,
            self.viewer.dims,
            level=level,
            interpolation=self.sources.interpolation(),
        )
        place = placement(reference, self.viewer.dims, level=level)
        return _Plan(layers, reference, config, level, tuple(readers), place)

    def _readers(self, layers: Iterable[Layer], plan: _Plan) -> list[PlaneReader]:
        return plane_readers(
            [layer for layer in layers if isinstance(layer, Image)],
            plan.reference,
            self.viewer.dims,
            level=plan.level,
            interpolation=self.sources.interpolation(),
        )

    def _update_ready(self) -> None:
        """Say whether a fusion can start, and what memory it needs."""
        if not self.sources.report.ok:
            self.panel.set_ready(False, False, "")
            return
        try:
            plan = self._plan()
        except (ValueError, ImportError) as error:
            self.panel.set_ready(False, False, str(error))
            return
        line = self._torch_problem or _memory_line(plan)
        self.panel.set_ready(not self._torch_problem, True, line)

    # -- torch and devices ------------------------------------------------------

    def _probe_torch(self) -> None:
        """Import torch outside the GUI thread, and learn which devices there are."""
        if _torch_is_imported():
            self._show_devices(list_devices())
        else:
            self._start(list_devices, DipFusionWidget._show_devices)

    def _show_devices(self, devices: list[str] | Failed) -> None:
        if isinstance(devices, Failed):
            self._torch_problem = devices.message
        else:
            self.settings.set_devices(devices)
        self._update_ready()

    # -- results ------------------------------------------------------------------

    def _report(self, event: RunEvent) -> None:
        if isinstance(event, Failed):
            show_error(f"DIP Fusion: {event.message}")
        if isinstance(event, Done):
            self._score_result()

    def _score_result(self) -> None:
        """Fill the metrics table for the run that ended, with its own sources."""
        request, fused, result = self.session.request, self.session.fused, self.session.result
        if request is None or fused is None or fused.layer is None or result is None:
            return
        self.metrics.compare(fused.layer)
        self.folded_metrics.expand(animate=False)
        images = {fused.layer.name: _Array(result.image)}
        call = partial(compare, request.readers, images, request.config, self.metrics.which())
        self._start(call, DipFusionWidget._show_scores, request.names)

    def _show_scores(self, names: tuple[str, ...], scores: Any) -> None:
        if isinstance(scores, Failed):
            self.metrics.show_message(scores.message)
        else:
            self.metrics.show_scores(scores, names)

    def _show_gains(self, plan: _Plan, ready: GainsReady | Failed) -> None:
        if isinstance(ready, Failed):
            self.panel.show_message(ready.message)
            return
        self.panel.show_message("")
        image = consensus_image(ready.sources, ready.consensus)
        add_gain_layers(self.viewer, ready.gains, plan.layers, plan.place)
        add_fused_layer(self.viewer, image, consensus_name(plan.layers), plan.place)

    def _theme_changed(self) -> None:
        self.panel.plot.set_theme(self.viewer.theme)

    # -- code -----------------------------------------------------------------------

    def _recipe_of(self, plan: _Plan) -> Recipe:
        level = plan.level if plan.reference.multiscale else "auto"
        flat = all(x.ndim == 2 for x in plan.layers)
        plain = flat and not any(x.multiscale for x in plan.layers)
        dims = self.viewer.dims
        return Recipe(
            names=plan.names,
            paths=tuple(layer_paths(plan.layers)),
            config=plan.config,
            reference=plan.reference.name,
            interpolation=self.sources.interpolation(),
            level=level,
            plain=plain and "resampled" not in self.sources.report.message,
            point=None if flat else tuple(float(x) for x in dims.point),
            order=None if flat else tuple(int(i) for i in dims.order),
        )

    def _copy(self, write: Callable[[Recipe], str]) -> None:
        try:
            recipe = self._recipe or self._recipe_of(self._plan())
            config = repeating(recipe.config, self.session.result if self._recipe else None)
            text = write(Recipe(**{**vars(recipe), "config": config}))
        except ValueError as error:
            self.panel.show_message(str(error))
            return
        QApplication.clipboard().setText(text)
        self.panel.show_message("copied to the clipboard")

    def _start(
        self, call: Callable[[], Any], receive: Callable[..., None], *arguments: Any
    ) -> None:
        """Run a call in a thread, then a method with what came of it.

        Nothing is received, and nothing held, when the widget has gone by then.
        """
        there, closed, once = weakref.ref(self), self._closed, [arguments]

        def deliver(value: Any) -> None:
            widget, given = there(), once.pop()
            if widget is not None and not closed.is_set():
                receive(widget, *given, value)

        start_task(call, deliver)


class _Array:
    """An image in memory in place of one to read."""

    def __init__(self, image: Any) -> None:
        self._image = image

    def read(self) -> Any:
        return self._image


def _gains(plan: _Plan) -> GainsReady:
    return estimate_gains([reader.read() for reader in plan.readers], plan.config)


def _request(plan: _Plan) -> Request:
    return Request(
        layers=plan.layers,
        names=plan.names,
        paths=tuple(layer_paths(plan.layers)),
        readers=plan.readers,
        place=plan.place,
        config=plan.config,
        fused_name=fused_name(plan.layers),
    )


def _torch_is_imported() -> bool:
    return sys.modules.get("torch") is not None


def _memory_line(plan: _Plan) -> str:
    device = resolve_device(plan.config.device) if _torch_is_imported() else "cpu"
    needed = estimate_memory(plan.config, plan.readers[0].to_shape, len(plan.readers))
    free = available_memory(device)
    line = f"Needs about {_size(needed)}; {device} has {_size(free)} free"
    if needed <= free:
        return line
    return f"\N{WARNING SIGN} {line}: choose a smaller width, or smaller images"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line


def _close_all(closers: Iterable[Callable[[], None]]) -> None:
    for close in closers:
        close()
