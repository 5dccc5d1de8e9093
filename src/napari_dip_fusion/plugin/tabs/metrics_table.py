"""The metrics of the fused image, of the baselines and of any layer to compare."""

from collections.abc import Mapping, Sequence

from magicgui.widgets import Label, PushButton
from napari import Viewer
from napari.layers import Image, Layer
from psygnal import Signal

from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.metrics import describe_mean, tabulate_planes
from napari_dip_fusion.plugin.forms.layer_box import LayerBox
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.metrics_choice import MetricsChoice
from napari_dip_fusion.plugin.running.scores import Scores, Values
from napari_dip_fusion.plugin.tabs.plane_scores_view import PlaneScoresView, PlaneValues
from napari_dip_fusion.plugin.tabs.score_table import LEGEND, ScoreRow, ScoreTable

_ADD = "Give this layer a row and compute."
_COMPUTE = "Score the rows against the ticked sources, in their prepared units."


class MetricsTable(ScoreTable):
    """Scores of images against the sources, with a choice of the images.

    Emits ``wanted`` when scores are to be computed, and ``metrics_changed`` when those that
    are shown are to be computed with other metrics.
    """

    wanted = Signal()
    metrics_changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        # The base class puts these parts into its layout, so they come first.
        self._candidates: list[Image] = []
        self._layers: list[Image] = []
        # By the layer and not by its name, which may change.
        self._scored: list[tuple[Image, Values, PlaneValues]] = []
        self._baselines: Mapping[str, Values] = {}
        self._baseline_planes: Sequence[PlaneValues] = ()
        self._of = self._problem = ""
        self.candidate_box = LayerBox("An image layer of any origin to compare.")
        self.add_button = PushButton(text="Add", tooltip=_ADD)
        self.all_metrics = MetricsChoice()
        self.heading = Text()
        self.heading.hide()
        self.compute_button = PushButton(
            text="Compute",
            tooltip=_COMPUTE,
        )
        choice = make_row(Label(value="Compare"), self.candidate_box, self.add_button, stretch=1)
        super().__init__(
            "Image",
            "metrics.csv",
            above=[choice, self.all_metrics, self.heading],
            more_buttons=[self.compute_button],
        )
        self.planes = PlaneScoresView(viewer)
        self.append(self.planes)
        self.row_clicked.connect(self.planes.choose)
        self.add_button.changed.connect(self._add_candidate)
        self.compute_button.changed.connect(self._want)
        self.all_metrics.changed.connect(self._respond_to_metrics)

    @property
    def scores(self) -> dict[str, Values]:
        """The values of each row, by its name as it is shown."""
        return {row.name: row.metrics for row in self.rows}

    def get_layers(self) -> list[Image]:
        """Return the layers that have a row."""
        return list(self._layers)

    def set_candidates(self, layers: Sequence[Image]) -> None:
        """Offer these layers for comparison; rows of layers that are gone go with them."""
        self._candidates = list(layers)
        self._layers = [layer for layer in self._layers if layer in self._candidates]
        self.candidate_box.set_layers(layers)
        self._enable_buttons()
        # Names, too, may be others now.
        self._show()

    def explain(self, problem: str) -> None:
        """Say why no scores can be computed; empty where they can."""
        self._problem = problem
        self.compute_button.tooltip = problem or _COMPUTE
        self.add_button.tooltip = problem or _ADD
        self._enable_buttons()

    def add_layer(self, layer: Layer) -> None:
        """Give a layer a row."""
        # A layer may have been removed while the run that made it was scored.
        if layer in self._candidates and layer not in self._layers:
            self._layers.append(layer)

    def show_scores(
        self,
        scores: Scores,
        sources: Sequence[str],
        layers: Sequence[Image] = (),
        *,
        of: str = "",
    ) -> None:
        """Show the scores of these layers and of the baselines.

        Parameters
        ----------
        scores : Scores
        sources : sequence of str
            Names of the layers against which the images were scored.
        layers : sequence of Image
            One for each of the images; a layer that is gone by now gets no row.
        of : str
            What of the images was scored, where it is not all of them.
        """
        self._of = of
        planes = scores.planes or ({},) * (len(scores.images) + len(scores.baselines))
        self._scored = list(zip(layers, scores.images, planes[: len(layers)], strict=True))
        self._baselines, self._baseline_planes = scores.baselines, planes[len(layers) :]
        # The planes are others, though their means may be the same.
        self._show(anew=True)
        self.status.say(f"against {', '.join(sources)}; higher is better, {LEGEND}")

    def format_file_rows(self) -> list[list[str]]:
        """Return what the file holds: of stacks, the metrics of every plane under their means."""
        lines = self.format_rows()
        if not self.planes.axes:
            return lines
        axes, (head, *means) = self.planes.axes, lines
        file_lines = [[head[0], *axes, *head[1:]]]
        file_lines += [[line[0], *("mean" for _ in axes), *line[1:]] for line in means]
        for line, planes in zip(means, self.planes.scores, strict=True):
            for entry in tabulate_planes(planes, axes):
                index = [str(entry[axis]) for axis in axes]
                values = ["" if entry[m] is None else f"{entry[m]:.6g}" for m in head[1:]]
                file_lines.append([line[0], *index, *values])
        return file_lines

    def _show(self, *, anew: bool = False) -> None:
        """Show what was scored, as far as it is there, under the names it has now."""
        self._scored = [scored for scored in self._scored if scored[0] in self._candidates]
        rows: list[ScoreRow] = []
        taken = set(self._baselines)
        for layer, values, _ in self._scored:
            name = layer.name
            # A layer may be named like a baseline.
            while name in taken:
                name = f"{name} (layer)"
            taken.add(name)
            rows.append(ScoreRow(name, values))
        rows += [ScoreRow(n, v, tip=BASELINES.get(n, "")) for n, v in self._baselines.items()]
        # This is called at every change of the layers, and most of them change no row.
        if anew or rows != self.rows:
            self.show_rows(rows)
            planes = [*(planes for _, _, planes in self._scored), *self._baseline_planes]
            layer = self._scored[0][0] if self._scored else None
            self.planes.show_scores(planes, layer)
            mean = describe_mean(planes[0]) if planes else ""
            heading = (self._of if rows else "") or mean.capitalize()
            self.heading.say(f"<b>{heading}</b>" if heading else "")

    def _enable_buttons(self) -> None:
        self.compute_button.enabled = not self._problem
        self.add_button.enabled = bool(self._candidates) and not self._problem

    def _respond_to_metrics(self) -> None:
        if self.rows:
            self.metrics_changed.emit()

    def _add_candidate(self) -> None:
        if self.candidate_box.value is not None:
            self.add_layer(self.candidate_box.value)
            self._want()

    def _want(self) -> None:
        self.wanted.emit()
