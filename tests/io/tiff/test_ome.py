from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.sources import Source

TURNED = np.array([[2.0, 0, 0, 5], [0, 0.6, -0.4, 6], [0, 0.45, 0.8, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
def test_type_and_values_are_kept(tmp_path, dtype):
    data = np.random.default_rng(0).integers(0, 127, (3, 4, 5)).astype(dtype)
    back = read_image(write_image(tmp_path / "a.ome.tif", data))
    np.testing.assert_array_equal(back.data, data)
    assert back.dtype == data.dtype


def test_round_trip_of_everything(tmp_path):
    image = Source(
        np.random.default_rng(0).random((3, 4, 5), dtype=np.float32),
        axes=("depth", "y", "x"),
        affine=TURNED,
        units=("um", "mm", "mm"),
        name="fused & <sharp>",
        metadata={"record": {"seed": 3, "note": "µ"}},
        display={"colormap": "magma", "contrast_limits": [0.25, 0.5]},
    )
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept in a comment"):
        path = write_image(tmp_path / "a.ome.tif", image)
    back = read_image(path)
    np.testing.assert_array_equal(back.data, image.data)
    np.testing.assert_array_equal(back.affine, image.affine)
    for field in ("axes", "units", "name", "metadata", "display", "rgb"):
        assert getattr(back, field) == getattr(image, field)


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 4)])
def test_colors(tmp_path, shape):
    data = np.random.default_rng(0).integers(0, 65535, shape).astype(np.uint16)
    back = read_image(write_image(tmp_path / "a.ome.tif", Source(data, rgb=True)))
    assert back.rgb
    np.testing.assert_array_equal(back.data, data)


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
def test_any_axes(tmp_path, ndim):
    data = np.random.default_rng(0).random((2, 3, 2, 4, 5)[-ndim:])
    back = read_image(write_image(tmp_path / "a.ome.tif", data))
    np.testing.assert_array_equal(back.data, data)
    assert back.axes == Source(data).axes


