"""Every setting of a run with its default, range and meaning, and the presets.

This is the only home of defaults: command-line options, widget fields and run
records are built from :class:`FusionConfig`.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

Window = tuple[float, float]
Intensity = str | tuple[str | Window, ...]

INTENSITY_MODES = ("auto", "minmax", "dtype", "percentiles")

DIP = "dip"
"""The method of this program: Deep Image Prior."""

METHOD_NAMES = (
    DIP,
    "average",
    "maximum",
    "consensus",
    "wavelet",
    "laplacian",
    "gmc",
    "l1",
    "base-detail",
    "densefuse",
)
"""Every fusion method: the one of this program, and those of :mod:`napari_dip_fusion.methods`."""


def _setting(
    default: Any,
    help: str,  # noqa: A002 - the word that typer and magicgui use
    *,
    group: str,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    metadata = {
        "help": help,
        "group": group,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Settings of one fusion; the defaults are those of the preset ``fast``.

    Each field carries its meaning, range and allowed values in
    ``field.metadata`` (keys ``help``, ``group``, ``choices``, ``minimum``,
    ``maximum``); :meth:`describe` returns them.

    Raises
    ------
    ValueError
        If a value is outside its range or not among its choices.

    Examples
    --------
    >>> FusionConfig.preset("paper", seed=3).width
    128
    >>> FusionConfig(iterations=50).iterations
    50
    """

    preset_name: str = _setting(
        "fast", "Name of the preset that the other values started from.", group="preset"
    )
    method: str = _setting(
        DIP,
        "Fusion method: dip (Deep Image Prior, which the other settings are for), or one of the "
        "methods it is compared with, with that method's own settings.",
        group="method",
        choices=METHOD_NAMES,
    )
    intensity: Intensity = _setting(
        "auto",
        "How source values become [0, 1]: auto (8-bit by 255, otherwise by the data's own "
        "minimum and maximum), minmax, dtype (the type's full range; [0, 1] for floats), "
        "percentiles, or one of these or a window (low, high) for each source.",
        group="intensity",
        choices=INTENSITY_MODES,
    )
    percentiles: Window = _setting(
        (0.5, 99.5),
        "Lower and upper percentile of each source that become 0 and 1 "
        "(0 to 100; used by intensity percentiles).",
        group="intensity",
        minimum=0,
        maximum=100,
    )
    patch_size: int = _setting(
        9,
        "Side of the patch for the local principal component analysis, in pixels "
        "(odd for sliding windows).",
        group="gains",
        minimum=1,
        maximum=255,
    )
    band_sigma: float = _setting(
        3.5,
        "Standard deviation in pixels of the blur that splits each source into a base and its "
        "details, with gains of their own; 0 for gains of the whole source, as published.",
        group="gains",
        minimum=0,
        maximum=64,
    )
    window: str = _setting(
        "gaussian",
        "Patch weighting: box (sliding), gaussian (sliding, standard deviation patch size / 4.5) "
        "or block (non-overlapping).",
        group="gains",
        choices=("box", "gaussian", "block"),
    )
    scale: str = _setting(
        "unit-max",
        "Scale of the gains at each pixel: unit-max (the largest is 1) or unit-norm "
        "(their squares sum to 1, as published).",
        group="gains",
        choices=("unit-max", "unit-norm"),
    )
    centered: bool = _setting(
        False, "Subtract the patch mean before the principal component analysis.", group="gains"
    )
    sharpness: float = _setting(
        12.0,
        "Power applied to the gains (of the details, in two bands) before scaling; above 1 the "
        "stronger source weighs more.",
        group="gains",
        minimum=0.1,
        maximum=64,
    )
    noise: str = _setting(
        "auto",
        "Noise in the sources: auto (estimated for each; the gains are taken from denoised "
        "sources, and the run stops at the noise) or none (sources are taken as they are).",
        group="noise",
        choices=("auto", "none"),
    )
    give_back: bool = _setting(
        True,
        "Give the network's image back the structure of the consensus image that noise cannot "
        "explain; without noise the result is the consensus image itself.",
        group="noise",
    )
    averaging: float = _setting(
        0.97,
        "Decay of the running mean of the network's outputs, of which the result is made; "
        "0 keeps the output with the smallest loss, as published.",
        group="noise",
        minimum=0,
        maximum=0.999,
    )
    channels: int = _setting(
        1,
        "Output channels of the network; their mean is the fused image.",
        group="network",
        minimum=1,
        maximum=64,
    )
    width: int = _setting(
        32,
        "Feature channels of the network at each scale.",
        group="network",
        minimum=4,
        maximum=512,
    )
    depth: int = _setting(
        5,
        "Scales of the network: each halves the image once.",
        group="network",
        minimum=1,
        maximum=7,
    )
    skip_channels: int = _setting(
        4, "Channels of each skip connection.", group="network", minimum=1, maximum=128
    )
    upsampling: str = _setting(
        "nearest",
        "Interpolation in the decoder: nearest (fits faster) or bilinear (as published).",
        group="network",
        choices=("nearest", "bilinear"),
    )
    net_input: str = _setting(
        "sources",
        "Input of the network: sources (the sources and their consensus image; fits fastest) "
        "or random (fixed uniform noise, as published; regularises most).",
        group="network",
        choices=("sources", "random"),
    )
    input_noise: float = _setting(
        0.0,
        "Standard deviation of Gaussian noise added to the network input at every iteration.",
        group="network",
        minimum=0,
        maximum=1,
    )
    iterations: int = _setting(
        120, "Largest number of iterations.", group="fit", minimum=1, maximum=100_000
    )
    learning_rate: float = _setting(
        0.01, "Learning rate of Adam.", group="fit", minimum=1e-6, maximum=1
    )
    time_budget: float = _setting(
        0.0,
        "Stop before a run takes longer than this many seconds; 0 for no limit.",
        group="fit",
        minimum=0,
        maximum=1e6,
    )
    stop: str = _setting(
        "noise",
        "When to stop: noise (the excess loss is down to what the estimated noise explains, or no "
        "longer falls; without noise, after the patience, if structure is given back), plateau "
        "(it no longer falls) or iterations (run them all).",
        group="fit",
        choices=("noise", "plateau", "iterations"),
    )
    patience: int = _setting(
        40,
        "Iterations over which the plateau rule compares the excess loss.",
        group="fit",
        minimum=2,
        maximum=10_000,
    )
    min_improvement: float = _setting(
        0.1,
        "The plateau rule stops when the excess falls by less than this fraction "
        "within the patience.",
        group="fit",
        minimum=0,
        maximum=0.99,
    )
    seed: int = _setting(
        0,
        "Seed of the network's weights, its random input and its input noise.",
        group="fit",
        minimum=0,
        maximum=2**31 - 1,
    )
    device: str = _setting(
        "auto",
        "Where the network runs: auto (a GPU if there is one), cpu, cuda, cuda:0, ... or mps.",
        group="compute",
    )
    precision: str = _setting(
        "auto",
        "Arithmetic of the convolutions: auto (bfloat16 where the device computes with it), "
        "float32 or bfloat16.",
        group="compute",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int = _setting(
        0,
        "Processor threads for the network on the CPU; 0 leaves torch's own choice.",
        group="compute",
        minimum=0,
        maximum=1024,
    )
    preview_rate: float = _setting(
        4.0,
        "Largest number of preview images a second; 0 for none.",
        group="compute",
        minimum=0,
        maximum=60,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "intensity", _as_tuples(self.intensity))
        object.__setattr__(self, "percentiles", _as_tuples(self.percentiles))
        for f in fields(self):
            _check_type(f, getattr(self, f.name))
            if f.name not in ("intensity", "percentiles"):
                _check_range(f, getattr(self, f.name))
        if self.preset_name not in PRESETS:
            raise ValueError(
                f"preset_name must be one of {', '.join(PRESETS)}, got {self.preset_name!r}"
            )
        check_intensity(self.intensity)
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(
                f"percentiles must be two numbers with 0 <= low < high <= 100, "
                f"got {self.percentiles}"
            )
        if self.window != "block" and self.patch_size % 2 == 0:
            raise ValueError(
                f"patch_size must be odd for the sliding window {self.window!r}, got "
                f"{self.patch_size}; choose {self.patch_size + 1} or window='block'"
            )

    @classmethod
    def preset(cls, name: str = "fast", **changes: Any) -> Self:
        """Return the settings of a preset, with some of them changed.

        Parameters
        ----------
        name : str
            One of :data:`PRESETS`.
        **changes
            Fields that differ from the preset.

        Raises
        ------
        ValueError
            If the preset or a field is unknown, or a value is not allowed.
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        _check_names(changes)
        return cls(**{"preset_name": name, **PRESETS[name], **changes})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        _check_names(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON can hold."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that :meth:`to_dict` wrote.

        Raises
        ------
        ValueError
            If a field is unknown or a value is not allowed.
        """
        _check_names(values)
        return cls(**values)

    @classmethod
    def describe(cls, name: str) -> Mapping[str, Any]:
        """Return help, group, choices, minimum and maximum of a field."""
        _check_names({name: None})
        return next(f.metadata for f in fields(cls) if f.name == name)


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "quality": {"width": 64, "iterations": 400, "averaging": 0.99},
    "paper": {
        "patch_size": 2,
        "band_sigma": 0.0,
        "window": "block",
        "scale": "unit-norm",
        "sharpness": 1.0,
        "noise": "none",
        "give_back": False,
        "averaging": 0.0,
        "channels": 10,
        "width": 128,
        "upsampling": "bilinear",
        "net_input": "random",
        "iterations": 2000,
        "stop": "iterations",
    },
}
"""What each preset changes in the defaults of :class:`FusionConfig`."""

