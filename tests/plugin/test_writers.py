import warnings

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.colormaps import Colormap
from npe2 import PluginManifest

from napari_dip_fusion.io import read_image
from napari_dip_fusion.plugin.readers import get_reader
from napari_dip_fusion.plugin.writers import make_source, write_bundle, write_image

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def turned_layer(**fields):
    affine = np.eye(4)
    affine[:3, 3] = (1, 2, 3)
    affine[1, 2] = 0.25
    arguments = {
        "scale": (3, 0.7, 0.5),
        "translate": (-31.5, 12.25, 100),
        "rotate": (10, 20, 30),
        "shear": (0.1, 0.2, 0.3),
        "affine": affine,
        "units": ("mm", "mm", "mm"),
        "axis_labels": ("z", "y", "x"),
        "name": "MR",
        "colormap": "magma",
        "contrast_limits": (0.25, 0.5),
        "gamma": 0.8,
        "opacity": 0.6,
        "blending": "additive",
        "metadata": {"dip_fusion": {"metrics": {"piella": 0.8}}},
    }
    data = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    return Image(data, **{**arguments, **fields})


def opened(path):
    reader = get_reader(str(path))
    assert reader is not None
    return [Image(data, **arguments) for data, arguments, _ in reader(str(path))]


def assert_same_layers(one, other):
    np.testing.assert_array_equal(np.asarray(one.data), np.asarray(other.data))
    assert one.dtype == other.dtype
    for name in SPATIAL:
        first, second = getattr(one, name), getattr(other, name)
        if name == "affine":
            first, second = first.affine_matrix, second.affine_matrix
        if name in ("units", "axis_labels"):
            assert tuple(first) == tuple(second)
        else:
            np.testing.assert_allclose(first, second, atol=1e-12, err_msg=name)
    for name in ("name", "rgb", "gamma", "opacity", "blending", "visible", "metadata"):
        assert getattr(one, name) == getattr(other, name)
    np.testing.assert_array_equal(one.contrast_limits, other.contrast_limits)
    assert one.colormap.name == other.colormap.name
    np.testing.assert_array_equal(one.colormap.colors, other.colormap.colors)


def turned_plane():
    return Image(
        np.random.default_rng(0).integers(0, 65535, (4, 5)).astype(np.uint16),
        scale=(0.7, 0.5),
        translate=(12.25, -7),
        rotate=30,
        shear=(0.2,),
        units=("um", "um"),
        axis_labels=("y", "x"),
        name="plane",
    )


def fused_in_volume():
    data = np.random.default_rng(0).random((1, 4, 5, 3), dtype=np.float32)
    return Image(
        data,
        rgb=True,
        scale=(3, 0.7, 0.5),
        translate=(9, 12.25, -7),
        rotate=(10, 20, 30),
        units=("mm", "mm", "mm"),
        axis_labels=("z", "y", "x"),
        name="fused",
    )


