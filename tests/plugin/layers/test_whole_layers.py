"""Layers that are fused whole: what is read of them, where it goes, and what does not fit."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion import FusionConfig
from napari_dip_fusion.plugin.layers.fused_layer import FusedLayer
from napari_dip_fusion.plugin.layers.layer_report import check_layers
from napari_dip_fusion.plugin.layers.placement import place_result
from napari_dip_fusion.plugin.layers.plane_view import find_shown_index, show_index
from napari_dip_fusion.plugin.layers.planes import choose_level
from napari_dip_fusion.plugin.layers.whole_reader import make_whole_readers
from napari_dip_fusion.plugin.running.plan import make_plan

# What napari says of layers that lie oblique, whose planes it draws as if they did not.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

RNG = np.random.default_rng(3)
CONFIG = FusionConfig()


def noise(*shape):
    return RNG.integers(0, 255, shape).astype(np.uint8)


def viewer_with(*images, **arguments):
    viewer = ViewerModel()
    for i, image in enumerate(images):
        each = {key: values[i] for key, values in arguments.items()}
        viewer.add_image(image, name=f"L{i}", **each)
    return viewer, list(viewer.layers)


def test_stacks_without_names_are_volumes_and_then_series():
    viewer, layers = viewer_with(noise(3, 4, 12, 13), noise(3, 4, 12, 13))
    assert make_whole_readers(layers, layers[0])[1].source.axes == ("t", "z", "y", "x")
    viewer, layers = viewer_with(noise(4, 12, 13), noise(4, 12, 13))
    assert make_whole_readers(layers, layers[0])[1].source.axes == ("z", "y", "x")
    assert check_layers(layers, None, viewer.dims, whole=True).message == (
        "4 planes of 12x13, z y x; 2 layers on one grid"
    )


@pytest.mark.parametrize(
    ("labels", "units", "axes"),
    [
        (("t", "y", "x"), ("pixel",) * 3, ("t", "y", "x")),
        (None, ("s", "um", "um"), ("t", "y", "x")),
        (("echo", "y", "x"), ("pixel",) * 3, ("echo", "y", "x")),
        (("y", "z", "x"), ("pixel",) * 3, ("z", "y", "x")),
    ],
)
def test_one_name_says_what_an_axis_of_all_layers_is(labels, units, axes):
    options = {"units": [units, units], "axis_labels": [labels, None]}
    _, layers = viewer_with(noise(4, 12, 13), noise(4, 12, 13), **options)
    for reader in make_whole_readers(layers[::-1], layers[1]):
        assert reader.source.axes == axes


def test_places_are_told_in_the_units_of_the_reference():
    _, layers = viewer_with(
        noise(4, 12, 13),
        noise(4, 12, 13),
        units=[("mm",) * 3, ("um",) * 3],
        scale=[(2, 1, 1), (2000, 1000, 1000)],
    )
    readers = make_whole_readers(layers, layers[0])
    np.testing.assert_allclose(readers[1].source.affine, np.diag([2, 1, 1, 1]))
    assert readers[1].source.units == ("mm", "mm", "mm")
    np.testing.assert_array_equal(readers[1].read().to_numpy(), layers[1].data)


def test_the_level_is_as_fine_along_all_axes():
    fine = noise(8, 32, 32)
    both = [fine, fine[:, ::2, ::2], fine[::2, ::4, ::4]]
    _, layers = viewer_with(both, noise(8, 8, 8), scale=[(1, 1, 1), (1, 4, 4)])
    source = make_whole_readers(layers, layers[1])[0].source
    assert source.shape == (8, 16, 16)
    _, layers = viewer_with(both, noise(4, 8, 8), scale=[(1, 1, 1), (2, 4, 4)])
    assert make_whole_readers(layers, layers[1])[0].source.shape == (4, 8, 8)


def test_all_planes_have_to_fit_the_memory(monkeypatch):
    from napari_dip_fusion.plugin.layers import planes

    needs = {(32, 32): 1, (8, 32, 32): 9, (8, 16, 16): 3}
    monkeypatch.setattr(planes, "estimate_memory", lambda config, shape, count: needs[shape])
    monkeypatch.setattr(planes, "measure_free_memory", lambda device: 4)
    fine = noise(8, 32, 32)
    viewer, layers = viewer_with([fine, fine[:, ::2, ::2]])
    assert choose_level(layers[0], viewer.dims) == 0
    assert choose_level(layers[0], viewer.dims, whole=True) == 1


def test_what_does_not_fit_is_said_in_one_line():
    images = {
        "volume": noise(5, 12, 14),
        "series": noise(6, 5, 12, 14),
        "longer": noise(7, 5, 12, 14),
        "plane": noise(12, 14),
        "tiny": noise(5, 6, 14),
    }
    viewer = ViewerModel()
    for name, image in images.items():
        viewer.add_image(image, name=name)
    viewer.add_image(images["volume"], name="far", translate=(40, 0, 0))
    for names, words in [
        (("volume", "series"), "series has 4 dimensions (6 t x 5 z x 12 y x 14 x) and volume 3"),
        (("series", "longer"), "series has 6 frames along t and longer 7"),
        (("volume", "plane"), "plane has 2 dimensions"),
        (("plane", "volume"), "plane has 2 dimensions"),
        (("volume", "far"), "far does not overlap volume; check the layers' scale"),
        (("tiny", "volume"), "tiny has 6 x 14 pixels"),
    ]:
        layers = [viewer.layers[name] for name in names]
        reference = layers[0] if names[0] == "tiny" else viewer.layers["volume"]
        reference = viewer.layers["longer"] if "longer" in names else reference
        report = check_layers(layers, reference, viewer.dims, whole=True)
        assert not report.ok
        assert not report.fits
        assert words in report.message, report.message
        assert "\n" not in report.message


def test_the_result_of_a_whole_stack_lies_where_the_reference_does():
    viewer, layers = viewer_with(
        noise(4, 12, 13),
        scale=[(2, 1, 0.5)],
        translate=[(3, 4, 5)],
        rotate=[(10, 20, 30)],
        shear=[(0.1, 0.2, 0.3)],
    )
    place = place_result(layers[0], viewer.dims, whole=True)
    added = viewer.add_image(place.expand(np.zeros((4, 12, 13), np.float32)), **place.spatial)
    np.testing.assert_allclose(added.data_to_world((1, 2, 3)), layers[0].data_to_world((1, 2, 3)))
    assert place.plane == {
        "reference": "L0",
        "axes": [0, 1, 2],
        "slice": [None, None, None],
        "level": 0,
    }
    assert place.add_slice("fused") == "fused"
    color = np.zeros((4, 12, 13, 3), np.float32)
    assert place.is_color(color)
    assert place.expand(color).shape == color.shape


def test_a_level_of_a_whole_stack_covers_the_same_world():
    fine = noise(4, 16, 16)
    viewer, layers = viewer_with([fine, fine[:, ::2, ::2]], scale=[(2, 1, 1)])
    place = place_result(layers[0], viewer.dims, level=1, whole=True)
    added = viewer.add_image(np.zeros(place.shape), **place.spatial)
    for corner, fine in [((0, -0.5, -0.5), (0, -0.5, -0.5)), ((3, 7.5, 7.5), (3, 15.5, 15.5))]:
        world = layers[0].data_to_world(fine)
        np.testing.assert_allclose(added.data_to_world(corner), world)


def test_single_planes_in_front_are_kept_for_the_layer_alone():
    viewer, layers = viewer_with(noise(1, 4, 12, 13))
    place = place_result(layers[0], viewer.dims, whole=True)
    assert place.expand(np.zeros((4, 12, 13))).shape == (1, 4, 12, 13)
    assert place.locate((2,)) == (0, 2)


def test_frames_and_planes_are_found_in_the_layer():
    viewer, layers = viewer_with(noise(3, 4, 12, 13))
    place = place_result(layers[0], viewer.dims, whole=True)
    assert (place.locate((2,)), place.locate((2, 1))) == ((2,), (2, 1))


def test_the_plane_on_the_screen_is_looked_at_first():
    viewer, layers = viewer_with(noise(5, 12, 14), noise(5, 12, 14))
    viewer.dims.current_step = (3, 4, 0)
    look = make_plan(layers, None, viewer.dims, CONFIG, whole=True).look
    np.testing.assert_array_equal(look.readers[1].read().to_numpy(), layers[1].data[3])
    assert (look.where, look.index) == ((3, slice(None), slice(None)), (3,))
    viewer.dims.order = (1, 0, 2)
    look = make_plan(layers, None, viewer.dims, CONFIG, whole=True).look
    np.testing.assert_array_equal(look.readers[1].read().to_numpy(), layers[1].data[:, 4])
    assert (look.where, look.index) == ((slice(None), 4, slice(None)), (3,))
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    look = make_plan(layers, None, viewer.dims, CONFIG, whole=True).look
    assert (look.where, look.index) == ((3, slice(None), slice(None)), (3,))


def test_projections_are_none_of_a_whole_stack():
    viewer, layers = viewer_with(noise(5, 12, 14), noise(5, 12, 14))
    for layer in layers:
        layer.projection_mode = "mean"
    viewer.dims.margin_left = viewer.dims.margin_right = (1, 0, 0)
    viewer.dims.current_step = (2, 0, 0)
    plan = make_plan(layers, None, viewer.dims, CONFIG, whole=True)
    assert (plan.margins, plan.projections, plan.point) == (None, {}, None)
    assert "thick_slices" not in plan.place.plane
    np.testing.assert_array_equal(plan.readers[0].read().to_numpy(), layers[0].data)
    np.testing.assert_array_equal(plan.look.readers[0].read().to_numpy(), layers[0].data[2])


def test_beside_a_layer_there_is_no_plane_to_look_at():
    viewer, layers = viewer_with(noise(5, 12, 14), noise(5, 12, 14))
    viewer.add_image(noise(9, 12, 14))
    viewer.dims.current_step = (8, 0, 0)
    plan = make_plan(layers, None, viewer.dims, CONFIG, whole=True)
    assert plan.look is None
    assert plan.shape == (5, 12, 14)


def test_the_grid_of_a_whole_stack_is_that_of_a_source():
    viewer, layers = viewer_with(noise(5, 12, 14), noise(5, 12, 14), noise(5, 12, 14))
    plan = make_plan(layers[:2], layers[1], viewer.dims, CONFIG, whole=True)
    assert plan.grid == {"reference": 1, "interpolation": "linear"}
    assert make_plan(layers[:2], layers[1], viewer.dims, CONFIG).grid == {}
    with pytest.raises(ValueError, match="L2 is not fused, so that whole stacks"):
        make_plan(layers[:2], layers[2], viewer.dims, CONFIG, whole=True)


def test_an_image_comes_in_parts():
    viewer, layers = viewer_with(noise(5, 12, 14))
    fused = FusedLayer(viewer, "fused", place_result(layers[0], viewer.dims, whole=True))
    part = np.full((12, 14), 0.5, np.float32)
    fused.preview_part(part, (3, slice(None), slice(None)))
    layer = viewer.layers["fused"]
    assert layer.data.shape == (5, 12, 14)
    assert layer.data[3].min() == 0.5
    assert layer.data[[0, 1, 2, 4]].max() == 0
    array = layer.data
    fused.preview_part(part[:5], (slice(None), 2, slice(None)))
    assert layer.data is array
    assert layer.data[:, 2].min() == 0.5
    whole = np.full((5, 12, 14), 0.25, np.float32)
    fused.preview(whole)
    fused.preview_part(part, (0,))
    assert layer.data[0].min() == 0.5
    assert layer.data[1:].max() == 0.25
    # What a run has sent stays as it is: the run may need it.
    assert whole.max() == 0.25


def test_a_part_in_color_makes_a_layer_in_color():
    viewer, layers = viewer_with(noise(5, 12, 14, 3), rgb=[True])
    fused = FusedLayer(viewer, "fused", place_result(layers[0], viewer.dims, whole=True))
    fused.preview_part(np.full((12, 14, 3), 0.5, np.float32), (3, slice(None), slice(None)))
    assert viewer.layers["fused"].rgb
    assert viewer.layers["fused"].data.shape == (5, 12, 14, 3)


@pytest.mark.parametrize("rotate", [None, (0, 0, 0), (20, 10, 5)])
def test_the_sliders_go_to_a_plane_and_tell_it(rotate):
    arguments = {} if rotate is None else {"rotate": [rotate]}
    viewer, layers = viewer_with(noise(5, 12, 14), scale=[(2, 1, 1)], **arguments)
    for index in (4, 0, 3):
        show_index(viewer, layers[0], (index,))
        assert find_shown_index(layers[0], viewer.dims) == (index,)
