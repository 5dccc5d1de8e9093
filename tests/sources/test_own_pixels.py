"""Interpolated sources keep the pixels of their own grid, and how these were weighted."""

import numpy as np
import pytest

from napari_dip_fusion.sources import Source, own_way, resample
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.own_pixels import (
    InterpolatedSource,
    OwnPixels,
    ResampledSource,
    resample_source,
)
from napari_dip_fusion.sources.prepare import prepare_sources

RNG = np.random.default_rng(8)
SHAPE = (26, 31)


def turned(angle: float, step: float, corner: tuple[float, ...] = (0, 0)) -> np.ndarray:
    """Return the affine of a plane that is turned in the world of two axes."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[c * step, -s * step, corner[0]], [s * step, c * step, corner[1]], [0, 0, 1]])


def tilted(angle: float, corner: tuple[float, ...], ndim: int = 3) -> np.ndarray:
    """Return the affine of a plane whose rows lean towards the first axes of a volume."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    affine = np.zeros((ndim + 1, 3))
    affine[-4:-1, :2] = np.array([[s, 0.1], [c, -0.2], [0.2, 0.95]]) * 0.9
    affine[:-1, 2] = corner
    affine[-1, 2] = 1
    return affine


def interpolate(source: Source, target: np.ndarray, **options: str) -> tuple[np.ndarray, OwnPixels]:
    plane, _ = resample_source(source, target, SHAPE, **options)
    assert isinstance(plane, InterpolatedSource)
    return plane.to_numpy(), plane.own_pixels


def tells_noise(image: Source) -> bool:
    return isinstance(image, InterpolatedSource) and image.own_pixels.tells_noise


