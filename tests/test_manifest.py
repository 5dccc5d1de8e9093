import importlib

import pytest
from npe2 import PluginManifest

from napari_dip_fusion.config import PRESETS, FusionConfig
from napari_dip_fusion.plugin.forms.preferences import HIGHEST_PREVIEW_RATE, PREVIEW_RATE

MANIFEST = PluginManifest.from_distribution("napari-dip-fusion")


def test_the_manifest_is_valid():
    MANIFEST.validate_imports()
    assert MANIFEST.name == "napari-dip-fusion"
    assert MANIFEST.display_name == "DIP Fusion"


@pytest.mark.parametrize("command", MANIFEST.contributions.commands, ids=lambda c: c.id)
def test_every_python_name_resolves(command):
    module, _, name = command.python_name.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_menus_name_commands():
    ids = {command.id for command in MANIFEST.contributions.commands}
    menus = MANIFEST.contributions.menus
    assert {item.command for items in menus.values() for item in items} <= ids
    assert [i.command for i in menus["napari/layers/filter"]] == ["napari-dip-fusion.fuse_selected"]
    assert [i.command for i in menus["napari/layers/measure"]] == ["napari-dip-fusion.metrics"]


def test_preferences_have_the_defaults_of_the_configuration():
    properties = MANIFEST.contributions.configurations["fusion"].properties
    config = FusionConfig()
    assert properties["preset"].default == config.preset_name
    assert properties["preset"].enum == list(PRESETS)
    for name in ("device", "threads"):
        setting = FusionConfig.describe(name)
        assert properties[name].default == setting.default
        assert properties[name].minimum == setting.minimum
        assert properties[name].maximum == setting.maximum
    rate = properties["preview_rate"]
    assert (rate.minimum, rate.default, rate.maximum) == (0, PREVIEW_RATE, HIGHEST_PREVIEW_RATE)


def test_the_icon_is_a_file_of_the_package():
    package, _, name = MANIFEST.icon.partition(":")
    assert importlib.resources.files(package).joinpath(name).is_file()
