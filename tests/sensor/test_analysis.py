"""Noise, gains and consensus of sources, and the structure that is restored."""

from dataclasses import replace

import numpy as np
import pytest

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.analysis import SourceNoise, analyze, find_clipping, find_noise
from napari_dip_fusion.sensor.noise import Clipping

RNG = np.random.default_rng(4)
ROWS, COLUMNS = np.mgrid[:96, :110] / 96
SCENE = np.where(COLUMNS < 0.5, 0, 0.5 + 0.3 * np.sin(8 * ROWS) * np.cos(5 * COLUMNS))
CLEAN = np.stack([SCENE, 0.7 * SCENE]).astype(np.float32)
NOISY = (CLEAN + RNG.normal(0, 0.1, CLEAN.shape)).clip(0, 1).astype(np.float32)
CONFIG = FusionConfig()


def error(image: np.ndarray) -> float:
    return float(np.square(image - analyze(CLEAN, CONFIG).consensus).mean())


def take_as_it_is(images: np.ndarray) -> np.ndarray:
    """Return T of sources whose noise nobody looks for."""
    return analyze(images, CONFIG.replace(noise="none")).consensus.clip(0, 1)


def test_noise_is_found_before_it_is_removed() -> None:
    clean, noisy = find_noise(np.stack([CLEAN[0], NOISY[1]]), CONFIG)
    assert not clean
    assert noisy
    assert noisy.white == pytest.approx(analyze(NOISY, CONFIG).noise[1])
    known = analyze(NOISY, CONFIG, [SourceNoise(), SourceNoise()])
    np.testing.assert_array_equal(known.consensus.clip(0, 1), take_as_it_is(NOISY))
    assert not any(find_noise(NOISY, CONFIG.replace(noise="none")))


def test_clean_sources_are_taken_as_they_are() -> None:
    found = analyze(CLEAN, CONFIG)
    assert found.noise == (0, 0)
    assert found.expected_excess == 0
    np.testing.assert_array_equal(found.denoised, CLEAN)
    np.testing.assert_array_equal(found.consensus, found.target)
    np.testing.assert_array_equal(found.consensus.clip(0, 1), take_as_it_is(CLEAN))


def test_the_dark_is_dark_again() -> None:
    found = analyze(NOISY, CONFIG)
    assert found.noise == pytest.approx((0.1, 0.1), rel=0.15)
    dark = COLUMNS < 0.4
    assert take_as_it_is(NOISY)[dark].mean() > 0.03
    assert abs(found.target[dark].mean()) < 0.01
    assert found.consensus[dark].mean() < 0.01
    assert error(found.consensus) < 0.15 * error(take_as_it_is(NOISY))


def test_a_good_image_helps_to_restore_structure() -> None:
    found = analyze(NOISY, CONFIG)
    truth = analyze(CLEAN, CONFIG).consensus
    helped = error(found.restore_structure(truth))
    assert helped < error(found.restore_structure(found.target))
    assert helped < error(found.consensus)


def test_one_noisy_source_leaves_the_other_alone() -> None:
    found = analyze(np.stack([CLEAN[0], NOISY[1]]), CONFIG)
    assert found.noise[0] == 0 < found.noise[1]
    np.testing.assert_array_equal(found.denoised[0], CLEAN[0])


def test_noise_can_be_left_in() -> None:
    found = analyze(NOISY, CONFIG.replace(noise="none"))
    assert found.noise == (0, 0)
    np.testing.assert_array_equal(found.target, found.consensus)


def test_speckle_on_one_source_is_taken_off() -> None:
    clean = np.kron(CLEAN, np.ones((1, 2, 2), dtype=np.float32))
    speckled = clean.copy()
    speckled[0] *= 1 + RNG.normal(0, 0.2, clean[0].shape).astype(np.float32)
    speckled = speckled.clip(0, 1)
    found, truth = analyze(speckled, CONFIG), analyze(clean, CONFIG).consensus
    assert found.noise[1] == 0 < found.noise[0]
    assert found.variances[0].shape == clean[0].shape
    noisy = np.square(take_as_it_is(speckled) - truth).mean()
    for image in (found.consensus, found.restore_structure(found.consensus)):
        assert np.square(image - truth).mean() < 0.3 * noisy


def test_what_is_known_of_clipping_holds_for_parts_that_do_not_tell() -> None:
    noise = find_noise(NOISY, CONFIG)
    known = [replace(n, clipping=find_clipping([i], n)) for n, i in zip(noise, NOISY, strict=True)]
    assert [n.clipping for n in known] == [Clipping(dark=True)] * 2
    whole = analyze(NOISY, CONFIG, noise)
    np.testing.assert_array_equal(analyze(NOISY, CONFIG, known).consensus, whole.consensus)
    # Of a part without any dark pixel nobody could tell.
    bright = np.ascontiguousarray(NOISY[:, :, 70:])
    assert not any(analyze(bright, CONFIG, noise).clipped)
    assert all(analyze(bright, CONFIG, known).clipped)
    # Noise that was not clipped is not said to be.
    loose = [CLEAN[0] + RNG.normal(0, 0.1, SCENE.shape).astype(np.float32)]
    assert find_clipping(loose, SourceNoise(white=0.1)) == Clipping()
    assert find_clipping(loose, SourceNoise()) == Clipping()
