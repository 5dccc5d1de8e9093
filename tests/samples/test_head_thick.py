"""The head volumes of which one has thick slices."""

from functools import cache

import numpy as np
import pytest

from napari_dip_fusion.samples import head_thick


@cache
def made():
    return head_thick(shape=(24, 48, 48))


def average_slices(volume):
    return volume.reshape(-1, 4, *volume.shape[1:]).mean(axis=1, dtype=float)


def test_slices_of_ct_are_four_of_mr():
    mr, ct = made().sources
    assert (mr.shape, ct.shape) == ((24, 48, 48), (6, 48, 48))
    np.testing.assert_allclose(mr.spacing, 204.8 / 48)
    np.testing.assert_allclose(ct.spacing, mr.spacing * (4, 1, 1))
    assert {image.units for image in (mr, ct)} == {("mm",) * 3}
    # The first slice of CT lies amid the first four of MR.
    place = np.linalg.inv(mr.affine) @ ct.affine[:, -1]
    np.testing.assert_allclose(place, (1.5, 0, 0, 1), atol=1e-12)


def test_ct_is_the_mean_of_thin_slices_with_noise():
    true_ct, ct = made().undegraded[1].data, made().sources[1].data
    mean = average_slices(true_ct)
    inside = (mean > 10) & (mean < 245)  # where noise is not cut off
    error = (ct - mean)[inside]
    assert error.std() == pytest.approx(2, rel=0.1)
    assert abs(error.mean()) < 0.2
    # And some of what it shows changes within a slice.
    assert np.abs(true_ct - np.repeat(mean, 4, axis=0)).max() > 60


def test_truth_is_on_the_grid_of_mr_which_is_undegraded():
    mr, true_ct = made().undegraded
    assert mr is made().sources[0]
    assert made().truth is None
    np.testing.assert_array_equal(true_ct.affine, mr.affine)
    bone = true_ct.data > 230
    assert bone.mean() > 0.03
    assert np.median(mr.data[bone]) < 40


def test_same_seed_same_bytes_other_seed_other_anatomy():
    shape = (8, 16, 16)
    first, second, other = (head_thick(shape=shape, seed=seed) for seed in (0, 0, 1))
    for one, same, changed in zip(first.sources, second.sources, other.sources, strict=True):
        assert one.data.tobytes() == same.data.tobytes()
        assert not np.array_equal(one.data, changed.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (64, 64)}, r"a multiple of 4 from 8 on, rows and columns, got \(64, 64\)"),
        ({"shape": (10, 64, 64)}, "a multiple of 4 from 8 on"),
        ({"shape": (8, 8, 64)}, r">= 16, got \(8, 64\)"),
        ({"noise": -1}, "noise must be from 0 to 1, got -1"),
    ],
)
def test_errors_say_what_was_got_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        head_thick(**options)
