"""Tiles: what is cut, and that the metrics do not show it."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import evaluate, tiles
from napari_dip_fusion.metrics.tiles import cut_rows, cut_tiles


@pytest.mark.parametrize("tile", [(4, 4), (8, 12), (16, 256), (4096, 4096)])
def test_tiles_change_nothing(tile, make, monkeypatch):
    sources, fused = make(3, (47, 53))
    sources = sources / 254.321
    expected = evaluate(sources, fused / 254.321, data_range=1, which="all")
    monkeypatch.setattr(tiles, "_TILE", tile)
    assert evaluate(sources, fused / 254.321, data_range=1, which="all") == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("overlap", [0, 2, 7])
def test_every_window_lies_in_one_tile(overlap, monkeypatch):
    monkeypatch.setattr(tiles, "_TILE", (8, 12))
    places = np.arange(37 * 53).reshape(1, 37, 53)
    corners = [
        t[0, : t.shape[1] - overlap, : t.shape[2] - overlap] for t in cut_tiles(places, overlap)
    ]
    found = np.concatenate([c.ravel() for c in corners])
    np.testing.assert_array_equal(np.sort(found), places[0, : 37 - overlap, : 53 - overlap].ravel())


def test_rows_are_cut_to_the_height_of_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "_TILE", (8, 12))
    assert list(cut_rows(17)) == [slice(0, 8), slice(8, 16), slice(16, 24)]
    assert list(cut_rows(17, overlap=2)) == [slice(0, 10), slice(8, 18)]
