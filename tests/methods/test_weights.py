"""Weights of networks are read once, as long as their file stays as it is."""

import os
from pathlib import Path

import pytest
import torch

from napari_dip_fusion.methods.weights import load_weights

SHAPES = {"layer.weight": torch.Size([2, 3])}


def test_a_file_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **o: (reads.append(1), load(*a, **o))[1])
    file = tmp_path / "weights.pth"
    torch.save({"layer.weight": torch.zeros(2, 3)}, file)
    first = load_weights(file, SHAPES)
    first["layer.weight"] = torch.ones(1)  # the mapping is the caller's own
    assert load_weights(file, SHAPES)["layer.weight"].sum() == 0
    assert len(reads) == 1
    torch.save({"layer.weight": torch.ones(2, 3)}, file)
    os.utime(file, ns=(0, 0))
    assert load_weights(file, SHAPES)["layer.weight"].sum() == 6
    assert len(reads) == 2
    with pytest.raises(ValueError, match=r"'layer.weight' of shape \(3,\), got \(2, 3\)"):
        load_weights(file, {"layer.weight": torch.Size([3])})
