"""Blur and masks of sources have one form, follow their images, and are refused where untrue."""

import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axes import align_axes
from napari_dip_fusion.sources.grid import put_in_place
from napari_dip_fusion.sources.matching import convert_units
from napari_dip_fusion.sources.parts import choose_level, choose_plane, drop_single_axes
from napari_dip_fusion.sources.views import View

RNG = np.random.default_rng(6)
MASK = RNG.random((2, 5, 8, 9)) < 0.5
POINT = Source(np.pad(RNG.random((1, 2, 3)) + 1, 1), affine=np.diag([1, 2, 3, 1.0]))


def make_image(**fields: object) -> Source:
    """Return a series of volumes, blurred otherwise along each axis of space."""
    return Source(
        RNG.random((2, 5, 8, 9)),
        affine=np.diag([1, 3, 2, 1, 1.0]),
        units=("s", "mm", "mm", "mm"),
        **{"fwhm": (0, 6, 5, 4), "mask": MASK, "psf": POINT, **fields},
    )


def test_one_width_counts_for_all_axes_of_space() -> None:
    assert Source(np.zeros((3, 4))).fwhm == (0, 0)
    assert Source(np.zeros((9, 9)), fwhm=3).fwhm == (3, 3)
    assert make_image(fwhm=4).fwhm == (0, 4, 4, 4)
    assert make_image(fwhm=np.array([0, 1, 2, 3])).fwhm == (0, 1, 2, 3)
    echoes = Source(np.zeros((2, 9, 9)), ("echo", "y", "x"), fwhm=3)
    assert echoes.fwhm == (0, 3, 3)
    # Whoever makes an image of fewer axes need not know of blur.
    flat = Source(np.zeros((9, 9)))
    fields = {"data": np.zeros((2, 9, 9)), "axes": "zyx", "affine": np.eye(4), "units": ()}
    assert flat.replace(**fields).fwhm == (0, 0, 0)


@pytest.mark.parametrize(
    ("fwhm", "error"),
    [
        (-1, "must be 0 or more and finite, got -1; 0 means"),
        (np.nan, "must be 0 or more and finite, got nan"),
        ((0, 1, np.inf, 1), "must be 0 or more and finite, got inf"),
        (30, "fwhm along z must not be wider than the image, 16 mm, got 30 mm; it is a length"),
        ((0, 1, 1, 9.1), "fwhm along x must not be wider than the image, 9 mm, got 9.1 mm"),
        ((1, 1, 1, 1), "fwhm along t must be 0, as that is no axis of space, got 1"),
        ((1, 2), "one for each of the axes t, z, y, x, got"),
        ("wide", "fwhm must be a number, or one an axis, got 'wide'"),
    ],
)
def test_a_width_that_cannot_be_true_is_refused(fwhm: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make_image(fwhm=fwhm)


def test_a_blur_may_be_wider_than_a_few_slices() -> None:
    image = make_image(fwhm=7)
    assert image.take("z", 1, keep=True).fwhm == (0, 7, 7, 7)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"its image without colors, \(4, 5\), got \(4, 5, 3\)"):
        Source(np.zeros((4, 5, 3)), "yx", mask=np.zeros((4, 5, 3)))


def test_labels_are_a_mask() -> None:
    labels = np.arange(20).reshape(4, 5) % 3
    for mask in (labels, labels.tolist(), labels.astype(np.float32)):
        image = Source(np.zeros((4, 5)), mask=mask)
        assert image.mask.dtype == bool
        np.testing.assert_array_equal(image.mask, labels > 0)


def test_a_mask_is_not_read_before_it_is_asked_for() -> None:
    class Lazy:
        shape, ndim, dtype, read = (4, 5), 2, np.dtype(np.uint8), 0

        def __getitem__(self, index):
            self.read += 1
            return np.eye(4, 5, dtype=np.uint8)[index]

    lazy = Lazy()
    image = Source(np.zeros((4, 5)), mask=lazy).transpose([1, 0])
    part = image.mask[1:3]
    assert lazy.read == 0
    assert part.dtype == bool
    read = np.asarray(part)
    assert read.dtype == bool
    np.testing.assert_array_equal(read, np.eye(5, 4)[1:3] > 0)
    assert part.resolve() is part


