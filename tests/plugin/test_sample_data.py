from functools import cache

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_dip_fusion import samples
from napari_dip_fusion.plugin import sample_data


@cache
def layers_of(name):
    return getattr(sample_data, name)()


def open_in_viewer(name):
    viewer = ViewerModel()
    for data in layers_of(name):
        viewer.add_layer(Layer.create(*data))
    return viewer


@pytest.mark.parametrize("name", sample_data.__all__)
def test_opens_with_the_truth_hidden_under_the_sources(name):
    viewer = open_in_viewer(name)
    truth, *sources = viewer.layers
    assert truth.metadata["role"] == "truth"
    assert not truth.visible
    assert len(sources) >= 2
    assert all(layer.visible and layer.metadata["role"] == "source" for layer in sources)
    assert viewer.layers.selection.active is sources[-1]


@pytest.mark.parametrize("name", sample_data.__all__)
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


def test_gray_and_color():
    assert not any(layer.rgb for layer in open_in_viewer("focus_pair").layers)
    assert all(layer.rgb for layer in open_in_viewer("focus_pair_color").layers)


def test_layer_names_are_unique_across_sets():
    shown = [name for name in sample_data.__all__ if name != "focus_pair_color"]
    names = [options["name"] for name in shown for _, options, _ in layers_of(name)]
    assert len(names) == len(set(names))


def test_every_registered_set_is_in_the_menu():
    assert {name.replace("-", "_") for name in samples.SAMPLES} <= set(sample_data.__all__)
