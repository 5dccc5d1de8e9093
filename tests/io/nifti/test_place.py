"""Where voxels lie, compared with nibabel and SimpleITK where these read the file."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.sources.source import GUESSED_PLACE

VOXELS = [(0, 0, 0), (3, 4, 5), (1, 0, 2)]
"""Indices along x, y and z."""

OTHER = {
    "srow_x": (-2.0, 0, 0, 10),
    "srow_y": (0, 0, 3.0, -20),
    "srow_z": (0, -2.0, 0, 5),
}
EMPTY = {"srow_x": 0, "srow_y": 0, "srow_z": 0}
FLAT = {"srow_x": (1, 2, 3, 4), "srow_y": (2, 4, 6, 8), "srow_z": (0, 0, 3, 1)}
NO_CODES = {"sform_code": 0, "qform_code": 0}


def read(path):
    """Return the one image of a path, and its warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(path)
    return image, " ".join(str(w.message) for w in caught)


def place(image, voxel):
    """Return where a voxel lies, as NIfTI counts: to the right, the front, the head."""
    z, y, x = (image.affine @ (*voxel[::-1], 1))[-4:-1]
    return (-x, -y, z)


def place_by_nibabel(path, voxel):
    return nib.affines.apply_affine(nib.load(path).affine, voxel)


def place_by_itk(path, voxel):
    x, y, z = SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint(voxel)
    return (-x, -y, z)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"order": ">"}, ""),
        ({"kind": nib.Nifti2Header}, ""),
        ({"sform_code": 0}, ""),
        ({"qform_code": 0}, ""),
        ({"sform_code": 0, "pixdim": {0: 0}}, ""),
        ({"sform_code": 0, "pixdim": {0: -1}}, ""),
        ({"sform_code": 0, "quatern_b": 0.5, "quatern_c": 0.5, "quatern_d": 0.5}, ""),
        # They disagree: both readers take the sform.
        ({"srow_x": (-2, 0, 0, 99)}, "sform and qform put its voxels up to 69 mm apart"),
        ({"sform_code": 4, **OTHER}, "sform and qform put its voxels up to"),
        ({"qform_code": 0, "pixdim": {1: 2.5}}, "2 long along x by the sform but 2.5 by pixdim"),
        (
            {"qform_code": 0, "pixdim": {1: 2.5, 3: 1}},
            "2 long along x by the sform but 2.5 by pixdim, 3 long along z by the sform but 1 by",
        ),
        ({"qform_code": 0, "pixdim": {1: 0, 2: np.nan}}, ""),
        # So little is rounding.
        ({"srow_x": (-2, 0, 0, 30.001)}, ""),
        ({"qform_code": 0, "pixdim": {1: 2.001}}, ""),
    ],
)
def test_voxels_lie_where_nibabel_and_itk_put_them(make_nifti, fields, said):
    path = make_nifti(**fields)
    image, warned = read(path)
    assert image.units == ("mm",) * 3
    assert GUESSED_PLACE not in image.metadata
    assert said in warned if said else not warned
    for voxel in VOXELS:
        got = place(image, voxel)
        np.testing.assert_allclose(got, place_by_nibabel(path, voxel), atol=1e-4)
        # ITK takes pixdim for the lengths of the sform, of aligned spaces the qform; it reads
        # no NIfTI-2.
        by_pixdim = "pixdim" in fields and fields.get("sform_code") != 0
        aligned = bool(said) and "sform_code" in fields
        if not (by_pixdim or aligned or "kind" in fields):
            np.testing.assert_allclose(got, place_by_itk(path, voxel), atol=5e-3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (EMPTY, "the sform cannot be inverted; the qform is used"),
        (FLAT, "the sform cannot be inverted; the qform is used"),
        ({"srow_y": np.nan}, "the sform cannot be inverted; the qform is used"),
        ({"srow_x": (np.inf, 0, 0, 0)}, "the sform cannot be inverted; the qform is used"),
    ],
)
def test_the_qform_is_used_where_the_sform_cannot_be(make_nifti, fields, said):
    """ITK does so; nibabel returns the matrix that cannot be inverted."""
    path = make_nifti(**fields)
    image, warned = read(path)
    assert said in warned
    assert not image.guess
    if np.isfinite(nib.load(path).affine).all():
        np.testing.assert_allclose(place(image, (1, 2, 3)), place_by_itk(path, (1, 2, 3)))
    reference, _ = read(make_nifti("b.nii"))
    np.testing.assert_allclose(image.affine, reference.affine)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sform_code": 9, "qform_code": 0}, "sform_code 9 is unknown; the sform is used"),
        ({"sform_code": 0, "quatern_b": 0.9, "quatern_c": 0.9}, "quaternion is 1.27 long, not 1"),
    ],
)
def test_what_nibabel_gives_up_lies_where_itk_puts_it(make_nifti, fields, said):
    path = make_nifti(**fields)
    image, warned = read(path)
    assert said in warned if said else not warned
    for voxel in VOXELS:
        np.testing.assert_allclose(place(image, voxel), place_by_itk(path, voxel), atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "phrase"),
    [
        (NO_CODES, "neither sform_code nor qform_code is set; it is made up from pixdim"),
        ({**NO_CODES, **EMPTY}, "neither sform_code nor qform_code is set"),
        ({"sform_code": -1, "qform_code": 0}, "neither sform_code nor qform_code is set"),
        ({**NO_CODES, "pixdim": {3: 0}}, "pixdim of z is 0, 1 is taken"),
        ({**NO_CODES, "pixdim": {1: -2}}, "pixdim of x is -2, its sign is dropped"),
        ({"sform_code": 0, "pixdim": {2: 0}}, "pixdim of y is 0, 1 is taken"),
        ({"sform_code": 0, "pixdim": {2: -2}}, "pixdim of y is -2, its sign is dropped"),
    ],
)
def test_a_guess_is_called_one(make_nifti, fields, phrase):
    path = make_nifti(**fields)
    image, warned = read(path)
    assert phrase in image.guess
    assert not warned
    for voxel in VOXELS:
        np.testing.assert_allclose(place(image, voxel), place_by_nibabel(path, voxel), atol=1e-4)


