"""Pixels that were not seen get no weight, on the grid of the reference and on others."""

import numpy as np
import pytest

from napari_dip_fusion.sensor.noise import estimate_noise
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.own_pixels import InterpolatedSource
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

RNG = np.random.default_rng(5)


class Lazy:
    """An array that is sliced, and remembers whether it was."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.read = False

    def __getitem__(self, index):
        self.read = True
        return self.data[index]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[...]


def prepare(*sources: Source, **options: object) -> PreparedSources:
    return prepare_sources(resample_to_reference(list(sources), reference=0, **options))


def make_pair(dtype: str, shape: tuple[int, ...] = (12, 14)) -> tuple[Source, Source, np.ndarray]:
    """Return two images, of which the second is bright and nothing where it was not seen."""
    image = RNG.integers(100, 200, shape).astype(dtype)
    mask = np.ones(shape, bool)
    mask[..., :5] = False
    held = image.copy()
    held[~mask] = np.nan if held.dtype.kind == "f" else 255
    return Source(RNG.random(shape)), Source(held, mask=mask), mask


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_on_the_reference_s_grid_what_was_not_seen_counts_nothing(dtype: str) -> None:
    first, second, mask = make_pair(dtype)
    for prepared in (prepare(first, second), prepare_sources([first, second])):
        assert prepared.inside[0] is None
        np.testing.assert_array_equal(prepared.inside[1], mask)
        seen = second.data[mask]
        limits = (0, 255) if dtype == "uint8" else (seen.min(), seen.max())
        assert prepared.windows[1] == limits
        assert not prepared.images[1][~mask].any()
        np.testing.assert_allclose(
            prepared.images[1][mask], (seen - float(limits[0])) / float(np.ptp(limits)), atol=1e-6
        )
        # A mask alone restores nothing.
        assert prepared.observations == ()
    percent = prepare_sources([first, second], intensity="percentiles").windows[1]
    assert percent == pytest.approx(np.percentile(seen, (1, 99)), abs=3)
    assert np.isnan(second.data).any() or dtype != "float32"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("colored", [False, True])
def test_on_another_grid_nothing_unseen_is_mixed_in(
    dtype: str, interpolation: str, colored: bool
) -> None:
    mask = RNG.random((40, 40)) < 0.7
    data = np.full((40, 40), 100, dtype)
    data[0, 0], mask[0, 0] = 20, True
    data[~mask] = np.nan if dtype == "float32" else 250
    data = np.repeat(data[..., None], 3, -1) if colored else data
    affine = np.array([[0.8, 0.1, 0.3], [-0.1, 0.8, 3.2], [0, 0, 1]])
    second = Source(data, "yx", affine, mask=mask)
    grid = resample_to_reference(
        [Source(RNG.random((32, 32))), second], reference=0, interpolation=interpolation
    )
    found = grid.images[1]
    positions = np.linalg.solve(affine, [*np.indices((32, 32)).reshape(2, -1), np.ones(1024)])[:2]
    row, column = np.floor(positions + 0.5).astype(int).clip(0, 39)
    within = (positions > -0.5).all(0) & (positions < 39.5).all(0)
    expected = (mask[row, column] & within).reshape(32, 32)
    assert 0.4 < expected.mean() < 0.8
    np.testing.assert_array_equal(found.inside, expected)
    far = expected & (np.indices((32, 32)).sum(0) > 12)
    np.testing.assert_allclose(found.data[far], 100, rtol=1e-6 if dtype == "float32" else 0)
    prepared = prepare_sources(grid)
    np.testing.assert_array_equal(prepared.inside[1], expected)
    assert np.isfinite(prepared.images).all()


def test_own_pixels_know_what_was_seen_of_them() -> None:
    mask = np.ones((30, 30), bool)
    mask[:, :11] = False
    data = np.full((30, 30), 3.0)
    data[~mask], data[20, 20] = np.nan, 2
    second = Source(data, affine=np.diag([1.1, 1.1, 1]), mask=mask)
    prepared = prepare(Source(RNG.random((32, 32))), second)
    own = prepared.own_pixels[1]
    assert own.tells_noise
    np.testing.assert_array_equal(own.plane_seen, mask[: len(own.plane), : len(own.plane)])
    assert not own.plane[~own.plane_seen].any()
    # No dark rim: neighbors that were not seen are not mixed in.
    there = own.interpolate(own.plane)[prepared.inside[1]]
    assert np.median(there) == pytest.approx(1)
    assert np.mean(there < 0.99) < 0.01
    # A neighbor that alone was seen, at 10.9, counts as one that lies in the same place, at 20.
    share = own.interpolate_variance(np.ones_like(own.plane))
    np.testing.assert_allclose(share[:, 12], share[:, 22], rtol=1e-4)


def test_what_is_restored_knows_what_was_seen() -> None:
    mask = RNG.random((10, 10)) < 0.8
    coarse = Source(RNG.random((10, 10)), affine=np.diag([2.0, 2, 1]), mask=mask)
    found = prepare(Source(RNG.random((19, 19))), coarse).observations[1]
    np.testing.assert_array_equal(found.seen, mask)
    same = Source(RNG.random((12, 12)), fwhm=3, mask=np.eye(12) > 0)
    found = prepare(Source(RNG.random((12, 12))), same).observations[1]
    np.testing.assert_array_equal(found.seen, same.mask)
    np.testing.assert_array_equal(found.inside, same.mask)


@pytest.mark.parametrize("step", [1.0, 1.1])
def test_of_a_plane_through_a_volume_both_planes_were_seen(step: float) -> None:
    volume, mask = RNG.random((4, 20, 20)), np.ones((4, 20, 20), bool)
    mask[1, :4], mask[2, :, :6] = False, False
    source = Source(volume, affine=np.diag([1.0, step, step, 1]), mask=mask)
    target = np.eye(4)
    target[0, 3] = 1.3
    reference = Source(RNG.random((1, 20, 20)), affine=target)
    prepared = prepare(reference, source)
    seen = prepared.own_pixels[1].plane_seen
    np.testing.assert_array_equal(seen, (mask[1] & mask[2])[: len(seen), : len(seen)])
    if step == 1:
        # The nearest plane decides.
        np.testing.assert_array_equal(prepared.inside[1], mask[1])


@pytest.mark.parametrize("step", [1.0, 1.25])
def test_each_frame_of_a_series_has_its_mask(step: float) -> None:
    data, mask = RNG.random((3, 20, 20)), np.ones((3, 20, 20), bool)
    for number in range(3):
        mask[number, number * 4 :][:3] = False
    affine = np.diag([1.0, step, step, 1])
    source = Source(data, "tyx", affine, ("s", "mm", "mm"), mask=Lazy(mask))
    still = Source(RNG.random((3, 20, 20)), "tyx", units=("s", "mm", "mm"))
    grid = resample_to_reference([still, source], reference=0)
    # On the grid itself nothing is read yet.
    assert source.mask.read == (step != 1)
    prepared = prepare_sources(grid)
    for number in range(3):
        frame = prepared.take((number,))
        assert not frame.images[1][~frame.inside[1]].any()
        if step == 1:
            np.testing.assert_array_equal(frame.inside[1], mask[number])
        else:
            assert not frame.inside[1][int((number * 4 + 1) * step)].any()
            own = frame.own_pixels[1]
            np.testing.assert_array_equal(own.plane_seen, mask[number][: len(own.plane), :17])


def test_a_volume_on_the_grid_has_its_mask_in_the_order_of_the_reference() -> None:
    mask = RNG.random((5, 12, 13)) < 0.5
    turned = Source(RNG.random((5, 12, 13)), mask=mask).transpose([2, 0, 1])
    prepared = prepare(Source(RNG.random((5, 12, 13))), turned)
    np.testing.assert_array_equal(prepared.inside[1], mask)


@pytest.mark.parametrize("step", [1.0, 0.9])
def test_a_mask_that_leaves_nothing_is_an_error(step: float) -> None:
    images = RNG.random((2, 20, 20))
    mask = np.zeros((20, 20), bool)
    dark = Source(images[1], affine=np.diag([step, step, 1]), name="dark", mask=mask)
    with pytest.raises(ValueError, match=r"dark: its mask says that nothing was seen there; .*inv"):
        prepare(Source(images[0]), dark)
    # NaN where something was seen stays one.
    bad = images[1].copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="has 1 NaN or infinite values"):
        prepare_sources([images[0], Source(bad, mask=np.ones((20, 20), bool))])


def test_without_a_mask_nothing_is_said_of_what_was_seen() -> None:
    images = RNG.random((2, 20, 20))
    prepared = prepare(Source(images[0]), Source(images[1], mask=np.ones((20, 20), bool)))
    assert prepared.inside == prepared.own_pixels == prepared.observations == ()


def test_noise_is_found_where_something_was_seen() -> None:
    noisy = (0.5 + RNG.normal(0, 0.05, (96, 96))).astype(np.float32)
    mask = np.ones((96, 96), bool)
    mask[:, :50] = False
    second = Source(noisy, affine=np.diag([1.1, 1.1, 1]), mask=mask)
    prepared = prepare(Source(RNG.random((100, 100))), second)
    own = prepared.own_pixels[1]
    width = np.ptp(prepared.windows[1])
    assert estimate_noise(own.planes[0]) * width == pytest.approx(0.05, rel=0.15)
    assert isinstance(resample_to_reference([Source(noisy), second]).images[1], InterpolatedSource)
