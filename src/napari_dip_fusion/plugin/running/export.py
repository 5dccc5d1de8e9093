"""A run as code: a script for a napari session, or a command for a terminal."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.io.claimed import is_claimed

# Options of the command line; every other setting goes by --set.
_OPTIONS = ("iterations", "seed", "device")


@dataclass(frozen=True)
class Recipe:
    """What repeats a run.

    Attributes
    ----------
    names, paths
        Of the source layers; None for a layer that came from no file.
    config : FusionConfig
    reference, interpolation, level
        As for :func:`napari_dip_fusion.plugin.fuse_layers`.
    plain : bool
        Whether the files hold exactly what was fused: 2-D images on one grid.
    point, order
        Of the viewer's sliders and axes, which say what plane was fused; None
        where all layers are 2-D.
    """

    names: tuple[str, ...]
    paths: tuple[str | None, ...]
    config: FusionConfig
    reference: str
    interpolation: str
    level: int | str
    plain: bool
    point: tuple[float, ...] | None = None
    order: tuple[int, ...] | None = None


def repeating(config: FusionConfig, result: FusionResult | None) -> FusionConfig:
    """Return the settings that repeat a run, stopped or continued as it was."""
    if result is None:
        return config
    if result.stop_reason == "stopped":
        return config.replace(iterations=len(result.losses), stop="iterations")
    return FusionConfig.from_dict(result.record["config"])


def described(recipe: Recipe, *, made: bool) -> str:
    """Say which run a script or command is for.

    Parameters
    ----------
    recipe : Recipe
    made : bool
        Whether the run was made, and is not just what the settings are now.
    """
    layers = " + ".join(recipe.names)
    return f"the last run, of {layers}" if made else f"a run of {layers} as set now"


def as_script(recipe: Recipe) -> str:
    """Return Python code that repeats a run on the layers of a napari session.

    Layers that came from files are opened if the session does not have them.
    """
    lines = [
        '"""Repeats a fusion; run it with python, or in the console of napari."""',
        "",
        "import napari",
        "",
        "from napari_dip_fusion.plugin import fuse_layers",
        "",
        "viewer = napari.current_viewer() or napari.Viewer()",
    ]
    for name, path in zip(recipe.names, recipe.paths, strict=True):
        lines += _opened(name, path, several=recipe.paths.count(path) > 1)
    lines += _shown(recipe)
    lines += ["fuse_layers(", "    viewer,", f"    {list(recipe.names)!r},"]
    lines += [f"    {k}={v!r}," for k, v in _arguments(recipe).items()]
    return "\n".join([*lines, ")", ""])


def as_command(recipe: Recipe) -> str:
    """Return a command for a terminal that repeats a run on the layers' files.

    Raises
    ------
    ValueError
        If the files do not hold what was fused.
    """
    missing = [n for n, p in zip(recipe.names, recipe.paths, strict=True) if p is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} came from no file, so no command can repeat this; save the "
            "layers and open them again, or copy the script"
        )
    paths = [Path(p) for p in recipe.paths if p is not None]
    if len(set(paths)) < len(paths) or any(map(_holds_several, paths)):
        raise ValueError(
            "these layers share a file with others, which the command cannot repeat; copy the "
            "script instead"
        )
    if not recipe.plain:
        raise ValueError(
            "these layers are slices, levels or on different grids, which the command cannot "
            "repeat; copy the script instead"
        )
    config = recipe.config
    parts = ["dip-fusion", "fuse", *map(str, recipe.paths), "-o", "fused.tif"]
    parts += ["--preset", config.preset_name]
    for name, value in _changes(config).items():
        if name == "intensity":
            entries = [value] if isinstance(value, str) else value
            parts += [f"--intensity={_entry(e)}" for e in entries]
        elif name in _OPTIONS:
            parts += [f"--{name}", str(value)]
        else:
            parts += ["--set", f"{name}={_text(value)}"]
    return shlex.join(parts)


def _opened(name: str, path: str | None, *, several: bool) -> list[str]:
    if path is None:
        return [f"# {name!r} must be a layer of the viewer"]
    # napari's own reader claims some of our formats too, so the reader is named.
    ours = ", plugin='napari-dip-fusion'" if is_claimed(Path(path)) else ""
    # One name for all layers of a file would hide which of them is meant.
    named = "" if several or _holds_several(Path(path)) else f", name={name!r}"
    return [
        f"if {name!r} not in viewer.layers:",
        f"    viewer.open({Path(path).as_posix()!r}{named}{ours})",
    ]


def _holds_several(path: Path) -> bool:
    """Tell whether opening a path may add several layers, each with a name of its own."""
    several = path.name.lower().endswith((".fusion.ome.tif", ".record.json"))
    return several or (path.is_dir() and path.suffix.lower() != ".zarr")


def _shown(recipe: Recipe) -> list[str]:
    lines = []
    if recipe.order is not None and recipe.order != tuple(range(len(recipe.order))):
        lines.append(f"viewer.dims.order = {recipe.order!r}")
    if recipe.point is not None:
        lines.append(f"viewer.dims.point = {recipe.point!r}")
    return lines


def _arguments(recipe: Recipe) -> dict[str, Any]:
    arguments: dict[str, Any] = {"preset": recipe.config.preset_name}
    if recipe.reference != recipe.names[0]:
        arguments["reference"] = recipe.reference
    if recipe.interpolation != "linear":
        arguments["interpolation"] = recipe.interpolation
    if recipe.level != "auto":
        arguments["level"] = recipe.level
    return arguments | _changes(recipe.config)


def _changes(config: FusionConfig) -> dict[str, Any]:
    """Return the settings that differ from the preset; the seed and device always."""
    changes = config.changes()
    return {
        name: value
        for name, value in config.leaves().items()
        if name in _OPTIONS or name in changes
    }


def _entry(entry: Any) -> str:
    return entry if isinstance(entry, str) else f"{entry[0]!r}:{entry[1]!r}"


def _text(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
