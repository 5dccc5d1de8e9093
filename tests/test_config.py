"""Settings: defaults, presets, validation, JSON."""

import json
from types import SimpleNamespace

import pytest

from napari_dip_fusion.config import (
    DIP,
    GROUP_TITLES,
    METHOD_NAMES,
    PRESET_HELP,
    PRESETS,
    FusionConfig,
)
from napari_dip_fusion.methods import METHODS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = FusionConfig.preset(name, seed=7, intensity=((0.0, 10.0), "auto"))
    assert FusionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.preset_name == name
    assert PRESET_HELP[name]


def test_the_paper_preset_is_the_paper() -> None:
    c = SimpleNamespace(**FusionConfig.preset("paper").leaves())
    assert (c.channels, c.width, c.depth, c.skip_channels, c.iterations) == (10, 128, 5, 4, 2000)
    assert (c.net_input, c.upsampling, c.learning_rate) == ("random", "bilinear", 0.01)
    assert (c.window, c.patch_size, c.scale) == ("block", 2, "unit-norm")
    assert (c.band_sigma, c.sharpness, c.noise, c.give_back) == (0, 1, "none", False)
    assert (c.averaging, c.stop, c.input_noise) == (0, "iterations", 0)
    assert c.network == "always"


def test_every_method_is_a_choice() -> None:
    assert (DIP, *METHODS) == METHOD_NAMES


def test_every_setting_says_what_it_is() -> None:
    names = [setting.name for setting in FusionConfig.settings()]
    assert len(set(names)) == len(names) == len(FusionConfig().leaves())
    for setting in FusionConfig.settings():
        assert setting == FusionConfig.describe(setting.name)
        assert setting.help.endswith(".")
        assert setting.group in ("preset_name", *GROUP_TITLES)
        assert setting.default == FusionConfig().leaves()[setting.name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 3}, "width must lie between 4 and 512, got 3"),
        ({"width": 8.0}, "width must be of the kind of its default 32, got 8.0"),
        ({"give_back": 1}, "give_back must be of the kind"),
        ({"learning_rate": float("nan")}, "learning_rate must lie between"),
        ({"window": "disc"}, "window must be one of box, gaussian, block, got 'disc'"),
        ({"patch_size": 4}, "patch_size must be odd for the sliding window 'gaussian', got 4"),
        ({"intensity": "bright"}, "intensity must be one of"),
        ({"intensity": ((3, 1), "auto")}, "low < high"),
        ({"intensity": 5}, "intensity must be of the kind"),
        ({"percentiles": (60, 40)}, "0 <= low < high <= 100"),
        ({"percentiles": 40}, "percentiles must be of the kind"),
        ({"color": 1}, "unknown setting 'color'; the settings are"),
    ],
)
def test_values_that_are_not_allowed(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("<=", "<=")):
        FusionConfig.preset("fast", **changes)
    with pytest.raises(ValueError, match="preset must be one of fast, paper"):
        FusionConfig.preset("slow")


def test_replace_leaves_the_original() -> None:
    config = FusionConfig()
    assert config.replace(iterations=5).fit.iterations == 5
    assert config.fit.iterations != 5
    with pytest.raises(ValueError, match="unknown setting"):
        config.replace(steps=5)


def test_settings_are_frozen_and_can_be_keys() -> None:
    config = FusionConfig(width=64)
    with pytest.raises(ValueError, match="frozen"):
        config.network.width = 32  # type: ignore[misc]
    assert {config: 1}[FusionConfig(width=64)] == 1


def test_a_preset_says_what_was_changed() -> None:
    assert FusionConfig.preset("paper").describe_preset() == "paper"
    changed = FusionConfig.preset("paper", seed=4, width=48)
    assert changed.changes() == {"width": 48, "seed": 4}
    assert changed.describe_preset() == "paper with width=48, seed=4"
    assert changed.replace(seed=0, width=128).describe_preset() == "paper"


def test_flat_settings_of_version_one_are_read() -> None:
    flat = {**FusionConfig.preset("paper", seed=2).leaves(), "centered": False, "preview_rate": 4.0}
    assert FusionConfig.from_dict(flat) == FusionConfig.preset("paper", seed=2)
    with pytest.raises(ValueError, match="centered=True, which this version no longer offers"):
        FusionConfig.from_dict({**flat, "centered": True})


def test_presets_and_settings_of_earlier_versions_are_read() -> None:
    for name, network in (("fast", "auto"), ("paper", "always")):
        known = {k: v for k, v in FusionConfig.preset(name).leaves().items() if k != "network"}
        assert FusionConfig.from_dict(known) == FusionConfig.preset(name)
        assert FusionConfig.from_dict(known).fit.network == network
    quality = {**FusionConfig().leaves(), "preset_name": "quality", "width": 64, "averaging": 0.99}
    assert FusionConfig.from_dict(quality) == FusionConfig(width=64, averaging=0.99)


def test_the_json_schema_has_ranges_units_and_choices() -> None:
    groups = FusionConfig.model_json_schema()["$defs"]
    width = groups["NetworkSettings"]["properties"]["width"]
    assert (width["minimum"], width["maximum"], width["default"]) == (4, 512, 32)
    gains = groups["GainSettings"]["properties"]
    assert gains["window"]["enum"] == ["box", "gaussian", "block"]
    assert gains["patch_size"]["unit"] == "pixels"
