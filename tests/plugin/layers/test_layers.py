import tracemalloc

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.plugin.layers.layer_origin import get_origins
from napari_dip_fusion.plugin.layers.layer_report import check_layers
from napari_dip_fusion.plugin.layers.placement import place_result
from napari_dip_fusion.plugin.layers.plane_reader import (
    get_contrast_windows,
    make_plane_readers,
)
from napari_dip_fusion.plugin.layers.planes import (
    choose_level,
    compute_world_affine,
    find_finest,
)
from napari_dip_fusion.plugin.layers.result_layers import (
    add_fused_layer,
    add_gain_layers,
    find_free_name,
    make_metadata,
    name_consensus,
    name_fused,
)
from napari_dip_fusion.plugin.layers.thick_slice import find_thick_slice
from napari_dip_fusion.plugin.running.plan import make_plan

RNG = np.random.default_rng(0)

SPATIAL_2D = {
    "scale": (2.0, 0.5),
    "translate": (7.0, -3.0),
    "rotate": 25.0,
    "shear": (0.3,),
    "affine": np.array([[0.9, 0.2, 4], [-0.1, 1.1, 5], [0, 0, 1]]),
    "units": ("mm", "um"),
    "axis_labels": ("row", "column"),
}
SPATIAL_3D = {
    "scale": (3.0, 2.0, 0.5),
    "translate": (11.0, 7.0, -3.0),
    "rotate": np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]),
    "shear": (0.0, 0.0, 0.3),
    "affine": np.array([[1, 0, 0, 2], [0, 0.9, 0.2, 4], [0, -0.1, 1.1, 5], [0, 0, 0, 1]]),
    "units": ("mm", "um", "um"),
    "axis_labels": ("depth", "row", "column"),
}


def viewer_with(*images, **arguments):
    viewer = ViewerModel()
    for number, image in enumerate(images):
        viewer.add_image(image, name=f"L{number}", **arguments)
    return viewer, list(viewer.layers)


def noise(*shape):
    return RNG.random(shape).astype(np.float32)


def shown(layer):
    return np.asarray(layer._slice.image.raw)


def read_planes(layers, reference, dims, *, level="auto", interpolation="linear"):
    """Read the planes of layers as a run does."""
    level = choose_level(reference, dims, level=level, count=len(layers))
    readers = make_plane_readers(layers, reference, dims, level=level, interpolation=interpolation)
    return [reader.read().data for reader in readers]


