"""DenseFuse: its layout, its rules and what its shipped weights can do."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from napari_dip_fusion.methods import densefuse as module
from napari_dip_fusion.methods import fuse_with
from napari_dip_fusion.methods.densefuse import (
    WEIGHTS,
    DenseFuseNetwork,
    densefuse,
    load_network,
    weigh_codes,
)
from napari_dip_fusion.samples import SAMPLES

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Keys and shapes of the authors' PyTorch release.
LAYOUT = {
    "conv1.conv2d": (16, 1),
    "DB1.denseblock.0.dense_conv.conv2d": (16, 16),
    "DB1.denseblock.1.dense_conv.conv2d": (16, 32),
    "DB1.denseblock.2.dense_conv.conv2d": (16, 48),
    "conv2.conv2d": (64, 64),
    "conv3.conv2d": (32, 64),
    "conv4.conv2d": (16, 32),
    "conv5.conv2d": (1, 16),
}


def release(scale: float = 0.05) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, (outputs, inputs) in LAYOUT.items():
        state[f"{key}.weight"] = scale * torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"{key}.bias"] = torch.rand(outputs, generator=generator)
    return state


def test_layout_is_that_of_the_release(tmp_path: Path) -> None:
    state = release()
    assert sum(t.numel() for t in state.values()) == 74_193
    network = DenseFuseNetwork()
    assert {k: v.shape for k, v in network.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }
    file = tmp_path / "release.model"
    torch.save(state, file)
    fused = densefuse(RNG.random((2, 20, 30)).astype(np.float32), weights=file)
    assert fused.shape == (20, 30)
    del state["conv3.conv2d.bias"]
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"expected 'conv3\.conv2d\.bias' of shape \(32,\), got n"):
        densefuse(RNG.random((2, 20, 30)).astype(np.float32), weights=file)


def test_convolutions_reflect_and_end_in_relu() -> None:
    network = DenseFuseNetwork()
    network.load_state_dict(release())
    image = torch.from_numpy(RNG.random((1, 1, 12, 12)).astype(np.float32))

    def layer(x: torch.Tensor, key: str) -> torch.Tensor:
        weight, bias = (network.state_dict()[f"{key}.conv2d.{n}"] for n in ("weight", "bias"))
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return torch.nn.functional.conv2d(padded, weight, bias).clamp(min=0)

    code = layer(image, "conv1")
    for i in range(3):
        code = torch.cat([code, layer(code, f"DB1.denseblock.{i}.dense_conv")], dim=1)
    out = code
    for key in ("conv2", "conv3", "conv4", "conv5"):
        out = layer(out, key)
    with torch.inference_mode():
        torch.testing.assert_close(network.encode(image), code)
        torch.testing.assert_close(network(image), out)


@pytest.mark.parametrize("rule", ["l1", "addition"])
def test_weights_sum_to_one(rule: str) -> None:
    codes = torch.from_numpy(RNG.random((3, 64, 9, 11)).astype(np.float32))
    codes[:, :, :5] = 0
    weights = weigh_codes(codes, rule)
    assert weights.shape == (3, 1, 9, 11)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(1, 9, 11))


@pytest.mark.parametrize("rule", ["l1", "addition"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (37, 50)])
def test_any_size_and_count(rule: str, shape: tuple[int, int]) -> None:
    sources = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    fused = fuse_with("densefuse", sources, rule=rule)
    assert fused.shape == shape
    assert fused.dtype == np.float32
    assert 0 <= fused.min() <= fused.max() <= 1
    np.testing.assert_allclose(fused, fuse_with("densefuse", sources[::-1], rule=rule), atol=1e-4)


def test_strips_are_seamless(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = RNG.random((2, 90, 20)).astype(np.float32)
    whole = densefuse(sources)
    monkeypatch.setattr(module, "_STRIP_PIXELS", 1)
    np.testing.assert_allclose(densefuse(sources), whole, atol=1e-5)


def test_random_state_stays_and_bad_rules_are_refused() -> None:
    sources = RNG.random((2, 16, 16)).astype(np.float32)
    state = torch.random.get_rng_state()
    densefuse(sources)
    assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(ValueError, match="rule must be one of l1, addition, got 'sum'"):
        densefuse(sources, rule="sum")


@pytest.mark.parametrize("name", ["camera", "coins", "coffee", "head"])
def test_shipped_weights_reconstruct_unseen_pictures(name: str) -> None:
    """None of these is among the training pictures of benchmarks/train_densefuse.py."""
    picture = SAMPLES["head"]().truth if name == "head" else getattr(data, name)()
    picture = picture[..., 1] if picture.ndim == 3 else picture
    image = (picture[:128, :128] / 255).astype(np.float32)
    network = load_network(WEIGHTS)
    with torch.inference_mode():
        output = network(torch.from_numpy(image)[None, None] * 255)[0, 0].numpy() / 255
    assert peak_signal_noise_ratio(image, output.clip(0, 1), data_range=1) > 40
    # Equal sources have equal codes, so the fused image is the reconstruction.
    fused = densefuse(np.stack([image, image]))
    np.testing.assert_allclose(fused, output.clip(0, 1), atol=1e-4)


def test_shipped_weights_are_small_and_documented() -> None:
    assert WEIGHTS.stat().st_size < 400_000
    assert "benchmarks/train_densefuse.py" in (densefuse.__doc__ or "")
