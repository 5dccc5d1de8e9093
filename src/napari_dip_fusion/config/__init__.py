"""Every setting of a run with its default, unit, range and meaning, and the presets.

This is the only home of defaults: command-line options, widget fields, run records and the
JSON schema (``FusionConfig.model_json_schema()``) are built from :class:`FusionConfig`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from napari_dip_fusion.config.groups import (
    ComputeSettings,
    DenoisingSettings,
    FitSettings,
    GainSettings,
    NetworkSettings,
    RestorationSettings,
    Settings,
)
from napari_dip_fusion.config.intensity import (
    INTENSITY_MODES,
    Intensity,
    Window,
    check_intensity,
    check_percentiles,
    convert_to_tuples,
)
from napari_dip_fusion.config.setting import Setting, describe_settings, find_group

__all__ = [
    "CONSENSUS",
    "DIP",
    "GROUP_TITLES",
    "INTENSITY_MODES",
    "METHOD_NAMES",
    "PRESETS",
    "PRESET_HELP",
    "ComputeSettings",
    "DenoisingSettings",
    "FitSettings",
    "FusionConfig",
    "GainSettings",
    "Intensity",
    "NetworkSettings",
    "RestorationSettings",
    "Setting",
    "Window",
    "check_intensity",
]

DIP = "dip"
"""The method of this program: Deep Image Prior."""

MethodName = Literal[
    "dip",
    "average",
    "maximum",
    "consensus",
    "wavelet",
    "laplacian",
    "gmc",
    "l1",
    "base-detail",
    "densefuse",
]
METHOD_NAMES: tuple[str, ...] = get_args(MethodName)
"""Every fusion method: the one of this program, and those of :mod:`napari_dip_fusion.methods`."""

CONSENSUS = "consensus"
"""The closed form that the network is fitted to, as a method by itself."""

# Settings that earlier versions wrote into their run records, and the one value of each that
# means what every run does today; None where no value changes the result.
_RETIRED: dict[str, Any] = {"centered": False, "preview_rate": None}

# Presets of earlier versions. Records hold every setting, so that only the name is missing.
_RETIRED_PRESETS = ("quality",)


class FusionConfig(Settings):
    """Settings of one fusion; the defaults are those of the preset ``fast``.

    The settings stand in groups, but each name is unique among all of them: the constructor,
    :meth:`preset` and :meth:`replace` take them by name alone.

    Raises
    ------
    ValueError
        If a setting is unknown, or a value is outside its range or not among its choices.

    Examples
    --------
    >>> FusionConfig.preset("paper", seed=3).network.width
    128
    >>> FusionConfig(iterations=50).fit.iterations
    50
    """

    preset_name: str = Field(
        default="fast", description="Name of the preset that the other values started from."
    )
    method: MethodName = Field(
        default="dip",
        description="Fusion method: dip (Deep Image Prior, which the other settings are for), "
        "consensus (its closed form, with the same gains and denoising), or one of the methods it "
        "is compared with, with that method's own settings.",
    )
    intensity: Annotated[
        Intensity, BeforeValidator(convert_to_tuples), AfterValidator(check_intensity)
    ] = Field(
        default="auto",
        description="How source values become [0, 1]: auto (8-bit by 255, otherwise by the "
        "data's own minimum and maximum), minmax, dtype (the type's full range; [0, 1] for "
        "floats), percentiles, or one of these or a window (low, high) for each source.",
        json_schema_extra={"choices": list(INTENSITY_MODES)},
    )
    percentiles: Annotated[
        Window, BeforeValidator(convert_to_tuples), AfterValidator(check_percentiles)
    ] = Field(
        default=(0.5, 99.5),
        description="Lower and upper percentile of each source that become 0 and 1 "
        "(0 to 100; used by intensity percentiles).",
        json_schema_extra={"unit": "%", "group": "intensity", "minimum": 0, "maximum": 100},
    )
    gains: GainSettings = GainSettings()
    denoising: DenoisingSettings = DenoisingSettings()
    restoration: RestorationSettings = RestorationSettings()
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = FitSettings()
    compute: ComputeSettings = ComputeSettings()

    # Flat names go to their groups, and pydantic's report of every wrong value at once becomes one
    # sentence about the first of them, in the words of this program.
    def __init__(self, **values: Any) -> None:
        _check_names(values)
        grouped: dict[str, Any] = {}
        for name, value in values.items():
            group = _HOMES[name]
            (grouped if group is None else grouped.setdefault(group, {}))[name] = value
        try:
            super().__init__(**grouped)
        except ValidationError as error:
            raise ValueError(_explain(error, values)) from None
        # Not a Literal: the presets are a dictionary that names them already.
        if self.preset_name not in PRESETS:
            raise ValueError(
                f"preset_name must be one of {', '.join(PRESETS)}, got {self.preset_name!r}"
            )

    @classmethod
    def preset(cls, name: str = "fast", **changes: Any) -> Self:
        """Return the settings of a preset, with some of them changed.

        Parameters
        ----------
        name : str
            One of :data:`PRESETS`.
        **changes
            Settings that differ from the preset.

        Raises
        ------
        ValueError
            If the preset or a setting is unknown, or a value is not allowed.
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{"preset_name": name, **PRESETS[name], **changes})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed."""
        return type(self)(**{**self.leaves(), **changes})

    def leaves(self) -> dict[str, Any]:
        """Return every setting by its name, out of its group."""
        return {
            name: getattr(self if group is None else getattr(self, group), name)
            for name, group in _HOMES.items()
        }

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from the preset they started from."""
        start = self.preset(self.preset_name).leaves()
        return {name: value for name, value in self.leaves().items() if value != start[name]}

    def describe_preset(self) -> str:
        """Return the preset's name, followed by the changes where some were made.

        Examples
        --------
        >>> FusionConfig.preset("paper", seed=4, width=48).describe_preset()
        'paper with width=48, seed=4'
        """
        changes = ", ".join(f"{name}={value}" for name, value in self.changes().items())
        return f"{self.preset_name} with {changes}" if changes else self.preset_name

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in their groups, as plain values that JSON can hold."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that :meth:`to_dict` wrote, in this version or an earlier one.

        Raises
        ------
        ValueError
            If a setting is unknown or a value is not allowed.
        """
        flat: dict[str, Any] = {}
        for name, value in values.items():
            if name in _GROUPS and isinstance(value, Mapping):
                flat |= value
            else:
                flat[name] = value
        kept = _drop_retired(flat)
        # A setting that an earlier version did not know has the value of the preset; but nothing
        # was restored then.
        preset = PRESETS.get(kept.get("preset_name", ""), {})
        return cls(**{"restore": "never", **preset, **kept})

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """Return the descriptions of all settings, in the order of forms and documents."""
        return _SETTINGS

    @classmethod
    def describe(cls, name: str) -> Setting:
        """Return the description of one setting.

        Raises
        ------
        ValueError
            If there is no such setting.
        """
        _check_names({name: None})
        return next(setting for setting in _SETTINGS if setting.name == name)


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "paper": {
        "patch_size": 2,
        "band_sigma": 0.0,
        "window": "block",
        "scale": "unit-norm",
        "sharpness": 1.0,
        "volumes": "planes",
        "noise": "none",
        "restore": "never",
        "give_back": False,
        "averaging": 0.0,
        "channels": 10,
        "width": 128,
        "upsampling": "bilinear",
        "net_input": "random",
        "network": "always",
        "iterations": 2000,
        "stop": "iterations",
    },
}
"""What each preset changes in the defaults of :class:`FusionConfig`."""

PRESET_HELP = {
    "fast": "Gains in two bands, noise estimated: seconds on a laptop. Sources with noise, blur or "
    "larger pixels are restored first, by a denoiser at once and by a network in about a minute.",
    "paper": "The published settings: 128 channels, random input, 2000 iterations. "
    "Takes 20 minutes for 256x256 on two processor cores that compute in bfloat16, and about "
    "twice as long on others. Volumes are fused plane by plane, each with a network of its own.",
}
"""One sentence on each preset, for help texts and tooltips."""


_SETTINGS = describe_settings(FusionConfig)
_GROUPS = {
    name: model
    for name, info in FusionConfig.model_fields.items()
    if (model := find_group(info)) is not None
}
# The group of each setting; None for those that stand in no group.
_HOMES = {s.name: s.path.rpartition(".")[0] or None for s in _SETTINGS}

GROUP_TITLES = {
    "method": "Method",
    "intensity": "Intensity",
    **{name: str(model.model_config["title"]) for name, model in _GROUPS.items()},
}
"""Titles of the groups of settings, in the order shown."""


def _check_names(values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in _HOMES:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(_HOMES)}")


def _drop_retired(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out settings and presets that are no more.

    Settings whose value would make another run are refused.
    """
    for name, kept in _RETIRED.items():
        if name in values and kept is not None and values[name] != kept:
            raise ValueError(
                f"these settings have {name}={values[name]!r}, which this version no longer "
                f"offers; change it to {kept!r}, or repeat the run with version 0.1"
            )
    if values.get("preset_name") in _RETIRED_PRESETS:
        values = {**values, "preset_name": "fast"}
    return {name: value for name, value in values.items() if name not in _RETIRED}


def _explain(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Say in one sentence what the first wrong value is and what was expected."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    # The location ends in list indices and branches of a union; the setting stands before them.
    name = next(str(part) for part in reversed(first["loc"]) if part in _HOMES)
    setting, given = FusionConfig.describe(name), values[name]
    if first["type"] == "literal_error" and isinstance(given, str):
        return f"{name} must be one of {', '.join(setting.choices or ())}, got {given!r}"
    if first["type"] in ("greater_than_equal", "less_than_equal", "finite_number"):
        return f"{name} must lie between {setting.minimum:g} and {setting.maximum:,g}, got {given}"
    return f"{name} must be of the kind of its default {setting.default!r}, got {given!r}"
