"""The arithmetic that a device gets."""

import pytest
import torch

from napari_dip_fusion.prior.devices import resolve_precision


def test_what_is_asked_for_is_taken() -> None:
    assert resolve_precision("float32", "cpu") == "float32"
    assert resolve_precision("bfloat16", "mps") == "bfloat16"


@pytest.mark.parametrize(("there", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_processor(monkeypatch: pytest.MonkeyPatch, there: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    assert resolve_precision("auto", "cpu") == expected
    assert resolve_precision("auto", "mps") == "float32"


@pytest.mark.parametrize(("major", "expected"), [(8, "bfloat16"), (7, "float32")])
def test_auto_on_a_gpu(monkeypatch: pytest.MonkeyPatch, major: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, 0))
    assert resolve_precision("auto", "cuda:0") == expected
