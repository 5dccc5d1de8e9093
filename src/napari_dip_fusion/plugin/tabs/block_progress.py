"""How far a run block by block is, in words, and the page on which its workers are seen."""

from magicgui.widgets import PushButton
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksResult
from napari_dip_fusion.fusion.timing import format_seconds


class DashboardButton(PushButton):
    """Opens the page of a cluster that shows its work; out of sight without one."""

    def __init__(self) -> None:
        super().__init__(text="Open dashboard", tooltip="Show in a browser what each worker does.")
        self._address = ""
        self.visible = False
        self.changed.connect(self._open)

    def set_address(self, address: str) -> None:
        """Offer a page; none if its address is empty."""
        self._address = address
        self.visible = bool(address)
        self.tooltip = f"Show in a browser what each worker does: {address}"

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl(self._address))


def describe_beginning(event: BlocksBegun) -> str:
    """Say what lies ahead."""
    resumed = f"{len(event.done):,} of {event.layout.count:,} blocks are done" * bool(event.done)
    workers = f"{event.workers} workers" if event.workers > 1 else ""
    return ", ".join(filter(None, ["fusing", resumed, workers]))


def describe_block(event: BlockDone) -> str:
    """Say how far it is.

    Examples
    --------
    >>> describe_block(BlockDone(None, 34, 256, 2.0, 12.3e6, 300.0))
    'block 34 of 256, 12.3 Mpixel/s, 5 min left'
    """
    left = format_seconds(event.remaining)
    return f"block {event.done:,} of {event.total:,}, {event.rate / 1e6:.1f} Mpixel/s, {left} left"


def describe_result(result: BlocksResult) -> str:
    """Say what a run has left, and where."""
    if not result.is_complete:
        return (
            f"Stopped: {result.done:,} of {result.total:,} blocks are kept in "
            f"{result.path.parent}; Resume goes on with the others."
        )
    seconds = result.record["seconds"]["total"]
    blocks = "1 block" if result.total == 1 else f"{result.total:,} blocks"
    return f"Done: {blocks} in {format_seconds(seconds)}, in {result.path}"
