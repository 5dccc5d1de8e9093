"""Gains, beside plain transcriptions and golden values."""

import itertools

import numpy as np
import pytest

from napari_dip_fusion.sensor import gains as gains_module
from napari_dip_fusion.sensor.gains import gain_maps

RNG = np.random.default_rng(1)
WINDOWS = [("box", 5), ("gaussian", 5), ("block", 4)]

# Gray levels of skimage.data.camera() and moon(), [::2, ::2][100:112, 120:132], and the gains
# that the MATLAB code published by the paper's laboratory computes from them / 255 in GNU Octave
# (non-overlapping 2x2 blocks, not centered, unit norm), on every second pixel.
GOLDEN_GAIN_CAMERA = [
    [0.809937904, 0.803619120, 0.800949563, 0.795538833, 0.820104585, 0.813631870],
    [0.687707487, 0.800815039, 0.793682829, 0.776475483, 0.765047583, 0.792134021],
    [0.638805205, 0.770062683, 0.778780325, 0.732110556, 0.722295744, 0.750612286],
    [0.258021404, 0.761768924, 0.759154466, 0.760490426, 0.813972740, 0.790894904],
    [0.473749002, 0.438787297, 0.514070926, 0.523560331, 0.635422042, 0.448723342],
    [0.408458440, 0.622210908, 0.678634051, 0.709908816, 0.713945373, 0.541665101],
]
GOLDEN_GAIN_MOON = [
    [0.586515637, 0.595143940, 0.598731824, 0.605902604, 0.572213658, 0.581380409],
    [0.725987887, 0.598911741, 0.608331790, 0.630147463, 0.643973755, 0.610347190],
    [0.769368513, 0.637968232, 0.627296745, 0.681185829, 0.691584310, 0.660742912],
    [0.966139201, 0.647848830, 0.650910513, 0.649349145, 0.580903072, 0.611952001],
    [0.880659913, 0.898590957, 0.857747681, 0.851988603, 0.772165027, 0.893670724],
    [0.912776918, 0.782849657, 0.734476565, 0.704293598, 0.700201403, 0.840594384],
]


def reference_gains(sources: np.ndarray, patch: int) -> np.ndarray:
    """Return unit-norm gains of a box window, one pixel at a time."""
    k, rows, columns = sources.shape
    half = patch // 2
    padded = np.pad(sources.astype(float), ((0, 0), (half, half), (half, half)), mode="symmetric")
    out = np.empty(sources.shape)
    for r, c in itertools.product(range(rows), range(columns)):
        x = padded[:, r : r + patch, c : c + patch].reshape(k, -1)
        out[:, r, c] = np.abs(np.linalg.eigh(x @ x.T)[1][:, -1])
    return out


def test_golden_blocks_of_the_laboratory() -> None:
    from skimage import data

    pair = [im()[::2, ::2][100:112, 120:132] / 255 for im in (data.camera, data.moon)]
    gains = gain_maps(pair, patch_size=2, window="block", scale="unit-norm")
    np.testing.assert_allclose(gains[0][::2, ::2], GOLDEN_GAIN_CAMERA, rtol=0, atol=1e-7)
    np.testing.assert_allclose(gains[1][::2, ::2], GOLDEN_GAIN_MOON, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(gains[:, ::2, ::2], gains[:, 1::2, 1::2])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_against_one_eigenproblem_a_pixel(count: int) -> None:
    sources = RNG.random((count, 13, 11))
    gains = gain_maps(sources, patch_size=5, window="box", scale="unit-norm")
    expected = reference_gains(sources.astype(np.float32), 5)
    np.testing.assert_allclose(gains, expected, atol=2e-6)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("window", "patch"), WINDOWS)
def test_permuting_sources_permutes_gains(count: int, window: str, patch: int) -> None:
    sources = RNG.random((count, 14, 19))
    order = list(range(count))[::-1]
    gains = gain_maps(sources, patch_size=patch, window=window)
    swapped = gain_maps(sources[order], patch_size=patch, window=window)
    np.testing.assert_allclose(swapped, gains[order], atol=1e-6)


@pytest.mark.parametrize(("window", "patch"), WINDOWS)
def test_strips_of_rows_change_nothing(
    window: str, patch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = RNG.random((2, 61, 17))
    whole = gain_maps(sources, patch_size=patch, window=window)
    monkeypatch.setattr(gains_module, "_STRIP_BYTES", 1)
    np.testing.assert_allclose(
        gain_maps(sources, patch_size=patch, window=window), whole, atol=1e-6
    )


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("window", "patch"), WINDOWS)
def test_patches_of_zeros_give_equal_gains(count: int, window: str, patch: int) -> None:
    sources = np.zeros((count, 40, 40))
    sources[:, :12] = RNG.random((count, 12, 40)) * 1e3
    for scale, value in (("unit-max", 1.0), ("unit-norm", count**-0.5)):
        gains = gain_maps(sources, patch_size=patch, window=window, scale=scale)
        np.testing.assert_allclose(gains[:, 30:], value, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_scaling_one_source_scales_its_gain(factor: float) -> None:
    base = RNG.random((12, 12)) + 0.1
    gains = gain_maps([base, factor * base], patch_size=3, scale="unit-norm")
    np.testing.assert_allclose(gains[1] / gains[0], factor, rtol=1e-5)


def test_scales_and_sharpness() -> None:
    sources = RNG.random((3, 20, 20))
    norm, largest = gain_maps(sources, scale="unit-norm"), gain_maps(sources)
    np.testing.assert_allclose(np.sum(norm**2, axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(largest.max(axis=0), 1)
    sharp = gain_maps(sources, sharpness=3)
    np.testing.assert_allclose(sharp, largest**3, atol=1e-6)


def test_integers_are_taken_and_left_as_they_are() -> None:
    sources = RNG.integers(0, 4096, (2, 12, 12)).astype(np.uint16)
    before = sources.copy()
    assert gain_maps(sources).dtype == np.float32
    np.testing.assert_array_equal(sources, before)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 9, 9), {}, "two or more sources, got 1"),
        ((2, 9, 9, 3), {}, r"shape \(M, N\) or volumes, got \(9, 9, 3\)"),
        ((2, 1, 40), {}, "one patch of 9x9 pixels, got 1x40; choose a smaller patch_size"),
        ((2, 20, 20), {"patch_size": 4}, "odd for sliding windows, got 4"),
        ((2, 20, 20), {"window": "disc"}, "window must be box, gaussian or block"),
        ((2, 20, 20), {"scale": "max"}, "scale must be unit-max or unit-norm"),
        ((2, 20, 20), {"sharpness": 0}, "sharpness must be above 0"),
    ],
)
def test_bad_input(shape: tuple[int, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gain_maps(np.ones(shape), **options)


@pytest.mark.parametrize("count", [2, 3])
def test_values_that_are_not_finite_are_refused(count: int) -> None:
    sources = np.ones((count, 12, 12))
    sources[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="source 1 has NaN or infinite values"):
        gain_maps(sources)


def test_sources_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="share one shape"):
        gain_maps([np.ones((9, 9)), np.ones((9, 10))])
