"""Denoising, plain and with a pilot."""

from collections.abc import Callable

import numpy as np
import pytest

from napari_dip_fusion.interruption import make_observable, stage
from napari_dip_fusion.sensor import denoising, threads
from napari_dip_fusion.sensor.denoising import denoise, filter_wiener, remove_speckle

RNG = np.random.default_rng(9)
ROWS, COLUMNS = np.mgrid[:70, :83] / 70
SCENE = (0.5 + 0.3 * np.sin(8 * ROWS) * (COLUMNS > 0.5)).astype(np.float32)
NOISY = (SCENE + RNG.normal(0, 0.1, SCENE.shape)).astype(np.float32)


# Surfaces that lean: their edges move by a pixel every fourth plane.
DEPTHS, HEIGHTS, WIDTHS = np.mgrid[:12, :48, :40]
VOLUME = (
    0.3
    + 0.3 * (HEIGHTS + DEPTHS / 4 > 20)
    + 0.2 * (np.hypot(HEIGHTS - 24, WIDTHS - DEPTHS / 4 - 16) < 9)
    + 0.05 * np.sin(WIDTHS / 2 + DEPTHS / 6)
).astype(np.float32)
NOISY_VOLUME = (VOLUME + RNG.normal(0, 0.1, VOLUME.shape)).astype(np.float32)


def decibels(volume: np.ndarray) -> float:
    """Return the PSNR of a volume, which is in [0, 1]."""
    return float(-10 * np.log10(np.square(volume - VOLUME).mean()))


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


def test_planes_are_what_they_were_before_there_were_volumes() -> None:
    # Mean, standard deviation and a pixel of each image, as commit cb5ac6f made them.
    recipe = np.random.default_rng(5).random((80, 70), dtype=np.float32)
    found = [denoise(recipe, 0.3), filter_wiener(recipe, 0.3, recipe), remove_speckle(recipe, 0.3)]
    golden = [
        (0.49822142802711045, 0.027246035515361262, 0.5143835544586182),
        (0.4982641917972692, 0.1908020123034858, 0.2203100323677063),
        (0.5003609136804672, 0.23406682826902867, 0.14398778975009918),
    ]
    figures = [(f.mean(dtype=np.float64), f.std(dtype=np.float64), f[40, 30]) for f in found]
    np.testing.assert_allclose(figures, golden, rtol=1e-6)


@pytest.mark.parametrize("clip", [False, True])
def test_neighbors_help_in_thin_slices(clip: bool) -> None:
    noisy = NOISY_VOLUME.clip(0, 1) if clip else NOISY_VOLUME
    before = noisy.copy()
    by_planes = np.stack([denoise(plane, 0.1) for plane in noisy])
    smooth = denoise(noisy, 0.1)
    assert smooth.dtype == np.float32
    assert decibels(smooth) > decibels(by_planes) + 1
    np.testing.assert_array_equal(noisy, before)


def test_neighbors_help_a_pilot() -> None:
    sigma = np.full_like(VOLUME, 0.1)
    by_planes = np.stack(
        [filter_wiener(*planes) for planes in zip(NOISY_VOLUME, sigma, VOLUME, strict=True)]
    )
    assert decibels(filter_wiener(NOISY_VOLUME, sigma, VOLUME)) > decibels(by_planes) + 1


def test_neighbors_help_against_speckle() -> None:
    speckled = (VOLUME * (1 + RNG.normal(0, 0.2, VOLUME.shape))).clip(0, 1).astype(np.float32)
    by_planes = np.stack([remove_speckle(plane, 0.2) for plane in speckled])
    assert decibels(remove_speckle(speckled, 0.2)) > decibels(by_planes) + 0.5


def test_unrelated_planes_do_not_mix() -> None:
    scenes = np.stack([np.roll(VOLUME[0], 17 * i, axis=i % 2) for i in range(6)])
    noisy = (scenes + RNG.normal(0, 0.1, scenes.shape)).astype(np.float32)
    by_planes = np.stack([denoise(plane, 0.1) for plane in noisy])
    errors = [np.square(v - scenes).mean() for v in (denoise(noisy, 0.1), by_planes)]
    assert errors[0] < 1.08 * errors[1]


FILTERS = [
    lambda image, step: denoise(image, 0.1, step=step),
    lambda image, step: filter_wiener(image, np.full_like(image, 0.1), image / 2, step=step),
    lambda image, step: remove_speckle(image, 0.1, step=step),
]


@pytest.mark.parametrize("clean", FILTERS)
@pytest.mark.parametrize(("depth", "step"), [(1, 1.0), (3, 3.1), (3, 10.0)])
def test_single_planes_and_thick_slices_are_planes(
    clean: Callable[[np.ndarray, float], np.ndarray], depth: int, step: float
) -> None:
    volume = NOISY_VOLUME[:depth].clip(0, 1)
    by_planes = np.stack([clean(plane, 1.0) for plane in volume])
    np.testing.assert_array_equal(clean(volume, step), by_planes)


@pytest.mark.parametrize("clean", FILTERS)
@pytest.mark.parametrize("depth", [2, 3, 12])
def test_threads_slabs_and_groups_of_rows_change_nothing(
    clean: Callable[[np.ndarray, float], np.ndarray], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = NOISY_VOLUME[:depth].clip(0, 1)
    monkeypatch.setattr(denoising, "_PLANES", 5)
    whole = clean(volume, 1.0)
    monkeypatch.setattr(threads, "_THREADS", 1)
    np.testing.assert_array_equal(clean(volume, 1.0), whole)
    monkeypatch.setattr(denoising, "_PLANES", 24)
    np.testing.assert_array_equal(clean(volume, 1.0), whole)
    monkeypatch.setattr(denoising, "_ROWS", 12)
    np.testing.assert_allclose(clean(volume, 1.0), whole, atol=5e-6)


@pytest.mark.parametrize("clean", [*FILTERS, lambda image, step: denoise(image, 0.0)])
@pytest.mark.parametrize("step", [1.0, 5.0])
@pytest.mark.parametrize("shape", [(5, 20, 20), (20, 20)])
def test_progress_counts_planes(
    clean: Callable[[np.ndarray, float], np.ndarray], step: float, shape: tuple[int, ...]
) -> None:
    done: list[float] = []
    image = np.full(shape, 0.5, dtype=np.float32)
    planes = shape[0] if len(shape) > 2 else 1
    with make_observable(lambda name, now, total: done.append(now)), stage("noise", 2 * planes):
        clean(image, step)
    assert done[-1] == pytest.approx(planes)
