import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr

import napari_dip_fusion
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import check_image, read_image, read_plane, write_image
from napari_dip_fusion.io.nifti import pixels
from napari_dip_fusion.io.tiff import pages
from napari_dip_fusion.sources import Source


def test_import_is_cheap():
    code = (
        "import sys, napari_dip_fusion.io as io; io.read_image;"
        "print([m for m in ('torch', 'napari', 'qtpy', 'magicgui', 'tifffile', 'PIL')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_no_permission(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    path.chmod(0)
    with pytest.raises(ImageFileError, match=r"may not be read by you"):
        read_image(path)


def test_permission_error_is_explained(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(ImageFileError, match=r"may not be read by you"):
        read_image(path)


def test_plane_is_in_memory(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    assert isinstance(read_plane(path).data, np.ndarray)


@pytest.mark.parametrize("ending", [".ome.tif", ".fusion.ome.tif", ".nii.gz", ".ome.zarr"])
@pytest.mark.parametrize(
    ("shape", "rgb"),
    [
        ((1, 4, 5), False),
        ((1, 1, 4, 5), False),
        ((2, 1, 4, 5), False),
        ((3, 1, 5), False),
        ((1, 4, 5, 3), True),
        ((1, 1), False),
    ],
)
def test_axes_of_size_one_come_back(tmp_path, ending, shape, rgb):
    """As a plane fused within a volume has them."""
    data = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    ndim = len(shape) - rgb
    affine = np.diag([3.0, *range(2, ndim + 1), 1])
    affine[:-1, -1] = 7
    units = ("mm",) * ndim if ndim < 4 else ("s", "mm", "mm", "mm")
    image = Source(data, affine=affine, units=units, rgb=rgb, metadata={"kept": 1})
    back = read_image(write_image(tmp_path / f"a{ending}", image))
    np.testing.assert_array_equal(back.to_numpy(), data)
    np.testing.assert_array_equal(back.affine, affine)
    assert (back.axes, back.units, back.metadata) == (image.axes, units, {"kept": 1})


@pytest.mark.parametrize("ending", [".ome.tif", ".fusion.ome.tif", ".nii", ".zarr", ".png", ".tif"])
def test_images_without_pixels_are_refused(tmp_path, ending):
    image = Source(np.zeros((0, 5), np.uint8))
    for write in (lambda path: write_image(path, image), lambda path: check_image(path, image)):
        with pytest.raises(ImageFileError, match=r"needs pixels, got shape \(0, 5\)"):
            write(tmp_path / f"a{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".ome.tif", ".nii", ".zarr"])
@pytest.mark.parametrize(
    ("axes", "rgb"), [(("t", "echo", "z", "y", "x"), False), (("frame", "y", "x"), True)]
)
def test_a_plane_of_many_axes_can_be_written(tmp_path, ending, axes, rgb):
    """As one fused within a volume over time and echoes has them."""
    affine = np.diag([*range(1, len(axes) + 1), 1.0])
    data = np.arange(60, dtype=np.uint8).reshape(*(1,) * (len(axes) - 2), 4, 5, 3)
    image = Source(data if rgb else data[..., 0], axes, affine=affine, rgb=rgb)
    check_image(tmp_path / f"a{ending}", image)
    back = read_image(write_image(tmp_path / f"a{ending}", image))
    assert (back.axes[-2:], back.rgb) == (("y", "x"), rgb)
    np.testing.assert_array_equal(np.squeeze(back.to_numpy()), np.squeeze(image.data))
    np.testing.assert_array_equal(back.spacing[-2:], image.spacing[-2:])


@pytest.mark.parametrize("axes", [("-3", "-2", "-1"), ("q", "y", "x"), ()])
def test_a_stack_of_which_nothing_is_known_is_a_volume_for_others(tmp_path, axes):
    image = Source(np.zeros((3, 4, 5), np.uint8), axes)
    for ending in (".ome.tif", ".nii", ".zarr"):
        assert read_image(write_image(tmp_path / f"a{ending}", image)).axes == image.axes
    assert nib.load(tmp_path / "a.nii").shape == (5, 4, 3)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.series[0].axes == "ZYX"
    scales = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in scales[0]["axes"]] == ["z", "y", "x"]


@pytest.mark.parametrize("ending", [".ome.tif", ".tif", ".nii", ".nii.gz", ".zarr"])
def test_a_file_that_was_replaced_is_another_image_for_caches(tmp_path, monkeypatch, ending):
    """napari keeps what dask computes by the names of its tasks."""
    monkeypatch.setattr(pages, "_PIECE_BYTES", 100)
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 100)
    path, names = tmp_path / f"a{ending}", []
    for value in (1, 2):
        data = np.full((3, 20, 30), value, np.uint8)
        if ending == ".tif":
            tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"})
        else:
            write_image(path, data, overwrite=True)
        image = read_image(path)
        names.append(image.data.name)
        np.testing.assert_array_equal(image.to_numpy(), data)
    assert names[0] != names[1]


# Rotations are kept where only this program finds them, and that is said.
@pytest.mark.filterwarnings("ignore:fused. OME-(TIFF|Zarr) has fields")
@pytest.mark.parametrize("ending", [".nii.gz", ".ome.tif", ".fusion.ome.tif", ".ome.zarr"])
@pytest.mark.parametrize(
    ("axes", "steps", "units"),
    [
        ("zyx", (2.5, 1.25, 0.5), ("mm", "mm", "mm")),
        ("tzyx", (30, 2.5, 1.25, 0.5), ("s", "um", "um", "um")),
        ("tyx", (30, 0.25, 0.5), ("s", "um", "um")),
    ],
)
@pytest.mark.parametrize("rgb", [False, True])
def test_volumes_and_series_come_back_in_their_place(tmp_path, ending, axes, steps, units, rgb):
    shape = tuple(range(2, 2 + len(axes))) + (3,) * rgb
    data = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8 if rgb else np.float32)
    affine = np.diag([*steps, 1.0])
    # Axes of space are turned and moved together, that of time is not.
    n = axes.count("t")
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(len(axes) - n,) * 2))[0]
    affine[n:-1, n:-1] = turn @ affine[n:-1, n:-1]
    affine[n:-1, -1] = np.arange(len(turn)) * 7.25 - 3
    image = Source(data, axes=tuple(axes), affine=affine, units=units, name="fused", rgb=rgb)
    check_image(tmp_path / f"a{ending}", image)
    back = read_image(write_image(tmp_path / f"a{ending}", image))
    assert (back.axes, back.units, back.rgb, back.name) == (image.axes, units, rgb, "fused")
    assert back.dtype == data.dtype
    np.testing.assert_array_equal(back.to_numpy(), data)
    np.testing.assert_array_equal(back.affine, affine)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("axes", ["zyx", "tyx", "tzyx"])
def test_pictures_of_volumes_are_refused_with_the_names_of_what_can_hold_them(
    tmp_path, ending, axes
):
    image = Source(np.zeros((2,) * len(axes), np.uint8), axes=tuple(axes))
    for refuse in (check_image, write_image):
        with pytest.raises(ImageFileError, match=r"or write \.nii\.gz, \.ome\.tif or \.ome\.zarr"):
            refuse(tmp_path / f"a{ending}", image)
    assert list(tmp_path.iterdir()) == []


def test_scripts_read_and_write_by_names_of_the_package():
    assert napari_dip_fusion.read_image is read_image
    assert napari_dip_fusion.write_image is write_image


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_plane_of_a_volume_is_written_as_a_picture(tmp_path, ending):
    plane = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)
    back = read_image(write_image(tmp_path / f"a{ending}", Source(plane)))
    np.testing.assert_array_equal(back.data, plane[0])
