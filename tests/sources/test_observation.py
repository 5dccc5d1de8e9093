"""Sources are observed on their own pixels, with what their sensor lost, and brought back."""

import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference
from napari_dip_fusion.sources.observation import Observation, ObservedFrames
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

RNG = np.random.default_rng(4)
WIDTH = np.sqrt(8 * np.log(2))


def place(
    shape: tuple[int, ...],
    step: float | tuple[float, ...] = 1.0,
    start: float = 0.0,
    **fields: object,
) -> Source:
    """Return noise whose outer corner lies at a place of a world in millimeters."""
    steps = np.broadcast_to(step, len(shape)).astype(float)
    affine = np.diag([*steps, 1.0])
    affine[:-1, -1] = start + (steps - 1) / 2
    data = RNG.random(shape, dtype=np.float32)
    return Source(data, affine=affine, units=("mm",) * len(shape), **fields)


def make_ramp(source: Source, slopes: tuple[float, ...]) -> np.ndarray:
    """Return values in [0, 1] that grow evenly over the world."""
    index = np.stack([*np.indices(source.shape), np.ones(source.shape)])
    world = np.tensordot(source.affine[:-1], index, 1)
    return (0.1 + np.tensordot(slopes, world, 1)).astype(np.float32)


def prepare(
    sources: list[Source] | GridSources, restore: str = "auto", **options: object
) -> PreparedSources:
    if not isinstance(sources, GridSources):
        sources = resample_to_reference(sources, **options)
    return prepare_sources(sources, intensity="dtype", restore=restore)


def observe(
    *sources: Source, restore: str = "auto", **options: object
) -> tuple[Observation, PreparedSources]:
    prepared = prepare(list(sources), restore, reference=0, **options)
    found = prepared.observations[1]
    assert prepared.observations[0] is None
    assert isinstance(found, Observation)
    assert found.is_degraded
    assert found.shape == prepared.shape
    return found, prepared


def refine(observation: Observation) -> np.ndarray:
    """Return the own pixels on fine ones as if they had been a ramp: linear, and beyond the end."""
    fine = observation.pixels
    for axis, factor in enumerate(observation.factors):
        size = fine.shape[axis]
        places = (np.arange(size * factor) + 0.5) / factor - 0.5
        low = np.clip(np.floor(places).astype(int), 0, size - 2)
        shape = [-1 if n == axis else 1 for n in range(fine.ndim)]
        share = (places - low).reshape(shape)
        fine = fine.take(low, axis) * (1 - share) + fine.take(low + 1, axis) * share
    return fine.astype(np.float32)


def test_larger_pixels_are_observed_with_the_blur_that_is_known() -> None:
    pet = place((8, 7), 4, fwhm=4.5)
    found, prepared = observe(place((32, 28)), pet)
    assert found.factors == (4, 4)
    assert found.sigmas == pytest.approx((4.5 / WIDTH,) * 2)
    assert found.kernel is None
    assert found.seen is None
    assert found.inside is None
    assert found.noise_share == 1
    np.testing.assert_array_equal(found.pixels, pet.data)
    assert found.describe() == "pixels of 4 x 4 mm, restored to 1 x 1 mm; blur of 4.5 mm"
    # The fine pixels are those of the reference: nothing is interpolated.
    fine = RNG.random((32, 28), dtype=np.float32)
    np.testing.assert_array_equal(found.to_target(fine, prepared.images[1]), fine)
    outside = 3 * fine - 1
    image = found.to_target(outside, prepared.images[1])
    np.testing.assert_array_equal(image, outside.clip(0, 1))


@pytest.mark.parametrize(
    ("ratio", "auto", "always"), [(1, 1, 1), (1.28, 1, 2), (1.3, 2, 2), (2.2, 2, 2), (2.4, 3, 3)]
)
def test_from_which_size_on_pixels_are_divided(ratio: float, auto: int, always: int) -> None:
    # The blur keeps the observation of a source that is not coarse.
    sources = [place((24, 24)), place((20, 20), ratio, fwhm=5)]
    for restore, factor in (("auto", auto), ("always", always)):
        found, _ = observe(*sources, restore=restore)
        assert found.factors == (factor, factor)
        assert found.sigmas == pytest.approx((5 / WIDTH / ratio * factor,) * 2)
    assert prepare(sources, "never").observations == ()


