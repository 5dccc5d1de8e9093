import json

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest

from napari_dip_fusion import Control, FusionConfig, cli
from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.plugin import fuse_layers
from napari_dip_fusion.samples import head_phantom
from napari_dip_fusion.sources import Source

TINY = {"iterations": 2, "width": 4, "depth": 3, "threads": 1}
SOURCES = head_phantom(shape=(32, 40)).sources


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    for name, image in zip(("CT", "MR"), SOURCES, strict=True):
        viewer.add_image(image, name=name, scale=(0.5, 0.5), units="mm", axis_labels=("y", "x"))
    return viewer


def test_the_layers_of_a_fusion_are_added(viewer):
    result = fuse_layers(viewer, ["CT", "MR"], consensus=True, band_sigma=0.0, **TINY)
    names = [layer.name for layer in viewer.layers]
    assert names == ["CT", "MR", "CT gain", "MR gain", "consensus CT + MR", "fused CT + MR"]
    for layer, image in zip(
        viewer.layers[2:], [*result.gains, result.consensus, result.image], strict=True
    ):
        np.testing.assert_array_equal(layer.data, np.clip(image, 0, 1))
        assert layer.scale.tolist() == [0.5, 0.5]
        assert tuple(layer.contrast_limits) == (0, 1)
    assert [str(unit) for unit in viewer.dims.units] == ["millimeter", "millimeter"]
    assert viewer.dims.axis_labels == ("y", "x")


def test_record_and_metrics_are_in_the_metadata(viewer):
    result = fuse_layers(viewer, ["MR", "CT"], reference="CT", gains=False, **TINY)
    stored = viewer.layers["fused MR + CT"].metadata["dip_fusion"]
    assert stored["record"] == result.record
    assert stored["metrics"] == result.metrics
    assert stored["plane"]["reference"] == "CT"
    assert [source["name"] for source in result.record["sources"]] == ["MR", "CT"]
    json.dumps(stored)


def test_layers_themselves_and_a_config(viewer):
    config = FusionConfig(**TINY, patch_size=5)
    result = fuse_layers(viewer, list(viewer.layers), config=config, seed=7)
    assert FusionConfig.from_dict(result.record["config"]) == config.replace(seed=7)


def test_a_missing_device_is_said_before_anything_is_read(viewer):
    with pytest.raises(ValueError, match="device must be auto or one of cpu"):
        fuse_layers(viewer, ["CT", "MR"], device="cuda:9", **TINY)


def test_a_second_fusion_leaves_the_first_as_it_was(viewer):
    fuse_layers(viewer, ["CT", "MR"], gains=False, **TINY)
    first = viewer.layers["fused CT + MR"].data.copy()
    fuse_layers(viewer, ["CT", "MR"], gains=False, seed=1, **TINY)
    np.testing.assert_array_equal(viewer.layers["fused CT + MR"].data, first)
    assert "fused CT + MR [1]" in viewer.layers


def test_the_plane_shown_of_a_stack_in_color():
    viewer = ViewerModel()
    color = np.stack([SOURCES[0]] * 3, axis=-1)
    color[..., 0] //= 2
    viewer.add_image(np.stack([color] * 4), name="color", rgb=True)
    viewer.add_image(np.stack([SOURCES[1]] * 4), name="gray")
    viewer.dims.current_step = (2, 0, 0)
    result = fuse_layers(viewer, ["color", "gray"], consensus=True, **TINY)
    fused = viewer.layers["fused color + gray slice 2"]
    assert fused.rgb
    assert viewer.layers["consensus color + gray slice 2"].rgb
    assert fused.data.shape == (1, 32, 40, 3)
    np.testing.assert_array_equal(fused.data[0], result.image)
    assert fused.translate.tolist() == [2, 0, 0]
    assert viewer.layers["gray gain (base) slice 2"].data.shape == (1, 32, 40)


def test_other_grids_are_resampled_with_a_warning_where_little_is_covered(viewer):
    viewer.layers["MR"].translate = (0, 13)
    with pytest.warns(UserWarning, match="MR covers only 35% of CT"):
        result = fuse_layers(viewer, ["CT", "MR"], band_sigma=0.0, **TINY)
    assert result.image.shape == (32, 40)
    # Where the MR image saw nothing, it has no say.
    np.testing.assert_allclose(viewer.layers["MR gain"].data[8:24, 8:20], 0, atol=1e-3)


