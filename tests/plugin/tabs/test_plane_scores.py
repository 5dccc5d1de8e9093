"""The plot of a metric against the planes of a stack."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPointF

from napari_dip_fusion.plugin.running.scores import Scores
from napari_dip_fusion.plugin.tabs import run_progress
from napari_dip_fusion.plugin.tabs.metrics_table import MetricsTable
from napari_dip_fusion.plugin.tabs.run_progress import StageClock

METRICS = ("petrovic", "piella")


@pytest.fixture
def viewer():
    made = ViewerModel()
    made.add_image(np.zeros((3, 5, 12, 14)), name="fused", axis_labels=("t", "z", "y", "x"))
    made.add_image(np.zeros((6, 12, 14)), name="volume", scale=(2, 1, 1))
    return made


@pytest.fixture
def table(qtbot, viewer):
    made = MetricsTable(viewer)
    qtbot.addWidget(made.native)
    made.set_candidates(list(viewer.layers))
    yield made
    made.planes.close_subscriptions()


def show(table, layer, shape):
    rng = np.random.default_rng(0)
    planes = [{name: rng.random(shape) for name in METRICS} for _ in range(2)]
    means = [{name: float(v.mean()) for name, v in each.items()} for each in planes]
    table.show_scores(Scores((means[0],), {"average": means[1]}, tuple(planes)), ["A"], [layer])
    return planes


def test_the_mean_is_named_and_each_plane_is_plotted(table, viewer):
    planes = show(table, viewer.layers["volume"], (6,))
    assert table.heading.value == "<b>Mean over 6 planes</b>"
    view = table.planes
    assert not view.native.isHidden()
    assert len(view.plot.curves) == 2
    np.testing.assert_array_equal(view.plot.curves[0].yData, planes[0]["petrovic"])
    view.metric_box.value = "piella"
    np.testing.assert_array_equal(view.plot.curves[1].yData, planes[1]["piella"])
    assert view.plot.getAxis("left").labelText == "Q"
    # A click on a row of the table lets its curve stand out.
    assert view.plot.curves[0].opts["pen"].width() == 2
    table.row_clicked.emit(1)
    assert [curve.opts["pen"].width() for curve in view.plot.curves] == [1, 2]


def test_a_plane_has_neither(table, viewer):
    show(table, viewer.layers["volume"], (6,))
    show(table, viewer.layers["volume"], ())
    assert table.heading.native.isHidden()
    assert table.planes.native.isHidden()


def test_the_line_follows_the_viewer_and_a_click_moves_it(table, viewer):
    show(table, viewer.layers["volume"], (6,))
    plot = table.planes.plot
    viewer.dims.set_point(1, 8)
    assert plot.line.isVisible()
    assert plot.line.value() == 4
    plot.resize(300, 140)
    box = plot.getPlotItem().vb
    box.setRange(xRange=(0, 5), yRange=(0, 1), padding=0)
    plot.click_at(box.mapViewToScene(QPointF(1.2, 0.5)))
    assert viewer.dims.point[1] == 2
    assert plot.line.value() == 1
    viewer.layers.remove("volume")
    viewer.dims.set_point(1, 3)


def test_of_a_series_of_volumes_the_planes_of_one_are_plotted(table, viewer):
    planes = show(table, viewer.layers["fused"], (3, 5))
    plot = table.planes.plot
    assert plot.getAxis("bottom").labelText == "z"
    viewer.dims.set_point(0, 2)
    np.testing.assert_array_equal(plot.curves[0].yData, planes[0]["petrovic"][2])
    plot.plane_clicked.emit(4)
    assert viewer.dims.point[:2] == (2, 4)
    assert table.heading.value == "<b>Mean over 15 planes</b>"


def test_themes(table, viewer):
    show(table, viewer.layers["volume"], (6,))
    for theme in ("light", "dark"):
        table.planes.set_theme(theme)


def test_the_time_that_is_left_is_told_by_the_pace_of_the_stage(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(run_progress.time, "perf_counter", lambda: now[0])
    clock = StageClock()
    assert clock.estimate("gains", 0, 100) is None
    now[0] = 0.5
    assert clock.estimate("gains", 10, 100) is None
    now[0] = 10.0
    assert clock.estimate("gains", 20, 100) == pytest.approx(40)
    assert clock.estimate("metrics", 0, 100) is None
    now[0] = 12.0
    assert clock.estimate("metrics", 50, 100) == pytest.approx(2)
    clock.restart()
    assert clock.estimate("metrics", 60, 100) is None


def test_a_file_holds_every_plane(table, viewer, tmp_path):
    planes = show(table, viewer.layers["fused"], (3, 5))
    planes[0]["piella"][1, 2] = np.nan
    table.save_to(tmp_path / "m.csv")
    lines = [line.split(",") for line in (tmp_path / "m.csv").read_text().splitlines()]
    assert lines[0] == ["image", "t", "z", *METRICS]
    assert lines[1][:3] == ["fused", "mean", "mean"]
    assert lines[2][:3] == ["average", "mean", "mean"]
    assert len(lines) == 3 + 2 * 15
    assert lines[3 + 7] == ["fused", "1", "2", f"{planes[0]['petrovic'][1, 2]:.6g}", ""]
    # The clipboard takes what is seen.
    assert len(table.format_rows()) == 3


def test_axes_without_names_have_some_in_the_file(table, viewer):
    show(table, viewer.layers["volume"], (6,))
    assert table.format_file_rows()[0] == ["image", "plane", *METRICS]
    viewer.layers.remove("volume")
    table.set_candidates(list(viewer.layers))
    assert [line[0] for line in table.format_rows()] == ["image", "average"]


def test_no_scores_leave_an_empty_table(table, viewer):
    show(table, viewer.layers["volume"], (6,))
    table.show_scores(Scores((), {}), ["A"])
    assert table.table.rowCount() == 0
    assert table.planes.native.isHidden()
    assert table.heading.native.isHidden()