def test_nothing_is_restored_that_the_reference_cannot_show() -> None:
    fine, coarse = place((32, 32), fwhm=1.5), place((16, 16), 2)
    assert prepare([coarse, fine], reference=0).observations == ()
    # On its own grid the same blur is seen.
    found = prepare([fine, coarse], reference=0).observations
    assert all(isinstance(each, Observation) for each in found)
    assert prepare([place((16, 16)), place((16, 16), fwhm=1.1)]).observations == ()
    assert prepare([place((16, 16)), place((12, 12), 1.2)]).observations == ()


def test_on_the_reference_s_grid_nothing_is_divided() -> None:
    found, prepared = observe(place((20, 24)), place((20, 24), fwhm=(3, 2)))
    assert found.factors == (1, 1)
    assert found.sigmas == pytest.approx((3 / WIDTH, 2 / WIDTH))
    np.testing.assert_array_equal(found.matrix, np.eye(2, 3))
    np.testing.assert_array_equal(found.pixels, prepared.images[1])
    np.testing.assert_array_equal(found.to_target(found.pixels, found.pixels), found.pixels)
    assert found.describe() == "pixels of 1 x 1 mm; blur of 3 x 2 mm"


def test_sources_without_a_place_are_observed_where_they_are() -> None:
    images = [RNG.random((20, 20), dtype=np.float32), Source(np.eye(20), fwhm=3)]
    first, second = prepare_sources(images).observations
    assert first is None
    assert isinstance(second, Observation)
    assert second.describe() == "pixels of 1 x 1; blur of 3 pixels"


@pytest.mark.parametrize("start", [0.0, 6.0, -2.7])
def test_a_field_of_view_that_ends_is_left_as_it_was(start: float) -> None:
    slopes = (0.02, 0.008)
    coarse = place((8, 8), 3, start)
    coarse = coarse.replace(data=make_ramp(coarse, slopes))
    reference = place((30, 20))
    found, prepared = observe(reference, coarse)
    assert found.inside is not None
    assert not found.inside.all()
    image = found.to_target(refine(found), prepared.images[1])
    inner = found.inside
    assert inner.mean() > 0.4
    np.testing.assert_array_equal(image[~inner], prepared.images[1][~inner])
    # Cubic splines that are mirrored at the end bend a ramp next to it.
    for axis in (0, 1):
        inner = inner & np.roll(inner, 3, axis) & np.roll(inner, -3, axis)
        inner[(slice(None),) * axis + (slice(0, 3),)] = False
        inner[(slice(None),) * axis + (slice(-3, None),)] = False
    np.testing.assert_allclose(image[inner], make_ramp(reference, slopes)[inner], atol=2e-3)


@pytest.mark.parametrize("angle", [0, 10, 45, 90, 180])
def test_turned_grids_meet_at_the_same_places(angle: float) -> None:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[c, -s, 12], [s, c, 12], [0, 0, 1]]) @ np.array(
        [[1, 0, -12], [0, 1, -12], [0, 0, 1.0]]
    )
    coarse = place((24, 24), 2, -12)
    coarse = coarse.replace(affine=turn @ coarse.affine)
    coarse = coarse.replace(data=make_ramp(coarse, (0.01, 0.015)))
    reference = place((24, 24))
    found, prepared = observe(reference, coarse)
    assert found.factors == (2, 2)
    assert found.inside is None
    # Only the box around the target is kept, and what a restoration looks at around it.
    assert found.pixels.size < coarse.data.size
    image = found.to_target(refine(found), prepared.images[1])
    np.testing.assert_allclose(image, make_ramp(reference, (0.01, 0.015)), atol=2e-3)


