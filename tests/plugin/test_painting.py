"""A run paints little: each paint makes Qt compose the window with its canvas anew."""

import pytest
from napari.utils import progress
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QLabel, QWidget

from napari_dip_fusion.fusion import StepDone
from napari_dip_fusion.plugin.running.activity import ActivityBar
from napari_dip_fusion.plugin.running.run_events import Progress
from napari_dip_fusion.plugin.tabs.loss_plot import LossPlot


class Paints(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget):
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched, event):  # noqa: N802
        self.count += event.type() == QEvent.Type.Paint
        return False


@pytest.fixture
def spinner(widget):
    """Return the moving picture in napari's status bar."""
    labels = widget.native.window().statusBar().findChildren(QLabel)
    (movie,) = [label.movie() for label in labels if label.movie() is not None]
    return movie


def test_the_spinner_stands_still_while_a_run_is_shown(widget, spinner):
    bar = ActivityBar(3, lambda: None, widget.native)
    assert spinner.state() == QMovie.MovieState.Paused
    bar.close()


def test_the_bar_of_another_plugin_starts_the_spinner_again(widget, spinner):
    ActivityBar(3, lambda: None, widget.native).close()
    bar = progress(total=3)
    assert spinner.state() == QMovie.MovieState.Running
    bar.close()


def test_a_bar_needs_no_napari_window(qtbot):
    lone = QWidget()
    qtbot.addWidget(lone)
    ActivityBar(3, lambda: None, lone).close()


def test_the_bar_before_the_first_iteration_does_not_move(widget):
    widget.panel.begin(7, afresh=True)
    assert (widget.panel.progress.native.minimum(), widget.panel.progress.native.maximum()) == (
        0,
        7,
    )
    assert widget.panel.progress.native.value() == -1


def test_a_report_paints_the_progress_once(qtbot, running_panel):
    paints = Paints(running_panel.progress.native)
    step = StepDone(iteration=2, iterations=9, loss=0.5, floor=0.1, rate=3.0)
    running_panel.report(Progress((step,)))
    assert running_panel.progress.native.value() == 2
    assert paints.count == 0
    qtbot.waitUntil(lambda: paints.count > 0)
    qtbot.wait(50)
    assert paints.count == 1


@pytest.fixture
def running_panel(qtbot, widget):
    """Return a panel whose bar is in sight, with all painting done."""
    panel = widget.panel
    # What waits to be checked would hide the bar: there is no run.
    widget.sources.check()
    panel.begin(9, afresh=True)
    for part in (panel.progress, panel.speed, panel.plot):
        part.show()
    widget.native.window().show()
    widget.scroll.ensureWidgetVisible(panel.progress.native)
    qtbot.waitExposed(widget.native.window())
    qtbot.wait(200)
    return panel


def test_new_points_paint_the_plot_once(qtbot):
    plot = LossPlot()
    qtbot.addWidget(plot)
    with qtbot.waitExposed(plot):
        plot.show()
    plot.add([1, 2], [1.0, 0.5], 0.1)
    qtbot.wait(100)
    paints = Paints(plot.viewport())
    plot.add([3, 40], [0.4, 0.01], 0.005)
    qtbot.wait(100)
    assert paints.count == 1
