import json

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.io.zarr import arrays, writing
from napari_dip_fusion.sources import Source

TURNED = np.array([[2.0, 0, 0, 5], [0, 0.6, -0.4, 6], [0, 0.45, 0.8, 7], [0, 0, 0, 1]])
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def random_image(shape=(3, 4, 5), **fields):
    return Source(np.random.default_rng(0).random(shape, dtype=np.float32), **fields)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f2", "f4", "f8", "?"])
def test_type_and_values_are_kept(tmp_path, dtype):
    data = np.random.default_rng(0).integers(0, 127, (3, 4, 5)).astype(dtype)
    back = read_image(write_image(tmp_path / "a.ome.zarr", data))
    assert isinstance(back.data, da.Array)
    np.testing.assert_array_equal(back.to_numpy(), data)
    assert back.dtype == data.dtype


@VERSIONS
def test_round_trip_of_everything(tmp_path, version):
    image = random_image(
        axes=("depth", "y", "x"),
        affine=TURNED,
        units=("um", "mm", "mm"),
        name="fused",
        metadata={"record": {"seed": 3}},
        display={"colormap": "magma", "contrast_limits": [0.25, 0.5]},
    )
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept in an attribute"):
        writing.write(tmp_path / "a.ome.zarr", image, version=version)
    back = read_image(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(back.to_numpy(), image.data)
    np.testing.assert_array_equal(back.affine, image.affine)
    for field in ("axes", "units", "name", "metadata", "display", "rgb"):
        assert getattr(back, field) == getattr(image, field)


@VERSIONS
@pytest.mark.parametrize(
    ("axes", "units", "written"),
    [
        ("tyx", ("s", "um", "um"), [("t", "time", "second"), *"yx"]),
        (("echo", "y", "x"), ("pixel", "um", "um"), [("echo", None, None), *"yx"]),
        (("b", "z", "y", "x"), ("s/mm2", "um", "um", "um"), [("b", None, "s/mm2"), *"zyx"]),
        (("c", "y", "x"), ("pixel", "um", "um"), [("c", "channel", None), *"yx"]),
        (("delay", "y", "x"), ("ms", "um", "um"), [("delay", "time", "millisecond"), *"yx"]),
        (("depth", "y", "x"), ("um", "um", "um"), [*"zyx"]),
        ("ztyx", ("um", "s", "um", "um"), [("t", "time", "second"), *"zyx"]),
        (
            ("echo", "t", "z", "y", "x"),
            ("pixel", "s", "um", "um", "um"),
            [("t", "time", "second"), ("echo", None, None), *"zyx"],
        ),
    ],
)
def test_axes_are_written_as_what_they_are(tmp_path, axes, units, written, version):
    shape = tuple(range(2, 2 + len(units)))
    affine = np.diag([*np.arange(1.0, 1 + len(units)), 1.0])
    values = {"axis_values": {axes[0]: [4.92, 7.38]}}
    image = random_image(shape, axes=axes, units=units, affine=affine, metadata=values)
    writing.write(tmp_path / "a.zarr", image, version=version)
    attributes = dict(zarr.open_group(tmp_path / "a.zarr", mode="r").attrs)
    scales = attributes.get("ome", attributes)["multiscales"][0]
    found = [(axis["name"], axis.get("type"), axis.get("unit")) for axis in scales["axes"]]
    space = {name: (name, "space", "micrometer") for name in "zyx"}
    assert found == [space[axis] if isinstance(axis, str) else axis for axis in written]
    back = read_image(tmp_path / "a.zarr")
    order = [back.axes.index(axis) for axis in axes]
    np.testing.assert_array_equal(back.to_numpy().transpose(order), image.data)
    np.testing.assert_array_equal(back.spacing[order], image.spacing)
    assert [back.units[n] for n in order] == list(units)
    assert back.metadata == values
    # Without the description, as other programs read it.
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    del group.attrs["napari-dip-fusion"]
    foreign = read_images(tmp_path / "a.zarr")[0]
    names = {"delay": "t"}
    assert foreign.axes == tuple(names.get(name, name) for name, *_ in found if name != "c")


def test_colors_that_another_program_made_channels_are_channels(tmp_path):
    path = write_image(tmp_path / "a.zarr", random_image((4, 5, 3), rgb=True))
    group = zarr.open_group(path, mode="a")
    del group["0"]
    group.create_array("0", data=np.arange(40.0).reshape(2, 4, 5))
    images = read_images(path)
    assert [image.shape for image in images] == [(4, 5)] * 2
    np.testing.assert_array_equal(images[1].to_numpy(), np.arange(20.0, 40).reshape(4, 5))


@VERSIONS
@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 4), (2, 3, 4, 5, 3)])
def test_colors(tmp_path, shape, version):
    image = random_image(shape, rgb=True)
    writing.write(tmp_path / "a.zarr", image, version=version)
    back = read_image(tmp_path / "a.zarr")
    assert back.rgb
    np.testing.assert_array_equal(back.to_numpy(), image.data)
    np.testing.assert_array_equal(back.affine, image.affine)


