"""Options that commands share, and what they mean as settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_dip_fusion.cli.blur import Blur, parse_blur
from napari_dip_fusion.cli.masks import NONE
from napari_dip_fusion.config import (
    CONSENSUS,
    DIP,
    METHOD_NAMES,
    PRESETS,
    FusionConfig,
    Intensity,
    Window,
)


def _get_help(name: str) -> str:
    return FusionConfig.describe(name).help


Sources = Annotated[
    list[Path],
    typer.Argument(help="Two or more images of one scene: files, or folders of DICOM."),
]
OptionalSources = Annotated[
    list[Path] | None,
    typer.Argument(help="Two or more images of one scene: files, or folders of DICOM."),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Fused image: .png, .tif, .ome.tif, .nii.gz, .ome.zarr, or all layers as "
        ".fusion.ome.tif.",
    ),
]
Preset = Annotated[str, typer.Option(help=f"Settings to start from: {', '.join(PRESETS)}.")]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        help=f"Fusion method: {', '.join(METHOD_NAMES)}. dip, by default, is Deep Image Prior; "
        "dip-fusion --help says what the others are.",
    ),
]
Network = Annotated[str | None, typer.Option(help=_get_help("network"))]
Restore = Annotated[str | None, typer.Option(help=_get_help("restore"))]
TimeBudget = Annotated[float | None, typer.Option(help=_get_help("time_budget"))]
Iterations = Annotated[int | None, typer.Option(help=_get_help("iterations"))]
Seed = Annotated[int | None, typer.Option(help=_get_help("seed"))]
Device = Annotated[str | None, typer.Option(help=_get_help("device"))]
IntensityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--intensity",
        help="auto, minmax, dtype, percentiles or LOW:HIGH; once for all sources or once each.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting, for example --set width=64, or in full network.width=64.",
    ),
]
Channel = Annotated[
    list[str] | None,
    typer.Option(
        help="Image of a file that holds several: index or name; once for all sources or once each."
    ),
]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice",
        help="Plane of the reference, or its volume of a series: 12, z=12, t=3 or t=0,z=12. By "
        "default all of it is fused. An axis that only other sources have is chosen in these.",
    ),
]
Level = Annotated[
    int | None, typer.Option(help="Resolution of multiscale files; 0 is the full one.")
]
Reference = Annotated[
    int | None,
    typer.Option(
        help="Source whose grid the result takes (0 is the first). By default the one with the "
        "finest pixels."
    ),
]
Interpolation = Annotated[
    str,
    typer.Option(
        help="How sources on other grids are resampled that are not restored: linear or nearest."
    ),
]
Fwhm = Annotated[
    list[str] | None,
    typer.Option(
        help="How wide the sensor of a source blurs a point, full width at half maximum: 4.5mm, "
        "350nm, 3px (its own pixels), or 6,2,2mm for each axis of space; 0, by default, for no "
        "wider than its pixels, which are known. Once each, since one source is seldom as "
        "blurred as another: to take back a blur that is not there makes echoes of every edge."
    ),
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help=f"Image that is 0 where a source saw nothing, on its grid or another one of its "
        f"world; {NONE} for a source that saw all. Once each.",
    ),
]
PixelType = Annotated[
    str | None,
    typer.Option(
        help="Pixel type of the output: uint8, uint16 or float32 (not PNG). By default "
        "float32, and in PNG uint8 if all sources are, otherwise uint16."
    ),
]
Like = Annotated[
    int | None, typer.Option(help="Write in the units and type of this source (0 is the first).")
]
GainsFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the gain maps of each source, as float32 TIFF, or OME-TIFF of volumes "
        "and series."
    ),
]
RestoredFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the restored sources, in their own units, as float32 in the format of the "
        "output; as TIFF beside a PNG, and as OME-TIFF beside a bundle."
    ),
]
PlanesCsv = Annotated[
    Path | None,
    typer.Option(help="Table for the metrics of every plane of a volume or a series, CSV."),
]
RecordFile = Annotated[
    Path | None,
    typer.Option(help="Run record, JSON. By default beside the output, as NAME.record.json."),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        help="Run a record again, a file of its own or that in a bundle: its sources and settings; "
        "only -o is needed."
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Take more than eight sources without asking.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")
]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which images of the files are fused, on whose grid, and what their sensors lost."""

    channel: Sequence[str] = ()
    plane: str | None = None
    level: int | None = None
    reference: int | None = None
    interpolation: str = "linear"
    fwhm: Sequence[str] = ()
    mask: Sequence[str] = ()

    def check(self, config: FusionConfig) -> None:
        """Raise ValueError if what is said of sensors means nothing, or nothing to the method."""
        for text in self.fwhm:
            parse_blur(text)
        for option, given in {"--fwhm": self.fwhm, "--mask": self.mask}.items():
            if given and config.method not in (DIP, CONSENSUS):
                raise ValueError(
                    f"{option} is for the methods dip and consensus, which alone know of sensors, "
                    f"got {config.method}"
                )

    def list_channels(self, count: int) -> list[str | None]:
        """Return the channel of each of so many sources."""
        return _spread("--channel", self.channel, count)

    def list_blurs(self, count: int) -> list[Blur | None]:
        """Return the blur of each of so many sources."""
        blurs: list[Blur | None] = [parse_blur(text) for text in self.fwhm]
        if blurs and len(blurs) != count:
            raise ValueError(
                f"--fwhm must be given once for each of the {count} sources (0 for one that is as "
                f"sharp as its pixels), got {len(blurs)}"
            )
        return blurs or [None] * count

    def list_masks(self, count: int) -> list[Path | None]:
        """Return the file of each of so many sources that says what it saw."""
        if self.mask and len(self.mask) != count:
            raise ValueError(
                f"--mask must be given once for each of the {count} sources ({NONE} for one that "
                f"saw all), got {len(self.mask)}"
            )
        paths = [None if text == NONE else Path(text) for text in self.mask] or [None] * count
        for path in paths:
            if path is not None and not path.exists():
                raise FileNotFoundError(f"there is no mask {path}; check the name")
        return paths


