"""A list of rows to tick, as high as it should be."""

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QScrollArea, QSizePolicy, QWidget

_ROW_HEIGHT = 22
# A list with more rows than this has a scroll bar, unless the area around it is high.
_ROWS_SHOWN = 5
# The part of the height of the scroll area around that a list may take.
_SHARE = 1 / 3


class CheckList(QListWidget):
    """Rows of text that can be ticked; a row is never selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)

    def add_row(self, text: str, *, ticked: bool = False) -> None:
        """Add a row at the bottom."""
        item = QListWidgetItem(text)
        item.setToolTip(text)
        # No width of its own: a long text is cut, and the list not widened.
        item.setSizeHint(QSize(0, _ROW_HEIGHT))
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.addItem(item)

    def rename(self, row: int, text: str) -> None:
        """Give a row another text, which is its tooltip too: in the row it may be cut."""
        self.item(row).setText(text)
        self.item(row).setToolTip(text)

    def is_ticked(self, row: int) -> bool:
        """Tell whether a row is ticked."""
        return bool(self.item(row).checkState() == Qt.CheckState.Checked)

    def tick(self, row: int, ticked: bool) -> None:
        """Tick a row, or take its tick away."""
        self.item(row).setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    def show_rows(self, rows: int) -> None:
        """Take the height of so many rows."""
        # A few pixels more than the rows need, or Qt shows a scroll bar.
        self.setFixedHeight(rows * _ROW_HEIGHT + 2 * self.frameWidth() + 4)

    @contextmanager
    def mute(self) -> Iterator[None]:
        """Change rows inside without a signal for each."""
        # Qt tells of changed texts and fonts as it does of ticks.
        self.blockSignals(True)
        try:
            yield
        finally:
            self.blockSignals(False)


class GrowingCheckList(CheckList):
    """A list that shows as many rows as there are and the scroll area around has room for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._area: QScrollArea | None = None

    def fit_height(self) -> None:
        """Take the height for the rows that there are now."""
        most = _ROWS_SHOWN
        if self._area is not None:
            most = max(most, int(self._area.height() * _SHARE) // _ROW_HEIGHT)
        self.show_rows(min(max(self.count(), 2), most))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the height of the scroll area around, from now on."""
        super().showEvent(event)
        # Not earlier: a list is put into its window after it is made.
        if self._area is None:
            self._area = _find_scroll_area(self)
            if self._area is not None:
                self._area.installEventFilter(self)
                self.fit_height()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Show more or fewer rows when the scroll area has another height."""
        if event.type() == QEvent.Type.Resize and watched is self._area:
            self.fit_height()
        return bool(super().eventFilter(watched, event))


def _find_scroll_area(widget: QWidget) -> QScrollArea | None:
    """Return the scroll area that a widget is in, if it is in any."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent
