"""Images that do not fit into memory are fused by the same call, block by block."""

import gc
from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion import Control, FusionConfig, fuse
from napari_dip_fusion.blocks import layout
from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion import memory

RANDOM = np.random.default_rng(4)
SOURCES = [RANDOM.integers(0, 4000, (150, 200), np.uint16) for _ in range(2)]
CONFIG = FusionConfig(noise="none")


@pytest.fixture
def full(monkeypatch, tmp_path) -> Path:
    """Let next to no memory be free; return where temporary files go."""
    monkeypatch.setattr(memory, "measure_free_memory", lambda device: 1000)
    monkeypatch.setattr(layout, "_PLANE", (64, 64))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_does_not_fit_into_memory_is_fused_block_by_block(full, monkeypatch):
    with pytest.warns(UserWarning, match="150x200 pixels need about .* block by block"):
        result = fuse(SOURCES, CONFIG, names=["a", "b"])
    monkeypatch.undo()
    whole = fuse(SOURCES, CONFIG)
    np.testing.assert_allclose(result.image, whole.image, atol=1e-5)
    np.testing.assert_allclose(result.sources.images, whole.sources.images, atol=1e-6)
    assert result.metrics == pytest.approx(whole.metrics, rel=1e-4)
    assert [entry["name"] for entry in result.record["sources"]] == ["a", "b"]
    pixels = result.to_source(like=0).to_numpy()
    assert pixels.dtype == np.uint16
    assert np.abs(pixels.astype(int) - whole.rescale(like=0)).max() <= 1
    # Its files lie on the disk until nobody has the result any more.
    assert len(list(full.iterdir())) == 1
    del result
    gc.collect()
    assert not list(full.iterdir())


def test_a_run_on_disk_that_is_stopped_leaves_nothing(full):
    control = Control()
    control.stop()
    with pytest.warns(UserWarning, match="block by block"), pytest.raises(StoppedError):
        fuse(SOURCES, CONFIG, control=control)
    assert not list(full.iterdir())


def test_what_cannot_be_fused_block_by_block_is_refused_as_before(full):
    with pytest.raises(ValueError, match="GB free"):
        fuse(SOURCES, FusionConfig(method="laplacian"))
