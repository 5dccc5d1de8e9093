"""The table of quality metrics: rows are images, columns are metrics."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari.layers import Image, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dip_fusion.io import write_text
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS
from napari_dip_fusion.plugin.comparison import RULES, Scores
from napari_dip_fusion.plugin.rows import button, label, row


class MetricsTable(QWidget):
    """Scores of the fused image, of simple rules and of any layer to compare.

    Emits ``wanted`` when scores are to be computed.
    """

    wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._candidates: list[Image] = []
        self._compared: list[Image] = []
        self.scores: Scores = {}
        self._build()
        self._show_table()

    def which(self) -> Sequence[str]:
        """Return the names of the metrics to compute."""
        return list(METRICS) if self.all_metrics.isChecked() else DEFAULT_METRICS

    def compared(self) -> list[Image]:
        """Return the layers that have a row."""
        return list(self._compared)

    def set_candidates(self, layers: Sequence[Image]) -> None:
        """Offer these layers for comparison; rows of layers that are gone are dropped."""
        self._candidates = list(layers)
        self._compared = [layer for layer in self._compared if layer in self._candidates]
        current = self.candidate_box.currentText()
        self.candidate_box.clear()
        self.candidate_box.addItems([layer.name for layer in layers])
        self.candidate_box.setCurrentText(current)
        self.add_button.setEnabled(bool(layers))

    def compare(self, layer: Layer) -> None:
        """Give a layer a row."""
        if layer in self._candidates and layer not in self._compared:
            self._compared.append(layer)

    def show_scores(self, scores: Scores, sources: Sequence[str]) -> None:
        """Show scores against sources with these names."""
        self.scores = scores
        self.status.setText(f"against {', '.join(sources)}; higher is better, bold is best")
        self._show_table()

    def show_message(self, text: str) -> None:
        """Show why there are no new scores."""
        self.status.setText(text)

    def as_rows(self) -> list[list[str]]:
        """Return the table with its headings, values with six digits."""
        names = _columns(self.scores)
        lines = [["image", *names]]
        for image, values in self.scores.items():
            lines.append([image, *(f"{values[n]:.6g}" for n in names)])
        return lines

    def copy(self) -> None:
        """Put the table on the clipboard, with tabs as spreadsheets take it."""
        QApplication.clipboard().setText("\n".join("\t".join(r) for r in self.as_rows()))
        self.status.setText("copied")

    def save(self) -> None:
        """Ask for a file and write the table to it."""
        name, _ = QFileDialog.getSaveFileName(
            self, "Save metrics", "metrics.csv", "Comma-separated values (*.csv)"
        )
        if name:
            self.save_to(Path(name))

    def save_to(self, path: Path) -> None:
        """Write the table as CSV, whole or not at all."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.as_rows())
        try:
            # The file dialog has asked before it names a file that exists.
            write_text(path, text.getvalue(), overwrite=True)
        except (OSError, ValueError) as error:
            self.status.setText(f"not saved: {error}")
        else:
            self.status.setText(f"saved to {path}")

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        self.candidate_box = QComboBox()
        self.candidate_box.setToolTip("An image layer of any origin to compare.")
        self.candidate_box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.candidate_box.setMinimumContentsLength(8)
        self.add_button = button("Add", "Give this layer a row and compute.")
        self.add_button.clicked.connect(self._add)
        self.all_metrics = QCheckBox("All metrics")
        self.all_metrics.setToolTip(
            f"All {len(METRICS)} metrics, in place of the {len(DEFAULT_METRICS)} of the paper."
        )
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setWordWrap(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.compute_button = button(
            "Compute", "Score the rows against the ticked sources, in their prepared units."
        )
        self.compute_button.clicked.connect(self.wanted)
        self.copy_button = button("Copy", "Put the table on the clipboard.")
        self.copy_button.clicked.connect(self.copy)
        self.save_button = button("Save as CSV", "Write the table to a file.")
        self.save_button.clicked.connect(self.save)
        self.status = label()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        compare = row(QLabel("Compare"), self.candidate_box, self.add_button, stretch=1)
        buttons = row(self.compute_button, self.copy_button, self.save_button)
        for part in (compare, self.all_metrics, self.table, self.status, buttons):
            layout.addWidget(part)

    def _add(self) -> None:
        index = self.candidate_box.currentIndex()
        if 0 <= index < len(self._candidates):
            self.compare(self._candidates[index])
            self.wanted.emit()

    def _show_table(self) -> None:
        names = _columns(self.scores)
        table = self.table
        table.clear()
        table.setRowCount(len(self.scores))
        table.setColumnCount(1 + len(names))
        table.setHorizontalHeaderItem(0, QTableWidgetItem("Image"))
        for column, name in enumerate(names, start=1):
            heading = QTableWidgetItem(METRICS[name].label.split(" (")[0])
            heading.setToolTip(f"{METRICS[name].label}: {METRICS[name].description}")
            table.setHorizontalHeaderItem(column, heading)
        for i, (image, values) in enumerate(self.scores.items()):
            table.setItem(i, 0, _name_item(image))
            for column, name in enumerate(names, start=1):
                table.setItem(i, column, _value_item(values[name], self._is_best(name, values)))
        self._fit_table()
        for part in (table, self.copy_button, self.save_button):
            part.setVisible(bool(self.scores))

    def _fit_table(self) -> None:
        table, header = self.table, self.table.horizontalHeader()
        table.resizeColumnsToContents()
        header.setMinimumSectionSize(30)
        if table.columnCount() <= 5:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        else:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
            table.setColumnWidth(0, 110)
        rows = sum(table.rowHeight(i) for i in range(table.rowCount()))
        table.setFixedHeight(rows + header.sizeHint().height() + 18)

    def _is_best(self, name: str, values: Mapping[str, float]) -> bool:
        column = [row_values[name] for row_values in self.scores.values()]
        best = max(column) if METRICS[name].higher_is_better else min(column)
        return values[name] == best


def _columns(scores: Scores) -> list[str]:
    return list(next(iter(scores.values()), {}))


def _name_item(image: str) -> QTableWidgetItem:
    item = QTableWidgetItem(image)
    item.setToolTip(RULES.get(image, image))
    return item


def _value_item(value: float, best: bool) -> QTableWidgetItem:
    item = QTableWidgetItem(f"{value:.3f}")
    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.setToolTip(f"{value:.6g}" + (", the best of this column" if best else ""))
    font = item.font()
    font.setBold(best)
    item.setFont(font)
    return item
