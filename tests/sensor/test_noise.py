"""Noise: its level, and what clipping does to it."""

import subprocess
import sys

import numpy as np
import pytest

from napari_dip_fusion.sensor.noise import (
    compute_clipped_mean,
    estimate_noise,
    estimate_speckle,
    estimate_white_and_speckle,
    is_clipped,
    undo_clipped_mean,
    undo_clipping,
)

RNG = np.random.default_rng(8)
ROWS, COLUMNS = np.mgrid[:160, :192] / 160
SCENE = (0.5 + 0.25 * np.sin(7 * ROWS) * np.cos(9 * COLUMNS)).astype(np.float32)
HALF_DARK = np.where(COLUMNS < 0.6, 0, SCENE).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("scene", [SCENE, HALF_DARK])
@pytest.mark.parametrize("clip", [False, True])
def test_the_level_is_found(sigma: float, scene: np.ndarray, clip: bool) -> None:
    noisy = scene + RNG.normal(0, sigma, scene.shape)
    noisy = (noisy.clip(0, 1) if clip else noisy).astype(np.float32)
    assert estimate_noise(noisy) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("image", [SCENE, HALF_DARK, np.zeros((32, 32), "f4"), SCENE[:9, :8]])
def test_clean_images_have_none(image: np.ndarray) -> None:
    assert estimate_noise(image) == 0


def test_clipping_is_told_from_a_range_that_is_wide_enough() -> None:
    noisy = (HALF_DARK + RNG.normal(0, 0.1, SCENE.shape)).astype(np.float32)
    smooth = np.where(HALF_DARK > 0, HALF_DARK, np.float32(0.04))
    assert is_clipped(noisy.clip(0, 1), smooth, 0.1)
    assert not is_clipped(noisy, smooth, 0.1)
    masked = np.where(HALF_DARK > 0, noisy, np.float32(0)).clip(0, 1)
    assert not is_clipped(masked, HALF_DARK, 0.1)


def test_clipped_mean_is_the_mean_of_clipped_noise() -> None:
    signal = np.array([0.0, 0.05, 0.3], dtype=np.float32)
    draws = np.maximum(signal[:, None] + RNG.normal(0, 0.1, (3, 200_000)), 0)
    np.testing.assert_allclose(compute_clipped_mean(signal, 0.1), draws.mean(axis=1), atol=1e-3)


@pytest.mark.parametrize("clip_white", [True, False])
def test_pixels_lose_the_mean_that_clipping_gave_them(clip_white: bool) -> None:
    signal = np.repeat(np.float32([0.0, 0.04, 0.5, 0.97, 1.0]), 50_000)
    noisy = np.maximum(signal + RNG.normal(0, 0.1, signal.shape).astype(np.float32), 0)
    highest = 1.0 if clip_white else noisy.max()
    noisy = noisy.clip(0, highest) / highest
    unbiased = undo_clipped_mean(noisy, signal / highest, 0.1 / highest)
    gap = (unbiased - signal / highest).reshape(5, -1).mean(axis=1)
    np.testing.assert_allclose(gap, 0, atol=2e-3)
    np.testing.assert_array_equal(undo_clipped_mean(noisy, signal, 0.0), noisy)


