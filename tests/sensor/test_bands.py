"""The sensor model in one band and in two."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.sensor import bands as bands_module
from napari_dip_fusion.sensor.bands import estimate_sensor_model, split_bands
from napari_dip_fusion.sensor.consensus import consensus, loss_floor
from napari_dip_fusion.sensor.gains import gain_maps

RNG = np.random.default_rng(1)

OPTIONS = {
    "patch_size": 9,
    "window": "gaussian",
    "scale": "unit-max",
    "sharpness": 1.0,
}


@pytest.mark.parametrize("count", [2, 3])
def test_one_band_is_the_whole_source(count: int) -> None:
    sources = RNG.random((count, 30, 41), dtype=np.float32)
    bands = split_bands(sources, 0)
    model = estimate_sensor_model(bands, **OPTIONS)
    assert model.base_gains is None
    np.testing.assert_array_equal(model.gains, gain_maps(sources, **OPTIONS))
    np.testing.assert_array_equal(model.consensus(bands), consensus(sources, model.gains))
    assert model.loss_floor(bands) == loss_floor(sources, model.gains)


@pytest.mark.parametrize("scale", ["unit-max", "unit-norm"])
@pytest.mark.parametrize("count", [2, 3])
def test_two_bands_against_a_plain_transcription(scale: str, count: int) -> None:
    sources = RNG.random((count, 30, 41)).astype(np.float32)
    bands = split_bands(sources, 2.0)
    np.testing.assert_allclose(bands.base + bands.details, sources, atol=1e-6)
    model = estimate_sensor_model(bands, **{**OPTIONS, "scale": scale})
    moments = np.zeros((count, count, 30, 41))
    for stack in (bands.base, bands.details):
        for i, j in np.ndindex(count, count):
            product = stack[i].astype(float) * stack[j]
            moments[i, j] += ndimage.gaussian_filter(product, 9 / 4.5, mode="reflect")
    vectors = np.abs(np.linalg.eigh(np.moveaxis(moments, (0, 1), (2, 3)))[1][..., -1])
    vectors /= vectors.max(-1, keepdims=True) if scale == "unit-max" else 1
    np.testing.assert_allclose(model.base_gains, np.moveaxis(vectors, -1, 0), atol=1e-4)
    size = model.gains.max(0) if scale == "unit-max" else np.linalg.norm(model.gains, axis=0)
    np.testing.assert_allclose(size, 1, atol=1e-5)
    assert model.loss_floor(bands) == pytest.approx(
        loss_floor(bands.base, model.base_gains) + loss_floor(bands.details, model.gains)
    )


def test_gains_are_smoothed_where_the_source_is_flat_only() -> None:
    gains = RNG.random((20, 24)).astype(np.float32)
    flat = bands_module._smooth(gains, np.full_like(gains, 0.5))
    box = ndimage.uniform_filter(ndimage.uniform_filter(gains, 3), 3)
    np.testing.assert_allclose(flat, box, atol=1e-5)
    edge = np.where(np.arange(24) < 12, 0, 1) * np.ones((20, 1), dtype=np.float32)
    np.testing.assert_allclose(bands_module._smooth(edge, edge), edge, atol=1e-3)


def test_the_sharp_source_of_a_focus_pair_wins() -> None:
    rows, columns = np.mgrid[:80, :80]
    scene = (0.5 + 0.4 * np.sin(columns * 0.9) * np.sin(rows * 0.8)).astype(np.float32)
    blurred = ndimage.gaussian_filter(scene, 2)
    left = columns < 40
    sources = np.stack([np.where(left, scene, blurred), np.where(left, blurred, scene)])
    bands = split_bands(sources, 3.5)
    fused = estimate_sensor_model(bands, **{**OPTIONS, "sharpness": 12.0}).consensus(bands)
    error = np.abs(fused - scene)[:, (columns[0] < 32) | (columns[0] > 47)].mean()
    average = np.abs(sources.mean(0) - scene).mean()
    assert error < 0.3 * average
