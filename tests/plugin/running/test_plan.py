import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion import FusionConfig
from napari_dip_fusion.plugin.running.plan import make_plan, name_as_now

CONFIG = FusionConfig()


def make_viewer(*images):
    viewer = ViewerModel()
    for name, image in zip("AB", images, strict=True):
        viewer.add_image(image, name=name)
    return viewer, list(viewer.layers)


@pytest.fixture
def flat(pair):
    return make_viewer(*pair)


def test_a_plan_of_flat_layers_on_one_grid(flat):
    viewer, layers = flat
    plan = make_plan(layers, layers[1], viewer.dims, CONFIG)
    assert (plan.names, plan.origins, plan.reference) == (("A", "B"), (None, None), "B")
    assert plan.shape == (32, 40)
    assert (plan.point, plan.order) == (None, None)
    np.testing.assert_array_equal(plan.readers[0].read().data, layers[0].data)


def test_a_plan_stays_when_layers_change(flat):
    viewer, layers = flat
    before = layers[0].data.copy()
    plan = make_plan(layers, None, viewer.dims, CONFIG)
    layers[0].name = "renamed"
    layers[0].data = np.zeros((32, 40), np.uint8)
    assert plan.names == ("A", "B")
    np.testing.assert_array_equal(plan.readers[0].read().data, before)


def test_a_plan_without_data_still_says_what_was_run(flat):
    viewer, layers = flat
    plan = make_plan(layers, None, viewer.dims, CONFIG).drop_data()
    assert (plan.layers, plan.readers) == ((), ())
    assert (plan.names, plan.config) == (("A", "B"), CONFIG)


def test_a_plan_without_layers_can_still_be_run(flat):
    viewer, layers = flat
    plan = make_plan(layers, None, viewer.dims, CONFIG).drop_layers()
    assert plan.layers == ()
    np.testing.assert_array_equal(plan.readers[1].read().data, layers[1].data)


def test_resampled_layers_and_levels(flat, pair):
    viewer, layers = flat
    layers[1].translate = (2, 0)
    plan = make_plan(layers, None, viewer.dims, CONFIG)
    assert plan.resampled
    levels = [[image, image[::2, ::2]] for image in pair]
    viewer, layers = make_viewer(*levels)
    plan = make_plan(layers, None, viewer.dims, CONFIG, level=1)
    assert (plan.multiscale, plan.level, plan.shape) == (True, 1, (16, 20))


def test_the_sliders_say_what_plane_of_a_volume_is_meant(pair):
    viewer, layers = make_viewer(*(np.stack([image] * 3) for image in pair))
    viewer.dims.current_step = (2, 0, 0)
    plan = make_plan(layers, None, viewer.dims, CONFIG)
    assert plan.point[0] == 2
    assert plan.order == (0, 1, 2)


def test_a_plan_can_be_told_in_the_names_of_now(flat):
    viewer, layers = flat
    plan = make_plan(layers, layers[1], viewer.dims, CONFIG)
    layers[0].name, layers[1].name = "x", "A"
    renamed = name_as_now(plan, viewer)
    assert (renamed.names, renamed.reference) == (("x", "A"), "A")
    viewer.layers.remove("A")
    assert name_as_now(plan, viewer).names == ("x", "B")


def test_layers_that_do_not_fit_have_no_plan(flat):
    viewer, layers = flat
    with pytest.raises(ValueError, match="choose two or more image layers"):
        make_plan(layers[:1], None, viewer.dims, CONFIG)
    layers[1].translate = (0, 30)
    assert "covers only 25% of A" in make_plan(layers, None, viewer.dims, CONFIG).warnings[0]
