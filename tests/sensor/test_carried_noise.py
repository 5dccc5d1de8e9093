"""Noise of interpolated sources is found on their own grid and carried through interpolation.

Scenes are functions of the world, so that they are known on every grid without interpolation.
"""

import numpy as np
import pytest

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.analysis import Analysis, analyze
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

CONFIG = FusionConfig()
SIZE = 128
WINDOW = (0.0, 1000.0)
NOISE = 60.0
"""6 % of the window."""

Kind = str


def show_mr(y: np.ndarray, x: np.ndarray, z: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the signal of a smooth head at places in millimeters from its center."""
    radius = np.sqrt((y / 56) ** 2 + (x / 48) ** 2 + (z / 50) ** 2)
    head, brain = (1 / (1 + np.exp((radius - edge) * 30)) for edge in (1, 0.85))
    folds = np.sin(x / 7 + z / 9) * np.cos(y / 8 - z / 12)
    lesion = np.exp(-((y - 12) ** 2 + (x + 10) ** 2 + z**2) / 60)
    return 1000 * (0.8 * head - 0.3 * brain + brain * (0.12 * folds + 0.3 * lesion))


def make_ct() -> Source:
    """Return a clean plane of 1 mm pixels, the reference: the skull, and dark else."""
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    radius = np.sqrt((y / 52) ** 2 + (x / 44) ** 2)
    data = 900 * np.exp(-(((radius - 1) / 0.06) ** 2)).astype(np.float32)
    place = np.eye(4)
    place[:3, 3] = 0.6, -(SIZE - 1) / 2, -(SIZE - 1) / 2
    return Source(data[None], affine=place)


def turn(angle: float, tilt: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    in_plane = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    return in_plane @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def make_mr(kind: Kind) -> tuple[Source, Source]:
    """Return the reference and a clean MR, both planes or the MR a volume."""
    ct = make_ct()
    if kind == "plane":
        shape, steps, tilt = (1, 110, 110), (1.0, 1.25, 1.25), 0.0
    else:
        shape, steps, tilt = (34, 120, 120), (3.0, 1.0, 1.0), 12.0
    affine = np.eye(4)
    affine[:3, :3] = turn(20, tilt) * steps
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    if kind == "plane":
        affine[0, 3] = 0.6
    index = np.indices(shape)
    z, y, x = np.einsum("wn,nzyx->wzyx", affine[:3, :3], index) + affine[:3, 3, None, None, None]
    mr = Source(show_mr(y, x, z).astype(np.float32), affine=affine)
    if kind == "plane":
        return ct.take("z", 0), mr.take("z", 0)
    return ct, mr


def add_noise(mr: Source, noise: str) -> Source:
    generator = np.random.default_rng(3)
    gauss = generator.normal(0, 1, mr.data.shape)
    values = mr.data * (1 + 0.2 * gauss) if noise == "speckle" else mr.data + NOISE * gauss
    # Stored as scanners do.
    kept = values if noise == "signed" else values.clip(0, None)
    return mr.replace(data=np.rint(kept).astype(np.int16))


def prepare(ct: Source, mr: Source, **options: str) -> PreparedSources:
    grid = resample_to_reference([ct, mr], **options)
    assert grid.resampled == [False, True]
    return prepare_sources(grid.images, intensity=(WINDOW, WINDOW))


def analyze_all(prepared: PreparedSources) -> Analysis:
    return analyze(prepared.images, CONFIG, own_pixels=prepared.own_pixels)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.square(image - truth))))


@pytest.mark.parametrize("noise", ["clipped", "signed"])
@pytest.mark.parametrize("kind", ["plane", "volume"])
def test_noise_is_found_and_removed(kind: Kind, noise: str) -> None:
    ct, mr = make_mr(kind)
    clean, noisy = prepare(ct, mr), prepare(ct, add_noise(mr, noise))
    found, missed = analyze_all(noisy), analyze(noisy.images, CONFIG)
    truth = analyze_all(clean).consensus
    assert found.noise == (0, pytest.approx(0.06, rel=0.15))
    assert missed.noise[1] < 0.02
    # Measured: 9 to 10 dB nearer on the plane, 5.5 to 7 dB in the volume.
    assert psnr(found.consensus, truth) > psnr(missed.consensus, truth) + 5
    assert psnr(found.target, truth) > psnr(missed.target, truth)
    assert psnr(found.restore_structure(found.consensus), truth) > 37
    # In the bright the noise that is left is what the weights of interpolation say.
    bright = clean.images[1] > 0.3
    errors = np.square(noisy.images[1] - clean.images[1])[bright]
    assert found.variances[1][bright].mean() == pytest.approx(errors.mean(), rel=0.1)


@pytest.mark.parametrize("kind", ["plane", "volume"])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_clean_sources_are_taken_as_they_were(kind: Kind, interpolation: str) -> None:
    prepared = prepare(*make_mr(kind), interpolation=interpolation)
    assert prepared.own_pixels[1] is not None
    found, plain = analyze_all(prepared), analyze(prepared.images, CONFIG)
    assert found.noise == (0, 0)
    for name in ("denoised", "target", "consensus", "variances"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert found.expected_excess == 0


def test_noise_is_carried_through_the_nearest_pixels() -> None:
    ct, mr = make_mr("volume")
    clean, noisy = (prepare(ct, m, interpolation="nearest") for m in (mr, add_noise(mr, "signed")))
    found = analyze_all(noisy)
    truth = analyze_all(clean).consensus
    assert found.noise[1] == pytest.approx(0.06, rel=0.15)
    own = noisy.own_pixels[1]
    assert own is not None
    left = np.sqrt(found.variances[1][own.inside])
    np.testing.assert_allclose(left, found.noise[1], rtol=1e-5)
    assert psnr(found.consensus, truth) > psnr(analyze(noisy.images, CONFIG).target, truth) + 5


def test_speckle_is_carried_too() -> None:
    ct, mr = make_mr("plane")
    # Speckle is looked for where there is signal.
    mr = mr.replace(data=mr.data + 150)
    clean, noisy = prepare(ct, mr), prepare(ct, add_noise(mr, "speckle"))
    found = analyze_all(noisy)
    truth = analyze_all(clean).consensus
    errors = np.square(noisy.images[1] - clean.images[1])
    assert found.variances[1].mean() == pytest.approx(errors.mean(), rel=0.3)
    assert psnr(found.consensus, truth) > psnr(analyze(noisy.images, CONFIG).consensus, truth) + 3


def test_where_a_source_saw_nothing_it_says_nothing() -> None:
    ct, mr = make_mr("plane")
    moved = mr.affine.copy()
    moved[1, 2] += 50
    noisy = prepare(ct, add_noise(mr.replace(affine=moved), "clipped"))
    own = noisy.own_pixels[1]
    assert own is not None
    assert 0.2 < own.inside.mean() < 0.8
    found = analyze_all(noisy)
    assert found.noise[1] > 0
    for values in (found.variances[1], found.denoised[1]):
        assert not values[~own.inside].any()


def test_noise_can_be_left_in() -> None:
    ct, mr = make_mr("plane")
    noisy = prepare(ct, add_noise(mr, "clipped"))
    found = analyze(noisy.images, CONFIG.replace(noise="none"), own_pixels=noisy.own_pixels)
    assert found.noise == (0, 0)
    np.testing.assert_array_equal(found.denoised, noisy.images)


def test_a_source_with_noise_fares_the_same_beside_one_that_was_moved() -> None:
    ct, mr = make_mr("plane")
    ct = add_noise(ct, "clipped")
    noisy = prepare(ct, mr)
    found = analyze_all(noisy)
    assert found.noise == (pytest.approx(0.06, rel=0.15), 0)
    np.testing.assert_array_equal(found.denoised[1], noisy.images[1])
    plain = analyze(np.stack([noisy.images[0]] * 2), CONFIG)
    np.testing.assert_array_equal(found.denoised[0], plain.denoised[0])
