"""What is said of how layers were taken, and what becomes of it in the sources of a fusion."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion.plugin.layers.acquisition import (
    Acquisition,
    can_mask,
    get_declared_fwhm,
)
from napari_dip_fusion.plugin.layers.layer_report import check_layers
from napari_dip_fusion.plugin.layers.plane_reader import make_plane_readers
from napari_dip_fusion.plugin.layers.whole_reader import make_whole_readers

RNG = np.random.default_rng(5)


def noise(*shape):
    return RNG.random(shape).astype(np.float32)


class Unreadable:
    """An array of a mask that nobody may read."""

    def __init__(self, shape):
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.uint8)

    def __getitem__(self, index):
        raise AssertionError("a mask was read")


@pytest.fixture
def viewer():
    """Return a viewer with an MR of 32 x 40 pixels of 1 mm, and a PET of 4 mm."""
    viewer = ViewerModel()
    viewer.add_image(noise(32, 40), name="MR", units="mm")
    viewer.add_image(noise(8, 10), name="PET", scale=(4, 4), translate=(1.5, 1.5), units="mm")
    return viewer


def check(viewer, fwhm=0.0, mask=None, **arguments):
    acquisitions = [Acquisition(), Acquisition(fwhm, mask)]
    layers = [viewer.layers["MR"], viewer.layers["PET"]]
    return check_layers(layers, None, viewer.dims, acquisitions=acquisitions, **arguments)


def test_blur_and_mask_are_those_of_the_source(viewer):
    mask = viewer.add_labels(np.eye(8, 10, dtype=np.uint8) * 3, name="seen")
    layers = [viewer.layers["MR"], viewer.layers["PET"]]
    readers = make_plane_readers(
        layers, layers[0], viewer.dims, acquisitions=[Acquisition(), Acquisition(6.0, mask)]
    )
    assert readers[0].source.mask is None
    assert readers[0].source.fwhm == (0, 0)
    assert readers[1].source.fwhm == (6, 6)
    np.testing.assert_array_equal(np.asarray(readers[1].source.mask), np.eye(8, 10, dtype=bool))


def test_a_width_is_in_the_units_of_its_layer(viewer):
    pet = viewer.layers["PET"]
    pet.scale, pet.translate, pet.units = (4000, 4000), (1500, 1500), "um"
    layers = [viewer.layers["MR"], pet]
    for fwhm, expected in ((6000.0, (6, 6)), ((6000.0, 8000.0), (6, 8))):
        taken = [Acquisition(), Acquisition(fwhm)]
        readers = make_plane_readers(layers, layers[0], viewer.dims, acquisitions=taken)
        assert readers[1].source.fwhm == pytest.approx(expected)


def test_a_time_axis_is_not_blurred():
    viewer = ViewerModel()
    units = ("s", "um", "um")
    layer = viewer.add_image(noise(3, 16, 16), units=units, axis_labels=("t", "y", "x"))
    (reader,) = make_whole_readers([layer], layer, acquisitions=[Acquisition(2.0)])
    assert reader.source.fwhm == (0, 2, 2)


@pytest.mark.parametrize("whole", [False, True])
def test_no_mask_is_read_before_the_run(whole):
    viewer = ViewerModel()
    layers = [viewer.add_image(noise(3, 16, 16), name=name) for name in ("A", "B")]
    mask = viewer.add_image(np.zeros((3, 16, 16)), name="mask")
    mask._data = Unreadable((3, 16, 16))
    taken = [Acquisition(mask=mask)]
    assert check_layers(layers, None, viewer.dims, whole=whole, acquisitions=taken).ok


def test_a_level_of_a_pyramid_has_the_mask_at_its_own_pixels():
    viewer = ViewerModel()
    fine = noise(16, 16)
    layer = viewer.add_image([fine, fine[::2, ::2]], name="A", multiscale=True)
    seen = np.zeros((16, 16), dtype=int)
    seen[4:, 6:] = 1
    mask = viewer.add_labels(seen)
    readers = make_plane_readers(
        [layer], layer, viewer.dims, level=1, acquisitions=[Acquisition(mask=mask)]
    )
    expected = np.zeros((8, 8), dtype=bool)
    expected[2:, 3:] = True
    level = readers[0].source.mask
    np.testing.assert_array_equal(np.asarray(level), expected)
    np.testing.assert_array_equal(np.asarray(level[3, 2:5]), expected[3, 2:5])


def test_a_thick_slice_saw_what_all_of_its_planes_saw():
    viewer = ViewerModel()
    layer = viewer.add_image(noise(6, 16, 16), name="A", projection_mode="mean")
    seen = np.ones((6, 16, 16), dtype=int)
    seen[2, :4] = 0
    mask = viewer.add_labels(seen)
    viewer.dims.set_point(0, 3)
    viewer.dims.margin_left, viewer.dims.margin_right = (1, 0, 0), (1, 0, 0)
    readers = make_plane_readers([layer], layer, viewer.dims, acquisitions=[Acquisition(mask=mask)])
    assert readers[0].source.shape == (1, 16, 16)
    thick = np.asarray(readers[0].source.mask[:, :, :])
    np.testing.assert_array_equal(thick, seen[2:5].min(axis=0, keepdims=True))


@pytest.mark.parametrize(
    ("fwhm", "message"),
    [
        (-1.0, "PET: fwhm must be 0 or more"),
        (np.inf, "PET: fwhm must be 0 or more and finite"),
        (900.0, "PET: fwhm along -2 must not be wider than the image, 32 mm, got 900 mm"),
        ((1.0, 2.0, 3.0), "PET: fwhm must be a number, or one for each of the axes"),
    ],
)
def test_a_width_that_cannot_be_is_said_in_one_line(viewer, fwhm, message):
    report = check(viewer, fwhm)
    assert not report.ok
    assert report.message.startswith(message)
    assert "\n" not in report.message


def test_a_mask_of_other_pixels_is_said_in_one_line(viewer):
    mask = viewer.add_labels(np.ones((32, 40), dtype=int), name="seen")
    assert check(viewer, mask=mask).message == (
        "seen has 32 x 40 pixels and PET, whose mask it is, 8 x 10; choose a mask with the pixels "
        "of PET, or none"
    )
    points = viewer.add_points(np.zeros((1, 2)), name="marks")
    assert "marks cannot be the mask of PET" in check(viewer, mask=points).message
    gone = [Acquisition(), Acquisition(mask_is_gone=True)]
    layers = [viewer.layers["MR"], viewer.layers["PET"]]
    report = check_layers(layers, None, viewer.dims, acquisitions=gone)
    assert "the mask of PET was removed" in report.message


def test_labels_and_images_of_its_pixels_can_be_masks(viewer):
    pet = viewer.layers["PET"]
    labels = viewer.add_labels(np.ones((32, 40), dtype=int))
    image = viewer.add_image(noise(8, 10))
    color = viewer.add_image(noise(8, 10, 3), rgb=True)
    points = viewer.add_points(np.zeros((1, 2)))
    others = [labels, image, color, points, pet, viewer.layers["MR"]]
    assert [can_mask(layer, pet) for layer in others] == [True, True] + [False] * 4


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (4.5, 4.5),
        ([4.5, 4.5], 4.5),
        ((6, 2), (6.0, 2.0)),
        ("wide", 0.0),
        ([1, 2, 3], 0.0),
        (-1, 0.0),
        (float("nan"), 0.0),
        (None, 0.0),
    ],
)
def test_a_layer_may_say_by_itself_how_wide_it_is_blurred(declared, found):
    layer = ViewerModel().add_image(noise(8, 8), metadata={"fwhm": declared})
    assert get_declared_fwhm(layer) == found
    assert get_declared_fwhm(ViewerModel().add_image(noise(8, 8))) == 0