def test_thick_slices_are_divided_along_z_alone() -> None:
    reference = place((24, 18, 20))
    thick = place((6, 18, 20), (4, 1, 1))
    thick = thick.replace(data=make_ramp(thick, (0.01, 0.01, 0.01)))
    found, prepared = observe(reference, thick)
    assert found.factors == (4, 1, 1)
    assert found.step == pytest.approx(4)
    assert found.describe() == "pixels of 4 x 1 x 1 mm, restored to 1 x 1 x 1 mm"
    image = found.to_target(refine(found), prepared.images[1])
    np.testing.assert_allclose(image, make_ramp(reference, (0.01, 0.01, 0.01)), atol=1e-5)
    # Planes of a volume are not restored one by one.
    assert prepared.take((3,)).observations == (None, None)


def test_a_plane_through_a_volume_is_restored_in_the_plane() -> None:
    volume = place((9, 10, 12), (3, 2, 2), fwhm=5)
    volume = volume.replace(data=make_ramp(volume, (0.01, 0.01, 0.01)))
    reference = place((20, 20, 24))
    found, prepared = observe(reference, volume, plane="z=9")
    assert found.factors == (2, 2)
    assert found.sigmas == pytest.approx((5 / WIDTH,) * 2)
    # It lies between two planes of the volume, of which each has noise of its own.
    assert found.noise_share == pytest.approx(1 / 9 + 4 / 9)
    image = found.to_target(refine(found), prepared.images[1])
    np.testing.assert_allclose(image, make_ramp(reference, (0.01, 0.01, 0.01))[9], atol=2e-3)


def test_pixels_are_not_larger_for_being_cut_obliquely() -> None:
    c = np.sqrt(0.5)
    tilted = np.array([[c, -c, 0, 8], [c, c, 0, -3.0], [0, 0, 1, 3], [0, 0, 0, 1]])
    reference = Source(RNG.random((1, 16, 16)), affine=tilted, units=("mm",) * 3)
    assert prepare([reference, place((24, 24, 24))], reference=0).observations == ()
    found, _ = observe(reference, place((12, 12, 12), 2))
    assert sorted(found.factors) == [2, 3]


def test_color_is_observed_by_its_luma() -> None:
    data = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    coarse = place((8, 8), 4).replace(data=data, rgb=True)
    found, _ = observe(place((32, 32)), coarse)
    np.testing.assert_allclose(found.pixels, data.astype(np.float32) @ LUMA / 255, atol=1e-6)


def series(image: Source, count: int) -> Source:
    """Return frames of one place over time."""
    affine = np.eye(image.ndim + 2)
    affine[1:, 1:] = image.affine
    data = RNG.random((count, *image.shape), dtype=np.float32)
    units = ("s", *image.units)
    return Source(data, ("t", *image.axes), affine, units, fwhm=(0.0, *image.fwhm))


@pytest.mark.parametrize("coarse", [place((8, 8), 2), place((16, 16), fwhm=3)])
def test_frames_of_a_series_are_observed_one_by_one(coarse: Source) -> None:
    moving = series(coarse, 3)
    prepared = prepare([series(place((16, 16)), 3), moving], reference=0)
    found = prepared.observations[1]
    assert isinstance(found, ObservedFrames)
    assert found.describe().startswith("pixels of")
    frame = prepared.take((2,)).observations[1]
    assert isinstance(frame, Observation)
    assert len(frame.factors) == 2
    assert frame.shape == (16, 16)
    np.testing.assert_array_equal(frame.pixels, moving.data[2])
    assert found.take(()) is None