@pytest.mark.parametrize("ending", ["ome.tif", "nii", "nii.gz", "ome.zarr"])
@pytest.mark.parametrize("make", [turned_layer, turned_plane, fused_in_volume])
def test_layer_comes_back_as_it_was(tmp_path, ending, make):
    layer = make()
    if layer.rgb and ending.startswith("nii"):
        pytest.skip("NIfTI holds colors of 8 bits only")
    path = str(tmp_path / f"a.{ending}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of fields that the format lacks
        assert write_image(path, *layer.as_layer_data_tuple()[:2]) == [path]
    assert_same_layers(opened(path)[0], layer)


@pytest.mark.parametrize("ending", ["ome.tif", "nii", "ome.zarr"])
def test_plain_layer_keeps_napari_defaults(tmp_path, ending):
    layer = Image(np.random.default_rng(0).integers(0, 255, (4, 5), np.uint8), name="plain")
    path = str(tmp_path / f"a.{ending}")
    write_image(path, *layer.as_layer_data_tuple()[:2])
    back = opened(path)[0]
    assert_same_layers(back, layer)
    assert tuple(back.axis_labels) == ("-2", "-1")


def test_own_colormap_comes_back(tmp_path):
    colors = [[0, 0, 0, 1], [0.2, 0.9, 0.1, 1], [1, 1, 1, 1]]
    layer = turned_layer(colormap=Colormap(colors, name="mine"))
    path = str(tmp_path / "a.nii")
    write_image(path, *layer.as_layer_data_tuple()[:2])
    assert_same_layers(opened(path)[0], layer)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png(tmp_path, dtype):
    layer = Image(np.random.default_rng(0).integers(0, 255, (4, 5)).astype(dtype))
    path = str(tmp_path / "a.png")
    write_image(path, *layer.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(read_image(path).data, layer.data)
    with pytest.raises(OSError, match="got float64"):
        write_image(path, np.zeros((4, 5)), {})
    np.testing.assert_array_equal(read_image(path).data, layer.data)


@pytest.mark.parametrize(
    ("ending", "colors", "words"),
    [(".png", (), ".ome.tif"), (".nii.gz", (3,), "write OME-TIFF")],
)
def test_napari_shows_why_a_stack_cannot_be_written(tmp_path, npe2pm, ending, colors, words):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 12, 14, *colors), np.float32), rgb=bool(colors))
    with pytest.raises(OSError, match=words):
        layer.save(str(tmp_path / f"a{ending}"), plugin="napari-dip-fusion")


def test_the_default_ending_of_one_layer_restores_it(tmp_path):
    layer = turned_layer(name="fused", metadata={"dip_fusion": {"record": {"seed": 3}}})
    manifest = PluginManifest.from_distribution("napari-dip-fusion")
    writers = [w for w in manifest.contributions.writers if w.command.endswith("write_image")]
    path = str(tmp_path / f"a{writers[0].filename_extensions[0]}")
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept in a comment"):
        write_image(path, *layer.as_layer_data_tuple()[:2])
    (back,) = opened(path)
    assert_same_layers(back, layer)
    assert back.metadata["dip_fusion"] == {"record": {"seed": 3}}


def test_bundle_restores_every_layer(tmp_path):
    layers = [
        turned_layer(name="MR"),
        turned_layer(name="CT", units=("um", "um", "um"), colormap="gray", visible=False),
        Image(np.random.default_rng(1).random((6, 7, 3), dtype=np.float32), name="fused", rgb=True),
        Image(np.arange(20, dtype=np.uint16).reshape(4, 5), name="gain"),
    ]
    path = str(tmp_path / "a.fusion.ome.tif")
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept in a comment"):
        assert write_bundle(path, [layer.as_layer_data_tuple() for layer in layers]) == [path]
    back = opened(path)
    assert len(back) == 4
    for one, other in zip(back, layers, strict=True):
        assert_same_layers(one, other)


def test_resolutions_are_kept(tmp_path):
    data = np.random.default_rng(0).random((64, 48))
    layer = Image([data, data[::2, ::2]], multiscale=True, scale=(2, 3))
    path = str(tmp_path / "a.ome.zarr")
    write_image(path, *layer.as_layer_data_tuple()[:2])
    back = opened(path)[0]
    assert back.multiscale
    np.testing.assert_array_equal(np.asarray(back.data[1]), data[::2, ::2])
    np.testing.assert_array_equal(back.scale, (2, 3))


def test_units_of_the_viewer_survive_when_layers_agree(tmp_path):
    path = str(tmp_path / "a.nii")
    write_image(path, *turned_layer().as_layer_data_tuple()[:2])
    viewer = ViewerModel()
    viewer.add_layer(turned_layer())
    viewer.add_layer(opened(path)[0])
    assert [f"{unit:~}" for unit in viewer.layers.extent.units] == ["mm"] * 3


def test_bare_meta_is_enough():
    image = make_source(np.zeros((4, 5)), {})
    assert image.axes == ("y", "x")
    np.testing.assert_array_equal(image.affine, np.eye(3))
