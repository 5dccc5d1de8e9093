"""Qt widgets that magicgui has no word for, as parts of its containers."""

from magicgui.backends._qtpy.widgets import QBaseWidget
from magicgui.widgets.bases import Widget
from qtpy.QtWidgets import QFrame, QWidget
from superqt import QCollapsible


class NativeWidget(Widget):
    """A Qt widget (a table, a plot, a list) as a part of a magicgui container.

    Parameters
    ----------
    native : QWidget
        Also found as ``native``, as in every widget of magicgui.
    """

    def __init__(self, native: QWidget) -> None:
        def get_native(parent: QWidget | None) -> QWidget:
            return native

        # magicgui calls for a class, to make the Qt widget by itself; this one is made already.
        super().__init__(widget_type=QBaseWidget, backend_kwargs={"qwidg": get_native})


def make_line() -> NativeWidget:
    """Return a horizontal line between two parts of the widget."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return NativeWidget(line)


def make_collapsible(title: str, content: Widget) -> QCollapsible:
    """Return a part of the widget that is folded away under its title."""
    folded = QCollapsible(title, collapsedIcon="▶", expandedIcon="▼")
    # Unfolding step by step would paint the window, canvas and all, at each step.
    folded.setDuration(0)
    folded.layout().setContentsMargins(0, 0, 0, 0)
    folded.addWidget(content.native)
    return folded