def test_a_measured_point_is_laid_on_the_fine_pixels() -> None:
    steps = np.arange(-12, 13) * 0.5
    point = np.exp(-(steps[:, None] ** 2) / 8 - steps**2 / 2)
    psf = Source(point, affine=np.diag([0.5, 0.5, 1]), units=("mm", "mm"))
    found, _ = observe(place((32, 32)), place((16, 16), 2, psf=psf))
    assert found.factors == (2, 2)
    assert found.sigmas == (0, 0)
    kernel = found.kernel
    assert kernel is not None
    assert kernel.sum() == pytest.approx(1)
    assert all(size % 2 for size in kernel.shape)
    assert np.unravel_index(kernel.argmax(), kernel.shape) == tuple(n // 2 for n in kernel.shape)
    places = np.arange(len(kernel)) - len(kernel) // 2
    width = np.sqrt((kernel.sum(1) * places**2).sum())
    assert width == pytest.approx(2, abs=0.1)
    assert found.describe().endswith("; blur as measured")


def test_of_a_plane_the_point_is_seen_from_above() -> None:
    point = np.zeros((3, 9, 9))
    point[:, 2:7, 2:7] = [[[1]], [[2]], [[1]]]
    psf = Source(point, units=("mm",) * 3)
    # Of one that counts pixels, those of the image are meant.
    volume = place((4, 16, 16), psf=psf)
    for image in (volume.take("z", 1), volume.transpose([1, 0, 2]).take("z", 0)):
        assert image.psf is not None
        np.testing.assert_array_equal(image.psf.to_numpy(), point.sum(0))
    found, _ = observe(place((4, 16, 16)), volume, plane="z=2")
    assert found.kernel is not None
    np.testing.assert_allclose(found.kernel, np.full((5, 5), 1 / 25), rtol=1e-6)
    narrow = place((16, 16), psf=Source(np.pad([[1.0]], 2)))
    assert prepare([place((16, 16)), narrow]).observations == ()


def test_units_do_not_change_what_is_blurred() -> None:
    pet = place((8, 8), 4, fwhm=6)
    point = Source(np.pad(np.ones((3, 3)), 1), affine=np.diag([2.0, 2, 1]), units=("mm", "mm"))
    for blurred in (pet, pet.replace(psf=point)):
        meters = blurred.replace(
            affine=np.diag([1e-3, 1e-3, 1]) @ pet.affine, units=("m", "m"), fwhm=6e-3
        )
        found, other = (observe(place((32, 32)), image)[0] for image in (blurred, meters))
        assert found.factors == other.factors
        assert found.sigmas == pytest.approx(other.sigmas)
        assert found.describe() == other.describe()
        if found.kernel is not None:
            np.testing.assert_allclose(found.kernel, other.kernel, atol=1e-6)


def test_a_source_that_misses_the_reference_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match=r"far.*do not overlap in world coordinates"):
        prepare([place((16, 16)), place((8, 8), 2, 100, name="far", fwhm=3)], reference=0)


@pytest.mark.parametrize("over_time", [False, True])
def test_own_pixels_are_not_cut_off_at_the_peaks_that_interpolation_leaves(over_time: bool) -> None:
    data = np.ones((8, 8), np.float32)
    data[4, 3], data[6, 6] = 9, 0
    reference, coarse = place((32, 32)), place((8, 8), 4).replace(data=data)
    if over_time:
        reference, coarse = series(reference, 2), series(coarse, 2)
        coarse = coarse.replace(data=np.stack([data, data]))
    grid = resample_to_reference([reference, coarse], reference=0)
    prepared = prepare_sources(grid)
    assert prepared.windows[1] == (0, 9)
    assert prepared.images[1].max() < 1
    found = prepared.take((1,) if over_time else ()).observations[1]
    assert isinstance(found, Observation)
    np.testing.assert_allclose(found.pixels, data / 9, atol=1e-6)
    # Without a restoration all is as it was.
    assert prepare_sources(grid, restore="never").images[1].max() == 1


def test_what_is_blurred_into_the_target_is_looked_at_and_no_noise_found_there() -> None:
    coarse = place((60, 60), 2, -40, fwhm=5)
    found, prepared = observe(place((36, 36)), coarse)
    own = prepared.own_pixels[1]
    assert own is not None
    margin = int(np.ceil(1 + 3 * 5 / WIDTH / 2))
    assert found.pixels.shape == tuple(size + 2 * margin for size in own.plane.shape)
    np.testing.assert_array_equal(found.pixels[margin:-margin, margin:-margin], own.plane)
    np.testing.assert_allclose(own.interpolate(own.plane), prepared.images[1], atol=1e-5)
