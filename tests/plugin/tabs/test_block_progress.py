"""What is said of a run block by block, and the page of its workers."""

from pathlib import Path

import pytest
from qtpy.QtGui import QDesktopServices

from napari_dip_fusion.blocks import BlocksBegun, BlocksResult
from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.plugin.tabs.block_progress import (
    DashboardButton,
    describe_beginning,
    describe_result,
)


def test_the_dashboard_is_opened_where_there_is_one(qapp, monkeypatch):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    button = DashboardButton()
    assert button.native.isHidden()
    button.set_address("http://127.0.0.1:8787/status")
    assert not button.native.isHidden()
    button.native.click()
    assert opened == ["http://127.0.0.1:8787/status"]
    button.set_address("")
    assert button.native.isHidden()


@pytest.mark.parametrize(
    ("done", "workers", "said"),
    [((), 1, "fusing"), (((0, 0),), 4, "fusing, 1 of 4 blocks are done, 4 workers")],
)
def test_what_lies_ahead(done, workers, said):
    layout = Layout((128, 128), (64, 64), (36, 36))
    assert describe_beginning(BlocksBegun(Path(), layout, frozenset(done), workers)) == said


def test_what_is_left():
    stopped = BlocksResult(Path("a.ome.zarr.part/image.ome.zarr"), 3, 9, "stopped")
    assert describe_result(stopped).startswith("Stopped: 3 of 9 blocks are kept in a.ome.zarr.part")
    record = {"seconds": {"total": 130.0}}
    done = BlocksResult(Path("a.ome.zarr"), 9, 9, "closed form", record)
    assert describe_result(done) == "Done: 9 blocks in 2 min, in a.ome.zarr"
