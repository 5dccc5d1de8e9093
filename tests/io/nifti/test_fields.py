"""Units, axes and intents of NIfTI files."""

import nibabel as nib
import numpy as np
import pytest

from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.sources.source import GUESSED_PLACE


@pytest.mark.parametrize(
    ("code", "units", "notes"),
    [
        (1 + 8, ("s", "m", "m", "m"), {}),
        (2 + 8, ("s", "mm", "mm", "mm"), {}),
        (3 + 16, ("ms", "um", "um", "um"), {}),
        (2 + 24, ("us", "mm", "mm", "mm"), {}),
        (2, ("pixel", "mm", "mm", "mm"), {}),
        (0, ("pixel", "mm", "mm", "mm"), {"assumed_unit": "no unit of length; mm is assumed"}),
        (8, ("s", "mm", "mm", "mm"), {"assumed_unit": "no unit of length; mm is assumed"}),
        (5 + 8, ("s", "mm", "mm", "mm"), {GUESSED_PLACE: "unknown code 5, mm is taken"}),
        (2 + 56, ("pixel", "mm", "mm", "mm"), {}),
        (2 + 64, ("pixel", "mm", "mm", "mm"), {}),
        (2 + 32, ("Hz", "mm", "mm", "mm"), {}),
        (2 + 40, ("ppm", "mm", "mm", "mm"), {}),
        (2 + 48, ("rad", "mm", "mm", "mm"), {}),
    ],
)
def test_units(make_nifti, code, units, notes):
    data = np.arange(4 * 5 * 6 * 2, dtype=np.int16).reshape(4, 5, 6, 2)
    fields = {"pixdim": {4: 2.5}, "toffset": 10, "slice_duration": 0.1, "intent_code": 2001}
    image = read_image(make_nifti(data=data, xyzt_units=code, **fields))
    assert image.units == units
    for key in ("assumed_unit", GUESSED_PLACE):
        assert notes.get(key, "") in image.metadata.get(key, "")
        assert (key in notes) == (key in image.metadata)
    names = {"Hz": "frequency", "ppm": "chemical shift", "rad": "angle"}
    assert image.axes == (names.get(units[0], "t"), "z", "y", "x")
    np.testing.assert_allclose(image.affine[0], [2.5, 0, 0, 0, 10])
    np.testing.assert_array_equal(image.to_numpy(), data.T)


@pytest.mark.parametrize("step", [0, -1, np.nan])
def test_times_without_a_distance_count_pixels(make_nifti, step):
    data = np.zeros((4, 5, 6, 2), np.uint8)
    image = read_image(make_nifti(data=data, pixdim={4: step}, toffset=7))
    assert image.units[0] == "pixel"
    np.testing.assert_array_equal(image.affine[0], [1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("shape", "axes", "count"),
    [
        ((4, 5), ("y", "x"), 1),
        ((4, 5, 1), ("z", "y", "x"), 1),
        ((4, 5, 6, 1), ("t", "z", "y", "x"), 1),
        ((4, 5, 6, 1, 1), ("z", "y", "x"), 1),
        ((4, 5, 6, 2, 1), ("t", "z", "y", "x"), 1),
        ((4, 5, 6, 1, 3), ("z", "y", "x"), 3),
        ((4, 5, 6, 2, 3), ("t", "z", "y", "x"), 3),
        ((4, 5, 1, 1, 3), ("z", "y", "x"), 3),
        ((4, 5, 6, 1, 1, 2), ("dim 6", "z", "y", "x"), 1),
        ((4, 5, 6, 1, 1, 1, 2), ("dim 7", "z", "y", "x"), 1),
        ((4, 5, 6, 1, 1, 1, 1), ("z", "y", "x"), 1),
    ],
)
def test_dimensions(make_nifti, shape, axes, count):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = make_nifti(data=data)
    images = read_images(path)
    assert [image.axes for image in images] == [axes] * count
    got = np.stack([image.to_numpy() for image in images])
    np.testing.assert_array_equal(got.squeeze(), nib.load(path).get_fdata().T.squeeze())


@pytest.mark.parametrize(
    ("code", "fields", "metadata"),
    [
        (0, {}, {}),
        (1002, {"intent_name": b"regions"}, {"intent": "label", "intent_name": "regions"}),
        (3, {"intent_p1": 12}, {"intent": "t test", "intent_parameters": [12.0]}),
        (1006, {}, {"intent": "displacement vector"}),
        (999, {}, {"intent": "code 999"}),
    ],
)
def test_what_values_are_said_to_be_is_kept(make_nifti, code, fields, metadata):
    assert read_image(make_nifti(intent_code=code, **fields)).metadata == metadata


@pytest.mark.parametrize(("code", "colors"), [(2003, 3), (2004, 4)])
@pytest.mark.parametrize("times", [1, 2])
def test_colors_in_a_fifth_dimension(make_nifti, code, colors, times):
    data = np.random.default_rng(0).integers(0, 255, (4, 5, 6, times, colors), np.uint8)
    image = read_image(make_nifti(data=data, intent_code=code))
    assert image.rgb
    assert image.axes == (("t",) if times > 1 else ()) + ("z", "y", "x")
    expected = np.moveaxis(data.T, 0, -1)
    np.testing.assert_array_equal(image.to_numpy(), expected if times > 1 else expected[0])
    other = read_images(make_nifti(data=data[..., :2], intent_code=code))
    assert [image.rgb for image in other] == [False, False]


def test_a_displacement_field_is_channels(make_nifti):
    data = np.random.default_rng(0).random((4, 5, 6, 1, 3), np.float32)
    images = read_images(make_nifti("warp.nii", data=data, intent_code=1006))
    assert [image.name for image in images] == ["warp 0", "warp 1", "warp 2"]
    assert {image.metadata["intent"] for image in images} == {"displacement vector"}
    np.testing.assert_array_equal(images[2].to_numpy(), data[..., 0, 2].T)