PRESET_HELP = {
    "fast": "Seconds on a laptop: gains in two bands, noise estimated, a narrow network that "
    "sees the sources, structure given back.",
    "quality": "A minute or two: the settings of fast with a wider network and more iterations; "
    "differs from fast on noisy sources only, and there by little.",
    "paper": "The published settings: 128 channels, random input, 2000 iterations. "
    "Takes most of an hour for 256x256 on two processor cores.",
}
"""One sentence on each preset, for help texts and tooltips."""


def check_intensity(intensity: Intensity) -> None:
    """Raise ValueError unless `intensity` is a mode or one entry a source."""
    entries = (intensity,) if isinstance(intensity, str) else intensity
    for entry in entries:
        if isinstance(entry, str):
            if entry not in INTENSITY_MODES:
                raise ValueError(
                    f"intensity must be one of {', '.join(INTENSITY_MODES)} or a window "
                    f"(low, high) for each source, got {entry!r}"
                )
        elif len(entry) != 2 or not all(map(math.isfinite, entry)) or not entry[0] < entry[1]:
            raise ValueError(
                f"an intensity window must be (low, high) with low < high, got {entry}"
            )


def _as_tuples(value: Any) -> Any:
    """Turn the lists that JSON gives into tuples, at every level."""
    if isinstance(value, (list, tuple)):
        return tuple(_as_tuples(v) for v in value)
    return value


def _check_names(values: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(FusionConfig)]
    for name in values:
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(known)}")


def _check_type(f: "dataclasses.Field[Any]", value: Any) -> None:
    if f.name == "intensity":
        good = isinstance(value, (str, tuple)) and all(isinstance(v, (str, tuple)) for v in value)
    elif f.name == "percentiles":
        good = isinstance(value, tuple) and len(value) == 2
    elif isinstance(f.default, (bool, str)):
        good = isinstance(value, type(f.default))
    elif isinstance(f.default, int):
        good = isinstance(value, int) and not isinstance(value, bool)
    else:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good:
        raise ValueError(
            f"{f.name} must be of the kind of its default {f.default!r}, got {value!r}"
        )


def _check_range(f: "dataclasses.Field[Any]", value: Any) -> None:
    choices = f.metadata["choices"]
    if choices is not None and value not in choices:
        raise ValueError(f"{f.name} must be one of {', '.join(choices)}, got {value!r}")
    low, high = f.metadata["minimum"], f.metadata["maximum"]
    if low is not None and not low <= value <= high:
        raise ValueError(f"{f.name} must lie between {low} and {high}, got {value!r}")
