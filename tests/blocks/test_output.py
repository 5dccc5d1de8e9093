"""What is said of an image when all of its blocks are written."""

import numpy as np
import pytest

from napari_dip_fusion import FusionConfig, fuse_blocks
from napari_dip_fusion.blocks import output, samples
from napari_dip_fusion.metrics import average_planes, evaluate_planes
from napari_dip_fusion.samples import SAMPLES


def test_samples_are_scored_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_WHOLE", 2**12)
    monkeypatch.setattr(samples, "_SIDE", 32)
    monkeypatch.setattr(samples, "_COUNT", 6)
    # The samples at the bottom show nothing.
    pair = [np.pad(np.asarray(s)[40:], ((0, 200), (0, 0))) for s in SAMPLES["head"]().sources]
    scored = []

    def score(sources, fused, **options):
        scored.append((np.array(sources), np.array(fused)))
        return evaluate_planes(sources, fused, **options)

    monkeypatch.setattr(output, "evaluate_planes", score)
    config = FusionConfig(noise="none", network="never")
    result = fuse_blocks(pair, tmp_path / "fused.ome.zarr", config, block=64)
    assert [sources.shape for sources, _ in scored] == [(2, 32, 32)] * 6
    empty = [not np.ptp(sources, axis=(-2, -1)).any() for sources, _ in scored]
    assert any(empty)
    assert not all(empty)
    sources, fused = map(np.stack, zip(*scored, strict=True))
    together = evaluate_planes(
        sources.swapaxes(0, 1), fused, data_range=1.0, which=list(result.metrics)
    )
    assert result.metrics == pytest.approx(average_planes(together))
