"""Sources that have noise and nothing else: the filter by an estimate, and the network's gain."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.config import ComputeSettings
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration import restorer
from napari_dip_fusion.restoration.denoising import filter_noise
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.restoration.planes import network_pays
from napari_dip_fusion.restoration.restorer import Restorer

WAVES = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(64, 64)), 5)
SHAPES = np.float32([0.0, 0.35, 0.65, 1.0])[np.digitize(WAVES / WAVES.std(), [-0.8, 0.2, 0.9])]


def add_noise(noise: RestorationNoise) -> np.ndarray:
    return noise.add_to(SHAPES, np.random.default_rng(2))


def error(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image - SHAPES) ** 2)))


@pytest.mark.parametrize(
    "noise",
    [
        RestorationNoise(0.1, clipped=False),
        RestorationNoise(0.1),
        RestorationNoise(0.0, speckle=0.2),
    ],
)
def test_what_an_estimate_explains_is_kept(noise: RestorationNoise) -> None:
    pixels = add_noise(noise)
    filtered = filter_noise(pixels, SHAPES, noise)
    assert filtered.dtype == np.float32
    assert error(filtered) < 0.65 * error(pixels)


def test_black_and_white_stay_when_noise_was_clipped() -> None:
    noise = RestorationNoise(0.15)
    pixels = add_noise(noise)
    inside = [ndimage.binary_erosion(level == SHAPES, iterations=2) for level in (0, 1)]
    filtered = filter_noise(pixels, SHAPES, noise)
    black, white = (float(filtered[part].mean()) for part in inside)
    assert (black, white) == pytest.approx((0, 1), abs=0.01)


def test_the_image_is_a_mean_of_what_errs_differently(monkeypatch) -> None:
    monkeypatch.setattr(restorer, "_WIDTH", 4)
    monkeypatch.setattr(restorer, "_BLOCKS", 1)
    monkeypatch.setattr(restorer, "_LEAST", 1)
    noise = RestorationNoise(0.1)
    pixels = add_noise(noise)
    pilot = ndimage.gaussian_filter(pixels, 1)
    nothing_lost = Degradation(SHAPES.shape, (1, 1), (0.0, 0.0))
    compute = ComputeSettings(device="cpu", threads=1)
    trained = Restorer(pixels, pilot, nothing_lost, noise, compute=compute, seed=0)
    monkeypatch.setattr(trained, "_apply", lambda turns: SHAPES)
    images = [trained.image, *(trained.image for _ in trained.run(3))]
    filtered = filter_noise(pixels, SHAPES, noise)
    np.testing.assert_allclose(images[2], 0.4 * pilot + 0.6 * filtered, atol=1e-6)
    np.testing.assert_allclose(images[3], (SHAPES + filtered) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "factors", "step", "expected"),
    [
        ((128, 128), (1, 1), 1.0, True),
        ((5, 128, 128), (1, 1, 1), 1.0, False),
        ((5, 128, 128), (1, 1, 1), 4.0, True),
        ((1, 128, 128), (1, 1, 1), 1.0, True),
        ((5, 128, 128), (1, 2, 2), 1.0, True),
    ],
)
def test_noise_of_thin_slices_is_left_to_the_denoiser(
    shape: tuple[int, ...], factors: tuple[int, ...], step: float, expected: bool
) -> None:
    degradation = Degradation(shape, factors, (0.0,) * len(shape))
    assert network_pays(degradation, step) is expected