@pytest.mark.parametrize(
    ("psf", "error"),
    [
        (Source(np.eye(3)), r"space of its image, z, y, x, and no colors, got shape \(3, 3\)"),
        (Source(np.ones((3, 3, 3, 3)), "zyx"), r"got shape \(3, 3, 3, 3\)"),
        (Source(np.ones((4, 4, 4))), "bright point on a background of 0, got values from 1 to 1"),
        (Source(np.full((4, 4, 4), np.nan)), "must hold finite numbers, got NaN"),
        (Source(-np.pad([[[1.0]]], 1)), "got values from -1 to"),
    ],
)
def test_a_point_that_cannot_be_one_is_refused(psf: Source, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make_image(psf=psf)


def test_blur_and_mask_follow_their_image() -> None:
    image = make_image()
    turned = image.transpose([3, 0, 2, 1])
    assert turned.fwhm == (4, 0, 5, 6)
    np.testing.assert_array_equal(turned.mask, MASK.transpose(3, 0, 2, 1))
    np.testing.assert_array_equal(turned.psf.data, POINT.data.transpose(2, 1, 0))
    assert turned.psf.spacing.tolist() == [3, 2, 1]
    frame = turned.take("t", 1)
    assert frame.fwhm == (4, 5, 6)
    np.testing.assert_array_equal(frame.mask, MASK[1].transpose(2, 1, 0))
    np.testing.assert_array_equal(frame.psf.data, turned.psf.data)
    plane = choose_plane(image, "t=1,z=2")
    assert plane.fwhm == (5, 4)
    np.testing.assert_array_equal(plane.mask, MASK[1, 2])
    np.testing.assert_allclose(plane.psf.data, POINT.data.sum(0))
    assert plane.psf.spacing.tolist() == [2, 3]
    kept = choose_plane(image, "t=1,z=2", keep=True)
    np.testing.assert_array_equal(kept.mask, MASK[1:2, 2:3])
    np.testing.assert_array_equal(drop_single_axes(kept).mask, MASK[1, 2])
    aligned = align_axes(turned, image)
    assert aligned.fwhm == image.fwhm
    np.testing.assert_array_equal(aligned.mask, MASK)


def test_a_width_is_a_length_in_other_units() -> None:
    image = make_image()
    place = Source(np.zeros((2, 3, 3, 3)), units=("min", "um", "um", "um"))
    there = convert_units(image, place)
    assert there.units == place.units
    assert there.fwhm == pytest.approx((0, 6000, 5000, 4000))
    np.testing.assert_allclose(np.diag(there.affine)[:-1], [1 / 60, 3000, 2000, 1000])
    # The point counts pixels, of which it keeps as many.
    np.testing.assert_allclose(there.psf.spacing, [3000, 4000, 3000])


def test_a_coarser_resolution_has_the_mask_of_the_pixels_below() -> None:
    mask = np.ones((8, 6), bool)
    mask[:4, :2] = False
    image = Source(np.zeros((8, 6)), pyramid=(np.zeros((4, 3)),), mask=mask, fwhm=3)
    level = choose_level(image, 1)
    assert level.fwhm == (3, 3)
    assert level.mask.tolist() == [[False, True, True]] * 2 + [[True] * 3] * 2


def test_what_is_made_at_a_place_is_neither_masked_nor_blurred() -> None:
    made = put_in_place(np.ones((2, 5, 8, 9)), make_image())
    assert made.fwhm == (0, 0, 0, 0)
    assert made.mask is None
    assert made.psf is None


def test_views_read_another_type() -> None:
    view = View(np.arange(6).reshape(2, 3), dtype=np.bool_)
    np.testing.assert_array_equal(view[0].transpose([0]), [False, True, True])
    assert view.transpose([1, 0])[0].dtype == bool
