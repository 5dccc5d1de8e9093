"""The sensor model in one band and in two, beside a plain transcription."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor import model as model_module
from napari_dip_fusion.sensor.consensus import consensus, loss_floor
from napari_dip_fusion.sensor.gains import gain_maps
from napari_dip_fusion.sensor.model import fit_sensor_model

RNG = np.random.default_rng(1)

WINDOW = {"patch_size": 9, "window": "gaussian", "scale": "unit-max"}
ONE_BAND = {**WINDOW, "sharpness": 1.0, "band_sigma": 0.0}
TWO_BANDS = {**WINDOW, "sharpness": 12.0, "band_sigma": 4.5}


def blur(image, sigma):
    return ndimage.gaussian_filter(image, sigma, mode="reflect")


def box(image):
    return ndimage.uniform_filter(image, 5, mode="reflect")


def lead(moments):
    """Return the leading eigenvector of each matrix, its largest element 1."""
    vectors = np.abs(np.linalg.eigh(np.moveaxis(moments, (0, 1), (2, 3)))[1][..., -1])
    return np.moveaxis(vectors / vectors.max(-1, keepdims=True), -1, 0)


def moments(stack):
    return np.array([[blur(a * b, 2) for a in stack] for b in stack])


def guided(image, guide):
    variance = box(guide * guide) - box(guide) ** 2
    slope = (box(guide * image) - box(guide) * box(image)) / (variance + 2e-3)
    return box(slope) * guide + box(box(image) - slope * box(guide))


def least_squares(gains, stack):
    return (gains * stack).sum(0) / (gains**2).sum(0)


def transcribe(x):
    """Return base gains, gains of the details, what is given back, and T."""
    base = np.array([blur(s, 4.5) for s in x])
    details, means = x - base, np.array([blur(s, 3) for s in x])
    base_gains = lead(moments(base) + moments(details))
    weak = (1.5 / 255) ** 2 * base_gains[:, None] * base_gains
    gains = (lead(moments(x - means) + weak) * base_gains) ** 12
    gains /= gains.max(0)
    gains = np.array([guided(g, s) for g, s in zip(gains, x, strict=True)]).clip(0, 1)
    gains /= gains.max(0)
    fused = least_squares(base_gains, base) + least_squares(gains, details)

    taken, smooth = 0, np.array([blur(s, 1) for s in x])
    first = smooth.argmax(axis=0)
    for s, b, m, g, d in zip(x, base, means, gains, details, strict=True):
        dark = (3 * (1 - blur(s, 1) / (0.7 * smooth.max(axis=0)))).clip(0, 1)
        common = np.choose(first, [blur(d * other, 3) for other in details])
        own, others = blur(d * d, 3) + 1e-6, [blur(other**2, 3) + 1e-6 for other in details]
        unlike = (1 - (common / np.sqrt(own * np.choose(first, others))).clip(0, 1)) ** 2
        beneath = np.minimum(s, np.sort(x, axis=0)[-2])
        flat = 1 / (1 + blur((beneath - blur(beneath, 1.5)) ** 2, 1) / (4.5 / 255) ** 2)
        variance = blur(s * s, 3) - m * m
        edge = variance / (variance + 0.05)
        halo = np.maximum(b - blur(edge, 3) * s - blur((1 - edge) * m, 3), 0)
        taken = taken + 8 * g**2 / (gains**2).sum(0) * dark * flat * unlike * halo
    given_back = np.minimum(blur(taken, 1.5), np.maximum(x.max(0) - fused, 0))
    return base_gains, gains, given_back, fused + given_back


def draw_cells(shape=(90, 80)):
    """Return bright nuclei, and beside and under them filaments on a weak haze."""
    rows, columns = np.indices(shape)
    nuclei = np.zeros(shape)
    for row, column, radius in ((25, 30, 11), (62, 50, 9)):
        away = np.hypot(rows - row, columns - column)
        nuclei += 0.95 / (1 + np.exp((away - radius) / 0.8))
    filaments = 0.12 + 0.12 * (np.abs((rows + columns) % 14 - 7) < 1.5)
    haze = 0.02 * np.random.default_rng(0).random(shape)
    return np.array([nuclei + haze, blur(filaments, 0.7)]).astype(np.float32)


@pytest.mark.parametrize("count", [2, 3])
def test_one_band_is_the_whole_source(count: int) -> None:
    sources = RNG.random((count, 30, 41), dtype=np.float32)
    model = fit_sensor_model(sources, **ONE_BAND).model
    assert model.base_gains is None
    assert model.undershoot is None
    options = {n: v for n, v in ONE_BAND.items() if n != "band_sigma"}
    np.testing.assert_array_equal(model.gains, gain_maps(sources, **options))
    image, floor = model.solve(sources)
    np.testing.assert_allclose(image, consensus(sources, model.gains), atol=1e-6)
    assert floor == pytest.approx(loss_floor(sources, model.gains))


@pytest.mark.parametrize("more", [[], [0.3 + 0.2 * RNG.random((90, 80))]], ids=["two", "three"])
def test_two_bands_against_a_plain_transcription(more) -> None:
    sources = np.array([*draw_cells(), *more]).astype(np.float32)
    base_gains, gains, given_back, fused = transcribe(sources.astype(float))
    model = fit_sensor_model(sources, **TWO_BANDS).model
    np.testing.assert_allclose(model.base_gains, base_gains, atol=1e-4)
    np.testing.assert_allclose(model.gains, gains, atol=1e-4)
    np.testing.assert_allclose(model.undershoot, given_back, atol=1e-4)
    assert given_back.max() > 0.05
    np.testing.assert_allclose(model.solve(sources)[0], fused, atol=1e-4)


def test_unit_norm_scales_the_gains_of_both_bands() -> None:
    sources = draw_cells()
    largest = fit_sensor_model(sources, **TWO_BANDS).model
    norm = fit_sensor_model(sources, **{**TWO_BANDS, "scale": "unit-norm"}).model
    for name in ("gains", "base_gains"):
        found, expected = getattr(norm, name), getattr(largest, name)
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, rtol=1e-5)
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=0), rtol=1e-5)


def test_the_floor_is_the_loss_that_no_image_can_lower() -> None:
    sources = draw_cells()
    model = fit_sensor_model(sources, **TWO_BANDS).model
    base = np.array([blur(s, 4.5) for s in sources])
    # Details to which their share of what was given back is added leave the same floor.
    details = sources - base + model.gains * model.undershoot
    floor = loss_floor(base, model.base_gains) + loss_floor(details, model.gains)
    image, found = model.solve(sources)
    assert found == pytest.approx(floor, rel=1e-4)
    total = consensus(base, model.base_gains) + consensus(details, model.gains)
    np.testing.assert_allclose(image, total, atol=1e-5)


@pytest.mark.parametrize(("window", "patch_size"), [("gaussian", 9), ("box", 5), ("block", 4)])
def test_tiles_change_nothing(window: str, patch_size: int, monkeypatch) -> None:
    options = {**TWO_BANDS, "window": window, "patch_size": patch_size, "band_sigma": 1.0}
    sources = np.tile(draw_cells(), (1, 2, 3))
    whole = fit_sensor_model(sources, **options).model
    image, floor = whole.solve(sources)
    monkeypatch.setattr(model_module, "_TILE_MOMENTS", 1600)
    cut = fit_sensor_model(sources, **options).model
    # Products of matrices of another size round otherwise, which a power of 12 shows most.
    np.testing.assert_allclose(cut.gains, whole.gains, atol=2e-4)
    np.testing.assert_allclose(cut.base_gains, whole.base_gains, atol=2e-6)
    np.testing.assert_allclose(cut.undershoot, whole.undershoot, atol=2e-6)
    np.testing.assert_allclose(cut.solve(sources)[0], image, atol=5e-6)
    assert cut.solve(sources)[1] == pytest.approx(floor, rel=1e-5)


def test_the_sharp_source_of_a_focus_pair_wins() -> None:
    rows, columns = np.mgrid[:80, :80]
    scene = (0.5 + 0.4 * np.sin(columns * 0.9) * np.sin(rows * 0.8)).astype(np.float32)
    blurred = ndimage.gaussian_filter(scene, 2)
    left = columns < 40
    sources = np.stack([np.where(left, scene, blurred), np.where(left, blurred, scene)])
    fused, _ = fit_sensor_model(sources, **TWO_BANDS).model.solve(sources)
    error = np.abs(fused - scene)[:, (columns[0] < 32) | (columns[0] > 47)].mean()
    average = np.abs(sources.mean(0) - scene).mean()
    assert error < 0.3 * average


def test_weak_details_come_from_the_source_of_the_base() -> None:
    # A bright source with texture of half a gray level over a darker one with texture of one.
    weak, stronger = np.random.default_rng(0).standard_normal((2, 60, 60)) / 255
    sources = np.array([0.8 + weak / 2, 0.2 + stronger]).astype(np.float32)
    model = fit_sensor_model(sources, **TWO_BANDS).model
    assert (model.gains[0] == 1).all()
    assert model.gains[1].max() < 1e-3


def test_bright_nuclei_leave_no_moats() -> None:
    sources = draw_cells()
    model = fit_sensor_model(sources, **TWO_BANDS).model
    fused, _ = model.solve(sources)
    nuclei = sources[0] > 0.3
    away = ndimage.distance_transform_edt(~nuclei)
    ring = (away > 1) & (away < 8) & (sources[1] > sources[0])
    moat, without = (
        np.maximum(sources[1] - f, 0)[ring].mean() * 255 for f in (fused, fused - model.undershoot)
    )
    assert moat < 2.5
    assert without > 2 * moat
    brightest = np.maximum(sources.max(0), fused - model.undershoot)
    assert (fused <= brightest + 1e-6).all()


def test_darkness_beside_an_edge_of_a_focus_pair_stays() -> None:
    rows, columns = np.mgrid[:80, :80]
    sharp = np.where(np.hypot(rows - 40, columns - 40) < 15, 0.9, 0.1)
    sources = np.array([sharp, blur(sharp, 3)]).astype(np.float32)
    model = fit_sensor_model(sources, **TWO_BANDS).model
    fused, _ = model.solve(sources)
    error = np.abs(fused - sharp).mean()
    assert error < np.abs(sources.mean(0) - sharp).mean() / 2
    assert model.undershoot.mean() < 0.3 / 255


def test_base_and_details_of_different_sources_have_gains() -> None:
    # A bright area without details, over a nearly black source with strong ones.
    stripes = 1e-3 * (np.arange(60) % 2) + np.zeros((60, 60))
    sources = np.array([np.ones((60, 60)), 100 * stripes]).astype(np.float32)
    for sharpness in (1.0, 12.0, 64.0):
        model = fit_sensor_model(sources, **{**TWO_BANDS, "sharpness": sharpness}).model
        np.testing.assert_array_equal(model.gains.max(axis=0), 1)
        assert np.isfinite(model.solve(sources)[0]).all()


@pytest.mark.parametrize("sigma", [-1.0, np.nan, np.inf])
def test_a_blur_of_no_size_is_refused(sigma) -> None:
    with pytest.raises(ValueError, match=f"band_sigma must be 0 or more pixels, got {sigma}"):
        fit_sensor_model(draw_cells(), **{**TWO_BANDS, "band_sigma": sigma})


def test_black_sources_are_fused_to_black() -> None:
    sources = np.zeros((2, 40, 40), dtype=np.float32)
    model = fit_sensor_model(sources, **TWO_BANDS).model
    np.testing.assert_array_equal(model.solve(sources)[0], 0)
    assert (model.gains == 1).all()


def draw_volume(planes: int = 12) -> np.ndarray:
    """Return two sources that change slowly from plane to plane."""
    rough = RNG.random((2, planes + 8, 40, 48))
    smooth = np.array([ndimage.gaussian_filter(x, 3) for x in rough])[:, 4 : planes + 4]
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


@pytest.mark.parametrize("options", [ONE_BAND, TWO_BANDS])
def test_thick_slices_are_planes_and_thin_ones_share_windows(options) -> None:
    volume = draw_volume()
    planes = [fit_sensor_model(x, **options).image for x in volume.swapaxes(0, 1)]
    thick = fit_sensor_model(volume, **options, steps=(12.0, 1, 1)).image
    np.testing.assert_allclose(thick, planes, atol=2e-6)
    thin = fit_sensor_model(volume, **options, steps=(1.0, 1, 1)).image
    assert np.abs(thin - planes).max() > 1e-3
    np.testing.assert_array_equal(fit_sensor_model(volume, **options).image, thin)


def test_volumes_that_lie_the_other_way_give_the_same() -> None:
    volume = draw_volume(40)
    turned = np.ascontiguousarray(volume.transpose(0, 3, 1, 2))
    found = fit_sensor_model(volume, **TWO_BANDS).model
    other = fit_sensor_model(turned, **TWO_BANDS).model
    np.testing.assert_allclose(other.gains.transpose(0, 2, 3, 1), found.gains, atol=2e-4)
    np.testing.assert_allclose(other.undershoot.transpose(1, 2, 0), found.undershoot, atol=2e-5)


def test_a_part_of_waves_is_that_of_the_whole() -> None:
    # Waves are dark, flat and unlike each other in turns: undershoot is found all over.
    rows, columns = np.mgrid[:110, :150]
    waves = [np.sin(rows / 9) * np.cos(columns / 8), np.sin((rows + columns) / 5)]
    sources = np.stack([(1 + wave) / 2 for wave in waves]).astype(np.float32)
    settings = FusionConfig().gains.model_dump(exclude={"volumes"})
    whole = fit_sensor_model(sources, **settings)
    part = (slice(40, 70), slice(44, 104))
    found = fit_sensor_model(sources, **settings, keep_model=False, wanted=part)
    np.testing.assert_allclose(found.image, whole.image[part], atol=2e-6)


def test_tiles_of_volumes_change_nothing(monkeypatch) -> None:
    volume = draw_volume(20)
    options = {**TWO_BANDS, "band_sigma": 1.0, "patch_size": 3, "steps": (1.5, 1, 1)}
    whole = fit_sensor_model(volume, **options)
    monkeypatch.setattr(model_module, "_TILE_MOMENTS", 1600)
    monkeypatch.setattr(model_module, "_TILE_SHARE", 0)
    cut = fit_sensor_model(volume, **options)
    np.testing.assert_allclose(cut.image, whole.image, atol=5e-6)
    assert cut.floor == pytest.approx(whole.floor, rel=1e-5)
    image, floor = whole.model.solve(volume)
    np.testing.assert_allclose(image, whole.image, atol=2e-6)
    assert floor == pytest.approx(whole.floor, rel=1e-5)


def test_gains_need_not_be_kept() -> None:
    volume = draw_volume()
    kept, lost = (fit_sensor_model(volume, **TWO_BANDS, keep_model=k) for k in (True, False))
    assert lost.model is None
    np.testing.assert_array_equal(lost.image, kept.image)


@pytest.mark.parametrize("options", [{}, {"band_sigma": 0}, {"window": "block", "patch_size": 4}])
def test_what_is_not_wanted_is_not_computed(options, monkeypatch) -> None:
    volume = draw_volume(20)
    whole = fit_sensor_model(volume, **{**TWO_BANDS, **options})
    seen = []
    monkeypatch.setattr(model_module, "advance", seen.append)
    wanted = (slice(4, 12), slice(8, 20), slice(0, 12))
    part = fit_sensor_model(volume, **{**TWO_BANDS, **options}, keep_model=False, wanted=wanted)
    np.testing.assert_allclose(part.image, whole.image[wanted], atol=5e-6)
    if "band_sigma" not in options:
        assert sum(seen) == pytest.approx(part.image.size / np.prod(volume.shape[2:]))
