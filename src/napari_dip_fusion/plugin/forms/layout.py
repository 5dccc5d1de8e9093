"""Rows, labeled fields and texts that wrap, of magicgui's widgets."""

from decimal import Decimal

from magicgui.widgets import Container, FloatSpinBox, Label
from magicgui.widgets.bases import Widget
from qtpy.QtWidgets import QSizePolicy

from napari_dip_fusion.plugin.forms.shortening import cut_long_words

LABEL_WIDTH = 128
"""Width of the labels of all settings in pixels, so that their fields begin at one place."""


class Text(Label):
    """A label that wraps its text, as wide as there is room.

    Words for which a line has no room, such as names of layers, are cut in the middle; the tooltip
    then has the whole text.

    Parameters
    ----------
    value : str
    tooltip : str, optional
    """

    def __init__(self, value: str = "", tooltip: str | None = None) -> None:
        self._tip, self._whole = tooltip, value
        super().__init__(value=value, tooltip=tooltip)
        self.native.setWordWrap(True)
        # magicgui's labels keep the size of their first text.
        self.native.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def get_value(self) -> str:
        """Return the whole text."""
        return self._whole

    def set_value(self, value: str) -> None:
        """Show a text."""
        self._whole = str(value)
        shown = cut_long_words(self._whole)
        super().set_value(shown)
        parts = [] if shown == self._whole else [self._whole]
        self.tooltip = "\n".join([*parts, *([self._tip] if self._tip else [])]) or None

    def say(self, text: str) -> None:
        """Show a text, and take no room without one."""
        self.value = text
        self.visible = bool(text)


def make_row(*parts: Widget, stretch: int | None = None) -> Container[Widget]:
    """Return a container with parts side by side, equally wide or with room for one of them.

    Parameters
    ----------
    *parts : Widget
    stretch : int, optional
        Index of the part that takes all room there is.
    """
    row = Container[Widget](widgets=parts, layout="horizontal", labels=False)
    row.margins = (0, 0, 0, 0)
    for i in range(len(parts)):
        row.native.layout().setStretch(i, 1 if stretch is None or stretch == i else 0)
    return row


def align_labels(form: Container[Widget]) -> None:
    """Give the labels of a container the width that those of all settings have.

    magicgui makes them as wide as the widest in the same container.
    """
    layout = form.native.layout()
    for i in range(layout.count()):
        # Each row of a labeled container is a widget of its own, with the label first.
        row = layout.itemAt(i).widget().layout()
        row.itemAt(0).widget().setMinimumWidth(LABEL_WIDTH)


def show_number(box: FloatSpinBox, value: float) -> None:
    """Show a number with all its decimals, of which a spin box cuts those beyond the second."""
    # Not fewer than its ends have: a largest value of 0.999 would become 1.00.
    ends = (box.native.minimum(), box.native.maximum())
    box.native.setDecimals(max(2, *map(_count_decimals, (value, *ends))))
    box.value = value


def set_range(box: FloatSpinBox, low: float, high: float) -> None:
    """Set the smallest and the largest number of a box, which rounds neither of them."""
    box.native.setDecimals(max(2, _count_decimals(low), _count_decimals(high)))
    box.min, box.max = low, high


def _count_decimals(number: float) -> int:
    # The shortest text that is the same number has as many decimals as somebody has typed.
    return -int(Decimal(repr(number)).normalize().as_tuple().exponent)
