"""The bar of a run in napari's activity area."""

import io
from collections.abc import Callable

from napari.utils import cancelable_progress
from qtpy.QtWidgets import QLabel, QMainWindow, QWidget


class ActivityBar(cancelable_progress):
    """A progress bar whose cancel button stops the run; for the GUI thread only.

    Parameters
    ----------
    total : int
        Steps until the end.
    stop : callable
        Called when the user presses the bar's cancel button.
    part : QWidget
        Any part of the window whose status bar shows that something goes on.
    """

    def __init__(self, total: int, stop: Callable[[], None], part: QWidget) -> None:
        self._stop, self._steps = stop, total
        # tqdm would draw a bar in the terminal, too.
        super().__init__(total=total, desc="DIP Fusion", file=io.StringIO())
        _pause_spinner(part)

    def cancel(self) -> None:
        """Stop the run; its best image is kept."""
        super().cancel()
        self._stop()

    def show(self, step: int, steps: int, text: str = "") -> None:
        """Move the bar to a step of so many: which networks run is known on the way.

        Parameters
        ----------
        step, steps : int
        text : str
            What stands beside the bar, behind the name of the program.
        """
        if text:
            self.set_description(f"DIP Fusion, {text}")
        if steps != self._steps:
            self._steps = self.total = steps
        self.update(step - self.n)


def _pause_spinner(part: QWidget) -> None:
    """Let the spinner in napari's status bar stand still, until another bar starts it again.

    Each of its pictures, some thirty a second, makes Qt compose the whole
    window anew, with its canvas. Without a graphics card that takes more than
    half a processor core from the fusion.
    """
    window: QWidget | None = part
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    if window is None:
        return
    for label in window.statusBar().findChildren(QLabel):
        if label.movie() is not None:
            label.movie().setPaused(True)
