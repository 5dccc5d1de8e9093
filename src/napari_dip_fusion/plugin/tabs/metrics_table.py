"""The metrics of the fused image, of simple rules and of any layer to compare."""

from collections.abc import Sequence

from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS
from napari_dip_fusion.plugin.forms.rows import button, metrics_box, narrow_box, row
from napari_dip_fusion.plugin.running.scores import Scores
from napari_dip_fusion.plugin.tabs.score_table import LEGEND, ScoreRow, ScoreTable


class MetricsTable(ScoreTable):
    """Scores of images against the sources, with a choice of the images.

    Emits ``wanted`` when scores are to be computed.
    """

    wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        self._candidates: list[Image] = []
        self._layers: list[Image] = []
        self.scores: Scores = {}
        self.compute_button = button(
            "Compute", "Score the rows against the ticked sources, in their prepared units."
        )
        super().__init__("Image", "metrics.csv", more_buttons=[self.compute_button], parent=parent)
        self._build_choice()

    def which(self) -> Sequence[str]:
        """Return the names of the metrics to compute."""
        return list(METRICS) if self.all_metrics.isChecked() else DEFAULT_METRICS

    def layers(self) -> list[Image]:
        """Return the layers that have a row."""
        return list(self._layers)

    def set_candidates(self, layers: Sequence[Image]) -> None:
        """Offer these layers for comparison; rows of layers that are gone are dropped."""
        self._candidates = list(layers)
        self._layers = [layer for layer in self._layers if layer in self._candidates]
        current = self.candidate_box.currentText()
        self.candidate_box.clear()
        self.candidate_box.addItems([layer.name for layer in layers])
        self.candidate_box.setCurrentText(current)
        self.add_button.setEnabled(bool(layers))

    def add_layer(self, layer: Layer) -> None:
        """Give a layer a row."""
        if layer in self._candidates and layer not in self._layers:
            self._layers.append(layer)

    def show_scores(self, scores: Scores, sources: Sequence[str]) -> None:
        """Show scores against sources with these names."""
        self.scores = scores
        self.show_rows([ScoreRow(n, v, tip=BASELINES.get(n, "")) for n, v in scores.items()])
        self.show_message(f"against {', '.join(sources)}; higher is better, {LEGEND}")

    # -- building -----------------------------------------------------------

    def _build_choice(self) -> None:
        self.candidate_box = narrow_box("An image layer of any origin to compare.")
        self.add_button = button("Add", "Give this layer a row and compute.")
        self.add_button.clicked.connect(self._add)
        self.all_metrics = metrics_box()
        self.compute_button.clicked.connect(self.wanted)
        choice = row(QLabel("Compare"), self.candidate_box, self.add_button, stretch=1)
        self.parts.insertWidget(0, choice)
        self.parts.insertWidget(1, self.all_metrics)

    def _add(self) -> None:
        index = self.candidate_box.currentIndex()
        if 0 <= index < len(self._candidates):
            self.add_layer(self._candidates[index])
            self.wanted.emit()