@pytest.mark.parametrize(
    ("axes", "units", "letters", "channels"),
    [
        ("tyx", ("s", "um", "um"), "TYX", "CT"),
        (("echo", "y", "x"), ("pixel", "um", "um"), "CYX", ["echo 4.92", "echo 7.38"]),
        (("b", "z", "y", "x"), ("s/mm2", "um", "um", "um"), "CZYX", ["b 4.92", "b 7.38"]),
        (("t", "echo", "y", "x"), ("s", "pixel", "um", "um"), "TCYX", ["echo 0", "echo 1"]),
        (("depth", "y", "x"), ("um", "um", "um"), "ZYX", "CT"),
        (("delay", "y", "x"), ("ms", "um", "um"), "TYX", "CT"),
        ("yxz", ("um",) * 3, "ZYX", "CT"),
        ("xy", ("um",) * 2, "YX", "CT"),
    ],
)
def test_other_programs_find_axes_as_what_they_are(tmp_path, axes, units, letters, channels):
    shape = (2, 2, 3, 4)[: len(units)]
    affine = np.diag([*np.arange(1.5, 1.5 + len(units)), 1.0])
    values = {"axis_values": {axes[0]: [4.92, 7.38]}}
    data = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    image = Source(data, axes, affine=affine, units=units, name="CT", metadata=values)
    path = write_image(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == letters
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    found = pixels["Channel"]
    names = [each["Name"] for each in found] if isinstance(found, list) else found["Name"]
    assert names == channels
    assert pixels["PhysicalSizeX"] == affine[list(axes).index("x"), list(axes).index("x")]
    back = read_image(path)
    order = [back.axes.index(axis) for axis in axes]
    np.testing.assert_array_equal(back.data.transpose(order), data)
    np.testing.assert_array_equal(back.spacing[order], image.spacing)
    assert [back.units[n] for n in order] == list(units)
    assert back.metadata == values


@pytest.mark.parametrize("name", ["a\x0bb\x00c", "scan \udce9", "\x01", "<&> \n µ Ü"])
def test_any_name_is_written_as_xml(tmp_path, name):
    path = write_image(tmp_path / "a.ome.tif", Source(np.zeros((4, 5), np.uint8), name=name))
    ElementTree.fromstring(tifffile.tiffcomment(path))
    assert read_image(path).name == name


def test_axes_that_ome_tiff_has_no_letter_for_are_spoken_of(tmp_path):
    image = Source(np.zeros((2, 3, 4, 5), np.uint8), axes=("echo", "b", "y", "x"))
    with pytest.warns(UserWarning, match="no axis b; other programs take it for t"):
        path = write_image(tmp_path / "a.ome.tif", image)
    assert read_image(path).axes == image.axes


def test_counted_times_keep_the_place(tmp_path):
    affine = np.eye(5)
    affine[1:4, 1:] = TURNED[:3]
    affine[0, 0] = 2
    units = ("pixel", "mm", "mm", "mm")
    image = Source(np.zeros((2, 3, 4, 5), np.uint8), affine=affine, units=units)
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept"):
        back = read_image(write_image(tmp_path / "a.ome.tif", image))
    np.testing.assert_array_equal(back.affine, affine)


def test_other_programs_find_sizes_names_and_positions(tmp_path):
    affine = np.diag([30.0, 2.0, 0.5, 0.25, 1])
    affine[1:4, -1] = (10, 11, 12)
    data = np.zeros((2, 3, 4, 5), np.uint8)
    image = Source(data, affine=affine, units=("s", "um", "um", "um"), name="CT")
    path = write_image(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == "TZYX"
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.25, "µm")
    assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (30, "s")
    assert pixels["Channel"]["Name"] == "CT"
    assert [plane["PositionZ"] for plane in pixels["Plane"]] == [10, 12, 14] * 2


def test_foreign_file_has_physical_sizes_and_channels(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (3, 2, 8, 9), np.uint8)
    described = {
        "axes": "ZCYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 250.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 2.0,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, metadata=described)
    images = read_images(tmp_path / "a.ome.tif")
    assert [image.name for image in images] == ["DAPI", "GFP"]
    np.testing.assert_array_equal(images[1].data, data[:, 1])
    np.testing.assert_array_equal(images[0].spacing, (2, 250, 250))
    assert images[0].units == ("um", "nm", "nm")
    assert read_image(tmp_path / "a.ome.tif", channel="GFP", plane="z=2").shape == (8, 9)


def test_pyramid(tmp_path):
    data = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(data, subifds=1, tile=(16, 16), metadata={"PhysicalSizeX": 0.5})
        writer.write(data[::2, ::2], subfiletype=1, tile=(16, 16))
    image = read_image(tmp_path / "a.ome.tif")
    assert [level.shape for level in image.pyramid] == [(32, 32)]
    half = read_image(tmp_path / "a.ome.tif", level=1)
    np.testing.assert_array_equal(half.data, data[::2, ::2])
    np.testing.assert_allclose(half.spacing, (2, 1))


def test_place_is_taken_from_the_fields_where_another_program_changed_them(tmp_path):
    image = Source(np.zeros((4, 5)), affine=np.diag([2.0, 3, 1]), units=("um", "um"))
    path = write_image(tmp_path / "a.ome.tif", image)
    comment = tifffile.tiffcomment(path).replace('PhysicalSizeX="3.0"', 'PhysicalSizeX="9.0"')
    tifffile.tiffcomment(path, comment.encode())
    np.testing.assert_array_equal(read_image(path).spacing, (2, 9))


def test_what_ome_tiff_cannot_hold(tmp_path):
    with pytest.raises(ImageFileError, match="got int64; convert it, or write OME-Zarr"):
        write_image(tmp_path / "a.ome.tif", np.zeros((4, 5), np.int64))
    with pytest.raises(ImageFileError, match="two to five axes"):
        write_image(tmp_path / "a.ome.tif", np.zeros((2,) * 6))
    image = Source(np.zeros((4, 5)), units=("m", "furlong"))
    with pytest.warns(UserWarning, match="no unit furlong for axis X"):
        path = write_image(tmp_path / "b.ome.tif", image)
    assert read_image(path).units == ("m", "furlong")
    with pytest.warns(UserWarning, match="written as 1 and 0"):
        write_image(tmp_path / "c.ome.tif", np.eye(4, dtype=bool))


def test_entities_are_refused(tmp_path):
    path = write_image(tmp_path / "a.ome.tif", np.zeros((4, 5), np.uint8))
    xml = tifffile.tiffcomment(path)
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]>' + xml.replace("image", "&a11;", 1)
    tifffile.tiffcomment(path, ('<?xml version="1.0"?>' + bomb).encode())
    with pytest.raises(ImageFileError, match=r"declares entities in its OME-XML|damaged"):
        read_images(path)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_truncated(tmp_path, kept):
    noise = np.random.default_rng(0).random((3, 30, 40))
    path = write_image(tmp_path / "a.ome.tif", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match=r"damaged"):
        read_image(path)