class Lazy:
    """An array that notes what is read of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.size = data.size
        self.read = []

    def __getitem__(self, index):
        part = self.data[index]
        self.read.append(part.shape)
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


# The line below the list of sources.


def test_layers_on_one_grid():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    report = check_layers(layers, layers[0], viewer.dims)
    assert (report.ok, report.message, report.warnings) == (True, "2 layers on one grid", ())
    assert {c.of_target for c in report.coverage.values()} == {1}
    assert {c.of_image for c in report.coverage.values()} == {1}


@pytest.mark.parametrize("name", ["scale", "translate", "rotate", "shear", "affine"])
def test_layers_on_different_grids_will_be_resampled(name):
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    setattr(layers[1], name, SPATIAL_2D[name])
    report = check_layers(layers, layers[0], viewer.dims)
    assert report.ok
    assert report.message.startswith("L1 will be brought to the grid of L0 (")
    assert report.resampled == ("L1",)
    assert report.coverage[layers[0]].of_target == 1 > report.coverage[layers[1]].of_target


def test_the_first_layer_is_the_reference_unless_another_is_given():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 20))
    assert "L1 will be brought to the grid of L0" in check_layers(layers, None, viewer.dims).message
    # Every pixel of the smaller layer is one of the larger.
    assert check_layers(layers, layers[1], viewer.dims).message == "2 layers on one grid"


@pytest.mark.parametrize(("shift", "warns"), [(10, False), (15, True)])
def test_small_coverage_is_a_warning(shift, warns):
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    layers[1].translate = (0, shift)
    report = check_layers(layers, layers[0], viewer.dims)
    assert report.ok
    assert report.warnings == (
        ("L1 covers only 50% of L0, in which 50% of it lies",) if warns else ()
    )


def test_no_overlap_is_refused():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    layers[1].translate = (0, 31)
    report = check_layers(layers, layers[0], viewer.dims)
    assert not report.ok
    assert "L1 does not overlap L0 here; check" in report.message
    with pytest.raises(ValueError, match="layer 'L1': the image and the target do not overlap"):
        read_planes(layers, layers[0], viewer.dims)


def test_choices_that_cannot_be_fused():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30), noise(20, 30) > 0.5, noise(6, 30))
    labels = viewer.add_labels(np.ones((20, 30), int), name="cells")
    for chosen, message in [
        ([], "choose two or more image layers (chosen: 0)"),
        (layers[:1], "choose two or more image layers (chosen: 1)"),
        ([layers[0], layers[1], layers[0]], "L0 is chosen twice; choose each layer once"),
        ([layers[0], labels], "cells is a labels layer; choose image layers only"),
        ([layers[0], layers[2]], "L2 holds bool values; convert it to integers or floats"),
        ([layers[3], layers[0]], "L3 has 6 x 30 pixels here; 8 x 8 are the fewest for a fusion"),
    ]:
        report = check_layers(chosen, None, viewer.dims)
        assert (report.ok, report.message) == (False, message)
    report = check_layers(layers[:2], labels, viewer.dims)
    assert report.message == "cells is not an image layer; choose another reference"


def test_the_check_reads_no_pixels_and_makes_no_large_arrays():
    big = [Lazy(np.broadcast_to(np.float32(0), (50, 20000, 20000))) for _ in range(4)]
    viewer = ViewerModel()
    layers = [
        viewer.add_image(b, contrast_limits=(0, 1), multiscale=False, visible=False) for b in big
    ]
    layers[1].affine = SPATIAL_3D["affine"]
    viewer.dims.current_step = (25, 0, 0)
    for lazy in big:
        lazy.read.clear()
    tracemalloc.start()
    try:
        assert check_layers(layers, layers[0], viewer.dims).ok
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
    assert not any(lazy.read for lazy in big)


# Planes of 2-D layers.


def test_equal_grids_give_the_layers_own_pixels():
    images = [noise(20, 30), (noise(20, 30) * 255).astype(np.uint8)]
    viewer, layers = viewer_with(*images, **SPATIAL_2D)
    for plane, image in zip(read_planes(layers, layers[0], viewer.dims), images, strict=True):
        assert plane.dtype == image.dtype
        np.testing.assert_array_equal(plane, image)


def test_a_marker_is_found_at_its_world_coordinates():
    scene = np.zeros((40, 50), np.float32)
    scene[12, 31] = 1
    viewer, (reference, other) = viewer_with(noise(40, 50), scene)
    reference.scale, reference.translate = (0.5, 0.5), (2, 10)
    _, plane = read_planes([reference, other], reference, viewer.dims, interpolation="nearest")
    rows, columns = np.nonzero(plane)
    assert reference.world_to_data((12, 31)) == pytest.approx(
        [rows.mean(), columns.mean()], abs=0.5
    )


def test_units_are_converted():
    image = noise(20, 30)
    viewer, (first, second) = viewer_with(image, image)
    first.scale, first.units = (0.002, 0.004), ("mm", "mm")
    second.scale, second.units = (2, 4), ("um", "um")
    assert check_layers([first, second], first, viewer.dims).message == "2 layers on one grid"
    np.testing.assert_array_equal(read_planes([first, second], first, viewer.dims)[1], image)


@pytest.mark.parametrize("name", list(SPATIAL_2D))
def test_the_world_matrix_is_napari_s(name):
    viewer, (layer,) = viewer_with(noise(20, 30), **{name: SPATIAL_2D[name]})
    factors = (1000, 1) if name == "units" else (1, 1)
    expected = np.array(layer.data_to_world((13, 4))) * factors
    np.testing.assert_allclose(
        (compute_world_affine(layer, viewer.dims.units) @ [13, 4, 1])[:2], expected
    )


def test_color_layers_keep_their_channels():
    viewer, layers = viewer_with(noise(20, 30, 3), noise(20, 30, 4), rgb=True)
    layers.append(viewer.add_image(noise(20, 30)))
    layers[1].translate = (0, 0.5)
    planes = read_planes(layers, layers[0], viewer.dims)
    assert [p.shape for p in planes] == [(20, 30, 3), (20, 30, 4), (20, 30)]


def test_two_dimensional_layers_do_not_care_what_is_shown():
    images = noise(20, 30), noise(20, 30)
    viewer, layers = viewer_with(*images)
    viewer.dims.order = (1, 0)
    np.testing.assert_array_equal(read_planes(layers, layers[0], viewer.dims)[0], images[0])
    viewer.add_image(noise(4, 20, 30))
    viewer.dims.order = (1, 2, 0)
    viewer.dims.ndisplay = 3
    assert check_layers(layers, layers[0], viewer.dims).ok
    np.testing.assert_array_equal(read_planes(layers, layers[0], viewer.dims)[1], images[1])


# The plane shown of n-D layers.


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (1, 2, 0)])
def test_the_plane_shown_is_taken_and_the_result_is_shown_there(order):
    images = noise(11, 12, 13), noise(11, 12, 13)
    viewer, layers = viewer_with(*images, scale=(3, 2, 0.5), translate=(1, 2, 3))
    viewer.dims.order = order
    viewer.dims.current_step = (4, 6, 8)
    planes = read_planes(layers, layers[0], viewer.dims)
    axis = order[0]
    np.testing.assert_array_equal(planes[1], np.take(images[1], (4, 6, 8)[axis], axis=axis))
    place = place_result(layers[0], viewer.dims)
    result = add_fused_layer(viewer, planes[0], "fused", place)
    assert result.data.shape[axis] == 1
    np.testing.assert_array_equal(shown(result), shown(layers[0]))
    position = [4.0, 6.0, 8.0]
    world = layers[0].data_to_world(position)
    position[axis] = 0
    assert result.data_to_world(position) == pytest.approx(world)
    assert viewer.dims.ndim == 3


def test_the_result_is_not_shown_at_other_slices():
    viewer, layers = viewer_with(noise(11, 12, 13), noise(11, 12, 13))
    viewer.dims.current_step = (4, 0, 0)
    place = place_result(layers[0], viewer.dims)
    result = add_fused_layer(viewer, np.ones((12, 13), np.float32), "fused", place)
    assert shown(result).any()
    viewer.dims.current_step = (5, 0, 0)
    assert not shown(result).any()


def test_a_placement_stays_when_the_slider_moves():
    viewer, layers = viewer_with(noise(11, 12, 13), noise(11, 12, 13))
    viewer.dims.current_step = (4, 0, 0)
    place = place_result(layers[0], viewer.dims)
    readers = make_plane_readers(layers, layers[0], viewer.dims)
    expected = layers[1].data[4].copy()
    viewer.dims.current_step = (7, 0, 0)
    layers[0].translate = (50, 50, 50)
    np.testing.assert_array_equal(readers[1].read().data, expected)
    assert place.spatial["translate"].tolist() == [4, 0, 0]
    assert place.plane == {"reference": "L0", "axes": [1, 2], "slice": [4, None, None], "level": 0}


def test_time_and_depth():
    images = noise(3, 4, 12, 13), noise(3, 4, 12, 13)
    viewer, layers = viewer_with(*images)
    viewer.dims.current_step = (2, 1, 0, 0)
    np.testing.assert_array_equal(read_planes(layers, layers[0], viewer.dims)[1], images[1][2, 1])
    assert place_result(layers[0], viewer.dims).shape == (1, 1, 12, 13)


def test_layers_with_fewer_dimensions_lie_along_the_last_ones():
    flat, volume = noise(12, 13), noise(5, 12, 13)
    viewer, (first, second) = viewer_with(flat, volume)
    viewer.dims.current_step = (3, 0, 0)
    for reference in (first, second):
        report = check_layers([first, second], reference, viewer.dims)
        assert report.ok
        assert len(report.warnings) == 1
        planes = read_planes([first, second], reference, viewer.dims)
        np.testing.assert_array_equal(planes[0], flat)
        np.testing.assert_array_equal(planes[1], volume[3])
    assert place_result(first, viewer.dims).shape == (12, 13)
    viewer.dims.order = (1, 0, 2)
    report = check_layers([first, second], second, viewer.dims)
    assert not report.ok
    assert "L0 has 2 dimensions and does not extend along axis" in report.message


def test_volumes_with_other_spacing_meet_at_the_same_depth():
    depth = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((12, 13), np.float32)
    viewer, (coarse, fine) = viewer_with(depth[:4], depth)
    coarse.scale = (2.5, 1, 1)
    viewer.dims.set_point(0, 5)
    planes = read_planes([coarse, fine], coarse, viewer.dims)
    np.testing.assert_array_equal(planes[0], 2)
    np.testing.assert_array_equal(planes[1], 5)
    planes = read_planes([coarse, fine], fine, viewer.dims)
    np.testing.assert_array_equal(planes[0], 2)


def test_a_slice_without_data_is_refused():
    viewer, layers = viewer_with(noise(5, 12, 13), noise(9, 12, 13))
    viewer.dims.current_step = (7, 0, 0)
    message = check_layers(layers, layers[0], viewer.dims).message
    assert message == "L0 has no data at this slice; move the slider"
    message = check_layers(layers, layers[1], viewer.dims).message
    assert message.startswith("L0 does not overlap L1 here")
    with pytest.raises(ValueError, match="no data at this slice"):
        place_result(layers[0], viewer.dims)


def test_volumes_shown_as_volumes_have_no_plane():
    viewer, layers = viewer_with(noise(5, 12, 13), noise(5, 12, 13))
    viewer.dims.ndisplay = 3
    report = check_layers(layers, layers[0], viewer.dims)
    assert not report.ok
    assert "switch to 2-D display" in report.message


def test_only_the_plane_shown_is_read():
    lazy = Lazy(noise(20, 12, 13))
    viewer = ViewerModel()
    first = viewer.add_image(noise(20, 12, 13))
    second = viewer.add_image(lazy, contrast_limits=(0, 1), multiscale=False)
    viewer.dims.current_step = (4, 0, 0)
    lazy.read.clear()
    read_planes([first, second], first, viewer.dims)
    second.translate = (0, 2, 0)
    lazy.read.clear()
    read_planes([first, second], first, viewer.dims)
    assert lazy.read == [(1, 10, 13)]


def test_dask_layers():
    dask_array = pytest.importorskip("dask.array")
    data = noise(20, 12, 13)
    lazy = dask_array.from_array(data, chunks=(1, 12, 13))
    viewer, layers = viewer_with(lazy, data)
    viewer.dims.current_step = (4, 0, 0)
    plane = read_planes(layers, layers[1], viewer.dims)[0]
    assert type(plane) is np.ndarray
    np.testing.assert_array_equal(plane, data[4])


# Pyramids.


def pyramid(image, levels=3):
    steps = [image]
    for _ in range(levels - 1):
        a = steps[-1]
        steps.append(
            (a[..., ::2, ::2] + a[..., 1::2, ::2] + a[..., ::2, 1::2] + a[..., 1::2, 1::2]) / 4
        )
    return steps


def test_levels_of_one_pyramid_are_taken_as_they_are():
    steps = pyramid(noise(64, 80)), pyramid(noise(64, 80))
    viewer, layers = viewer_with(*steps)
    for level in range(3):
        planes = read_planes(layers, layers[0], viewer.dims, level=level)
        for plane, images in zip(planes, steps, strict=True):
            np.testing.assert_array_equal(plane, images[level])


def test_other_layers_are_brought_to_the_level_s_grid():
    image = np.mgrid[:64, :80].sum(axis=0).astype(np.float32)
    steps = pyramid(image)
    viewer, (levels, single) = viewer_with(steps, image)
    planes = read_planes([levels, single], levels, viewer.dims, level=1)
    np.testing.assert_allclose(planes[1], steps[1])
    planes = read_planes([levels, single], single, viewer.dims)
    np.testing.assert_array_equal(planes[0], image)
    coarse = viewer.add_image(noise(32, 40), scale=(2, 2), translate=(0.5, 0.5))
    planes = read_planes([levels, coarse], coarse, viewer.dims)
    np.testing.assert_array_equal(planes[0], steps[1])


def test_auto_is_the_finest_level_that_fits(monkeypatch):
    viewer, (layer,) = viewer_with(pyramid(noise(64, 80)))
    assert choose_level(layer, viewer.dims) == 0
    monkeypatch.setattr("napari_dip_fusion.plugin.layers.planes.MOST_PIXELS", 40 * 32)
    assert choose_level(layer, viewer.dims) == 1
    monkeypatch.setattr(
        "napari_dip_fusion.plugin.layers.planes.measure_free_memory", lambda device: 0
    )
    assert choose_level(layer, viewer.dims) == 2
    with pytest.raises(ValueError, match=r"level must be 'auto' or from 0 to 2 for layer 'L0'"):
        choose_level(layer, viewer.dims, level=3)


def test_auto_counts_on_the_processor_s_memory_until_torch_is_there(monkeypatch):
    viewer, (layer,) = viewer_with(pyramid(noise(64, 80)))
    asked = []
    planes = "napari_dip_fusion.plugin.layers.planes"
    monkeypatch.setattr(f"{planes}.resolve_device", lambda name: "cuda:0")
    monkeypatch.setattr(
        f"{planes}.measure_free_memory", lambda device: asked.append(device) or 10**12
    )
    for imported in (False, True):
        monkeypatch.setattr(f"{planes}.torch_is_imported", lambda imported=imported: imported)
        choose_level(layer, viewer.dims)
    assert asked == ["cpu", "cuda:0"]


def test_the_result_of_a_level_lies_over_the_full_layer():
    viewer, (layer,) = viewer_with(pyramid(noise(64, 80)), **SPATIAL_2D)
    place = place_result(layer, viewer.dims, level=2)
    result = add_fused_layer(viewer, noise(16, 20), "fused", place)
    np.testing.assert_allclose(
        result._extent_world_augmented, layer._extent_world_augmented, atol=1e-9
    )


def test_a_plane_of_a_pyramid_of_volumes_in_color():
    colors = noise(6, 64, 80, 3)
    steps = [colors, colors[::2, ::2, ::2]]
    viewer, layers = viewer_with(steps, [s.copy() for s in steps], rgb=True)
    viewer.dims.current_step = (5, 0, 0)
    planes = read_planes(layers, layers[0], viewer.dims, level=1)
    np.testing.assert_array_equal(planes[1], steps[1][2])
    place = place_result(layers[0], viewer.dims, level=1)
    result = add_fused_layer(viewer, planes[0], "fused", place)
    assert (result.rgb, result.data.shape) == (True, (1, 32, 40, 3))
    # Level pixel 2 reaches over the slices 4 and 5.
    np.testing.assert_allclose(result._extent_world_augmented[:, 0], [3.5, 5.5])


# Results.


@pytest.mark.parametrize("name", list(SPATIAL_2D))
def test_a_flat_result_takes_over(name):
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30), **{name: SPATIAL_2D[name]})
    result = add_fused_layer(viewer, noise(20, 30), "fused", place_result(layers[0], viewer.dims))
    assert_same_place(result, layers[0])
    assert viewer.dims.units is not None


@pytest.mark.parametrize("name", list(SPATIAL_3D))
def test_a_plane_of_a_volume_takes_over(name):
    viewer, layers = viewer_with(noise(5, 20, 30), noise(5, 20, 30), **{name: SPATIAL_3D[name]})
    viewer.dims.current_step = (3, 0, 0)
    result = add_fused_layer(viewer, noise(20, 30), "fused", place_result(layers[0], viewer.dims))
    np.testing.assert_allclose(result.data_to_world((0, 4, 9)), layers[0].data_to_world((3, 4, 9)))
    result.translate = layers[0].translate
    assert_same_place(result, layers[0])
    assert viewer.dims.units is not None


@pytest.mark.parametrize("spatial", [SPATIAL_2D, SPATIAL_3D])
def test_all_attributes_together(spatial):
    ndim = len(spatial["scale"])
    shape = (5, 20, 30)[-ndim:]
    viewer, layers = viewer_with(noise(*shape), noise(*shape), **spatial)
    # In world units: the middle of the volume.
    viewer.dims.point = layers[0].extent.world.mean(axis=0) * viewer_units(viewer, layers[0])
    planes = read_planes(layers, layers[0], viewer.dims)
    result = add_fused_layer(viewer, planes[0], "fused", place_result(layers[0], viewer.dims))
    np.testing.assert_array_equal(shown(result), shown(layers[0]))
    assert result.units == layers[0].units
    assert result.axis_labels == layers[0].axis_labels
    assert viewer.dims.units is not None


def viewer_units(viewer, layer):
    return [(1 * a).to(b).magnitude for a, b in zip(layer.units, viewer.dims.units, strict=True)]


def assert_same_place(layer, other):
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(other, name), err_msg=name)
    np.testing.assert_array_equal(layer.affine.affine_matrix, other.affine.affine_matrix)
    assert layer.units == other.units
    assert layer.axis_labels == other.axis_labels


def test_a_placement_has_the_spatial_arguments_of_add_image():
    viewer, layers = viewer_with(noise(20, 30), **SPATIAL_2D)
    assert set(place_result(layers[0], viewer.dims).spatial) == set(SPATIAL_2D)


def test_gain_layers_can_be_compared():
    viewer, layers = viewer_with(noise(5, 20, 30), noise(5, 20, 30), scale=(2, 1, 1))
    place = place_result(layers[0], viewer.dims)
    added = add_gain_layers(viewer, noise(2, 20, 30), ["L0", "L1"], place)
    assert [layer.name for layer in added] == ["L0 gain slice 2", "L1 gain slice 2"]
    for layer in added:
        assert tuple(layer.contrast_limits) == (0, 1)
        assert layer.colormap.name == "viridis"
        assert layer.data.shape == (1, 20, 30)


def test_gain_layers_of_two_bands_are_told_apart():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    place = place_result(layers[0], viewer.dims)
    base, details = noise(2, 20, 30), noise(2, 20, 30)
    added = add_gain_layers(viewer, details, ["L0", "L1"], place, base_gains=base)
    assert [layer.name for layer in added] == [
        *("L0 gain (base)", "L0 gain (details)", "L1 gain (base)", "L1 gain (details)")
    ]
    for layer, maps in zip(added, [base[0], details[0], base[1], details[1]], strict=True):
        np.testing.assert_array_equal(layer.data, maps)


def test_names_never_replace_a_layer():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    assert name_fused(["L0", "L1"]) == "fused L0 + L1"
    assert name_consensus(["L0", "L1"]) == "consensus L0 + L1"
    place = place_result(layers[0], viewer.dims)
    for expected in ("a", "a [1]", "a [2]"):
        assert find_free_name(viewer, "a") == expected
        assert add_fused_layer(viewer, noise(20, 30), "a", place).name == expected
    assert len(viewer.layers) == 5


def test_contrast_limits_as_intensity_windows():
    colors = noise(20, 30, 3)
    viewer, layers = viewer_with(colors, (colors * 255).astype(np.uint8), rgb=True)
    layers.append(viewer.add_image(noise(20, 30), contrast_limits=(0.25, 0.5)))
    assert get_contrast_windows(layers) == ((0, 1), (0, 255), (0.25, 0.5))


def test_where_layers_say_that_they_came_from(tmp_path):
    from napari.layers._source import layer_source

    viewer, layers = viewer_with(noise(20, 30))
    with layer_source(path=str(tmp_path / "a.png"), reader_plugin="napari"):
        place = {"scale": (2, 3), "translate": (4, 5), "units": ("mm", "mm")}
        layers.append(viewer.add_image(noise(20, 30), **place))
    nowhere, origin = get_origins(layers)
    assert nowhere is None
    assert (origin.path, origin.plugin) == (tmp_path / "a.png", "napari")
    np.testing.assert_array_equal(origin.affine, [[2, 0, 4], [0, 3, 5], [0, 0, 1]])
    assert origin.units == ("mm", "mm")


# The reference where none is chosen.


def test_the_finest_layer_is_the_reference_unless_another_is_given():
    viewer, (coarse, fine) = viewer_with(noise(10, 10), noise(30, 30))
    coarse.scale, coarse.units = (3, 3), ("mm", "mm")
    fine.scale, fine.units = (1000, 1000), ("um", "um")
    report = check_layers([coarse, fine], None, viewer.dims)
    assert report.message.startswith("L0 will be brought to the grid of L1 (93% of it covered")
    assert check_layers([coarse, fine], coarse, viewer.dims).message.startswith("L1 will be")
    assert find_finest([coarse, fine], viewer.dims) is fine
    fine.units = ("pixel", "pixel")
    fine.scale = (1e-3, 1e-3)
    assert find_finest([coarse, fine], viewer.dims) is coarse


@pytest.mark.parametrize(("order", "finest"), [((0, 1, 2), 1), ((1, 0, 2), 0)])
def test_the_pixels_of_the_plane_shown_decide_which_is_the_finest(order, finest):
    viewer, layers = viewer_with(noise(30, 10, 10), noise(10, 20, 20))
    layers[0].scale, layers[1].scale = (0.2, 2, 2), (3, 1, 1)
    viewer.dims.order = order
    assert find_finest(layers, viewer.dims) is layers[finest]
    viewer.add_image(noise(2, 30, 10, 10))
    viewer.dims.order = (1, 2, 0, 3)
    assert find_finest([*layers, viewer.layers[2]], viewer.dims) is layers[1]


def test_of_equally_fine_layers_the_first_is_the_reference():
    viewer, layers = viewer_with(noise(20, 30), noise(20, 30))
    layers[1].translate = (0.25, 0)
    assert find_finest(layers, viewer.dims) is layers[0]
    assert find_finest(layers[::-1], viewer.dims) is layers[1]


# The units of the layers that are fused.


def add_ct_and_mr(*, ndim):
    """Return a viewer with one scene in millimeters and in micrometers."""
    scene = noise(*(11, 20, 30)[-ndim:])
    viewer, (ct, mr) = viewer_with(scene, scene)
    ct.scale, ct.units = (4, 0.5, 0.5)[-ndim:], ("mm",) * ndim
    mr.scale, mr.units = (4000, 500, 500)[-ndim:], ("um",) * ndim
    return viewer, ct, mr, scene


@pytest.mark.parametrize("ndim", [2, 3])
def test_another_layer_does_not_take_the_units_away(ndim):
    viewer, ct, mr, _ = add_ct_and_mr(ndim=ndim)
    assert check_layers([ct, mr], ct, viewer.dims).warnings == ()
    viewer.add_points(np.zeros((1, ndim)))
    assert viewer.dims.units is None
    report = check_layers([ct, mr], ct, viewer.dims)
    assert report.ok
    assert report.message == "2 layers on one grid"
    (line,) = report.warnings
    assert "drawn" in line
    assert "without their units" in line
    planes = read_planes([ct, mr], ct, viewer.dims)
    np.testing.assert_array_equal(planes[1], planes[0])
    assert np.ptp(planes[1]) > 0.5


def test_the_plane_of_the_reference_that_is_drawn_is_fused():
    viewer, ct, mr, scene = add_ct_and_mr(ndim=3)
    for reference in (ct, mr):
        # In micrometers, which the viewer has taken for both.
        viewer.dims.set_point(0, 12000)
        planes = read_planes([ct, mr], reference, viewer.dims)
        for plane in planes:
            np.testing.assert_array_equal(plane, scene[3])
    points = viewer.add_points(np.zeros((1, 3)))
    # Without units each layer is sliced in its own numbers: here, plane 2 of CT alone.
    viewer.dims.set_point(0, 8)
    np.testing.assert_array_equal(shown(ct), scene[2])
    for plane in read_planes([ct, mr], ct, viewer.dims):
        np.testing.assert_array_equal(plane, scene[2])
    assert place_result(ct, viewer.dims).plane["slice"] == [2, None, None]
    viewer.dims.set_point(0, 20000)
    np.testing.assert_array_equal(shown(mr), scene[5])
    for plane in read_planes([ct, mr], mr, viewer.dims):
        np.testing.assert_array_equal(plane, scene[5])
    viewer.layers.remove(points)
    assert not check_layers([ct, mr], ct, viewer.dims).warnings


def test_sliders_of_axes_that_the_reference_lacks_count_in_the_viewer_s_units():
    viewer, ct, mr, scene = add_ct_and_mr(ndim=3)
    flat = viewer.add_image(scene[0], scale=(0.5, 0.5), units=("mm", "mm"))
    viewer.dims.set_point(0, 12000)
    np.testing.assert_array_equal(read_planes([flat, ct], flat, viewer.dims)[1], scene[3])
    np.testing.assert_array_equal(read_planes([flat, mr], flat, viewer.dims)[1], scene[3])
    viewer.add_points(np.zeros((1, 3)))
    viewer.dims.set_point(0, 8)
    np.testing.assert_array_equal(read_planes([flat, ct], flat, viewer.dims)[1], scene[2])


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_pixel_is_never_taken_for_a_millimeter(ndim):
    shape = (11, 20, 30)[-ndim:]
    viewer, (ct, pet) = viewer_with(noise(*shape), noise(*shape))
    ct.units = ("mm",) * ndim
    report = check_layers([ct, pet], ct, viewer.dims)
    assert not report.ok
    assert report.message == (
        "L1 is measured in pixel and L0 in mm, so nothing says how they lie on each other; give "
        "both their place in one unit (such as layer.units = 'mm', with its scale)"
    )
    other_way = check_layers([ct, pet], pet, viewer.dims).message
    assert other_way.startswith("L0 is measured in mm and L1 in pixel")
    assert "layer.units = 'mm'" in other_way
    pet.units = ("mm",) * ndim
    assert check_layers([ct, pet], ct, viewer.dims).ok


@pytest.mark.parametrize(
    ("labels", "units", "fits"),
    [
        (("z", "t"), ("pixel", "pixel"), False),
        (("z", "frame"), ("pixel", "pixel"), False),
        (("t", "frame"), ("s", "ms"), True),
        (("z", "depth"), ("mm", "um"), True),
        (("z", "z"), ("mm", "furlong"), True),
        (("z", "-3"), ("pixel", "pixel"), True),
    ],
)
def test_one_slider_does_not_move_along_heights_and_frames(labels, units, fits):
    viewer, layers = viewer_with(noise(6, 20, 30), noise(6, 20, 30))
    for layer, label, unit in zip(layers, labels, units, strict=True):
        layer.axis_labels, layer.units = (label, "y", "x"), (unit, "pixel", "pixel")
    report = check_layers(layers, layers[0], viewer.dims)
    assert report.ok is fits
    if not fits:
        assert f"L1 has the axis {labels[1]} where L0 has z, so one slider moves" in report.message
    # A single plane lies where napari shows it, whatever its axis is called.
    viewer.dims.set_point(0, 0)
    flat = viewer.add_image(noise(1, 20, 30), axis_labels=("echo", "y", "x"))
    assert check_layers([layers[0], flat], layers[0], viewer.dims).ok


def test_a_place_that_is_a_guess_is_called_one_before_and_after():
    viewer, (ct, mr) = viewer_with(noise(20, 30), noise(20, 30))
    ct.metadata["guessed_place"] = "no codes are set"
    report = check_layers([ct, mr], mr, viewer.dims)
    assert report.warnings == ("the place of L0 is a guess: no codes are set",)
    made = [make_metadata({}, {}, place_result(layer, viewer.dims)) for layer in (ct, mr)]
    assert [metadata.get("guessed_place") for metadata in made] == ["no codes are set", None]


def test_a_layer_of_which_a_pixel_is_seen_is_a_warning():
    viewer, (ct, mr) = viewer_with(noise(20, 30), noise(20, 30))
    mr.scale = (1000, 1000)
    report = check_layers([ct, mr], ct, viewer.dims)
    assert "100% of it covered, <1% of L1 used" in report.message
    assert report.warnings[0].startswith("next to nothing is seen of L1: 0.0006 of its pixels (<1%")


def test_what_is_left_out_of_a_larger_layer_is_told():
    viewer, (overview, detail) = viewer_with(noise(100, 100), noise(40, 40))
    detail.scale = (0.5, 0.5)
    report = check_layers([overview, detail], None, viewer.dims)
    assert report.ok
    (line,) = report.warnings
    assert line.startswith("only 4% of L0 lies in L1, of which it covers 100%")


# Thick slices.


@pytest.mark.parametrize("mode", ["mean", "max", "min", "sum"])
@pytest.mark.parametrize("margins", [(2, 2), (1.4, 0), (3, 0.5), (30, 30), (0.3, 0.3)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_the_planes_of_a_thick_slice_are_fused_as_napari_shows_them(mode, margins, order):
    images = [(noise(11, 12, 13) * 250).astype(np.uint8), noise(11, 12, 13)]
    viewer, layers = viewer_with(*images, scale=(3, 2, 0.5), translate=(1, 2, 3))
    viewer.dims.order = order
    viewer.dims.current_step = (4, 6, 8)
    step = layers[0].scale[order[0]]
    viewer.dims.margin_left = [margins[0] * step] * 3
    viewer.dims.margin_right = [margins[1] * step] * 3
    for layer in layers:
        layer.projection_mode = mode
    for reference in layers:
        planes = read_planes(layers, reference, viewer.dims)
        for plane, layer in zip(planes, layers, strict=True):
            image = shown(layer)
            # The viewer may show the second axis first.
            np.testing.assert_allclose(plane, image if order[1] < order[2] else image.T, rtol=1e-6)
            assert plane.dtype == image.dtype


def test_the_line_and_the_result_say_which_planes_were_fused():
    viewer, layers = viewer_with(noise(11, 12, 13), noise(11, 12, 13))
    viewer.dims.current_step = (5, 0, 0)
    viewer.dims.thickness = (4, 0, 0)
    layers[0].projection_mode = layers[1].projection_mode = "none"
    assert check_layers(layers, None, viewer.dims).message == "2 layers on one grid"
    layers[1].projection_mode = "mean"
    report = check_layers(layers, None, viewer.dims)
    assert report.message == "2 layers on one grid; L1: mean of planes 3 to 7"
    plan = make_plan(layers, None, viewer.dims, FusionConfig())
    assert plan.place.plane["thick_slices"] == {
        "L1": {"projection": "mean", "planes": {"0": [3, 7]}}
    }
    assert (plan.margins, plan.projections) == (
        ((2, 0, 0), (2, 0, 0)),
        {"L0": "none", "L1": "mean"},
    )


def test_thick_slices_of_layers_on_other_grids_meet():
    depth = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((12, 13), np.float32)
    viewer, (fine, coarse) = viewer_with(depth, depth[:5])
    coarse.scale = (4, 2, 2)
    viewer.dims.set_point(0, 9)
    viewer.dims.thickness = (7, 0, 0)
    fine.projection_mode = coarse.projection_mode = "max"
    for reference in (fine, coarse):
        planes = read_planes([fine, coarse], reference, viewer.dims)
        for plane, layer in zip(planes, (fine, coarse), strict=True):
            assert {plane[0, 0], plane[-1, -1]} <= {shown(layer)[0, 0], 0}
            assert plane[0, 0] == shown(layer)[0, 0]


def test_a_thick_slice_of_colors_over_time_and_of_a_level():
    viewer, layers = viewer_with(noise(3, 6, 12, 13, 3), noise(3, 6, 12, 13, 3), rgb=True)
    viewer.dims.current_step = (1, 3, 0, 0)
    viewer.dims.thickness = (2, 2, 0, 0)
    for layer in layers:
        layer.projection_mode = "mean"
    planes = read_planes(layers, layers[0], viewer.dims)
    assert planes[0].shape == (12, 13, 3)
    np.testing.assert_allclose(planes[0], shown(layers[0]), rtol=1e-6)
    assert "mean of planes 0 to 2 by 2 to 4" in check_layers(layers, None, viewer.dims).message
    levels = [noise(16, 64, 64), noise(8, 32, 32)]
    viewer = ViewerModel()
    layer = viewer.add_image(levels, multiscale=True, projection_mode="mean")
    viewer.dims.set_point(0, 8)
    viewer.dims.thickness = (7, 0, 0)
    (plane,) = read_planes([layer], layer, viewer.dims, level=1)
    # Planes 4 to 11 of the fine level lie in these of the coarse one.
    low, high = find_thick_slice(layer, viewer.dims, layer.units).planes[0]
    np.testing.assert_allclose(plane, levels[1][low // 2 : (high - 1) // 2 + 1].mean(axis=0))


def test_a_thick_slice_reads_its_planes_and_no_others():
    lazy = Lazy(noise(50, 12, 13))
    viewer = ViewerModel()
    layer = viewer.add_image(lazy, contrast_limits=(0, 1), multiscale=False, visible=False)
    layer.projection_mode = "mean"
    viewer.dims.set_point(0, 20)
    viewer.dims.thickness = (4, 0, 0)
    lazy.read.clear()
    assert check_layers([layer, viewer.add_image(noise(50, 12, 13))], None, viewer.dims).ok
    assert not lazy.read
    (plane,) = read_planes([layer], layer, viewer.dims)
    assert plane.shape == (12, 13)
    assert lazy.read == [(5, 12, 13)]


def test_a_thick_slice_without_units_is_that_of_the_reference():
    viewer, ct, mr, scene = add_ct_and_mr(ndim=3)
    viewer.add_points(np.zeros((1, 3)))
    for reference, (middle, thickness) in ((ct, (20, 8)), (mr, (20000, 8000))):
        viewer.dims.set_point(0, middle)
        viewer.dims.thickness = (thickness, 0, 0)
        np.testing.assert_allclose(shown(reference), scene[4:7].mean(axis=0))
        for plane in read_planes([ct, mr], reference, viewer.dims):
            np.testing.assert_allclose(plane, scene[4:7].mean(axis=0))
        report = check_layers([ct, mr], reference, viewer.dims)
        assert "L0: mean of planes 4 to 6; L1: mean of planes 4 to 6" in report.message
        assert "not as they are drawn" in report.warnings[0]
