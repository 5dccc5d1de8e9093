from functools import cache

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_dip_fusion import samples
from napari_dip_fusion.plugin import sample_data

# napari draws oblique layers without their tilt, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")


@cache
def layers_of(name):
    return getattr(sample_data, name)()


def open_in_viewer(name):
    viewer = ViewerModel()
    for data in layers_of(name):
        viewer.add_layer(Layer.create(*data))
    return viewer


PLANES = ["focus_pair", "focus_pair_color", "focus_stack", "head", "noisy_head"]
WITH_TRUTH = [n for n in sample_data.__all__ if n != "cell_series"]


@pytest.mark.parametrize("name", WITH_TRUTH)
def test_opens_with_the_truth_hidden_under_the_sources(name):
    viewer = open_in_viewer(name)
    truth, *sources = viewer.layers
    assert truth.metadata["role"] == "truth"
    assert not truth.visible
    assert len(sources) >= 2
    assert all(layer.visible and layer.metadata["role"] == "source" for layer in sources)
    assert viewer.layers.selection.active is sources[-1]


@pytest.mark.parametrize("name", PLANES)
def test_layers_of_a_set_share_grid_and_contrast(name):
    layers = open_in_viewer(name).layers
    for attribute in ("scale", "units", "contrast_limits", "rgb"):
        values = [getattr(layer, attribute) for layer in layers]
        assert all(np.array_equal(value, values[0]) for value in values), attribute


@pytest.mark.parametrize("name", ["head", "noisy_head"])
def test_the_head_measures_240_mm_across_the_field_of_view(name):
    layer = open_in_viewer(name).layers[0]
    assert [str(unit) for unit in layer.units] == ["millimeter", "millimeter"]
    np.testing.assert_allclose(layer.scale * layer.data.shape, 240)


def test_coarse_pet_lies_on_mr_with_what_it_lost_hidden():
    true, mr, pet = open_in_viewer("head_pet").layers
    assert [layer.name for layer in (true, mr, pet)] == [
        "true PET (head-pet)",
        "MR (head-pet)",
        "PET (head-pet)",
    ]
    np.testing.assert_allclose(pet.scale, 4 * mr.scale)
    np.testing.assert_allclose(pet.translate, 1.5)
    assert pet.metadata == {"role": "source", "fwhm": (4.5, 4.5)}
    assert "fwhm" not in mr.metadata
    np.testing.assert_array_equal(true.scale, mr.scale)


def test_thick_slices_of_ct_lie_on_those_of_mr():
    true, mr, ct = open_in_viewer("head_thick").layers
    assert true.name == "true CT (head-thick)"
    np.testing.assert_allclose(ct.scale, mr.scale * (4, 1, 1))
    np.testing.assert_array_equal(true.translate, mr.translate)


def test_head_volumes_lie_oblique_to_each_other_in_millimeters():
    truth, ct, mr = open_in_viewer("head_volume").layers
    made = samples.head_volume().sources
    for layer, source in zip((ct, mr), made, strict=True):
        assert layer.axis_labels == ("z", "y", "x")
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
        matrix = layer.affine.affine_matrix @ layer._transforms["data2physical"].affine_matrix
        np.testing.assert_allclose(matrix, source.affine, atol=1e-9)
    np.testing.assert_array_equal(truth.scale, ct.scale)
    np.testing.assert_array_equal(truth.translate, ct.translate)


def test_the_cell_series_is_two_colored_channels_over_time():
    layers = open_in_viewer("cell_series").layers
    assert [layer.colormap.name for layer in layers] == ["green", "magenta"]
    for layer in layers:
        assert layer.visible
        assert layer.metadata["role"] == "source"
        assert layer.axis_labels == ("t", "y", "x")
        assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
        np.testing.assert_allclose(layer.scale, (30, 0.3, 0.3))


def test_gray_and_color():
    assert not any(layer.rgb for layer in open_in_viewer("focus_pair").layers)
    assert all(layer.rgb for layer in open_in_viewer("focus_pair_color").layers)


def test_layer_names_are_unique_across_sets():
    shown = [name for name in sample_data.__all__ if name != "focus_pair_color"]
    names = [options["name"] for name in shown for _, options, _ in layers_of(name)]
    assert len(names) == len(set(names))


def test_every_registered_set_is_in_the_menu():
    assert {name.replace("-", "_") for name in samples.SAMPLES} <= set(sample_data.__all__)
