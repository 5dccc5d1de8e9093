import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, read_plane, write_image
from napari_dip_fusion.io.nifti import pixels
from napari_dip_fusion.sources import Source

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def oblique(ndim=3, *, shear=0.0):
    """Anisotropic, turned about two axes, and shifted."""
    a, b = 0.3, -0.2
    turn_z = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    affine = np.eye(4)
    slant = np.eye(3)
    slant[1, 2] = shear
    affine[:3, :3] = turn_z @ turn_y @ slant @ np.diag([3.0, 0.7, 0.5])
    affine[:3, 3] = (-31.5, 12.25, 100.125)
    return affine[3 - ndim :, 3 - ndim :] if ndim < 3 else affine


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype):
    data = np.random.default_rng(0).integers(0, 127, (4, 5, 6)).astype(dtype)
    back = read_image(write_image(tmp_path / "a.nii", data))
    np.testing.assert_array_equal(back.data, data)
    assert back.dtype == data.dtype


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shear", [0.0, 0.4])
@pytest.mark.parametrize("unit", ["mm", "um", "pixel"])
def test_round_trip_of_everything(tmp_path, ending, shear, unit):
    image = Source(
        np.random.default_rng(0).random((3, 4, 5), dtype=np.float32),
        axes=("z", "row", "column"),
        affine=oblique(shear=shear),
        units=(unit,) * 3,
        name="MR fused",
        metadata={"record": {"seed": 3}},
        display={"colormap": "magma", "contrast_limits": [0.25, 0.5]},
    )
    back = read_image(write_image(tmp_path / f"a{ending}", image))
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.affine, image.affine)
    for field in ("axes", "units", "name", "metadata", "display"):
        assert getattr(back, field) == getattr(image, field)


def test_another_program_finds_the_same_places(tmp_path):
    image = Source(np.zeros((3, 4, 5)), affine=oblique(shear=0.4), units=("mm",) * 3)
    loaded = nib.load(write_image(tmp_path / "a.nii", image))
    x, y, z = nib.affines.apply_affine(loaded.affine, (4, 3, 2))
    world = image.affine @ (2, 3, 4, 1)
    np.testing.assert_allclose((z, -y, -x), world[:3], rtol=1e-5)
    assert loaded.header.get_xyzt_units()[0] == "mm"
    assert int(loaded.header["qform_code"]) == 0  # it cannot hold the shear


def test_place_is_taken_from_the_header_where_another_program_changed_it(tmp_path):
    path = write_image(tmp_path / "a.nii", Source(np.zeros((3, 4, 5)), affine=oblique()))
    loaded = nib.load(path)
    moved = nib.Nifti1Image(loaded.get_fdata(), np.diag([2.0, 2, 2, 1]), loaded.header)
    moved.to_filename(tmp_path / "b.nii")
    np.testing.assert_allclose(read_image(tmp_path / "b.nii").spacing, 2)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, "int32"), (2, 0, "int32"), (0.5, 0.25, "float32")]
)
def test_stored_values_are_scaled(tmp_path, slope, intercept, dtype):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    file = nib.Nifti1Image(stored, np.eye(4))
    file.header.set_slope_inter(slope, intercept)
    file.to_filename(tmp_path / "a.nii")
    proxy = nib.load(tmp_path / "a.nii").dataobj
    back = read_image(tmp_path / "a.nii")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.data, np.asarray(proxy).T)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_time_stays_lazy(tmp_path, ending, monkeypatch):
    data = np.arange(6 * 3 * 4 * 5, dtype=np.int16).reshape(6, 3, 4, 5)
    affine = np.eye(5)
    affine[0, 0], affine[0, -1], affine[1:, 1:] = 2.5, 10, oblique()
    units = ("s", "mm", "mm", "mm")
    path = write_image(tmp_path / f"a{ending}", Source(data, affine=affine, units=units))
    read = []
    original = pixels._ScaledPixels.__getitem__
    monkeypatch.setattr(
        pixels._ScaledPixels, "__getitem__", lambda self, w: read.append(w) or original(self, w)
    )
    image = read_image(path)
    assert not read
    assert image.axes == ("t", "z", "y", "x")
    assert image.units == units
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_array_equal(image.take("t", 4).to_numpy(), data[4])
    assert len(read) == 1
    np.testing.assert_array_equal(image.to_numpy(), data)
    np.testing.assert_array_equal(read_plane(path, plane="t=5,z=1").data, data[5, 1])


