"""Denoising, plain and with a pilot."""

import numpy as np
import pytest

from napari_dip_fusion.sensor import denoising
from napari_dip_fusion.sensor.denoising import denoise, filter_wiener, remove_speckle

RNG = np.random.default_rng(9)
ROWS, COLUMNS = np.mgrid[:70, :83] / 70
SCENE = (0.5 + 0.3 * np.sin(8 * ROWS) * (COLUMNS > 0.5)).astype(np.float32)
NOISY = (SCENE + RNG.normal(0, 0.1, SCENE.shape)).astype(np.float32)


def error(image: np.ndarray) -> float:
    return float(np.square(image - SCENE).mean())


def test_noise_goes_and_structure_stays() -> None:
    before = NOISY.copy()
    smooth = denoise(NOISY, 0.1)
    assert smooth.dtype == np.float32
    assert error(smooth) < 0.1 * error(NOISY)
    np.testing.assert_array_equal(NOISY, before)


def test_without_noise_nothing_changes() -> None:
    for image in (denoise(NOISY, 0.0), filter_wiener(NOISY, 0.0, SCENE)):
        np.testing.assert_array_equal(image, NOISY)
        assert image is not NOISY


def test_a_better_pilot_gives_a_better_image() -> None:
    flat = np.full_like(SCENE, 0.5)
    assert error(filter_wiener(NOISY, 0.1, SCENE)) < error(filter_wiener(NOISY, 0.1, NOISY))
    assert error(filter_wiener(NOISY, 0.1, SCENE)) < error(filter_wiener(NOISY, 0.1, flat))


def test_a_map_of_noise_leaves_pixels_without_it() -> None:
    sigma = np.where(COLUMNS < 0.5, 0.1, 0).astype(np.float32)
    image = np.where(sigma > 0, NOISY, SCENE)
    smooth = filter_wiener(image, sigma, np.full_like(SCENE, 0.5))
    np.testing.assert_allclose(smooth[:, 44:], image[:, 44:], atol=1e-5)
    assert np.abs(smooth - image)[:, :30].max() > 0.1


@pytest.mark.parametrize("shape", [(8, 9), (8, 200)])
def test_groups_of_rows_change_nothing(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = RNG.random(shape).astype(np.float32)
    whole = denoise(image, 0.1)
    monkeypatch.setattr(denoising, "_ROWS", 3)
    np.testing.assert_allclose(denoise(image, 0.1), whole, atol=1e-6)


def test_speckle_goes_and_the_dark_stays_dark() -> None:
    scene = np.where(COLUMNS < 0.4, np.float32(0), SCENE)
    speckled = (scene * (1 + RNG.normal(0, 0.2, scene.shape))).astype(np.float32)
    smooth = remove_speckle(speckled, 0.2)
    inside = COLUMNS > 0.5
    noise = np.square(speckled - scene)[inside].mean()
    assert np.square(smooth - scene)[inside].mean() < 0.1 * noise
    assert abs((smooth - scene)[inside].mean()) < 0.005
    assert np.abs(smooth[:, :20]).max() < 0.01