def test_unclipped_undoes_it() -> None:
    signal = np.linspace(0, 1, 101, dtype=np.float32)
    np.testing.assert_allclose(
        undo_clipping(compute_clipped_mean(signal, 0.1), 0.1), signal, atol=2e-4
    )
    assert undo_clipping(np.zeros(3, dtype=np.float32), 0.1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("proportion", [0.1, 0.25])
@pytest.mark.parametrize("scene", [SCENE, HALF_DARK])
def test_speckle_is_found_and_told_from_white_noise(proportion: float, scene: np.ndarray) -> None:
    speckled = (scene * (1 + RNG.normal(0, proportion, scene.shape))).clip(0, 1)
    assert estimate_speckle(speckled.astype(np.float32)) == pytest.approx(proportion, rel=0.15)
    white = (scene + RNG.normal(0, proportion, scene.shape)).clip(0, 1)
    assert estimate_speckle(white.astype(np.float32)) == 0


@pytest.mark.parametrize("image", [SCENE, np.zeros((32, 32), "f4"), SCENE[:9, :8]])
def test_clean_images_have_no_speckle(image: np.ndarray) -> None:
    assert estimate_speckle(image) == 0


VOLUME = np.stack([np.roll(SCENE, 9 * i, axis=1) for i in range(6)])
NOISY_VOLUME = (VOLUME + RNG.normal(0, 0.1, VOLUME.shape)).clip(0, 1).astype(np.float32)
SPECKLED_VOLUME = (VOLUME * (1 + RNG.normal(0, 0.2, VOLUME.shape))).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("scene", [SCENE, NOISY_VOLUME[0], SPECKLED_VOLUME[0]])
def test_a_volume_of_one_plane_is_that_plane(scene: np.ndarray) -> None:
    assert estimate_white_and_speckle(scene[None]) == estimate_white_and_speckle(scene)
    assert estimate_white_and_speckle(scene[None, None]) == estimate_white_and_speckle(scene)


def test_planes_are_estimated_as_they_were_before_there_were_volumes() -> None:
    # Of commit cb5ac6f.
    image = np.random.default_rng(5).random((90, 70), dtype=np.float32) * ROWS[:90, :70]
    expected = (0, pytest.approx(0.6093444043089826, rel=1e-6))
    assert estimate_white_and_speckle(image.astype(np.float32)) == expected


@pytest.mark.parametrize("shape", [(6, 160, 192), (2, 3, 160, 192)])
def test_all_planes_have_one_noise(shape: tuple[int, ...]) -> None:
    assert estimate_noise(NOISY_VOLUME.reshape(shape)) == pytest.approx(0.1, rel=0.1)
    assert estimate_speckle(NOISY_VOLUME.reshape(shape)) == 0
    assert estimate_speckle(SPECKLED_VOLUME.reshape(shape)) == pytest.approx(0.2, rel=0.1)


def test_noise_is_measured_within_planes() -> None:
    levels = np.linspace(0.2, 0.8, 6, dtype=np.float32)[[0, 5, 1, 4, 2, 3]]
    flicker = np.broadcast_to(levels[:, None, None], VOLUME.shape)
    assert estimate_noise(flicker + SCENE / 10) == 0


@pytest.mark.parametrize("fill", [0.0, 0.4])
@pytest.mark.parametrize(
    ("volume", "white", "speckle"), [(NOISY_VOLUME, 0.1, 0), (SPECKLED_VOLUME, 0, 0.2)]
)
def test_empty_planes_say_nothing(
    volume: np.ndarray, white: float, speckle: float, fill: float
) -> None:
    empty = np.full((40, *SCENE.shape), fill, dtype=np.float32)
    found = estimate_white_and_speckle(np.concatenate([empty, volume, empty]))
    assert found == pytest.approx((white, speckle), rel=0.1)
    assert estimate_white_and_speckle(empty) == (0, 0)


def test_what_lies_outside_the_field_of_view_says_nothing() -> None:
    cut = NOISY_VOLUME.copy()
    cut[:, :, 70:] = 0
    cut[3:, :90] = 0
    assert estimate_noise(cut) == pytest.approx(0.1, rel=0.1)


def test_the_planes_of_a_long_series_that_are_looked_at_are_spread_evenly() -> None:
    series = np.repeat(SCENE[None, :32, :32], 96, axis=0)
    noisy = (series + RNG.normal(0, 0.1, series.shape)).astype(np.float32)
    # Every third plane is looked at.
    series[1::3] = noisy[1::3]
    assert estimate_noise(series) == pytest.approx(0.1, rel=0.15)
    noisy[1::3] = SCENE[:32, :32]
    assert estimate_noise(noisy) == 0


def test_clipping_of_a_volume_is_told() -> None:
    dark = np.stack([HALF_DARK] * 3)
    noisy = (dark + RNG.normal(0, 0.1, dark.shape)).astype(np.float32)
    smooth = np.where(dark > 0, dark, np.float32(0.04))
    assert is_clipped(noisy.clip(0, 1), smooth, 0.1)
    assert not is_clipped(noisy, smooth, 0.1)


def test_what_is_slow_to_import_waits_until_it_is_needed() -> None:
    code = "import sys, napari_dip_fusion.sensor.analysis; print('scipy.stats' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
