"""How far a fusion block by block is: a bar on a terminal, and a line now and then elsewhere."""

import time
from collections.abc import Iterator

from rich.progress import Progress

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone, BlocksResult
from napari_dip_fusion.blocks.events import BlockEvent
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.run_bar import RunBar, make_progress
from napari_dip_fusion.fusion.events import Decided, PlanesDone
from napari_dip_fusion.fusion.timing import format_bytes, format_seconds

# Where nobody watches, as in the log of a cluster, a line a minute tells that it goes on.
_SECONDS_BETWEEN_LINES = 60.0


class Watcher:
    """Shows how far a run block by block is.

    Parameters
    ----------
    nbytes : int
        What is written, before compression.
    cluster : bool
        Whether other processes compute.
    quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, nbytes: int, *, cluster: bool, quiet: bool) -> None:
        self.done = self.total = 0
        self._bytes, self._cluster, self._quiet = nbytes, cluster, quiet
        self._told = time.monotonic()

    def watch(self, events: Iterator[BlockEvent]) -> BlocksResult:
        """Drain a run, and return its result."""
        is_watched = console.err.is_terminal and not self._quiet
        with make_progress(not is_watched) as progress:
            # Networks that restore are trained before any block.
            bar = RunBar(progress, parts="blocks", restores=True)
            for event in events:
                if isinstance(event, BlocksDone):
                    return event.result
                self._show(event, bar, progress)
        raise AssertionError("a run ends with BlocksDone")

    def _show(self, event: BlockEvent, bar: RunBar, progress: Progress) -> None:
        if isinstance(event, BlocksBegun):
            self.done, self.total = len(event.done), event.layout.count
            self._tell(*self._describe(event))
            bar.show_stage("fusing", self.done, self.total, f"{self.done}/{self.total} blocks")
        elif isinstance(event, BlockDone):
            self.done = event.done
            text = f"{event.done}/{event.total} blocks  {format_rate(event.rate)}"
            bar.show_stage("fusing", event.done, event.total, text, left=event.remaining)
            if progress.disable:
                self._tell_now_and_then(f"{text}  {format_seconds(event.remaining)} left")
        elif isinstance(event, Decided):
            self._tell(*event.restored)
        elif not isinstance(event, BlocksDone):
            bar.show(event)
            if isinstance(event, PlanesDone) and progress.disable:
                self._tell_now_and_then(f"{event.stage}: {event.done}/{event.total} blocks")

    def _describe(self, event: BlocksBegun) -> Iterator[str]:
        """Yield lines on what is fused in which blocks, and by whom."""
        layout = event.layout
        size, block = ("x".join(map(str, sizes)) for sizes in (layout.shape, layout.block))
        blocks = f"{layout.count} block{'s' if layout.count != 1 else ''} of {block}"
        yield f"{size} pixels in {blocks}, {format_bytes(self._bytes)} on disk before compression"
        if event.done:
            yield f"{len(event.done)} of {layout.count} blocks are done already"
        if self._cluster:
            workers = f"{event.workers} worker{'s' if event.workers != 1 else ''}"
            yield f"{workers}; dashboard: {event.dashboard}" if event.dashboard else workers

    def _tell(self, *lines: str) -> None:
        if not self._quiet:
            for line in lines:
                console.message(line)

    def _tell_now_and_then(self, line: str) -> None:
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._tell(line)


def format_rate(pixels: float) -> str:
    """Return pixels a second as a person would say it.

    Examples
    --------
    >>> format_rate(12_340_000), format_rate(31_700)
    ('12.3 Mpixel/s', '0.032 Mpixel/s')
    """
    millions = pixels / 1e6
    return f"{millions:.1f} Mpixel/s" if millions >= 1 else f"{millions:.2g} Mpixel/s"