def test_a_control_stops_the_run(viewer):
    control = Control()
    control.stop()
    with pytest.raises(StoppedError, match="before there was an image"):
        fuse_layers(viewer, ["CT", "MR"], control=control, **TINY)
    assert [layer.name for layer in viewer.layers] == ["CT", "MR"]


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (["CT", "PET"], {}, "no layer is called 'PET'; the layers are CT, MR"),
        (["CT", "MR"], {"reference": "T1"}, "no layer is called 'T1'; the layers are CT, MR"),
        (["CT"], {}, r"choose two or more image layers \(chosen: 1\)"),
        (["CT", "CT"], {}, "CT is chosen twice"),
        (["CT", "MR"], {"preset": "best"}, "preset must be one of"),
        (["CT", "MR"], {"itrations": 3}, "unknown setting 'itrations'"),
        (["CT", "MR"], {"level": 1}, "level must be 'auto' or from 0 to 0 for layer 'CT'"),
        (["CT", "MR"], {"interpolation": "cubic"}, "interpolation must be one of linear, near"),
    ],
)
def test_unusable_requests_add_nothing(viewer, layers, options, message):
    with pytest.raises(ValueError, match=message):
        fuse_layers(viewer, layers, **options)
    assert len(viewer.layers) == 2


def test_a_layer_of_another_viewer_is_refused(viewer):
    stranger = ViewerModel().add_image(SOURCES[0], name="stranger")
    with pytest.raises(ValueError, match="'stranger' is not in the viewer; the layers are CT, MR"):
        fuse_layers(viewer, ["CT", stranger])


def test_an_unknown_public_name():
    import napari_dip_fusion.plugin as plugin

    assert "fuse_layers" in dir(plugin)
    with pytest.raises(AttributeError, match="attribute fuse_layer"):
        _ = plugin.fuse_layer


def test_the_finest_layer_gives_the_grid_unless_another_is_named(viewer):
    viewer.layers["CT"].scale = (1, 1)
    with pytest.warns(UserWarning, match="only 25% of CT lies in MR, of which it covers 100%"):
        fuse_layers(viewer, ["CT", "MR"], gains=False, method="average")
    fused = viewer.layers["fused CT + MR"]
    assert fused.scale.tolist() == [0.5, 0.5]
    record = fused.metadata["dip_fusion"]["record"]
    assert record["plane"]["reference"] == "MR"
    # No file holds these layers, so that there is nothing to choose from them.
    assert "choice" not in record
    with pytest.warns(UserWarning, match="MR covers only 25% of CT, in which 100% of it lies"):
        fuse_layers(viewer, ["CT", "MR"], reference="CT", gains=False, method="average")
    assert viewer.layers["fused CT + MR [1]"].scale.tolist() == [1, 1]


def test_what_a_resampled_fusion_recorded_is_replayed_from_the_files(tmp_path, npe2pm):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    viewer = ViewerModel()
    for name, image, step in zip(("CT", "MR"), SOURCES, (0.6, 0.5), strict=True):
        path = tmp_path / f"{name}.nii.gz"
        write_image(path, Source(image, affine=np.diag([step, step, 1]), units=("mm", "mm")))
        viewer.open(path, plugin="napari-dip-fusion", name=name)
    result = fuse_layers(viewer, ["CT", "MR"], gains=False, method="average")
    record, again = tmp_path / "r.record.json", tmp_path / "again.nii.gz"
    record.write_text(json.dumps(result.record))
    with pytest.raises(SystemExit) as ended:
        cli.main(["fuse", "--replay", str(record), "-o", str(again), "-q"])
    assert ended.value.code == 0
    np.testing.assert_array_equal(
        np.squeeze(read_image(again).to_numpy()), np.squeeze(result.image)
    )


def test_a_layer_of_which_nothing_is_seen_is_a_warning_before_the_run(viewer):
    viewer.layers["MR"].units = "m"
    with (
        pytest.warns(UserWarning, match="next to nothing is seen of MR"),
        pytest.warns(UserWarning, match=r"MR is nearly constant here"),
    ):
        fuse_layers(viewer, ["CT", "MR"], gains=False, method="average")
    viewer.layers["MR"].units = "mm"
    with pytest.warns(UserWarning, match=r"MR is nearly constant here"):
        fuse_layers(
            viewer,
            ["CT", "MR"],
            gains=False,
            method="average",
            intensity=((0.0, 1.0), (0.0, 1e6)),
        )


def test_a_thick_slice_is_fused_as_shown_and_recorded():
    viewer = ViewerModel()
    stack = np.stack([SOURCES[0] / 255 * (1 - z / 5) for z in range(5)])
    for name in ("CT", "MR"):
        viewer.add_image(stack if name == "CT" else stack[::-1], name=name)
    viewer.dims.set_point(0, 2)
    viewer.dims.thickness = (2, 0, 0)
    viewer.layers["CT"].projection_mode = "max"
    result = fuse_layers(viewer, ["CT", "MR"], gains=False, method="average", intensity="dtype")
    expected = (stack[1:4].max(axis=0) + stack[1:4].mean(axis=0)) / 2
    np.testing.assert_allclose(result.image, expected, atol=1e-6)
    assert result.record["plane"]["thick_slices"] == {
        "CT": {"projection": "max", "planes": {"0": [1, 3]}},
        "MR": {"projection": "mean", "planes": {"0": [1, 3]}},
    }
