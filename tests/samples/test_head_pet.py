"""The PET-MR head."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.samples import head_pet
from napari_dip_fusion.samples.head import draw_slice
from napari_dip_fusion.samples.head_anatomy import MR, PET
from napari_dip_fusion.sources.grid import resample_to_reference

SMALL = (64, 64)


@cache
def made():
    return head_pet()


def bin_by_four(image):
    rows, columns = (length // 4 for length in image.shape)
    return image.reshape(rows, 4, columns, 4).mean(axis=(1, 3))


def test_pet_has_pixels_of_4_mm_that_lie_on_those_of_mr():
    mr, pet = made().sources
    assert (mr.shape, pet.shape) == ((256, 256), (64, 64))
    assert {image.units for image in (mr, pet)} == {("mm", "mm")}
    np.testing.assert_allclose(mr.affine, np.eye(3))
    np.testing.assert_allclose(pet.affine, [[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])
    # Both fields of view end at the same lines.
    for image in (mr, pet):
        corner = image.affine @ (-0.5, -0.5, 1)
        np.testing.assert_allclose(corner, (-0.5, -0.5, 1))
        np.testing.assert_allclose(image.spacing * image.shape, 256)


def test_truth_is_undegraded_on_the_grid_of_mr():
    sample = made()
    mr, true_pet = sample.undegraded
    assert mr is sample.sources[0]
    assert sample.truth is None
    assert true_pet.shape == mr.shape
    np.testing.assert_array_equal(true_pet.affine, mr.affine)
    assert true_pet.fwhm == (0, 0)


def test_uptake_is_in_gray_matter_and_next_to_none_in_scalp_and_fluid():
    (mr, _), (_, true_pet) = made().sources, made().undegraded
    anatomy, uptake = mr.data / 255, true_pet.data / 255
    brain = np.zeros(mr.shape, bool)
    brain[70:190, 75:181] = True
    white = np.median(uptake[brain & (np.abs(anatomy - 0.66) < 0.05)])
    gray = np.median(uptake[brain & (np.abs(anatomy - 0.44) < 0.05)])
    assert white / gray == pytest.approx(0.25, abs=0.05)
    assert uptake[brain & (anatomy < 0.12)].mean() < 0.15
    scalp = ~ndimage.binary_erosion(anatomy > 0.03, iterations=12) & (anatomy > 0.6)
    assert scalp[:60].any()
    assert uptake[scalp].mean() < 0.08


def test_a_hot_spot_and_a_cold_part_of_the_cortex_show_in_pet_only():
    mr, true_pet = (image.data / 255.0 for image in made().undegraded)
    spot = np.s_[83:89, 103:109]
    around = np.s_[95:99, 103:115]
    assert true_pet[spot].max() > 3 * true_pet[around].mean()
    assert mr[spot].max() - mr[spot].min() < 0.2
    cold, same_place_on_the_other_side = np.s_[150:175, 172:182], np.s_[150:175, 74:84]
    assert true_pet[cold].mean() < 0.6 * true_pet[same_place_on_the_other_side].mean()


def test_pet_is_the_true_one_blurred_averaged_and_noisy():
    sigma = 4.5 / 2.3548
    true_pet, pet = made().undegraded[1].data / 255, made().sources[1].data / 255
    expected = bin_by_four(ndimage.gaussian_filter(true_pet, sigma))
    bright = expected > 0.05  # where noise is not cut off at black
    error = (pet - expected)[bright]
    assert error.std() == pytest.approx(2 / 255, rel=0.15)
    assert abs(error.mean()) < 0.001
    sharper = bin_by_four(ndimage.gaussian_filter(true_pet, 0.75 * sigma))
    assert (pet - sharper)[bright].std() > 2 * error.std()


def test_without_blur_and_noise_pet_is_the_mean_over_its_pixels():
    sample = head_pet(fwhm=0, noise=0, shape=SMALL)
    true_pet, pet = sample.undegraded[1].data, sample.sources[1].data
    np.testing.assert_allclose(bin_by_four(true_pet.astype(float)), pet, atol=1)


def test_linear_interpolation_of_pet_meets_the_true_one_in_place():
    """A wrong offset of its pixels would show as a shift."""
    grid = resample_to_reference(list(made().sources))
    mr, pet = (image.to_numpy().astype(float) for image in grid.images)
    true_pet = made().undegraded[1].data.astype(float)

    def error(shift):
        return ((ndimage.shift(pet, shift, order=1) - true_pet) ** 2).mean()

    assert error((0, 0)) < min(error(s) for s in ((1, 0), (-1, 0), (0, 1), (0, -1)))
    assert mr.shape == pet.shape


def test_the_anatomy_is_that_of_the_head_phantom_in_its_own_field_of_view():
    mr = made().sources[0].data / 255
    drawn = draw_slice((256, 256), 0, 0.08, field_of_view=256)
    assert np.abs(drawn[MR] - mr).mean() < 0.005
    assert drawn[PET].max() <= 1


def test_same_seed_same_bytes():
    first, second, other = (
        head_pet(shape=SMALL),
        head_pet(shape=SMALL),
        head_pet(shape=SMALL, seed=1),
    )
    for one, same, changed in zip(first.sources, second.sources, other.sources, strict=True):
        assert one.data.tobytes() == same.data.tobytes()
        assert not np.array_equal(one.data, changed.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 64)}, r">= 16, got \(8, 64\)"),
        ({"shape": (32, 64)}, r"multiples of 4 from 64 on, got \(32, 64\)"),
        ({"shape": (66, 64)}, r"multiples of 4 from 64 on, got \(66, 64\)"),
        ({"fwhm": -1}, "fwhm must be from 0 to 20, got -1"),
        ({"noise": 2}, "noise must be from 0 to 1, got 2"),
    ],
)
def test_errors_say_what_was_got_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        head_pet(**options)
