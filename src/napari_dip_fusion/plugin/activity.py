"""A fusion's bar in napari's activity area."""

import io
from collections.abc import Callable

from napari.utils import cancelable_progress


class ActivityBar(cancelable_progress):
    """A progress bar whose cancel button stops the run; for the GUI thread only.

    Parameters
    ----------
    total : int
        Iterations.
    stop : callable
        Called when the user presses the bar's cancel button.
    """

    def __init__(self, total: int, stop: Callable[[], None]) -> None:
        self._stop = stop
        # The bar of the terminal that tqdm draws beside napari's is not wanted.
        super().__init__(total=total, desc="DIP Fusion", file=io.StringIO())

    def cancel(self) -> None:
        """Stop the run; its best image is kept."""
        super().cancel()
        self._stop()

    def show(self, iteration: int) -> None:
        """Move the bar to an iteration."""
        self.update(iteration - self.n)
