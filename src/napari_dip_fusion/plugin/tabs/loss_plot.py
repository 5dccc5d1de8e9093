"""A live plot of the loss and of its excess over the floor."""

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QWidget

# Readable on dark and on light grounds, and apart for color-blind eyes.
_COLORS = {"dark": ("#56b4e9", "#f0a13a"), "light": ("#0072b2", "#b85c00")}
# A logarithm of 0 would end the curve.
_SMALLEST = 1e-12


class _LogAxis(pg.AxisItem):
    """A logarithmic axis with labels at 1 and 3 of each decade, which never overlap."""

    def logTickStrings(  # noqa: N802 - pyqtgraph's name
        self, values: Sequence[float], scale: float, spacing: float
    ) -> list[str]:
        numbers = [10.0**v * scale for v in values]
        return [f"{n:.0e}" if f"{n:.0e}"[0] in "13" else "" for n in numbers]


class LossPlot(pg.PlotWidget):
    """Shows loss and excess against the iteration, on a logarithmic scale.

    The loss cannot fall below its floor; the excess, loss less floor, says
    how far the image still is from the consensus image. Losses without a floor,
    which are those of a restoration, have no excess.

    Parameters
    ----------
    theme : str
        Name of a napari theme.
    """

    def __init__(self, theme: str = "dark", parent: QWidget | None = None) -> None:
        super().__init__(parent, axisItems={"left": _LogAxis("left")})
        self._iterations: list[int] = []
        self._losses: list[float] = []
        self._floor = 0.0
        self.setFixedHeight(150)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setLogMode(y=True)
        self.setToolTip(
            "Loss: mean squared distance of the sources from gains times image.\n"
            "Excess: loss above the smallest value that any image can reach.\n"
            "Of a restoration the loss alone, on examples of what each network has to restore."
        )
        self.loss_curve = self.plot(name="loss")
        self.excess_curve = self.plot(name="excess")
        self.legend = self.addLegend(offset=(-5, 5), labelTextSize="8pt", verSpacing=-6)
        self.legend.addItem(self.loss_curve, "loss")
        self.legend.addItem(self.excess_curve, "excess")
        self.set_theme(theme)

    def set_theme(self, name: str) -> None:
        """Take the colors of a napari theme."""
        theme = get_theme(name)
        self.setBackground(theme.background.as_hex())
        text = theme.text.as_hex()
        for side in ("bottom", "left"):
            axis = self.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
        self.setLabel("bottom", "iteration", color=text)
        self.legend.setLabelTextColor(text)
        for label in self.legend.items:
            label[1].setText(label[1].text, color=text)
        colors = _COLORS["light" if theme.type == "light" else "dark"]
        for curve, color in zip((self.loss_curve, self.excess_curve), colors, strict=True):
            curve.setPen(pg.mkPen(color, width=2))

    def clear_data(self) -> None:
        """Forget all points."""
        self._iterations, self._losses = [], []
        self._draw()

    def add(self, iterations: Sequence[int], losses: Sequence[float], floor: float) -> None:
        """Add points and draw."""
        self._iterations += iterations
        self._losses += losses
        self._floor = floor
        self._draw()

    def _draw(self) -> None:
        losses = np.array(self._losses)
        self.loss_curve.setData(self._iterations, np.maximum(losses, _SMALLEST))
        self.excess_curve.setData(self._iterations, np.maximum(losses - self._floor, _SMALLEST))
        # One curve needs no legend.
        for part in (self.excess_curve, self.legend):
            part.setVisible(self._floor > 0)
        # Set the ranges now: done while painting, as is usual, it asks for a second paint.
        self.scene().prepareForPaint()
