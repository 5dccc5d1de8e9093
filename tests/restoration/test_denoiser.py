"""Restoration of degraded sources by plug and play."""

from typing import Any

import numpy as np
import pytest

from napari_dip_fusion.interruption import make_interruptible, make_observable, stage
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration import denoiser
from napari_dip_fusion.restoration.denoiser import restore_by_denoiser


def draw_scene(shape: tuple[int, ...]) -> np.ndarray:
    """Return a bright ball with a hole on a dark ground."""
    places = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(np.square(p) for p in places))
    stripes = 0.2 * (np.sin(9 * places[-1]) > 0)
    return np.where((radius < 0.8) & (radius > 0.3), 0.6 + stripes, 0.1).astype(np.float32)


def observe(operator: Degradation, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, and what a sensor with noise sees of it."""
    scene = draw_scene(operator.fine_shape)
    seen = operator.apply(scene)
    seen += np.random.default_rng(5).normal(0, noise, seen.shape)
    return scene, seen.clip(0, 1).astype(np.float32)


def decibels(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(image - truth).mean()))


@pytest.mark.parametrize(
    ("shape", "factors", "sigmas", "noise", "gain"),
    [
        ((16, 16), (4, 4), (1.7, 1.7), 2 / 255, 2),
        ((16, 16), (4, 4), (1.7, 1.7), 10 / 255, 1),
        ((64, 48), (1, 1), (2.0, 2.0), 2 / 255, 3),
        ((10, 60), (6, 1), (0.0, 0.0), 2 / 255, 0.7),
        ((6, 12, 12), (2, 2, 2), (0.9, 0.9, 0.9), 2 / 255, 1),
    ],
    ids=["coarse", "noisy", "blurred", "thick", "volume"],
)
def test_the_image_is_nearer_to_the_truth_than_an_interpolation(
    shape: tuple[int, ...],
    factors: tuple[int, ...],
    sigmas: tuple[float, ...],
    noise: float,
    gain: float,
) -> None:
    operator = Degradation(shape, factors, sigmas)
    scene, seen = observe(operator, noise)
    before = seen.copy()
    # Fine pixels are as long as wide.
    step = factors[0] / factors[-1]
    restored = restore_by_denoiser(seen, operator, noise, steps=5, step=step)
    assert restored.shape == scene.shape
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    interpolated = operator.interpolate(seen).clip(0, 1)
    gained = decibels(restored, scene) - decibels(interpolated, scene)
    assert gained > gain
    np.testing.assert_array_equal(seen, before)


def test_what_was_not_seen_has_no_say() -> None:
    mask = np.ones((16, 16), dtype=bool)
    mask[6:8, 2:5] = False
    operator = Degradation((16, 16), (2, 2), (1, 1), seen=mask)
    scene, seen = observe(operator, 0)
    restored = restore_by_denoiser(seen, operator, 0, steps=3)
    other = restore_by_denoiser(np.where(mask, seen, 1), operator, 0, steps=3)
    np.testing.assert_array_equal(restored, other)
    interpolated = operator.interpolate(seen).clip(0, 1)
    assert decibels(restored, scene) > decibels(interpolated, scene)


def test_planes_far_apart_are_denoised_each_by_itself() -> None:
    operator = Degradation((4, 12, 12), (1, 2, 2), (0, 0, 0))
    _, seen = observe(operator, 0.1)
    near, far = (restore_by_denoiser(seen, operator, 0.1, steps=2, step=s) for s in (1, 4))
    assert not np.array_equal(near, far)
    # In fine pixels, they lie twice as far.
    two = restore_by_denoiser(seen, operator, 0.1, steps=2, step=2)
    np.testing.assert_array_equal(two, far)


def test_thick_slices_are_looked_at_from_the_side() -> None:
    thick = Degradation((3, 12, 10), (4, 1, 1), (0, 0, 0))
    turned = Degradation((12, 3, 10), (1, 4, 1), (0, 0, 0))
    _, seen = observe(thick, 0.02)
    # The fine pixels of both are cubes.
    image = restore_by_denoiser(seen, thick, 0.02, steps=2, step=4)
    other = restore_by_denoiser(np.moveaxis(seen, 0, 1), turned, 0.02, steps=2, step=1 / 2.5)
    np.testing.assert_allclose(image, np.moveaxis(other, 1, 0), atol=1e-5)


def test_rounding_counts_as_noise() -> None:
    operator = Degradation((12, 12), (2, 2), (1, 1))
    _, seen = observe(operator, 0)
    none, little = (restore_by_denoiser(seen, operator, n, steps=2) for n in (0, 1 / 255))
    np.testing.assert_array_equal(none, little)
    much = restore_by_denoiser(seen, operator, 5 / 255, steps=2)
    assert not np.array_equal(none, much)


def test_a_source_that_saw_all_is_given_back() -> None:
    operator = Degradation((9, 9), (1, 1), (0, 0))
    _, seen = observe(operator, 0.1)
    restored = restore_by_denoiser(seen, operator, 0.1)
    np.testing.assert_array_equal(restored, seen)
    assert restored is not seen


def test_noise_that_the_removal_of_a_blur_amplifies_is_no_structure() -> None:
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, 64),) * 2, indexing="ij")
    smooth = (0.2 + 0.6 * np.exp(-4 * (rows**2 + columns**2))).astype(np.float32)
    operator = Degradation((64, 64), (1, 1), (0.9, 0.9))
    noise = 2 / 255
    seen = operator.apply(smooth) + np.random.default_rng(5).normal(0, noise, (64, 64))
    restored = restore_by_denoiser(seen.clip(0, 1).astype(np.float32), operator, noise)
    # 40 dB, less than of the pixels themselves, if the denoiser is told no more than elsewhere.
    assert decibels(restored, smooth) > 50


@pytest.mark.parametrize(("largest", "removals"), [(256, 13), (255, 7)])
def test_large_images_have_half_of_the_steps(monkeypatch, largest: int, removals: int) -> None:
    monkeypatch.setattr(denoiser, "_LARGE", largest)
    calls = []

    def count(image: np.ndarray, sigma: float, **options: Any) -> np.ndarray:
        calls.append(sigma)
        return image

    monkeypatch.setattr(denoiser, "denoise", count)
    operator = Degradation((8, 8), (2, 2), (0, 0))
    restore_by_denoiser(np.full((8, 8), 0.5, np.float32), operator, 0.01)
    assert len(calls) == removals


def test_progress_is_told_in_fine_planes_and_asked_whether_to_go_on() -> None:
    operator = Degradation((2, 10, 12), (2, 1, 1), (0, 0, 0))
    _, seen = observe(operator, 0)
    told: list[float] = []
    asked: list[int] = []
    with (
        make_observable(lambda _name, done, _total: told.append(done)),
        make_interruptible(lambda: asked.append(1)),
        stage("restoration", 4),
    ):
        restore_by_denoiser(seen, operator, 0, steps=3)
    assert told == sorted(told)
    assert told[-2] < told[-1] == pytest.approx(4)
    assert len(asked) > 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": -0.1}, "noise must be finite and 0 or more, got -0.1"),
        ({"noise": np.inf}, "noise must be finite"),
        ({"steps": 1}, "steps must be 2 or more, got 1"),
        ({"step": 0}, "step must be finite and above 0, got 0"),
        ({"pixels": np.zeros((3, 3), np.float32)}, r"must have shape \(4, 4\), got \(3, 3\)"),
    ],
)
def test_impossible_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    pixels = np.zeros((4, 4), np.float32)
    operator = Degradation((4, 4), (2, 2), (0, 0))
    arguments = {"pixels": pixels, "degradation": operator, "noise": 0.0} | changes
    with pytest.raises(ValueError, match=message):
        restore_by_denoiser(**arguments)