def _spread(option: str, given: Sequence[str], count: int) -> list[str | None]:
    """Return what an option says of each of so many sources, given once, once each or never."""
    if len(given) <= 1:
        return [*given, None][:1] * count
    if len(given) != count:
        raise ValueError(
            f"{option} must be given once, or once for each of the {count} sources, got "
            f"{len(given)}"
        )
    return list(given)


def build_config(
    preset: str,
    changes: dict[str, Any],
    intensity: list[str] | None,
    settings: list[str] | None,
) -> FusionConfig:
    """Return the settings of a preset with those that options gave (not None) changed."""
    # Typer gives None for an option that was not used: the preset's value stands.
    given = {k: v for k, v in changes.items() if v is not None}
    if intensity:
        given["intensity"] = parse_intensity(intensity)
    return FusionConfig.preset(preset, **{**parse_settings(settings or []), **given})


def parse_intensity(entries: list[str] | None) -> Intensity:
    """Return the intensity setting that repeated --intensity options mean."""
    if not entries:
        return "auto"
    parsed = tuple(_parse_window(e) if ":" in e else e for e in entries)
    return parsed[0] if len(parsed) == 1 and isinstance(parsed[0], str) else parsed


def _parse_window(text: str) -> Window:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(
            f"an intensity window must be LOW:HIGH, for example -100:300, got {text!r}"
        ) from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Turn NAME=VALUE into values of the kinds of their defaults."""
    known = {s.name: s for s in FusionConfig.settings()}
    parsed: dict[str, Any] = {}
    for text in settings:
        given, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set takes NAME=VALUE, got {text!r}")
        name = given.rpartition(".")[2]
        if name not in known or given not in (name, known[name].path):
            paths = ", ".join(setting.path for setting in known.values())
            raise ValueError(f"unknown setting {given!r}; the settings are {paths}")
        parsed[name] = _parse_value(name, value, known[name].default)
    return parsed


def _parse_value(name: str, text: str, default: Any) -> Any:
    if name == "percentiles":
        return tuple(_parse_number(name, t, float) for t in text.split(","))
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        return _parse_number(name, text, type(default))
    return text


def _parse_number(name: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} must be a number like its default, got {text!r}") from None
