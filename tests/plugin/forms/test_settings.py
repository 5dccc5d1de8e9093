import numpy as np
import pytest
from napari.layers import Image

from napari_dip_fusion import FusionConfig
from napari_dip_fusion.config import GROUP_TITLES, PRESETS
from napari_dip_fusion.plugin.forms.layout import LABEL_WIDTH
from napari_dip_fusion.plugin.forms.preferences import Preferences, load_preferences
from napari_dip_fusion.plugin.forms.settings import SettingsForm

LIMITS = [(0.0, 10.0), (5.0, 20.0)]


def make_layers(*names):
    return [Image(np.eye(8), name=name) for name in names]


@pytest.fixture
def form(qtbot):
    made = SettingsForm(Preferences())
    made.intensity.set_sources(make_layers("CT", "MR"))
    qtbot.addWidget(made.native)
    return made


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_through_the_form_unchanged(form, name):
    form.preset.value = name
    assert form.take_config(LIMITS) == FusionConfig.preset(name)


def test_every_setting_has_a_field_with_its_help(form):
    for setting in FusionConfig.settings():
        if setting.name in ("preset_name", "intensity", "percentiles"):
            continue
        assert setting.help in form.fields[setting.name].tooltip
        if setting.minimum is not None:
            assert f"{setting.maximum:.12g}" in form.fields[setting.name].tooltip
    assert {s.group for s in FusionConfig.settings()} == {"preset_name", *GROUP_TITLES}


def test_a_check_box_has_its_label_where_other_fields_have_theirs(form):
    box = form.fields["give_back"]
    row = box.native.parentWidget().parentWidget().layout()
    assert box.text == ""
    assert row.itemAt(0).widget().text() == "Keep structure"
    assert row.itemAt(0).widget().minimumWidth() == LABEL_WIDTH


def test_other_settings_can_be_shown(form):
    config = FusionConfig.preset(
        "paper", learning_rate=2e-5, width=7, device="cuda:3", percentiles=(1, 90), input_noise=0.1
    )
    form.show_config(config)
    assert form.take_config(LIMITS) == config


def test_numbers_with_many_decimals_are_shown_in_full(form):
    config = FusionConfig(
        min_improvement=0.005, sharpness=1.255, learning_rate=0.0012345678, percentiles=(0.125, 99)
    )
    form.show_config(config)
    assert form.take_config(LIMITS) == config
    assert form.intensity.high.native.text() == "99.00"


def test_shown_settings_are_one_change(form):
    changes = []
    form.config_changed.connect(lambda: changes.append(form.take_config(LIMITS)))
    config = FusionConfig.preset("paper", width=24)
    form.show_config(config)
    assert changes == [config]


def test_a_preset_leaves_data_and_machine_alone(form):
    form.intensity.mode.value = "dtype"
    form.fields["threads"].value = 3
    form.preset.value = "paper"
    config = form.take_config(LIMITS)
    assert (config.intensity, config.compute.threads, config.network.width) == ("dtype", 3, 128)


def test_the_title_counts_what_differs(qtbot, form):
    assert form.folded.text() == "Settings"
    with qtbot.waitSignal(form.config_changed):
        form.fields["width"].value = 16
    form.fields["learning_rate"].value = "0.02"
    assert form.folded.text() == "Settings (2 not as in the preset)"
    form.preset.value = "paper"
    assert form.folded.text() == "Settings"


def test_a_number_that_is_none_is_explained(form):
    form.fields["learning_rate"].value = "fast"
    with pytest.raises(ValueError, match="Learning rate must be a number, got 'fast'"):
        form.take_config(LIMITS)


def test_intensity_windows(form):
    intensity = form.intensity
    ct, mr, pet = make_layers("CT", "MR", "PET")
    intensity.set_sources([ct, mr])
    intensity.mode.value = "contrast limits"
    assert form.take_config(LIMITS).intensity == ((0, 10), (5, 20))
    intensity.mode.value = "one by one"
    intensity._each[1].value = "contrast limits"
    assert form.take_config(LIMITS).intensity == ("auto", (5, 20))
    intensity.set_sources([mr, pet])
    assert form.take_config(LIMITS).intensity == ((0, 10), "auto")
    intensity.mode.value = "percentiles"
    assert form.take_config(LIMITS).intensity == "percentiles"


def test_an_intensity_belongs_to_its_layer_and_not_to_the_name(widget, viewer):
    ct, mr = viewer.layers
    intensity = widget.settings.intensity
    intensity.mode.value = "one by one"
    intensity._each[0].value, intensity._each[1].value = "dtype", "percentiles"
    ct.name = "CT skull"
    assert [box.label for box in intensity._each] == ["CT skull", "MR"]
    assert widget.settings.take_config(LIMITS).intensity == ("dtype", "percentiles")
    mr.name, ct.name, mr.name = "x", "MR", "CT skull"
    assert [box.label for box in intensity._each] == ["MR", "CT skull"]
    assert widget.settings.take_config(LIMITS).intensity == ("dtype", "percentiles")
    widget.sources.set_sources([ct])
    widget.sources.set_sources([ct, mr])
    assert widget.settings.take_config(LIMITS).intensity == ("dtype", "percentiles")


