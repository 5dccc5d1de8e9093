"""Names that are too long are cut in the middle: they differ at both of their ends."""

import re

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

MOST_LETTERS = 36
"""Letters of a word that the narrowest widget has room for; a label breaks lines at spaces only."""


def cut_middle(text: str, most: int) -> str:
    """Return a text of at most so many letters, with an ellipsis for those in the middle."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - tail :]}"


def cut_long_words(text: str) -> str:
    """Return a text whose words are cut in the middle where a line has no room for them."""
    return re.sub(r"\S+", lambda word: cut_middle(word[0], MOST_LETTERS), text)


class MiddleCutter(QObject):
    """Paints the chosen text of a combo box cut in its middle, where Qt cuts the end.

    Parameters
    ----------
    box : QComboBox
        Its list is cut in the same way, and a tooltip has the whole of each text.
    """

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        box.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Paint in place of the box itself."""
        if event.type() == QEvent.Type.Paint and isinstance(watched, QComboBox):
            _paint(watched)
            return True
        return bool(super().eventFilter(watched, event))


def _paint(box: QComboBox) -> None:
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    field = box.style().subControlRect(
        QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, box
    )
    # The style leaves a few pixels free on both sides.
    room = field.width() - 4
    option.currentText = box.fontMetrics().elidedText(
        box.currentText(), Qt.TextElideMode.ElideMiddle, room
    )
    painter = QStylePainter(box)
    painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
    painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
    painter.end()
