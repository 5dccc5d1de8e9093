"""Denoising at several scales: what it takes that one scale leaves, and what it leaves alone."""

from collections.abc import Callable

import numpy as np
import pytest

from napari_dip_fusion.interruption import make_observable, stage
from napari_dip_fusion.sensor.denoising import denoise, filter_wiener
from napari_dip_fusion.sensor.scales import denoise_at_scales, filter_wiener_at_scales

RNG = np.random.default_rng(3)
FLAT = np.full((96, 83), 0.4, dtype=np.float32)
NOISY = (FLAT + RNG.normal(0, 0.1, FLAT.shape)).astype(np.float32)


def error(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image - FLAT) ** 2)))


def filter_itself(image: np.ndarray) -> np.ndarray:
    return filter_wiener_at_scales(image, 0.1, image)


def test_long_waves_of_noise_go() -> None:
    before = NOISY.copy()
    smooth = denoise_at_scales(NOISY, 0.1)
    assert smooth.dtype == np.float32
    assert error(smooth) < 0.6 * error(denoise(NOISY, 0.1))
    np.testing.assert_array_equal(NOISY, before)


def test_long_waves_of_what_a_pilot_takes_for_noise_go() -> None:
    pilot = denoise(NOISY, 0.1)
    filtered = filter_wiener_at_scales(NOISY, 0.1, pilot)
    assert error(filtered) < 0.9 * error(filter_wiener(NOISY, 0.1, pilot))


@pytest.mark.parametrize("shape", [(96, 83), (33, 64), (2, 40, 37)])
def test_brightness_and_structure_stay(shape: tuple[int, ...]) -> None:
    rows = np.linspace(0, 3, shape[-2], dtype=np.float32)[:, None]
    image = np.broadcast_to(0.5 + 0.4 * np.sin(rows), shape)
    nothing = np.zeros(shape, dtype=np.float32)
    np.testing.assert_allclose(filter_wiener_at_scales(image, nothing, image), image, atol=2e-6)
    np.testing.assert_allclose(denoise_at_scales(image, 0.0), image, atol=2e-6)


def test_small_images_and_volumes_have_one_scale() -> None:
    small, volume = NOISY[:30, :31], NOISY[:64].reshape(2, 32, 83)
    for image in (small, volume):
        np.testing.assert_array_equal(denoise_at_scales(image, 0.1), denoise(image, 0.1))


@pytest.mark.parametrize("clean", [lambda image: denoise_at_scales(image, 0.1), filter_itself])
@pytest.mark.parametrize("shape", [(70, 64), (20, 20), (3, 64, 40)])
def test_progress_counts_planes(
    clean: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> None:
    done: list[float] = []
    planes = shape[0] if len(shape) > 2 else 1
    image = RNG.normal(0.5, 0.1, shape).astype(np.float32)
    with make_observable(lambda name, now, total: done.append(now)), stage("noise", 2 * planes):
        clean(image)
    assert done[-1] == pytest.approx(planes)