def test_a_guess_without_any_number_is_called_one(make_nifti):
    fields = {"sform_code": 1, "qform_code": 1, **EMPTY, "quatern_b": np.nan}
    image, _ = read(make_nifti(**fields, pixdim={1: np.nan}))
    assert image.guess.startswith("the sform and qform cannot be inverted; it is made up")
    assert "pixdim of x is nan, 1 is taken" in image.guess
    np.testing.assert_allclose(image.spacing, (3, 2, 1))


def test_a_plane_whose_third_step_is_missing_keeps_its_place(make_nifti):
    data = np.arange(20, dtype=np.int16).reshape(4, 5)
    rows = {"srow_x": (-2, 0, 0, 7), "srow_y": (0, 2, 0, 8), "srow_z": (0, 0, 0, 9)}
    image, warned = read(make_nifti(data=data, **rows, qform_code=0, pixdim={3: 0}))
    assert (image.axes, image.guess, warned) == (("y", "x"), "", "")
    np.testing.assert_allclose(image.affine, [[-2, 0, -8], [0, 2, -7], [0, 0, 1]])
    np.testing.assert_array_equal(image.to_numpy(), data.T)


def test_the_rounding_of_half_a_turn_is_no_disagreement(make_nifti):
    """Of a quaternion near (0, b, c, d) the first part is known to 3e-4 only."""
    turned = nib.quaternions.quat2mat((3e-4, 0.6, 0.8, 0.0)) * 1.0
    rows = np.column_stack([turned @ np.diag([2.0, 2, 3]), (10, 20, 30)])
    fields = dict(zip(("srow_x", "srow_y", "srow_z"), rows, strict=True))
    quaternion = {"quatern_b": 0.6, "quatern_c": 0.8, "quatern_d": 0, "pixdim": {0: 1}}
    offsets = {"qoffset_x": 10, "qoffset_y": 20, "qoffset_z": 30}
    data = np.zeros((200, 200, 8), np.uint8)
    _, warned = read(make_nifti(data=data, **fields, **quaternion, **offsets))
    assert not warned


def test_a_guess_is_still_one_when_it_was_saved(make_nifti, tmp_path):
    image, _ = read(make_nifti(**NO_CODES))
    path = write_image(tmp_path / "b.nii.gz", image)
    back, _ = read(path)
    assert back.guess == image.guess != ""
    np.testing.assert_array_equal(back.affine, image.affine)
    # Other programs are not told that the scanner said so.
    assert int(nib.load(path).header["sform_code"]) == 2


def test_a_guess_is_none_any_more_when_the_image_was_moved(make_nifti, tmp_path):
    path = write_image(tmp_path / "b.nii", read(make_nifti(**NO_CODES))[0])
    loaded = nib.load(path)
    moved = nib.Nifti1Image(loaded.get_fdata(), np.diag([2.0, 2, 2, 1]), loaded.header)
    moved.to_filename(tmp_path / "c.nii")
    assert read(tmp_path / "c.nii")[0].guess == ""