@VERSIONS
def test_resolutions(tmp_path, version):
    image = random_image((8, 12), affine=np.diag([2.0, 3, 1]), units=("um", "um"))
    image = image.replace(pyramid=(image.data[::2, ::2], image.data[::4, ::4]))
    writing.write(tmp_path / "a.zarr", image, version=version)
    back = read_image(tmp_path / "a.zarr")
    assert [level.shape for level in back.pyramid] == [(4, 6), (2, 3)]
    quarter = read_image(tmp_path / "a.zarr", level=2)
    np.testing.assert_array_equal(quarter.to_numpy(), image.data[::4, ::4])
    np.testing.assert_allclose(quarter.spacing, (8, 12))


def test_turned_resolutions_are_spoken_of(tmp_path):
    image = random_image((8, 12))
    turned = np.array([[2, 0.5, 0.5], [0, 2, 0.5], [0, 0, 1]])
    image = image.replace(pyramid=(image.data[::2, ::2],), level_affines=(turned,))
    with pytest.warns(UserWarning, match="level 1 loses the rotation and shear"):
        write_image(tmp_path / "a.zarr", image)


@VERSIONS
def test_foreign_file_has_scale_units_and_channels(tmp_path, version):
    data = np.random.default_rng(0).integers(0, 99, (2, 3, 8, 9), np.uint16)
    group = zarr.open_group(
        str(tmp_path / "a.zarr"), mode="w", zarr_format=3 if version == "0.5" else 2
    )
    group.create_array("s0", data=data)
    scales = {
        "name": "cells",
        "axes": [
            {"name": "c", "type": "channel"},
            *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1, 2, 0.5, 0.25]},
                    {"type": "translation", "translation": [0, 10, 20, 30]},
                ],
            }
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2, 2]}],
    }
    channels = [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 5, "end": 50}},
        {"label": "GFP"},
    ]
    ome = {"multiscales": [scales], "omero": {"channels": channels}}
    group.attrs.update({"ome": ome} if version == "0.5" else ome)
    images = read_images(tmp_path / "a.zarr")
    assert [image.name for image in images] == ["DAPI", "GFP"]
    assert images[0].display == {"colormap": "#0000FF", "contrast_limits": [5, 50]}
    np.testing.assert_array_equal(images[1].to_numpy(), data[1])
    np.testing.assert_array_equal(
        images[0].affine,
        np.diag([4, 1, 0.5, 1])
        + np.array([[0, 0, 0, 20], [0, 0, 0, 40], [0, 0, 0, 60], [0, 0, 0, 0]]),
    )
    assert images[0].units == ("um",) * 3
    assert images[0].axes == ("z", "y", "x")