def test_a_new_layer_of_an_old_name_has_no_choice_yet(widget, viewer, pair):
    widget.settings.intensity.mode.value = "one by one"
    widget.settings.intensity._each[1].value = "dtype"
    viewer.layers.remove("MR")
    viewer.add_image(pair[1], name="MR")
    widget.sources.set_sources(viewer.layers)
    assert widget.settings.take_config(LIMITS).intensity == ("auto", "auto")


def test_numbers_have_a_point_whatever_the_system_writes(request, make_widget):
    from qtpy.QtCore import QLocale
    from qtpy.QtWidgets import QAbstractSpinBox

    request.addfinalizer(lambda: QLocale.setDefault(QLocale.c()))
    QLocale.setDefault(QLocale("de_DE"))
    # Only now: widgets have the locale of their window.
    viewer = request.getfixturevalue("viewer")
    widget = make_widget(viewer, learning_rate=0.02, iterations=12_345)
    texts = [box.text() for box in widget.native.findChildren(QAbstractSpinBox)]
    assert len(texts) > 10
    assert not [text for text in texts if "," in text]
    assert widget.settings.fields["iterations"].native.text() == "12345"
    box = widget.settings.intensity.low.native
    box.lineEdit().setText("2.5")
    box.interpretText()
    assert widget.settings.intensity.get_percentiles()[0] == 2.5


def test_devices_are_added_when_they_are_known(form):
    form.set_devices(["cpu", "cuda:0"])
    assert list(form.fields["device"].choices) == ["auto", "cpu", "cuda:0"]
    form.fields["device"].value = "cuda:0"
    form.set_devices(["cpu"])
    assert form.fields["device"].value == "auto"


@pytest.fixture
def stored(plugin_settings, npe2pm):
    from napari.settings import get_plugin_settings
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    return get_plugin_settings("napari-dip-fusion").fusion


def test_preferences_are_napari_s(stored):
    assert load_preferences() == Preferences()
    stored.preset = "paper"
    stored.threads = 2
    stored.preview_rate = 0
    assert load_preferences() == Preferences("paper", threads=2, preview_rate=0)
    assert load_preferences().make_config().network.width == 128


def test_a_device_that_is_not_there_is_kept_for_the_run_to_explain(stored, form):
    stored.device = "cuda:7"
    form.show_config(load_preferences().make_config())
    assert form.take_config(LIMITS).compute.device == "cuda:7"


def test_without_the_plugin_the_preferences_are_the_defaults(plugin_settings):
    assert load_preferences() == Preferences()


def test_settings_are_taken_from_the_record_of_a_layer(viewer, make_widget):
    widget = make_widget(viewer)
    config = FusionConfig.preset("paper", seed=9, width=24)
    record = {"record": {"config": config.to_dict()}, "metrics": {}}
    layer = viewer.add_image(np.eye(8), name="fused", metadata={"dip_fusion": record})
    viewer.layers.selection = {layer}
    widget.fuse_tab.recall_settings()
    assert widget.settings.take_config([]) == config
    assert widget.panel.message.value == "these are the settings of fused"
    viewer.layers.selection = {viewer.layers["CT"]}
    widget.fuse_tab.recall_settings()
    assert "select a fused layer" in widget.panel.message.value
    record["record"]["config"]["color"] = 1
    viewer.layers.selection = {layer}
    widget.fuse_tab.recall_settings()
    assert "unknown setting 'color'" in widget.panel.message.value


def test_settings_of_the_topmost_layer_but_for_its_windows(viewer, make_widget):
    widget = make_widget(viewer)
    for seed in (3, 4):
        config = FusionConfig(seed=seed, intensity=((0, 9), "auto")).to_dict()
        metadata = {"dip_fusion": {"record": {"config": config}}}
        viewer.add_image(np.eye(8), name=f"fused {seed}", metadata=metadata)
    viewer.layers.selection = set(viewer.layers)
    widget.fuse_tab.recall_settings()
    assert widget.settings.take_config([]) == FusionConfig(seed=4)
    text = widget.panel.message.value
    assert text.startswith("these are the settings of fused 4, but for its intensity windows")


def test_settings_have_names_that_a_laboratory_knows(form):
    labels = {name: field.label for name, field in form.fields.items()}
    assert labels["band_sigma"] == "Detail scale"
    assert labels["give_back"] == "Keep structure"
    assert labels["learning_rate"] == "Learning rate"


def test_a_field_takes_and_shows_the_ends_of_its_range(form):
    field = form.fields["averaging"]
    for value in (0.999, 0.97, 0.0):
        form.show_config(FusionConfig(averaging=value))
        assert field.value == value
        field.value = 0.999
        assert form.take_config(LIMITS).denoising.averaging == 0.999
        assert field.native.text() == "0.999"
    # As its arrows and a typed 1 do.
    field.native.setValue(1.0)
    assert field.value == 0.999
