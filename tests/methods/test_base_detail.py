"""Base and detail, with a small network in place of VGG-19 and with one of random weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from napari_dip_fusion.methods import fuse_with
from napari_dip_fusion.methods.base_detail import base_detail, extract_base, weigh_details
from napari_dip_fusion.methods.vgg import URL, Vgg19Features, find_cached_weights

RNG = np.random.default_rng(3)
SHAPES = [(32, 40), (33, 47), (9, 12), (1, 5)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(images: Tensor) -> list[Tensor]:
    """Four layers of three channels, with signs: differences along the rows at each scale."""
    assert images.shape[1:2] == (3,)
    assert images.shape[2] % 8 == images.shape[3] % 8 == 0
    scaled = [torch.nn.functional.avg_pool2d(images, s) for s in (1, 2, 4, 8)]
    return [x - x.roll(1, dims=-1) for x in scaled]


@pytest.fixture(scope="module")
def random_vgg() -> Vgg19Features:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Vgg19Features()


@pytest.mark.parametrize("shape", SHAPES)
def test_any_size_with_a_small_network(shape: tuple[int, int]) -> None:
    sources = RNG.random((3, *shape)).astype(np.float32)
    fused = fuse_with("base-detail", sources, intensity="dtype", features=small)
    assert fused.shape == shape
    assert fused.dtype == np.float32
    for weights in weigh_details(sources.astype(np.float64), small):
        assert weights.shape == sources.shape
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=0), 1)


def test_against_a_plain_transcription() -> None:
    sources = RNG.random((2, 16, 24)).astype(np.float32)
    images = sources.astype(float)
    base = np.stack([extract_base(x) for x in images])
    detail = images - base
    stack = torch.from_numpy(np.repeat(detail[:, None].astype(np.float32), 3, axis=1))
    layers = []
    for scale, layer in zip((1, 2, 4, 8), small(stack), strict=True):
        norm = layer.abs().sum(1).numpy().astype(float)
        mean = [ndimage.correlate(n, np.full((3, 3), 1 / 9), mode="nearest") for n in norm]
        weights = [np.kron(m / sum(mean), np.ones((scale, scale))) for m in mean]
        layers.append(sum(w * d for w, d in zip(weights, detail, strict=True)))
    expected = (base.mean(axis=0) + np.max(layers, axis=0)).clip(0, 1)
    np.testing.assert_allclose(base_detail(sources, features=small), expected, atol=1e-6)


def test_low_pass_solves_its_equation() -> None:
    image = RNG.random((40, 40))
    base = extract_base(np.tile(image, (3, 3)))[40:80, 40:80]  # far from the margin: periodic
    laplace = sum(2 * base - np.roll(base, 1, axis) - np.roll(base, -1, axis) for axis in (0, 1))
    np.testing.assert_allclose(base + 5 * laplace, image, atol=1e-4)
    np.testing.assert_allclose(extract_base(np.full((5, 7), 0.3)), 0.3)


def test_layers_of_vgg(random_vgg: Vgg19Features) -> None:
    assert sum(p.numel() for p in random_vgg.parameters()) == 3_505_728
    assert sorted({int(k.split(".")[1]) for k in random_vgg.state_dict()}) == [
        *(0, 2, 5, 7, 10, 12, 14, 16, 19)
    ]
    with torch.inference_mode():
        layers = random_vgg(torch.zeros(2, 3, 32, 48))
    shapes = [(2, 64, 32, 48), (2, 128, 16, 24), (2, 256, 8, 12), (2, 512, 4, 6)]
    assert [tuple(x.shape) for x in layers] == shapes


def test_both_readings_of_the_layers(random_vgg: Vgg19Features, tmp_path: Path) -> None:
    file = tmp_path / "vgg.pth"
    extra = {"classifier.0.weight": torch.zeros(2)}
    torch.save({**random_vgg.state_dict(), **extra}, file)
    image = torch.from_numpy(RNG.normal(size=(1, 3, 16, 16)).astype(np.float32))
    after, before = (Vgg19Features.load(file, after_relu=r) for r in (True, False))
    with torch.inference_mode():
        for a, b in zip(after(image), before(image), strict=True):
            torch.testing.assert_close(a, b.relu())
            assert b.min() < 0
    sources = RNG.random((2, 21, 30)).astype(np.float32)
    state = torch.random.get_rng_state()
    fused = [base_detail(sources, weights=file, reading=r) for r in ("after-relu", "before-relu")]
    assert torch.equal(state, torch.random.get_rng_state())
    assert fused[0].shape == (21, 30)
    assert not np.array_equal(*fused)


def test_bad_weights_are_refused(tmp_path: Path, random_vgg: Vgg19Features) -> None:
    sources = RNG.random((2, 16, 16)).astype(np.float32)
    with pytest.raises(ValueError, match="reading must be one of after-relu, before-relu, got 'x'"):
        base_detail(sources, reading="x")
    with pytest.raises(ValueError, match="there is no file of weights"):
        base_detail(sources, weights=tmp_path / "missing.pth")
    file = tmp_path / "bad.pth"
    file.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="no weights that can be read safely"):
        base_detail(sources, weights=file)
    for content, message in (
        ([1, 2], "must hold a state_dict, got list"),
        ({"a": torch.zeros(1)}, "expected 'features.0.weight' of shape .*, got nothing"),
        ({"features.0.weight": torch.zeros(1)}, r"\(64, 3, 3, 3\), got \(1,\)"),
        ({"features.0.weight": torch.full((64, 3, 3, 3), np.nan)}, "NaN or infinite values in"),
    ):
        torch.save(content, file)
        with pytest.raises(ValueError, match=message):
            base_detail(sources, weights=file)


def test_files_that_would_run_code_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"features.0.weight": Path("/")}, file)
    with pytest.raises(ValueError, match="no weights that can be read safely"):
        base_detail(RNG.random((2, 16, 16)).astype(np.float32), weights=file)


def test_weights_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sources = RNG.random((2, 16, 16))
    with pytest.raises(ValueError, match=r"not in .*checkpoints.*weights=.*download=True"):
        fuse_with("base-detail", sources)

    def offline(*arguments: Any, **options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded from .*no route to host"):
        find_cached_weights(download=True)

    def copied(url: str, file: str, *, hash_prefix: str, progress: bool) -> None:
        assert url == URL
        assert hash_prefix in url
        Path(file).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", copied)
    assert find_cached_weights(download=True).read_bytes() == b"weights"
    assert find_cached_weights().is_file()
