import json

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from napari_builtins.io import napari_get_reader
from npe2 import PluginManifest

from napari_dip_fusion.io import write_image, write_images
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.plugin.layers.placement import place_result
from napari_dip_fusion.plugin.layers.plane_reader import make_plane_readers
from napari_dip_fusion.plugin.readers import get_reader
from napari_dip_fusion.plugin.writers import make_source
from napari_dip_fusion.record import SCHEMA, SCHEMA_VERSION, describe_source
from napari_dip_fusion.sources import Source


def test_what_belongs_to_others_is_left_to_them(tmp_path):
    tifffile.imwrite(tmp_path / "foreign.ome.tif", np.zeros((4, 5), np.uint8), ome=True)
    (tmp_path / "broken.ome.tif").write_bytes(b"II*\0broken")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"x" * 200)
    (tmp_path / "a.json").write_text("{}")
    for name in ("foreign.ome.tif", "broken.ome.tif", "pictures", "a.json", "a.tif", "a.png"):
        assert get_reader(str(tmp_path / name)) is None
    assert get_reader([str(tmp_path / "a.tif")] * 2) is None
    assert get_reader([]) is None


def test_every_ending_that_the_manifest_names_is_claimed(tmp_path):
    (reader,) = PluginManifest.from_distribution("napari-dip-fusion").contributions.readers
    own = {pattern.removeprefix("*") for pattern in reader.filename_patterns}
    for ending in own - {".fusion.ome.tif", ".ome.zarr"}:
        assert get_reader(str(tmp_path / f"a{ending}")) is not None
    assert own <= {*list_endings(), ".record.json"}


def test_oblique_image_has_an_affine_and_straight_one_a_scale(tmp_path):
    affine = np.diag([3.0, 2, 1, 1])
    affine[:3, 3] = (7, 8, 9)
    image = Source(np.zeros((2, 3, 4), np.int16), affine=affine, units=("mm",) * 3)
    _, straight, _ = read(write_image(tmp_path / "a.nii", image))
    np.testing.assert_array_equal(straight["scale"], (3, 2, 1))
    np.testing.assert_array_equal(straight["translate"], (7, 8, 9))
    affine[0, 1] = 0.5
    _, oblique, _ = read(write_image(tmp_path / "b.nii", image.replace(affine=affine)))
    np.testing.assert_array_equal(oblique["affine"], affine)
    layer = Image(image.data, **oblique)
    np.testing.assert_array_equal(layer.data_to_world((1, 2, 3)), (affine @ (1, 2, 3, 1))[:3])


def read(path):
    (layer,) = get_reader(str(path))(str(path))
    return layer


@pytest.mark.parametrize(
    "display",
    [
        {"colormap": "no such map"},
        {"colormap": {"colors": "x"}},
        {"colormap": 7},
        {"transform": {"scale": 1}},
        {"transform": {key: [9] for key in ("scale", "translate", "rotate", "shear", "affine")}},
    ],
)
def test_strange_display_is_ignored(tmp_path, display):
    image = Source(np.zeros((2, 3, 4)), name="a", units=("furlongg",) * 3, display=display)
    with pytest.warns(UserWarning, match="not kept in the header"):
        path = write_image(tmp_path / "a.nii", image)
    with pytest.warns(UserWarning, match="a: napari knows no unit 'furlongg', so the layer counts"):
        data, arguments, _ = read(path)
    layer = Image(data, **arguments)
    assert {str(unit) for unit in layer.units} == {"pixel"}
    np.testing.assert_array_equal(layer.scale, 1)


def record_of(*sources):
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "config": {"seed": 3},
        "sources": list(sources),
        "metrics": {"piella": 0.8},
    }


