"""A table of metrics, in which the best of each column is marked."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_dip_fusion.io import write_text
from napari_dip_fusion.metrics import METRICS
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget

LEGEND = "bold is best, underlined second best"

_DECIMALS = 3
_PLACES = ("", ", the best of this column", ", the second best of this column")
_MOST_AT_ONCE = 6
"""Columns that the narrowest widget shows without scrolling."""


@dataclass(frozen=True)
class ScoreRow:
    """A row: one image.

    Attributes
    ----------
    name : str
        As it is shown.
    metrics : mapping of metric name to value
        All rows of a table have the same metrics.
    seconds : float, optional
        Time that the fusion took; either all rows of a table have it or none.
    tip : str
        Tooltip of the name.
    key : str
        Name in copies and files; if it is empty, `name` stands there.
    """

    name: str
    metrics: Mapping[str, float]
    seconds: float | None = None
    tip: str = ""
    key: str = ""


class ScoreTable(Container[Widget]):
    """Shows scores, and gives them out as text.

    Emits ``row_clicked`` with the index of a row.

    Parameters
    ----------
    heading : str
        Heading of the first column.
    file_name : str
        Name that is offered when the table is saved.
    above : sequence of Widget
        Parts that stand above the table.
    more_buttons : sequence of PushButton
        They stand before those for copying and saving.
    """

    row_clicked = Signal(int)

    def __init__(
        self,
        heading: str,
        file_name: str,
        *,
        above: Sequence[Widget] = (),
        more_buttons: Sequence[PushButton] = (),
    ) -> None:
        super().__init__(labels=False)
        self._heading = heading
        self._file_name = file_name
        self.rows: list[ScoreRow] = []
        self._build(above, more_buttons)
        self.show_rows([])

    def show_rows(self, rows: Sequence[ScoreRow]) -> None:
        """Show these rows in place of what was shown."""
        self.rows = list(rows)
        self._fill()
        self._fit_size()
        self.table.setVisible(bool(self.rows))
        for button in (self.copy_button, self.save_button):
            button.visible = bool(self.rows)

    def format_rows(self) -> list[list[str]]:
        """Return the table with its headings, values with six digits."""
        metrics, timed = self._list_columns()
        lines = [[self._heading.lower(), *metrics, *(["seconds"] if timed else [])]]
        for scored in self.rows:
            values = [scored.metrics[name] for name in metrics]
            values += [scored.seconds] if timed and scored.seconds is not None else []
            lines.append([scored.key or scored.name, *(f"{value:.6g}" for value in values)])
        return lines

    def format_file_rows(self) -> list[list[str]]:
        """Return what a file of the table holds: the same as the table, unless there is more."""
        return self.format_rows()

    def copy(self) -> None:
        """Put the table on the clipboard, with tabs as spreadsheets take it."""
        QApplication.clipboard().setText("\n".join("\t".join(r) for r in self.format_rows()))
        self.status.say("copied")

    def save(self) -> None:
        """Ask for a file and write the table to it."""
        name, _ = QFileDialog.getSaveFileName(
            self.native, "Save table", self._file_name, "Comma-separated values (*.csv)"
        )
        if name:
            self.save_to(Path(name))

    def save_to(self, path: Path) -> None:
        """Write the table as CSV, whole or not at all."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.format_file_rows())
        try:
            # The file dialog has asked before it names a file that exists.
            write_text(path, text.getvalue(), overwrite=True)
        except (OSError, ValueError) as error:
            self.status.say(f"not saved: {error}")
        else:
            self.status.say(f"saved to {path}")

    # -- building -----------------------------------------------------------

    def _build(self, above: Sequence[Widget], more_buttons: Sequence[PushButton]) -> None:
        # Not magicgui's table, whose cells can have neither fonts nor tooltips.
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.cellClicked.connect(self._respond_to_click)
        self.copy_button = PushButton(text="Copy", tooltip="Put the table on the clipboard.")
        self.copy_button.changed.connect(self.copy)
        self.save_button = PushButton(text="Save as CSV", tooltip="Write the table to a file.")
        self.save_button.changed.connect(self.save)
        self.status = Text()
        self.status.hide()
        buttons = make_row(*more_buttons, self.copy_button, self.save_button)
        self.margins = (0, 0, 0, 0)
        self.extend([*above, NativeWidget(self.table), self.status, buttons])

    def _respond_to_click(self, index: int, _column: int) -> None:
        self.row_clicked.emit(index)

    # -- showing ------------------------------------------------------------

    def _list_columns(self) -> tuple[list[str], bool]:
        """Return the metrics, and whether there are times."""
        if not self.rows:
            return [], False
        return list(self.rows[0].metrics), self.rows[0].seconds is not None

    def _fill(self) -> None:
        metrics, timed = self._list_columns()
        table = self.table
        # Headings and all: the metrics may be others than before.
        table.clear()
        table.setRowCount(len(self.rows))
        table.setColumnCount(1 + len(metrics) + timed)
        table.setHorizontalHeaderItem(0, QTableWidgetItem(self._heading))
        for i, scored in enumerate(self.rows):
            table.setItem(i, 0, _make_name_item(scored))
        for column, name in enumerate(metrics, start=1):
            metric = METRICS[name]
            heading = QTableWidgetItem(metric.label.split(" (")[0])
            heading.setToolTip(f"{metric.label}: {metric.description}")
            table.setHorizontalHeaderItem(column, heading)
            values = [scored.metrics[name] for scored in self.rows]
            marked = zip(values, _rank(values, metric.higher_is_better), strict=True)
            for i, (value, place) in enumerate(marked):
                table.setItem(i, column, _make_value_item(value, place))
        if timed:
            self._fill_seconds(1 + len(metrics))

    def _fill_seconds(self, column: int) -> None:
        heading = QTableWidgetItem("s")
        heading.setToolTip("Seconds that the fusion took, without reading and metrics.")
        self.table.setHorizontalHeaderItem(column, heading)
        for i, scored in enumerate(self.rows):
            if scored.seconds is not None:
                item = _make_number_item(_format_seconds(scored.seconds), f"{scored.seconds:.4g} s")
                self.table.setItem(i, column, item)

    def _fit_size(self) -> None:
        table, header = self.table, self.table.horizontalHeader()
        header.setMinimumSectionSize(24)
        table.resizeColumnsToContents()
        if table.columnCount() <= _MOST_AT_ONCE:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        else:
            # There is a scroll bar in any case, and long names would push the values out.
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
            table.setColumnWidth(0, 110)
        rows = sum(table.rowHeight(i) for i in range(table.rowCount()))
        # Qt counts the room of a horizontal scroll bar in no size hint.
        scroll_bar = 18 if table.columnCount() > _MOST_AT_ONCE else 4
        table.setFixedHeight(rows + header.sizeHint().height() + scroll_bar)


def _rank(values: Sequence[float], higher_is_better: bool) -> list[int]:
    """Return 1 for the best, 2 for the second best and 0 for the rest, as they are shown."""
    sign = -1 if higher_is_better else 1
    shown = [sign * round(value, _DECIMALS) for value in values]
    # Values that look the same in the table share their place.
    best = sorted(set(shown))[:2]
    return [best.index(value) + 1 if value in best else 0 for value in shown]


def _format_seconds(seconds: float) -> str:
    # Two digits at least, and no more than the column has room for.
    if seconds < 0.095:
        return f"{seconds:.2f}"
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"


def _make_name_item(scored: ScoreRow) -> QTableWidgetItem:
    item = QTableWidgetItem(scored.name)
    item.setToolTip(scored.tip or scored.name)
    return item


def _make_value_item(value: float, place: int) -> QTableWidgetItem:
    item = _make_number_item(f"{value:.{_DECIMALS}f}", f"{value:.6g}{_PLACES[place]}")
    font = item.font()
    font.setBold(place == 1)
    font.setUnderline(place == 2)
    item.setFont(font)
    return item


def _make_number_item(text: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.setToolTip(tip)
    return item
