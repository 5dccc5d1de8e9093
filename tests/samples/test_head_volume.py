"""The head volumes."""

import time
from functools import cache

import numpy as np
import pytest

from napari_dip_fusion.samples import head_phantom, head_volume
from napari_dip_fusion.samples.head_anatomy import HeadAnatomy
from napari_dip_fusion.sources.grid import resample_to_reference

SMALL = (12, 32, 32)


@cache
def medium():
    return head_volume(shape=(24, 64, 64))


def find_pixels_in(image, other):
    """Return the pixels of one volume as indices of another, shape (3, Z, M, N)."""
    matrix = np.linalg.inv(other.affine) @ image.affine
    index = np.indices(image.shape).reshape(3, -1)
    return (matrix[:3, :3] @ index + matrix[:3, 3:]).reshape(3, *image.shape)


def covered(image, other):
    """Return which pixels of one volume lie within another."""
    index, last = find_pixels_in(image, other), np.array(other.shape)[:, None, None, None] - 1
    return ((index >= -0.5) & (index <= last + 0.5)).all(axis=0)


def test_is_made_in_seconds_on_two_grids_in_millimeters():
    begin = time.perf_counter()
    sample = head_volume()
    assert time.perf_counter() - begin < 5
    (ct, mr), truth = sample.sources, sample.truth
    assert (ct.shape, mr.shape) == ((48, 128, 128), (24, 88, 88))
    np.testing.assert_allclose(ct.spacing, (2.5, 1.8, 1.8))
    np.testing.assert_allclose(mr.spacing, (3.5, 2.4, 2.4))
    assert {i.axes for i in (ct, mr, truth)} == {("z", "y", "x")}
    assert {i.units for i in (ct, mr, truth)} == {("mm",) * 3}
    np.testing.assert_array_equal(truth.affine, ct.affine)


def test_grids_lie_oblique_to_each_other():
    ct, mr = head_volume(shape=SMALL).sources
    ct_steps, mr_steps = (i.affine[:3, :3] / i.spacing for i in (ct, mr))
    angles = np.degrees(np.arccos((ct_steps * mr_steps).sum(axis=0)))
    assert (angles > 4).all()
    assert (angles < 11).all()
    # Rigid: no shear, no flip.
    np.testing.assert_allclose(mr_steps.T @ mr_steps, np.eye(3), atol=1e-12)
    assert np.linalg.det(mr_steps) == pytest.approx(1)


def test_upper_slices_of_ct_are_seen_by_ct_only():
    ct, mr = medium().sources
    inside = covered(ct, mr)
    assert not inside[-1:].any()
    assert inside[10].mean() > 0.6
    assert (ct.data[-1:] > 200).any()  # bone of the top
    # And MR sees something below that CT does not.
    assert not covered(mr, ct).all()


def test_both_show_one_head_where_they_meet():
    ct, mr = medium().sources
    grid = resample_to_reference([ct, mr], plane="z=9")
    first, second = (np.asarray(image.data, float) for image in grid.images)
    bone = first > 230
    brain = (first > 80) & (first < 110)
    assert bone.mean() > 0.03
    assert second[bone].mean() < 60
    assert second[brain].mean() > 120


def test_the_slice_of_the_plane_phantom_is_that_at_height_zero():
    """The anatomy of volumes and planes is one, drawn of the same seed."""
    shape = (64, 64)
    rng = np.random.default_rng(3)
    place = (np.arange(64) - 31.5) / 32
    y, x = np.meshgrid(place, place, indexing="ij")
    flat = HeadAnatomy(rng).draw(x, y, np.zeros(shape), texture=np.zeros(shape), pixel=1 / 32)
    truth = head_phantom(shape=shape, seed=3).truth / 255
    assert np.abs(flat[2] - truth).mean() < 0.01


def test_neighboring_slices_differ_and_the_head_closes_at_its_top():
    truth = medium().truth.data.astype(float)
    steps = np.abs(np.diff(truth, axis=0)).mean(axis=(1, 2))
    assert (steps > 0.5).all()
    area = (truth > 40).mean(axis=(1, 2))
    assert area[-1] < 0.5 * area.max()


def test_same_seed_same_bytes_other_seed_other_anatomy():
    first, second = head_volume(shape=SMALL), head_volume(shape=SMALL)
    other = head_volume(shape=SMALL, seed=1)
    for one, same, changed in zip(first.sources, second.sources, other.sources, strict=True):
        assert one.data.tobytes() == same.data.tobytes()
        assert not np.array_equal(one.data, changed.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (64, 64)}, r"at least 2 slices, rows and columns, got \(64, 64\)"),
        ({"shape": (1, 64, 64)}, "at least 2 slices"),
        ({"shape": (8, 8, 64)}, r">= 16, got \(8, 64\)"),
        ({"bias": -1}, "bias must be from 0 to 0.5, got -1"),
    ],
)
def test_errors_say_what_was_got_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        head_volume(**options)