def test_record_opens_sources_and_fused_image(tmp_path):
    a = np.arange(20, dtype=np.uint8).reshape(4, 5)
    write_image(tmp_path / "ct.png", a)
    write_image(tmp_path / "mr.png", a + 1)
    write_image(tmp_path / "out.tif", a + 2)
    record = record_of(
        describe_source(a, (0, 255), name="ct", path=str(tmp_path / "ct.png")),
        describe_source(a, (0, 255), name="mr", path="/moved/elsewhere/mr.png"),
        describe_source(a, (0, 255), name="gone", path="gone.png"),
    )
    path = tmp_path / "out.record.json"
    path.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=r"source gone\.png is not found"):
        layers = get_reader(str(path))(str(path))
    assert [arguments["name"] for _, arguments, _ in layers] == ["ct", "mr", "out"]
    assert layers[2][1]["metadata"]["dip_fusion"]["record"] == record


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a run record"),
        (json.dumps(record_of()), "none of its images is found"),
        (json.dumps(record_of(7, {"name": "x"})), "none of its images is found"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(is not found|came from no file)")
def test_bad_record_is_explained(tmp_path, content, message):
    path = tmp_path / "a.record.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        get_reader(str(path))(str(path))


def test_bundle_tells_of_sources_that_are_not_those_fused(tmp_path):
    a = np.arange(20, dtype=np.uint8).reshape(4, 5)
    record = record_of(describe_source(a, (0, 255), name="ct"))
    fused = Source(a, name="fused", metadata={"dip_fusion": {"record": record}})
    stack = Source(np.stack([a + 1, a]), name="ct")
    path = write_images(tmp_path / "a.fusion.ome.tif", [stack, fused])
    assert len(get_reader(str(path))(str(path))) == 2
    write_images(path, [stack.replace(data=stack.data + 5), fused], overwrite=True)
    with pytest.warns(UserWarning, match="ct is not what the run record says was fused"):
        get_reader(str(path))(str(path))


def test_bundle_is_sensible_images_to_others(tmp_path):
    a = np.arange(20, dtype=np.uint8).reshape(4, 5)
    images = [Source(a, name="ct"), Source(np.zeros((3, 6, 7), np.float32), name="mr")]
    path = write_images(tmp_path / "a.fusion.ome.tif", images)
    with tifffile.TiffFile(path) as tif:
        assert [series.name for series in tif.series] == ["ct", "mr"]
        np.testing.assert_array_equal(tif.series[0].asarray(), a)
    layers = napari_get_reader(str(path))(str(path))
    np.testing.assert_array_equal(np.squeeze(layers[0][0]), a)


def write_levels(folder, *, factor, shift, size=64):
    """Write an OME-Zarr of two levels whose values tell where each pixel is declared to lie."""
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    datasets = []
    for name, step, start in (("a", 1, 0.0), ("b", factor, shift)):
        places = np.arange(-(-size // step)) * step + start
        values = (1000 + 10 * places + 7 * places[:, None]).astype(np.float32)
        group.create_array(name, data=values, chunk_key_encoding={"name": "v2", "separator": "/"})
        steps = [
            {"type": "scale", "scale": [0.5 * step] * 2},
            {"type": "translation", "translation": [0.5 * start] * 2},
        ]
        datasets.append({"path": name, "coordinateTransformations": steps})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder


@pytest.mark.parametrize(
    ("factor", "shift", "size"), [(2, 0.5, 64), (2, 0.0, 64), (4, 0.0, 65), (2, 0.8, 64)]
)
def test_a_level_is_fused_where_the_file_declares_it(tmp_path, factor, shift, size):
    path = write_levels(tmp_path / "a.ome.zarr", factor=factor, shift=shift, size=size)
    data, arguments, _ = read(path)
    viewer = ViewerModel()
    layer = viewer.add_image(data, **arguments)
    finest = viewer.add_image(np.asarray(data[0]), scale=(0.5, 0.5), units=("um", "um"))
    readers = make_plane_readers([layer, finest], layer, viewer.dims, level=1)
    coarse, fine = (reader.read().to_numpy() for reader in readers)
    # At the edge the level may reach beyond the finest one.
    np.testing.assert_allclose(coarse[1:-1, 1:-1], fine[1:-1, 1:-1], rtol=1e-5)
    place = place_result(layer, viewer.dims, level=1).spatial
    np.testing.assert_allclose(place["scale"], 0.5 * factor)
    np.testing.assert_allclose(place["translate"], 0.5 * shift)
    source = make_source([np.asarray(level) for level in data], arguments)
    assert "level_affines" not in source.metadata
    np.testing.assert_allclose(source.find_level_affine(1)[:-1, -1], shift, atol=1e-9)


def test_a_level_that_napari_would_show_elsewhere_is_left_out(tmp_path):
    path = write_levels(tmp_path / "a.ome.zarr", factor=2, shift=9.0)
    with pytest.warns(UserWarning, match=r"pixels"):
        data, arguments, _ = read(path)
    assert data.shape == (64, 64)
    assert "multiscale" not in arguments


@pytest.mark.parametrize(
    "turn", [[[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]]
)
def test_a_scan_of_any_orientation_is_drawn_in_its_place(tmp_path, make_napari_viewer_proxy, turn):
    data = np.random.default_rng(0).random((4, 12, 14)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.array(turn) * (3.0, 2.0, 1.0)
    path = tmp_path / "a.nii"
    nifti = np.diag([-1.0, -1, 1, 1])[:, [2, 1, 0, 3]] @ affine[:, [2, 1, 0, 3]]
    nibabel.Nifti1Image(data.T, nifti).to_filename(path)
    viewer = make_napari_viewer_proxy()
    shown, arguments, _ = read(path)
    layer = viewer.add_image(shown, **arguments)
    for index in ((0, 0, 0), (3, 11, 13), (2, 5, 7)):
        world = (affine @ (*index, 1))[:3]
        np.testing.assert_allclose(
            layer.data[tuple(np.rint(layer.world_to_data(world)).astype(int))], data[index]
        )
    # The planes that napari draws have an area.
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        viewer.dims.order = order
