"""Axes, units and optional fields in every version of OME-Zarr, and in none."""

import json
import warnings

import numpy as np
import pytest
import zarr

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images


def read(path):
    """Return the images of a path, and its warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = read_images(path)
    return images, " ".join(str(w.message) for w in caught)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("version", ["0.1", "0.2", None, "left out"])
@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("declared", [True, False])
def test_the_first_versions_have_five_axes(make_zarr, describe, version, separator, declared):
    data = np.random.default_rng(0).integers(1, 99, (2, 3, 4, 5, 6), np.uint16)
    options = {
        "chunk_key_encoding": {"name": "v2", "separator": separator},
        "chunks": (1, 1, 2, 5, 6),
    }
    scales = describe(axes="left out", version=version, datasets=[{"path": "0"}])
    path = make_zarr({"0": data}, scales, options=options)
    if not declared:
        edit(path / "0" / ".zarray", lambda content: content.pop("dimension_separator", None))
    images, warned = read(path)
    assert [image.name for image in images] == ["img 0", "img 1", "img 2"]
    assert {image.axes for image in images} == {("t", "z", "y", "x")}
    for n, image in enumerate(images):
        np.testing.assert_array_equal(image.to_numpy(), data[:, n])
        assert image.guess.startswith("no coordinateTransformations are declared for level 0")
    assert not warned


def test_version_0_3_names_its_axes_alone(make_zarr, describe):
    data = np.random.default_rng(0).integers(1, 99, (4, 8, 6), np.uint16)
    scales = describe(axes=["z", "y", "x"], version="0.3", datasets=[{"path": "0"}, {"path": "1"}])
    (image,), warned = read(make_zarr({"0": data, "1": data[:, ::2, ::2]}, scales))
    assert (image.axes, image.units, warned) == (("z", "y", "x"), ("pixel",) * 3, "")
    np.testing.assert_array_equal(image.to_numpy(), data)
    assert image.guess == (
        "no coordinateTransformations are declared for level 0, 1, its pixels are counted"
    )


@pytest.mark.parametrize("shared", [False, True])
def test_version_0_6_has_coordinate_systems(make_zarr, describe, shared):
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "yx"]
    steps = {
        "type": "sequence",
        "input": "0",
        "output": "physical",
        "transformations": [
            {"type": "scale", "scale": [2, 3]},
            {"type": "translation", "translation": [5, 7]},
        ],
    }
    scales = describe(
        axes="left out",
        version="left out",
        coordinateSystems=[
            {"name": "other", "axes": axes[::-1]},
            {"name": "physical", "axes": axes},
        ],
        datasets=[{"path": "0", "coordinateTransformations": [steps]}],
    )
    if shared:
        turn = {"type": "rotation", "rotation": [[0, 1], [1, 0]], "output": "other"}
        scales["coordinateTransformations"] = [turn]
    data = np.random.default_rng(0).integers(1, 99, (4, 6), np.uint16)
    (image,), warned = read(make_zarr({"0": data}, scales, zarr_format=3, version="0.6"))
    np.testing.assert_array_equal(image.affine, [[2, 0, 5], [0, 3, 7], [0, 0, 1]])
    assert (image.axes, image.units) == (("y", "x"), ("nm", "nm"))
    said = "further coordinate systems, which are not read; its place is that in 'physical'"
    assert said in warned if shared else not warned


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_null_in_optional_fields(make_zarr, describe, volume, zarr_format):
    axes = [{"name": n, "type": None, "unit": None} for n in "czyx"]
    scales = describe(
        name=None, type=None, metadata=None, axes=axes, coordinateTransformations=None
    )
    scales["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, 3, 2, 2]}]
    data = np.stack([volume] * 3)
    channels = [
        {"label": None, "color": None, "window": None},
        None,
        {"label": 7, "color": "#00FF00", "window": {"start": None, "end": 4, "min": None}},
    ]
    for omero in (None, {"channels": None}, {"channels": channels}):
        path = make_zarr({"0": data}, scales, zarr_format=zarr_format, omero=omero, labels=None)
        images, warned = read(path)
        assert not warned
        for n, image in enumerate(images):
            np.testing.assert_array_equal(image.to_numpy(), data[n])
            assert image.units == ("pixel",) * 3
            np.testing.assert_allclose(image.spacing, (3, 2, 2))
            assert image.guess == ""
    assert [image.name for image in images] == ["a 0", "a 1", "7"]
    assert [dict(image.display) for image in images] == [{}, {}, {"colormap": "#00FF00"}]


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        ("tczyx", "tczyx"),
        ("zyxc", "czyx"),
        ("xyz", "zyx"),
        ("xy", "yx"),
        ("yxt", "tyx"),
        ("XYZ", "zyx"),
        ("zxy", "zyx"),
    ],
)
def test_pixels_lie_on_their_own_axes(make_zarr, describe, names, axes):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    steps = {"t": 7.0, "c": 1.0, "z": 3.0, "y": 2.0, "x": 0.5}
    data = np.random.default_rng(0).integers(1, 999, [sizes[n.lower()] for n in names])
    scale = [steps[n.lower()] for n in names]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    scales = describe(names=names, datasets=datasets)
    for axis in scales["axes"]:
        axis["unit"] = {"t": "second", "c": None}.get(axis["name"].lower(), "micrometer")
    images, _ = read(make_zarr({"0": data}, scales))
    expected = data.transpose([names.lower().index(n) for n in axes])
    got = np.stack([image.to_numpy() for image in images])
    if "c" in axes:
        expected = np.moveaxis(expected, axes.index("c"), 0)
    np.testing.assert_array_equal(got, expected if "c" in axes else expected[None])
    for image in images:
        assert "".join(image.axes) == axes.replace("c", "")
        np.testing.assert_allclose(image.spacing, [steps[n] for n in image.axes])
        assert image.units == tuple("s" if n == "t" else "um" for n in image.axes)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ([{"name": "channel", "type": "channel"}, "y", "x"], ("y", "x")),
        ([{"name": "channel"}, {"name": "y"}, {"name": "x"}], ("y", "x")),
        ([{"name": "frame", "type": "time"}, "y", "x"], ("t", "y", "x")),
        ([{"name": "angle"}, "y", "x"], ("angle", "y", "x")),
        (["y", "x", "angle"], ("angle", "y", "x")),
        ([{"name": "z"}, {"name": "row"}, {"name": "column"}], ("z", "row", "column")),
        ([{"name": None}, {"name": "y"}, {"name": "x"}], ("axis 0", "y", "x")),
    ],
)
def test_axes_of_other_names(make_zarr, describe, axes, expected):
    data = np.random.default_rng(0).integers(1, 999, (3, 4, 5))
    images, warned = read(make_zarr({"0": data}, describe(axes=axes)))
    assert {image.axes for image in images} == {expected}
    turned = data.transpose((2, 0, 1)) if axes[-1] == "angle" else data
    np.testing.assert_array_equal(np.stack([i.to_numpy() for i in images]).squeeze(), turned)
    assert not warned


@pytest.mark.parametrize(
    ("unit", "short"),
    [
        ("micrometer", "um"),
        ("µm", "um"),
        ("nanometer", "nm"),
        (None, "pixel"),
        ("furlong", "furlong"),
    ],
)
def test_each_axis_has_its_own_unit(make_zarr, describe, unit, short):
    axes = [{"name": n, "type": "space", "unit": u} for n, u in (("z", "millimeter"), ("y", unit))]
    axes.append({"name": "x", "type": "space"})
    (image,), _ = read(make_zarr({"0": np.ones((2, 3, 4))}, describe(axes=axes)))
    assert image.units == ("mm", short, "pixel")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": "left out"}, "names no axes of its 3"),
        ({"axes": "left out", "version": "0.1"}, "names no axes of its 3, and only version 0.1"),
        ({"axes": ["z", "y", "y"]}, r"two axes of one name \(z, y, y\)"),
        ({"axes": ["y", "x"]}, "names 2 axes of 3"),
        ({"datasets": []}, "cannot be read as OME-Zarr|the array is missing"),
        ({"datasets": [{"path": "5"}, {"path": "6"}]}, "in 5, 6; the array is missing"),
        ({"datasets": [{"path": "/etc"}]}, "points outside of itself"),
        ({"datasets": [{"path": "0/../../b"}]}, "points outside of itself"),
    ],
)
def test_what_contradicts_itself_is_refused(make_zarr, describe, volume, change, message):
    with pytest.raises(ImageFileError, match=message):
        read(make_zarr({"0": volume}, describe(**change)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cells", "cells"),
        ("/data/run 3/cells.ome.zarr", "cells"),
        (r"C:\data\cells.czi", "cells.czi"),
        ("/0", "a.v2"),
        ("0", "a.v2"),
        (None, "a.v2"),
        ("", "a.v2"),
    ],
)
def test_names_are_for_people(make_zarr, describe, volume, name, expected):
    path = make_zarr({"0": volume}, describe(name=name), name="a.v2.OME.Zarr")
    assert read(path)[0][0].name == expected


@pytest.mark.parametrize("dtype", ["u1", ">u2", ">f4", "?", "f2", "i8"])
def test_types(make_zarr, describe, volume, dtype):
    data = volume.astype(dtype)
    (image,), _ = read(make_zarr({"0": data}, describe()))
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    assert image.to_numpy().dtype.isnative
    np.testing.assert_array_equal(image.to_numpy(), data)


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "S4"])
@pytest.mark.filterwarnings("ignore")
def test_no_numbers_are_refused(make_zarr, describe, dtype):
    data = np.zeros((2, 3, 4), dtype)
    with pytest.raises(ImageFileError, match="values; convert them to numbers"):
        read(make_zarr({"0": data}, describe()))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_without_metadata_is_read_with_a_word(tmp_path, zarr_format):
    data = np.random.default_rng(0).random((3, 4, 5))
    names = {"dimension_names": ["z", "y", "x"]} if zarr_format == 3 else {}
    path = tmp_path / "a"
    array = zarr.create_array(str(path), data=data, zarr_format=zarr_format, **names)
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["time", "lat", "lon"]
    (image,), warned = read(path)
    assert "is one Zarr array without metadata of OME; its pixels are counted" in warned
    np.testing.assert_array_equal(image.to_numpy(), data)
    assert image.axes == (("z", "y", "x") if zarr_format == 3 else ("time", "lat", "lon"))
    assert image.name == "a"
    zarr.create_array(str(tmp_path / "b.zarr"), data=np.arange(3), zarr_format=zarr_format)
    with pytest.raises(ImageFileError, match="is a Zarr array of 1 axes; an image has two"):
        read(tmp_path / "b.zarr")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.zarr").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(ImageFileError, match="is packed by zip; unpack it and open the folder"):
        read(tmp_path / "a.zarr")
    (tmp_path / "b.ome.zarr").write_bytes(b"something else")
    (tmp_path / "c.zarr.zip").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(ImageFileError, match="holds a ZIP archive; unpack"):
        read(tmp_path / "c.zarr.zip")
    with pytest.raises(ImageFileError, match="is a file, and an OME-Zarr is a folder"):
        read(tmp_path / "b.ome.zarr")


def test_other_images_of_a_group_are_said(make_zarr, describe, volume):
    (image,), warned = read(make_zarr({"0": volume}, [describe(), describe(name="second")]))
    assert "describes 2 images in one group; the first is read, not second" in warned
    np.testing.assert_array_equal(image.to_numpy(), volume)