class Lazy:
    """An array that counts what is read of it."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.read: list[int] = []

    def __getitem__(self, index):
        self.read.append(self.data[index].size)
        return self.data[index]


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("step", [0.55, 1.3])
def test_a_plane_is_interpolated_as_it_was(interpolation: str, step: float) -> None:
    image = RNG.random((41, 44), dtype=np.float32)
    target = turned(20, step, (11, 4))
    sampled, own = interpolate(Source(image), target, interpolation=interpolation)
    assert own.planes.shape[0] == 1
    assert not own.inside.all() or step < 1
    again = own.interpolate(own.plane)
    np.testing.assert_allclose(again[own.inside], sampled[own.inside], atol=2e-5)


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_variance_is_that_of_interpolated_noise(interpolation: str) -> None:
    target = turned(20, 0.7, (11, 4))
    found = [
        interpolate(
            Source(RNG.normal(0, 2, (41, 44)).astype(np.float32)),
            target,
            interpolation=interpolation,
        )
        for _ in range(400)
    ]
    own = found[0][1]
    expected = own.interpolate_variance(np.full(own.planes.shape[1:], 4, dtype=np.float32))
    ratio = np.stack([sampled for sampled, _ in found]).var(axis=0) / expected
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    # A variance from 400 values has a standard deviation of 7 %.
    assert ratio.std() < 0.1


@pytest.mark.parametrize("angle", [0, 7, 30, 50, 85])
def test_a_cut_through_a_volume_lies_where_it_was_sampled(angle: float) -> None:
    ramp = np.einsum("n,nzyx->zyx", [3, -1, 0.5], np.indices((40, 42, 44))).astype(np.float32)
    sampled, own = interpolate(Source(ramp), tilted(angle, (9.3, 8, 5)))
    assert own.inside.all()
    assert own.planes.shape[0] == 2
    assert np.isin(own.planes, ramp).all()
    np.testing.assert_allclose(own.weights.sum(axis=0), 1, rtol=1e-6)
    # Neighbors of the outermost pixels may lie above or below the box that is read.
    inner = np.s_[3:-3, 3:-3]
    np.testing.assert_allclose(own.interpolate(own.plane)[inner], sampled[inner], atol=1e-3)


def test_noise_of_a_cut_is_white_and_has_its_share() -> None:
    noise = RNG.normal(0, 1, (60, 60, 60)).astype(np.float32)
    _, own = interpolate(Source(noise), tilted(15, (20.3, 8, 5)))
    assert own.plane.var() == pytest.approx(own.variance_share.mean(), rel=0.1)
    for plane in own.planes:
        assert plane.var() == pytest.approx(1, rel=0.1)
    assert abs(np.mean(own.plane[1:] * own.plane[:-1])) < 0.1


def test_on_a_plane_of_a_volume_one_plane_is_kept() -> None:
    volume = RNG.random((5, 60, 60), dtype=np.float32)
    target = np.insert(turned(20, 0.8, (12, 4)), 0, (0, 0, 3), axis=0)
    sampled, own = interpolate(Source(volume), target)
    assert own.planes.shape[0] == 1
    np.testing.assert_allclose(own.interpolate(own.plane), sampled, atol=1e-5)


def test_between_planes_and_between_times() -> None:
    images = RNG.random((3, 4, 40, 41), dtype=np.float32)
    target = np.zeros((5, 3))
    target[2, 0] = target[3, 1] = target[4, 2] = 1
    target[:4, 2] = (0.5, 1.25, 2, 3)
    sampled, own = interpolate(Source(images), target)
    assert own.planes.shape[0] == 4
    np.testing.assert_allclose(own.variance_share, 0.5 * (0.75**2 + 0.25**2), rtol=1e-5)
    np.testing.assert_allclose(own.interpolate(own.plane), sampled, atol=1e-5)


def test_only_the_box_is_read_and_only_once(monkeypatch) -> None:
    volume, target = RNG.random((50, 60, 60), dtype=np.float32), tilted(50, (2.3, 8, 5))
    lazy = Lazy(volume)
    _, own = interpolate(Source(lazy), target)
    assert len(lazy.read) == 1
    # A box that is too large is read in parts, each of them small.
    for module in (resample, own_way):
        monkeypatch.setattr(module, "MOST_VOXELS", 4000)
    lazy = Lazy(volume)
    _, parts = interpolate(Source(lazy), target)
    assert max(lazy.read) <= 4000
    np.testing.assert_array_equal(parts.planes, own.planes)


@pytest.mark.parametrize(
    "target",
    [
        turned(0, 1, (3, 4)),  # on the grid
        turned(20, 2.5, (30, 15)),  # much coarser
        turned(20, 0.3, (11, 4)),  # sees few rows of the source
    ],
)
def test_what_is_not_kept(target: np.ndarray) -> None:
    plane, _ = resample_source(Source(RNG.random((150, 150))), target, SHAPE)
    assert not tells_noise(plane)


def test_a_box_that_is_larger_than_what_is_sampled_is_kept() -> None:
    _, own = interpolate(Source(RNG.random((150, 150))), turned(45, 1.8, (60, 20)))
    assert own.inside.all()
    assert own.plane.size > 4 * own.inside.size
    # Not the box around a long and narrow target.
    narrow, _ = resample_source(Source(RNG.random((150, 150))), turned(45, 1, (140, 5)), (4, 180))
    assert not isinstance(narrow, InterpolatedSource)


def test_own_pixels_are_prepared_as_the_sources_are() -> None:
    color = RNG.integers(0, 256, (40, 40, 4), dtype=np.uint8)
    gray = RNG.random((40, 40), dtype=np.float32) * 1000
    gray[0, 0] = np.nan
    target = turned(20, 1, (10, 3))
    place = Source(RNG.random(SHAPE), affine=target)
    moved = [Source(gray, name="PET"), Source(color, rgb=True)]
    planes = resample_to_reference([place, *moved]).images
    assert [p.name for p in planes][1] == "PET"
    prepared = prepare_sources(planes, intensity=((0, 1), (-100, 1100), "dtype"))
    assert prepared.own_pixels[0] is None
    expected = (gray + 100) / 1200, color[..., :3] / np.float32(255) @ LUMA
    for own, image, values in zip(
        prepared.own_pixels[1:], prepared.images[1:], expected, strict=True
    ):
        assert own is not None
        assert np.isin(own.planes[0].round(5), np.nan_to_num(values).round(5)).all()
        # 8-bit values are rounded after interpolation.
        assert own.interpolate(own.plane)[own.inside] == pytest.approx(image[own.inside], abs=2e-3)
    assert prepare_sources([gray[1:], gray[1:]]).own_pixels == ()


def oblique(step: float, corner: tuple[float, float, float]) -> np.ndarray:
    """Return the affine of a volume that is turned about two of its axes."""
    c, s = np.cos(0.25), np.sin(0.25)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ [
        [1, 0, 0],
        [0, c, -s],
        [0, s, c],
    ]
    affine[:3, :3] *= step
    affine[:3, 3] = corner
    return affine


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("step", [0.7, 1.8])
def test_a_volume_keeps_the_box_of_its_own_pixels(interpolation: str, step: float) -> None:
    volume = RNG.random((14, 28, 30), dtype=np.float32)
    image, _ = resample_source(
        Source(volume), oblique(step, (3, 6, 3)), (9, 24, 24), interpolation=interpolation
    )
    assert isinstance(image, InterpolatedSource)
    own = image.own_pixels
    assert (own.planes.shape[0], own.planes.ndim, own.rgb) == (1, 4, False)
    assert own.planes.size < volume.size or step > 1
    assert np.isin(own.planes, volume).all()
    np.testing.assert_array_equal(own.variance_share, np.ones((1, 1, 1)))
    again = own.interpolate(own.plane)
    np.testing.assert_allclose(again[own.inside], image.data[own.inside], atol=1e-5)


def test_variance_in_a_volume_is_that_of_interpolated_noise() -> None:
    target = oblique(0.7, (3, 4, 2))
    found = []
    for _ in range(300):
        noise = Source(RNG.normal(0, 2, (10, 22, 23)).astype(np.float32))
        image, _ = resample_source(noise, target, (6, 20, 19))
        assert isinstance(image, InterpolatedSource)
        found.append(image)
    own = found[0].own_pixels
    expected = own.interpolate_variance(np.broadcast_to(np.float32(4), own.planes.shape[1:]))
    ratio = (np.stack([image.data for image in found]).var(axis=0) / expected)[own.inside]
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    # A variance from 300 values has a standard deviation of 8 %.
    assert ratio.std() < 0.11


def test_between_the_times_of_volumes() -> None:
    series = RNG.random((3, 6, 20, 22), dtype=np.float32)
    target = np.insert(oblique(0.9, (1, 2, 1)), 0, (0, 0, 0, 1.25), axis=0)
    image, _ = resample_source(Source(series), target, (4, 16, 18))
    assert isinstance(image, InterpolatedSource)
    own = image.own_pixels
    assert own.planes.shape[0] == 2
    np.testing.assert_allclose(own.variance_share, 0.75**2 + 0.25**2, rtol=1e-5)
    again = own.interpolate(own.plane)
    np.testing.assert_allclose(again[own.inside], image.data[own.inside], atol=1e-5)


@pytest.mark.parametrize("most", [2**26, 1000])
def test_of_a_volume_the_box_is_read_once_and_not_copied(monkeypatch, most: int) -> None:
    volume = RNG.random((14, 28, 30), dtype=np.float32)
    lazy = Lazy(volume)
    monkeypatch.setattr(resample, "MOST_VOXELS", most)
    image, _ = resample_source(Source(lazy), oblique(0.7, (3, 6, 3)), (9, 24, 24))
    assert isinstance(image, InterpolatedSource)
    assert lazy.read == [image.own_pixels.planes.size]
    assert np.shares_memory(image.own_pixels.planes, volume)


@pytest.mark.parametrize(
    "target",
    [
        oblique(2.2, (2, 2, 2)),  # so much coarser that hardly a pixel is used twice
        oblique(0.4, (4, 4, 4)),  # sees few rows of the source
    ],
)
def test_what_is_not_kept_of_a_volume(target: np.ndarray) -> None:
    image, _ = resample_source(Source(RNG.random((20, 60, 60))), target, (5, 20, 20))
    assert not tells_noise(image)


def test_a_part_of_an_interpolated_volume_forgets_what_it_was_made_from() -> None:
    image, _ = resample_source(
        Source(RNG.random((14, 28, 30))), oblique(0.7, (3, 6, 3)), (9, 24, 24)
    )
    assert isinstance(image, InterpolatedSource)
    for part in (image.take("z", 3), image.transpose([1, 0, 2])):
        assert not isinstance(part, ResampledSource)
    np.testing.assert_array_equal(image.take("z", 3).data, image.data[3])
    assert image.transpose([0, 1, 2]) is image


def test_the_distance_of_own_planes_is_that_of_the_source() -> None:
    affine = np.diag([3.0, 0.5, 0.8, 1.0])
    source = Source(RNG.random((9, 60, 40)), affine=affine)
    image, _ = resample_source(source, oblique(1.0, (4, 4, 4)), (5, 20, 20))
    assert isinstance(image, InterpolatedSource)
    assert image.own_pixels.step == pytest.approx(3 / np.sqrt(0.5 * 0.8))


def test_of_what_is_not_kept_it_is_known_what_was_seen() -> None:
    image, _ = resample_source(Source(RNG.random((9, 9))), turned(20, 0.5, (5, 1)), SHAPE)
    assert isinstance(image, ResampledSource)
    assert not tells_noise(image)
    assert 0.1 < image.inside.mean() < 0.9
    assert len(np.unique(image.data[~image.inside])) == 1
    exact, _ = resample_source(Source(RNG.random((9, 9))), np.eye(3), (4, 5))
    assert not isinstance(exact, ResampledSource)
