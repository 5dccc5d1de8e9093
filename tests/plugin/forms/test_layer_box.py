import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_dip_fusion.plugin.forms.layer_box import LayerBox


@pytest.fixture
def layers():
    return [Image(np.zeros((8, 8)), name=name) for name in ("CT", "MR", "PET")]


@pytest.fixture
def box(qtbot, layers):
    made = LayerBox("Which one?")
    qtbot.addWidget(made.native)
    made.set_layers(layers)
    return made


def names(box):
    return [box.native.itemText(i) for i in range(box.native.count())]


def test_layers_stand_in_the_given_order_and_the_chosen_one_stays(box, layers):
    box.value = layers[1]
    box.set_layers(layers[::-1])
    assert names(box) == ["PET", "MR", "CT"]
    assert box.value is layers[1]


def test_a_layer_with_a_new_name_stays_chosen(box, layers):
    box.value = layers[1]
    layers[1].name = "T1"
    box.set_layers(layers)
    assert names(box) == ["CT", "T1", "PET"]
    assert box.value is layers[1]


def test_where_the_chosen_one_is_gone_the_default_is_chosen(box, layers):
    box.value = layers[2]
    box.set_layers(layers[:2], default=1)
    assert box.value is layers[1]
    box.set_layers(layers[:1], default=1)
    assert box.value is layers[0]
    box.set_layers([])
    assert box.value is None


def test_only_a_choice_is_told(qtbot, box, layers):
    told = []
    box.changed.connect(told.append)
    box.set_layers(layers[1:])
    assert told == []
    box.value = layers[2]
    assert told == [layers[2]]


def test_choices_stay_when_magicgui_resets_them(box, layers):
    box.value = layers[1]
    box.reset_choices()
    assert names(box) == ["CT", "MR", "PET"]
    assert box.value is layers[1]


LONG = "sub-01_acq-highres_T1w_brain_extracted_to_MNI152_space_second_visit"


def test_a_long_name_is_cut_in_its_middle_and_whole_in_the_tooltip(box, layers):
    layers[1].name = LONG
    box.set_layers(layers)
    assert box.tooltip == "CT\nWhich one?"
    box.value = layers[1]
    assert box.tooltip == f"{LONG}\nWhich one?"
    assert box.native.itemData(1, Qt.ItemDataRole.ToolTipRole) == LONG
    box.native.resize(200, 24)
    cut = box.native.grab().toImage()
    # Of two names that differ at their end, the ends are seen.
    layers[1].name = LONG[:-5] + "later"
    box.set_layers(layers)
    assert box.native.grab().toImage() != cut
