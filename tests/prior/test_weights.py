"""Weights of networks go through bytes, and damaged ones are refused in one line."""

import io
import os
import pickle

import pytest
import torch

from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.prior.weights import pack_weights, unpack_weights


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pack(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_weights_are_as_they_were():
    one, other = (torch.nn.Linear(3, 2) for _ in range(2))
    assert unpack_weights(pack_weights(one, iteration=7), other, "cpu") == 7
    assert torch.equal(one.weight, other.weight)


def test_damaged_weights_are_refused_and_run_no_code(tmp_path):
    network, path = torch.nn.Linear(3, 2), str(tmp_path / "made")
    good = pack_weights(network)
    for bad in (
        b"",
        good[: len(good) // 2],
        b"abc" * 1000,
        pickle.dumps(Evil(path)),
        pack([1, 2]),
        pack({"weights": network.state_dict(), "iteration": "many"}),
        pack_weights(torch.nn.Linear(4, 2)),
    ):
        with pytest.raises(FusionError, match="are damaged, or of another network; start the run"):
            unpack_weights(bad, network, "cpu")
    assert not os.path.exists(path)
