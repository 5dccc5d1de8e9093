"""The metrics of the fused image, of the baselines and of any layer to compare."""

from collections.abc import Sequence

from magicgui.widgets import Label, PushButton
from napari.layers import Image, Layer
from psygnal import Signal

from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.plugin.forms.layer_box import LayerBox
from napari_dip_fusion.plugin.forms.layout import make_row
from napari_dip_fusion.plugin.forms.metrics_choice import MetricsChoice
from napari_dip_fusion.plugin.running.scores import Scores
from napari_dip_fusion.plugin.tabs.score_table import LEGEND, ScoreRow, ScoreTable


class MetricsTable(ScoreTable):
    """Scores of images against the sources, with a choice of the images.

    Emits ``wanted`` when scores are to be computed.
    """

    wanted = Signal()

    def __init__(self) -> None:
        # The base class puts these parts into its layout, so they come first.
        self._candidates: list[Image] = []
        self._layers: list[Image] = []
        self.scores: Scores = {}
        self.candidate_box = LayerBox("An image layer of any origin to compare.")
        self.add_button = PushButton(text="Add", tooltip="Give this layer a row and compute.")
        self.all_metrics = MetricsChoice()
        self.compute_button = PushButton(
            text="Compute",
            tooltip="Score the rows against the ticked sources, in their prepared units.",
        )
        choice = make_row(Label(value="Compare"), self.candidate_box, self.add_button, stretch=1)
        super().__init__(
            "Image",
            "metrics.csv",
            above=[choice, self.all_metrics],
            more_buttons=[self.compute_button],
        )
        self.add_button.changed.connect(self._add_candidate)
        self.compute_button.changed.connect(self._want)

    def get_layers(self) -> list[Image]:
        """Return the layers that have a row."""
        return list(self._layers)

    def set_candidates(self, layers: Sequence[Image]) -> None:
        """Offer these layers for comparison; rows of layers that are gone are dropped."""
        self._candidates = list(layers)
        self._layers = [layer for layer in self._layers if layer in self._candidates]
        self.candidate_box.set_layers(layers)
        self.add_button.enabled = bool(layers)

    def add_layer(self, layer: Layer) -> None:
        """Give a layer a row."""
        # A layer may have been removed while the run that made it was scored.
        if layer in self._candidates and layer not in self._layers:
            self._layers.append(layer)

    def show_scores(self, scores: Scores, sources: Sequence[str]) -> None:
        """Show scores against sources with these names."""
        self.scores = scores
        self.show_rows([ScoreRow(n, v, tip=BASELINES.get(n, "")) for n, v in scores.items()])
        self.status.say(f"against {', '.join(sources)}; higher is better, {LEGEND}")

    def _add_candidate(self) -> None:
        if self.candidate_box.value is not None:
            self.add_layer(self.candidate_box.value)
            self._want()

    def _want(self) -> None:
        self.wanted.emit()
