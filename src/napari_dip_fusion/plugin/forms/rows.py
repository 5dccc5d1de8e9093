"""Small parts that every panel of the widget is made of."""

from decimal import Decimal

from magicgui.widgets import FloatSpinBox
from qtpy.QtWidgets import QCheckBox, QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS

LABEL_WIDTH = 128
"""Of the labels of all settings, so that their fields begin at one place."""


def button(text: str, tip: str) -> QPushButton:
    """Return a button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made


def label(text: str = "") -> QLabel:
    """Return a label that wraps its text."""
    made = QLabel(text)
    made.setWordWrap(True)
    return made


def line() -> QFrame:
    """Return a horizontal line between two parts of the widget."""
    made = QFrame()
    made.setFrameShape(QFrame.Shape.HLine)
    return made


def metrics_box() -> QCheckBox:
    """Return the choice of all metrics."""
    made = QCheckBox("All metrics")
    made.setToolTip(
        f"All {len(METRICS)} metrics, in place of the {len(DEFAULT_METRICS)} of the paper."
    )
    return made


def narrow_box(tip: str) -> QComboBox:
    """Return a choice of layers that cuts long names, in place of widening the widget."""
    made = QComboBox()
    made.setToolTip(tip)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(8)
    return made


def show_number(box: FloatSpinBox, value: float) -> None:
    """Show a number with all its decimals, of which a spin box cuts those beyond the second."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    box.native.setDecimals(max(2, -int(exponent)))
    box.value = value


def row(*parts: QWidget, stretch: int | None = None) -> QWidget:
    """Put parts side by side, equally wide or with room for one of them.

    Parameters
    ----------
    *parts : QWidget
    stretch : int, optional
        Index of the part that takes all room there is.
    """
    box = QWidget()
    layout = QHBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for i, part in enumerate(parts):
        layout.addWidget(part, 1 if stretch is None or stretch == i else 0)
    return box
