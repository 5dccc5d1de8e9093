"""Qt widgets that magicgui has no word for, as parts of its containers."""

from typing import Any

from magicgui.backends._qtpy.widgets import QBaseWidget
from magicgui.widgets.bases import Widget
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QFrame, QSizePolicy, QWidget
from superqt import QCollapsible

# Qt's own largest height, QWIDGETSIZE_MAX.
_UNLIMITED = 16_777_215


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


class _Folded(QCollapsible):
    """A collapsible part that is as high as its texts are when they wrap."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # superqt lets it be as high as its size hint, which takes texts for ones that do not wrap.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        # A title that tells of layers would make the whole widget as wide as itself.
        self.toggleButton().setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.toggled.connect(self._give_room)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Give room anew where the content has changed its size, or wants to."""
        done = bool(super().eventFilter(watched, event))
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._give_room()
        return done

    def _give_room(self) -> None:
        content = self.content()
        if self.isExpanded():
            content.setMaximumHeight(_UNLIMITED)
            content.setMinimumHeight(max(content.heightForWidth(content.width()), 0))
        else:
            content.setMinimumHeight(0)


def make_line() -> NativeWidget:
    """Return a horizontal line between two parts of the widget."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return NativeWidget(line)


def make_collapsible(title: str, content: Widget) -> QCollapsible:
    """Return a part of the widget that is folded away under its title."""
    folded = _Folded(title, collapsedIcon="▶", expandedIcon="▼")
    # Unfolding step by step would paint the window, canvas and all, at each step.
    folded.setDuration(0)
    folded.layout().setContentsMargins(0, 0, 0, 0)
    folded.addWidget(content.native)
    return folded
