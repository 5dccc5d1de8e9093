"""The metrics of every plane of a stack: which one is plotted, and where the viewer is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.metrics import METRICS
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.layers.levels import drop_single, get_level_shape
from napari_dip_fusion.plugin.layers.plane_view import find_shown_index, show_index
from napari_dip_fusion.plugin.layers.shared_axes import get_label
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.tabs.plane_plot import PlanePlot

PlaneValues = Mapping[str, NDArray[np.float64]]
"""A metric of every plane, by the metric's name, in the shape of the stack."""


class PlaneScoresView(Container[Widget]):
    """Plots one metric against the planes of a stack; hidden where there is one plane only.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    scores : list of PlaneValues
        Of each image; empty where these are planes.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self.scores: list[PlaneValues] = []
        self._layer: Image | None = None
        self._chosen = 0
        self._before: tuple[int, ...] = ()
        self._plot: PlanePlot | None = None
        self._events = Subscriptions()
        self.metric_box = ComboBox(
            choices=self._list_metrics, tooltip="The metric that is plotted against the planes."
        )
        self.metric_box.changed.connect(self._draw)
        self.margins = (0, 0, 0, 0)
        self.append(self.metric_box)
        self._events.connect(viewer.dims.events.point, self._follow)
        self.hide()

    @property
    def plot(self) -> PlanePlot:
        """The plot; made for the first stack, since it takes a while."""
        if self._plot is None:
            self._plot = PlanePlot(self._viewer.theme)
            self._plot.plane_clicked.connect(self._go_to)
            self.append(NativeWidget(self._plot))
        return self._plot

    @property
    def axes(self) -> list[str]:
        """Names of the axes along which planes are counted; empty where there is one plane."""
        if not self.scores:
            return []
        count = next(iter(self.scores[0].values())).ndim
        names: list[str] = []
        if self._layer is not None:
            stacked = [a for a, n in enumerate(get_level_shape(self._layer)[:-2]) if n > 1]
            names = [get_label(self._layer, a - self._layer.ndim) for a in stacked]
        # Axes that nobody has named are called by their numbers.
        if len(names) != count or "" in names:
            names = ["plane"] if count == 1 else [f"axis {a}" for a in range(count)]
        return names

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        if self._plot is not None:
            self._plot.set_theme(name)

    def show_scores(self, scores: Sequence[PlaneValues], layer: Image | None) -> None:
        """Show the scores of the planes of some images; none where they are planes themselves.

        Parameters
        ----------
        scores : sequence of mapping
            One for each image, all of the same metrics.
        layer : Image or None
            One whose planes were scored: it says where these lie.
        """
        stacked = bool(scores and scores[0]) and all(v.ndim for v in scores[0].values())
        self.scores = list(scores) if stacked else []
        self._layer, self._chosen = layer, 0
        with self.metric_box.changed.blocked():
            self.metric_box.reset_choices()
        self.visible = stacked
        self._draw()

    def choose(self, row: int) -> None:
        """Let the curve of another image stand out."""
        if row < len(self.scores):
            self._chosen = row
            self._draw()

    def close_subscriptions(self) -> None:
        """Follow the viewer no more; the Qt part may be gone already."""
        self._events.close()

    def _list_metrics(self, _box: Any) -> list[tuple[str, str]]:
        names = list(self.scores[0]) if self.scores else []
        return [(METRICS[name].label, name) for name in names]

    def _find_layer(self) -> Image | None:
        """Return the layer whose planes are those that were scored, None if there is none."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not self.scores:
            return None
        stack = next(iter(self.scores[0].values())).shape
        return layer if drop_single(get_level_shape(layer))[:-2] == stack else None

    def _find_shown(self) -> tuple[int, ...] | None:
        """Return the index of the plane on the screen in the stack that was scored."""
        layer = self._find_layer()
        return None if layer is None else find_shown_index(layer, self._viewer.dims)

    def _draw(self) -> None:
        name = self.metric_box.value
        if not self.scores or name is None:
            return
        shown = self._find_shown()
        # Of a series of volumes, the planes of the volume that is shown.
        first = self.scores[0][name]
        before = (0,) * (first.ndim - 1) if shown is None else shown[:-1]
        self._before = before
        self.plot.show_values(
            [values[name][before] for values in self.scores],
            self._chosen,
            axis=self.axes[-1],
            label=METRICS[name].label.split(" (")[0],
        )
        self.plot.mark(None if shown is None else shown[-1])

    def _follow(self) -> None:
        """Move the line to the plane that is shown now."""
        # At each step of a slider: only the line moves, within one volume.
        if not self.scores or self._plot is None:
            return
        shown = self._find_shown()
        if shown is not None and shown[:-1] != self._before:
            self._draw()
        else:
            self._plot.mark(None if shown is None else shown[-1])

    def _go_to(self, plane: int) -> None:
        layer = self._find_layer()
        if layer is not None:
            show_index(self._viewer, layer, (*self._before, plane))