def test_large_volume_is_read_in_slabs(tmp_path, monkeypatch):
    data = np.random.default_rng(0).random((6, 10, 20))
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 2 * 10 * 20 * 8)
    slabs = read_image(write_image(tmp_path / "a.nii", data))
    assert slabs.data.chunks[0] == (2, 2, 2)
    np.testing.assert_array_equal(slabs.to_numpy(), data)
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 3 * 20 * 8)
    rows = read_image(tmp_path / "a.nii")
    assert rows.data.chunksize == (1, 3, 20)
    np.testing.assert_array_equal(rows.to_numpy(), data)
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 2 * 10 * 20 * 8)
    whole = read_image(write_image(tmp_path / "a.nii.gz", data))
    assert whole.data.chunks[0] == (6,)
    np.testing.assert_array_equal(whole.to_numpy(), data)


def test_colors(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), np.uint8)
    back = read_image(write_image(tmp_path / "a.nii", Source(data, rgb=True)))
    assert back.rgb
    np.testing.assert_array_equal(back.data, data)
    many = np.stack([data] * 2)
    lazy = read_image(write_image(tmp_path / "b.nii", Source(many, rgb=True)))
    np.testing.assert_array_equal(lazy.to_numpy(), many)


def test_plane(tmp_path):
    image = Source(
        np.arange(20.0).reshape(4, 5), affine=oblique(2), units=("mm", "mm"), name="plane"
    )
    back = read_image(write_image(tmp_path / "a.nii.gz", image))
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.affine, image.affine)


@pytest.mark.parametrize(
    ("axes", "units", "fourth"),
    [
        ("tyx", ("s", "um", "um"), "sec"),
        ("tyx", ("ms", "mm", "mm"), "msec"),
        (("echo", "y", "x"), ("pixel", "mm", "mm"), "unknown"),
        (("c", "y", "x"), ("pixel", "um", "um"), "unknown"),
        (("echo", "z", "y", "x"), ("pixel", "mm", "mm", "mm"), "unknown"),
        ("ztyx", ("mm", "s", "mm", "mm"), "sec"),
    ],
)
@pytest.mark.parametrize("colors", [(), (3,)])
def test_what_is_no_space_is_the_fourth_dimension(tmp_path, axes, units, fourth, colors):
    shape = (2, 3, 4, 5)[: len(units)]
    affine = np.diag([*np.arange(1.5, 1.5 + len(units)), 1.0])
    affine[:-1, -1] = np.arange(10, 10 + len(units))
    data = np.random.default_rng(0).integers(0, 255, (*shape, *colors), np.uint8)
    image = Source(data, axes, affine=affine, units=units, rgb=bool(colors))
    path = write_image(tmp_path / "a.nii", image)
    loaded = nib.load(path)
    (number,) = (n for n, axis in enumerate(axes) if axis not in ("z", "y", "x"))
    sizes = dict(zip(axes, shape, strict=True))
    assert loaded.shape == (sizes["x"], sizes["y"], sizes.get("z", 1), shape[number])
    assert loaded.header.get_xyzt_units()[1] == fourth
    np.testing.assert_allclose(loaded.header["pixdim"][4], affine[number, number])
    np.testing.assert_allclose(loaded.header["toffset"], affine[number, -1])
    back = read_image(path)
    order = [back.axes.index(axis) for axis in axes]
    turned = back.transpose(order)
    np.testing.assert_array_equal(turned.to_numpy(), data)
    np.testing.assert_array_equal(turned.affine, affine)
    assert turned.units == units


def test_fifth_dimension_becomes_images(tmp_path):
    data = np.random.default_rng(0).random((5, 4, 3, 1, 2))
    nib.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / "a.nii")
    images = read_images(tmp_path / "a.nii")
    assert [image.name for image in images] == ["a 0", "a 1"]
    np.testing.assert_array_equal(
        read_plane(tmp_path / "a.nii", channel=1, plane="z=2").data, data[:, :, 2, 0, 1].T
    )


