"""Settings: defaults, presets, validation, JSON."""

import dataclasses
import json

import pytest

from napari_dip_fusion.config import DIP, METHOD_NAMES, PRESET_HELP, PRESETS, FusionConfig
from napari_dip_fusion.methods import METHODS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = FusionConfig.preset(name, seed=7, intensity=((0.0, 10.0), "auto"))
    assert FusionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.preset_name == name
    assert PRESET_HELP[name]


def test_the_paper_preset_is_the_paper() -> None:
    c = FusionConfig.preset("paper")
    assert (c.channels, c.width, c.depth, c.skip_channels, c.iterations) == (10, 128, 5, 4, 2000)
    assert (c.net_input, c.upsampling, c.learning_rate) == ("random", "bilinear", 0.01)
    assert (c.window, c.patch_size, c.scale) == ("block", 2, "unit-norm")
    assert (c.band_sigma, c.sharpness, c.noise, c.give_back) == (0, 1, "none", False)
    assert (c.averaging, c.stop, c.input_noise) == (0, "iterations", 0)


def test_every_method_is_a_choice() -> None:
    assert (DIP, *METHODS) == METHOD_NAMES


def test_every_setting_says_what_it_is() -> None:
    for f in dataclasses.fields(FusionConfig):
        described = FusionConfig.describe(f.name)
        assert described["help"].endswith(".")
        assert described["group"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 3}, "width must lie between 4 and 512, got 3"),
        ({"width": 8.0}, "width must be of the kind of its default 32, got 8.0"),
        ({"centered": 1}, "centered must be of the kind"),
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
    with pytest.raises(ValueError, match="preset must be one of fast, quality, paper"):
        FusionConfig.preset("slow")


def test_replace_leaves_the_original() -> None:
    config = FusionConfig()
    assert config.replace(iterations=5).iterations == 5
    assert config.iterations != 5
    with pytest.raises(ValueError, match="unknown setting"):
        config.replace(steps=5)
