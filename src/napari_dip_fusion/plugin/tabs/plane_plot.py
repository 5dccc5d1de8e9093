"""A plot of a metric against the planes of a stack, with the plane on the screen marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QWidget

# Readable on dark and on light grounds, and apart for color-blind eyes.
_COLORS = {"dark": ("#56b4e9", "#f0a13a"), "light": ("#0072b2", "#b85c00")}
_OTHERS = "#808080"


class PlanePlot(pg.PlotWidget):
    """Shows a curve for each of several images; one of them stands out.

    Emits ``plane_clicked`` with the number of the plane under a click.

    Parameters
    ----------
    theme : str
        Name of a napari theme.
    """

    plane_clicked = Signal(int)

    def __init__(self, theme: str = "dark", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._planes = 0
        self._chosen = 0
        self.curves: list[pg.PlotDataItem] = []
        self.setFixedHeight(140)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setToolTip(
            "The metric of each plane: of the row that was clicked, and in gray of the others.\n"
            "The line is at the plane on the screen; a click goes to another one."
        )
        # Metrics are read as they stand in the table: 0.785, and not 785 thousandths.
        for side in ("bottom", "left"):
            self.getAxis(side).enableAutoSIPrefix(False)
        # Room for one half of the number at the top.
        self.getPlotItem().setContentsMargins(0, 6, 6, 0)
        self.line = pg.InfiniteLine(angle=90)
        self.line.hide()
        self.addItem(self.line)
        self.scene().sigMouseClicked.connect(self._respond_to_click)
        self.set_theme(theme)

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        theme = get_theme(name)
        self.setBackground(theme.background.as_hex())
        for side in ("bottom", "left"):
            self.getAxis(side).setPen(theme.text.as_hex())
            self.getAxis(side).setTextPen(theme.text.as_hex())
        self._text = theme.text.as_hex()
        self._curve_color, self._line_color = _COLORS["light" if theme.type == "light" else "dark"]
        self.line.setPen(pg.mkPen(self._line_color, width=1, style=Qt.PenStyle.DashLine))
        self._color()

    def show_values(
        self, values: Sequence[NDArray[np.float64]], chosen: int, *, axis: str, label: str
    ) -> None:
        """Draw curves.

        Parameters
        ----------
        values : sequence of ndarray of shape (planes,)
            NaN where a metric says nothing of a plane.
        chosen : int
            Which of them stands out.
        axis, label : str
            What the planes are counted along, and what the values are.
        """
        for curve in self.curves:
            self.removeItem(curve)
        self._planes, self._chosen = len(values[0]) if values else 0, chosen
        self.curves = [self.plot(np.arange(len(v)), v, connect="finite") for v in values]
        self.setLabel("bottom", axis, color=self._text)
        self.setLabel("left", label, color=self._text)
        self._color()
        # Set the ranges now: done while painting, as is usual, it asks for a second paint.
        self.scene().prepareForPaint()

    def mark(self, plane: int | None) -> None:
        """Draw the line at a plane, or none."""
        self.line.setVisible(plane is not None)
        if plane is not None:
            self.line.setValue(plane)

    def _color(self) -> None:
        for i, curve in enumerate(self.curves):
            chosen = i == self._chosen
            curve.setPen(pg.mkPen(self._curve_color if chosen else _OTHERS, width=1 + chosen))
            curve.setZValue(1 if chosen else 0)
            # A single plane between two that say nothing is a point.
            curve.setSymbol("o" if chosen and self._planes < 40 else None)
            curve.setSymbolSize(4)
            curve.setSymbolBrush(self._curve_color)
            curve.setSymbolPen(None)

    def _respond_to_click(self, event: Any) -> None:
        self.click_at(event.scenePos())

    def click_at(self, position: QPointF) -> None:
        """Go to the plane that is nearest to a place in the scene."""
        box = self.getPlotItem().vb
        if self._planes and box.sceneBoundingRect().contains(position):
            plane = round(box.mapSceneToView(position).x())
            self.plane_clicked.emit(int(np.clip(plane, 0, self._planes - 1)))
