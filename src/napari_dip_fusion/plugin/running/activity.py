"""A fusion's bar in napari's activity area."""

import io
from collections.abc import Callable

from napari.utils import cancelable_progress
from qtpy.QtWidgets import QLabel, QMainWindow, QWidget


class ActivityBar(cancelable_progress):
    """A progress bar whose cancel button stops the run; for the GUI thread only.

    Parameters
    ----------
    total : int
        Iterations.
    stop : callable
        Called when the user presses the bar's cancel button.
    shower : QWidget
        In the window whose status bar shows that something goes on.
    """

    def __init__(self, total: int, stop: Callable[[], None], shower: QWidget) -> None:
        self._stop = stop
        # The bar of the terminal that tqdm draws beside napari's is not wanted.
        super().__init__(total=total, desc="DIP Fusion", file=io.StringIO())
        _hold_spinner(shower)

    def cancel(self) -> None:
        """Stop the run; its best image is kept."""
        super().cancel()
        self._stop()

    def show(self, iteration: int) -> None:
        """Move the bar to an iteration."""
        self.update(iteration - self.n)


def _hold_spinner(shower: QWidget) -> None:
    """Let napari's sign of activity stand still, until another bar starts it again.

    Each of its pictures, some thirty a second, makes Qt compose the whole
    window anew, with its canvas. Without a graphics card that takes more than
    half a processor core from the fusion.
    """
    window: QWidget | None = shower
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    if window is None:
        return
    for label in window.statusBar().findChildren(QLabel):
        if label.movie() is not None:
            label.movie().setPaused(True)
