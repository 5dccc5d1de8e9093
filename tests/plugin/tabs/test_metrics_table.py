import csv

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS
from napari_dip_fusion.plugin.running.scores import Scores
from napari_dip_fusion.plugin.tabs.metrics_table import MetricsTable
from napari_dip_fusion.sources.prepare import scale_to_unit_range

SCORES = {
    "fused": {"petrovic": 0.5, "piella": 0.25},
    "average": {"petrovic": 0.125, "piella": 0.75},
}


@pytest.fixture
def table(qtbot):
    made = MetricsTable(ViewerModel())
    qtbot.addWidget(made.native)
    made.show_scores(Scores((), SCORES), ["CT", "MR"])
    return made


def test_values_tooltips_and_the_best(table):
    grid = table.table
    headings = [grid.horizontalHeaderItem(i) for i in range(3)]
    assert [h.text() for h in headings] == ["Image", "Pe", "Q"]
    assert "higher is better" in headings[1].toolTip()
    assert [grid.item(0, i).text() for i in range(3)] == ["fused", "0.500", "0.250"]
    best = [(r, c) for r in range(2) for c in (1, 2) if grid.item(r, c).font().bold()]
    assert best == [(0, 1), (1, 2)]
    assert "against CT, MR" in table.status.value


def test_every_metric_says_its_direction(qtbot):
    for metric in METRICS.values():
        assert metric.label
        direction = "higher" if metric.higher_is_better else "lower"
        assert f"{direction} is better" in metric.description


def test_copy_and_save(table, tmp_path):
    table.copy_button.native.click()
    rows = [line.split("\t") for line in QApplication.clipboard().text().splitlines()]
    assert rows == [
        ["image", "petrovic", "piella"],
        ["fused", "0.5", "0.25"],
        ["average", "0.125", "0.75"],
    ]
    path = tmp_path / "metrics.csv"
    path.write_text("old")
    table.save_to(path)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]
    table.save_to(tmp_path / "missing" / "metrics.csv")
    assert "not saved" in table.status.value


def test_all_metrics_on_demand(table):
    assert list(table.all_metrics.get_names()) == list(DEFAULT_METRICS)
    table.all_metrics.value = True
    assert list(table.all_metrics.get_names()) == list(METRICS)


def scored(qtbot, widget, rows):
    qtbot.waitUntil(lambda: len(widget.metrics.scores) == rows, timeout=20_000)


def test_scores_without_a_fusion(qtbot, widget):
    widget.folded_metrics.expand(animate=False)
    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 3)
    assert list(widget.metrics.scores) == list(BASELINES)


def test_any_layer_can_be_compared(qtbot, widget, viewer, pair):
    viewer.add_image(np.maximum(*pair), name="from elsewhere")
    widget.metrics.candidate_box.value = viewer.layers["from elsewhere"]
    widget.metrics.add_button.native.click()
    scored(qtbot, widget, 4)
    scores = widget.metrics.scores
    assert scores["from elsewhere"]["petrovic"] == pytest.approx(
        scores["maximum"]["petrovic"], abs=1e-4
    )
    viewer.layers["from elsewhere"].name = "mine"
    assert list(widget.metrics.scores) == ["mine", *BASELINES]
    assert widget.metrics.table.item(0, 0).text() == "mine"
    viewer.layers.remove("mine")
    assert list(widget.metrics.scores) == list(BASELINES)
    assert widget.metrics.table.rowCount() == 3
    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 3)


def test_a_layer_named_like_a_reference_keeps_its_row(qtbot, widget, viewer, pair):
    viewer.add_image(pair[0], name="average")
    widget.metrics.add_layer(viewer.layers["average"])
    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 4)
    assert list(widget.metrics.scores) == ["average (layer)", *BASELINES]


def test_two_layers_named_like_a_reference_have_two_rows(qtbot, widget, viewer, pair):
    for name in ("average", "average (layer)"):
        widget.metrics.add_layer(viewer.add_image(pair[0], name=name))
    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 5)
    assert list(widget.metrics.scores)[:2] == ["average (layer)", "average (layer) (layer)"]


# All metrics need 41x41 pixels.
@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
def test_all_metrics_are_computed_when_they_are_ticked(qtbot, widget, viewer, until_idle):
    def shown(names, rows):
        scores = widget.metrics.scores
        qtbot.waitUntil(
            lambda: [list(v) for v in widget.metrics.scores.values()] == [list(names)] * rows,
            timeout=20_000,
        )
        assert list(widget.metrics.scores) == list(scores)

    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 3)
    widget.metrics.all_metrics.value = True
    shown(METRICS, 3)
    widget.metrics.all_metrics.value = False
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    scored(qtbot, widget, 4)
    before = dict(widget.metrics.scores["fused CT + MR"])
    # The result is scored against its own sources, whatever is ticked by now.
    widget.sources.set_sources([])
    widget.metrics.all_metrics.value = True
    shown(METRICS, 4)
    now = widget.metrics.scores["fused CT + MR"]
    assert {name: now[name] for name in before} == before
    viewer.layers.remove("fused CT + MR")
    assert list(widget.metrics.scores) == list(BASELINES)


def test_what_cannot_be_scored_is_explained(qtbot, widget, viewer):
    viewer.layers.clear()
    widget.metrics.compute_button.native.click()
    assert "choose two or more" in widget.metrics.status.value


@pytest.mark.parametrize(
    ("image", "largest"),
    [
        (np.full((8, 8), 51, dtype=np.uint8), 0.2),
        (np.full((8, 8), 0.2, dtype=np.float32), 0.2),
        (np.arange(64, dtype=np.uint16).reshape(8, 8) * 100, 1.0),
        (np.linspace(-5, 5, 64).reshape(8, 8), 1.0),
        (np.full((8, 8, 3), 51, dtype=np.uint8), 0.2),
    ],
)
def test_compared_images_come_to_the_unit_range(image, largest):
    gray = scale_to_unit_range(image)
    assert gray.shape == (8, 8)
    assert gray.max() == pytest.approx(largest)


def test_a_line_that_wraps_does_not_cover_the_table(qtbot, widget):
    widget.native.window().show()
    widget.folded_metrics.expand(animate=False)
    names = [f"sub-0{i} ses-0{i} acq-highres run-{i} T1w of the brain" for i in range(4)]
    widget.metrics.show_scores(Scores((), SCORES), names)
    label, table = widget.metrics.status.native, widget.metrics.table
    qtbot.waitUntil(lambda: label.height() >= label.heightForWidth(label.width()) > 0)
    assert not label.geometry().intersects(table.geometry())


def test_images_too_small_for_all_metrics_say_so(qtbot, widget):
    widget.metrics.compute_button.native.click()
    scored(qtbot, widget, 3)
    widget.metrics.all_metrics.value = True
    qtbot.waitUntil(lambda: "at least 41x41 pixels" in widget.metrics.status.value, timeout=20_000)
    assert list(widget.metrics.scores) == list(BASELINES)