def test_only_what_is_looked_at_is_read(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.zarr", random_image((6, 4, 5)))
    read = []
    original = arrays._ReportingArray.__getitem__
    monkeypatch.setattr(
        arrays._ReportingArray, "__getitem__", lambda self, w: read.append(w) or original(self, w)
    )
    image = read_image(path)
    assert not read
    image.take("z", 3).to_numpy()
    assert len(read) == 1


def test_lazy_pixels_are_written(tmp_path):
    data = np.random.default_rng(0).random((3, 40, 50))
    lazy = Source(da.from_array(data, chunks=(1, 7, 50)))
    np.testing.assert_array_equal(read_image(write_image(tmp_path / "a.zarr", lazy)).data, data)


def test_bioformats_layout_and_folders(tmp_path):
    write_image(tmp_path / "0.zarr", random_image())
    root = tmp_path / "a.zarr"
    zarr.open_group(str(root), mode="w").attrs["ome"] = {"bioformats2raw.layout": 3}
    (tmp_path / "0.zarr").rename(root / "0")
    assert read_image(root).shape == (3, 4, 5)
    zarr.open_group(str(tmp_path / "b.zarr"), mode="w").create_group("image")
    with pytest.raises(ImageFileError, match="choose one of the folders in it: image"):
        read_image(tmp_path / "b.zarr")
    (tmp_path / "c.zarr").mkdir()
    with pytest.raises(ImageFileError, match=r"neither zarr\.json nor \.zattrs"):
        read_image(tmp_path / "c.zarr")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ome: ome["multiscales"][0].pop("axes"), "names no axes"),
        (lambda ome: ome["multiscales"][0]["axes"].pop(), "names 2 axes of 3"),
        (
            lambda ome: ome["multiscales"][0]["datasets"][0].update(path="../other"),
            "points outside of itself",
        ),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="9"), "array is missing"),
        (lambda ome: ome.update(multiscales=7), "cannot be read as OME-Zarr"),
    ],
)
def test_damaged_metadata(tmp_path, change, message):
    path = write_image(tmp_path / "a.zarr", random_image())
    edit(path / "zarr.json", lambda content: change(content["attributes"]["ome"]))
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


def test_absurd_sizes_and_codecs(tmp_path):
    path = write_image(tmp_path / "a.zarr", random_image())
    huge = {"name": "regular", "configuration": {"chunk_shape": [10**6] * 3}}
    edit(path / "0" / "zarr.json", lambda c: c.update(shape=[10**6] * 3, chunk_grid=huge))
    with pytest.raises(ImageFileError, match="of memory"):
        read_image(path)
    edit(path / "0" / "zarr.json", lambda c: c["codecs"].insert(0, {"name": "numcodecs.pickle"}))
    with pytest.raises(ImageFileError, match="packed by 'pickle', which is not trusted"):
        read_image(path)


def test_pickled_filter_of_zarr_2_is_refused(tmp_path):
    writing.write(tmp_path / "a.zarr", random_image(), version="0.4")
    edit(tmp_path / "a.zarr/0/.zarray", lambda c: c.update(filters=[{"id": "pickle"}]))
    with pytest.raises(ImageFileError, match="packed by 'pickle', which is not trusted"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("shards", [None, (4, 16, 16)])
@pytest.mark.parametrize("where", [4, 8, 12])
def test_blosc_chunk_that_lies_about_its_size(tmp_path, where, shards):
    """The decoder would read beyond the chunk and end the process."""
    path = write_image(tmp_path / "a.zarr", random_image((4, 16, 16)))
    data = np.tile(np.arange(16, dtype=np.float32), (4, 16, 1))
    group = zarr.open_group(str(path), mode="a")
    blosc = zarr.codecs.BloscCodec(typesize=4)
    group.create_array(
        "0", data=data, chunks=(2, 16, 16), shards=shards, compressors=blosc, overwrite=True
    )
    np.testing.assert_array_equal(read_image(path).to_numpy(), data)
    chunk = min(p for p in (path / "0" / "c").rglob("*") if p.is_file())
    content = bytearray(chunk.read_bytes())
    content[where : where + 4] = b"\xff\xff\xff\x7f"
    chunk.write_bytes(content)
    with pytest.raises(ImageFileError, match="is damaged"):
        read_image(path).take("z", 0).to_numpy()


def test_damaged_chunk(tmp_path):
    path = write_image(tmp_path / "a.zarr", random_image())
    for chunk in (path / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(ImageFileError, match="damaged"):
        read_image(path).to_numpy()


def test_what_ome_zarr_cannot_hold(tmp_path):
    for image in (
        np.zeros(2),
        np.zeros((2,) * 6),
        random_image((2,) * 5, axes=("echo", "b", "z", "y", "x")),
        random_image((2, 3, 4, 3), axes=("echo", "y", "x"), rgb=True),
        random_image((2,) * 4, axes=("t", "delay", "y", "x"), units=("s", "ms", "mm", "mm")),
    ):
        with pytest.raises(ImageFileError, match="one of time, and one of another kind or of col"):
            write_image(tmp_path / "a.zarr", image)
    with pytest.raises(ImageFileError, match="got complex128"):
        write_image(tmp_path / "a.zarr", np.zeros((2, 3), complex))
    with pytest.warns(UserWarning, match="no unit furlong for axis x"):
        write_image(tmp_path / "a.zarr", random_image((2, 3), units=("m", "furlong")))