def test_what_nifti_cannot_hold(tmp_path):
    write = write_image
    with pytest.warns(UserWarning, match="no float16; it is written as float32"):
        write(tmp_path / "a.nii", np.zeros((3, 4), np.float16))
    with pytest.warns(UserWarning, match="units cm, mm are converted to mm"):
        path = write(tmp_path / "b.nii", Source(np.zeros((3, 4)), units=("cm", "mm")))
    header = nib.load(path).header
    np.testing.assert_allclose(header.get_zooms(), (1, 10))
    assert header.get_xyzt_units()[0] == "mm"
    back = read_image(path)
    assert back.units == ("cm", "mm")
    np.testing.assert_array_equal(back.spacing, (1, 1))
    with pytest.raises(ImageFileError, match="colors of uint8, got uint16"):
        write(tmp_path / "c.nii", np.zeros((3, 4, 3), np.uint16))
    turned = np.eye(5)
    turned[0, 1] = 1
    with pytest.raises(ImageFileError, match="cannot turn time into space"):
        write(tmp_path / "d.nii", Source(np.zeros((2, 2, 2, 2)), affine=turned))
    for axes in ("x", ("axis 0", *"tzyx"), ("echo", "b", "y", "x")):
        with pytest.raises(ImageFileError, match="two to four axes"):
            write(tmp_path / "e.nii", Source(np.zeros((2,) * len(axes)), axes))
    nearly_a_line = np.array([[1, 1, 0], [0, 1e-5, 0], [0, 0, 1]])
    with pytest.raises(ImageFileError, match="correct the affine"):
        write(tmp_path / "e.nii", Source(np.zeros((2, 2)), affine=nearly_a_line))
    with pytest.raises(ImageFileError, match="got complex128"):
        write(tmp_path / "f.nii", np.zeros((3, 4), complex))


def test_connectivity_matrix_is_no_image():
    path = Path(nib.__file__).parent / "tests" / "data" / "row_major.dconn.nii"
    if not path.exists():
        pytest.skip("nibabel was installed without its examples")
    with pytest.raises(ImageFileError, match=r"is CIFTI-2 .* not an image"):
        read_image(path)


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz"])
def test_examples_of_nibabel(name):
    path = Path(nib.__file__).parent / "tests" / "data" / name
    if not path.exists():
        pytest.skip("nibabel was installed without its examples")
    image, loaded = read_image(path), nib.load(path)
    np.testing.assert_allclose(image.to_numpy(), loaded.get_fdata().T, rtol=1e-6)
    x, y, z = nib.affines.apply_affine(loaded.affine, (3, 2, 1))
    index = (0,) * (image.ndim - 3) + (1, 2, 3, 1)
    np.testing.assert_allclose((image.affine @ index)[-4:-1], (z, -y, -x))


def test_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((20000, 20000, 20000))
    header.set_data_dtype(np.float64)
    header["vox_offset"] = 352
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb") as file:
        file.write(header.binaryblock + bytes(10_000_000))
    with pytest.raises(ImageFileError, match="declares 64 TB of image but holds 10 kB"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.98])
def test_truncated(tmp_path, ending, kept):
    noise = np.random.default_rng(0).random((6, 20, 30))
    path = write_image(tmp_path / f"a{ending}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (0, b"\0\0\0\0", "must declare 348 or 540 bytes"),
        (40, b"\xff\xff", "damaged"),
        (42, b"\xff\xff", "declares the size|cannot be read as NIfTI"),
        (70, b"\xff\x7f", "declares the type of pixels 32767"),
        (108, b"\0\0\xc0\x7f", "declares its pixels at byte nan"),
        (344, b"nope", "has b'nope' where NIfTI has its mark"),
    ],
)
def test_broken_header(tmp_path, where, value, message):
    path = write_image(tmp_path / "a.nii", np.zeros((4, 5, 6)))
    content = bytearray(path.read_bytes())
    content[where : where + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=message):
        read_image(path)
