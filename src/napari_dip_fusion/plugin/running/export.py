"""A run as code: a script for a napari session, or a command for a terminal."""

import shlex
from pathlib import Path
from typing import Any

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.io.claimed import is_claimed
from napari_dip_fusion.plugin.running.plan import Plan

# Settings that have an option of their own on the command line; the others go by --set.
_OPTIONS = ("iterations", "seed", "device")


def pin_config(config: FusionConfig, result: FusionResult | None) -> FusionConfig:
    """Return the settings that repeat a run exactly, stopped or continued as it was.

    Parameters
    ----------
    config : FusionConfig
        The settings that the run was started with.
    result : FusionResult or None
        None for a run that has not been made, or left nothing.
    """
    if result is None:
        return config
    # The user's hand is no setting: the number of iterations stands for it.
    if result.stop_reason == "stopped":
        return config.replace(iterations=len(result.losses), stop="iterations")
    return FusionConfig.from_dict(result.record["config"])


def describe_run(plan: Plan, *, made: bool) -> str:
    """Say which run a script or command is for.

    Parameters
    ----------
    plan : Plan
    made : bool
        Whether the run was made, and is not just what the settings are now.
    """
    layers = " + ".join(plan.names)
    return f"the last run, of {layers}" if made else f"a run of {layers} as set now"


def write_script(plan: Plan) -> str:
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
        # In napari's console there is a viewer, in a process of its own there is none.
        "viewer = napari.current_viewer() or napari.Viewer()",
    ]
    for name, path in zip(plan.names, plan.paths, strict=True):
        lines += _write_opening(name, path, several=plan.paths.count(path) > 1)
    lines += _write_view(plan)
    lines += ["fuse_layers(", "    viewer,", f"    {list(plan.names)!r},"]
    lines += [f"    {k}={v!r}," for k, v in _list_arguments(plan).items()]
    return "\n".join([*lines, ")", ""])


def write_command(plan: Plan) -> str:
    """Return a command for a terminal that repeats a run on the layers' files.

    Raises
    ------
    ValueError
        If the files do not hold what was fused.
    """
    missing = [n for n, p in zip(plan.names, plan.paths, strict=True) if p is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} came from no file, so no command can repeat this; save the "
            "layers and open them again, or copy the script"
        )
    # The command reads files whole, and takes each for one source.
    paths = [Path(p) for p in plan.paths if p is not None]
    if len(set(paths)) < len(paths) or any(map(_holds_several, paths)):
        raise ValueError(
            "these layers share a file with others, which the command cannot repeat; copy the "
            "script instead"
        )
    if not plan.is_whole_files:
        raise ValueError(
            "these layers are slices, levels or on different grids, which the command cannot "
            "repeat; copy the script instead"
        )
    config = plan.config
    parts = ["dip-fusion", "fuse", *map(str, plan.paths), "-o", "fused.tif"]
    parts += ["--preset", config.preset_name]
    for name, value in _list_changes(config).items():
        # The option is repeated for each source; --set has no way to write windows.
        if name == "intensity":
            entries = [value] if isinstance(value, str) else value
            parts += [f"--intensity={_write_entry(e)}" for e in entries]
        elif name in _OPTIONS:
            parts += [f"--{name}", str(value)]
        else:
            parts += ["--set", f"{name}={_write_value(value)}"]
    return shlex.join(parts)


def _write_opening(name: str, path: str | None, *, several: bool) -> list[str]:
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
    # Bundles and records name their images themselves, and folders may hold many.
    several = path.name.lower().endswith((".fusion.ome.tif", ".record.json"))
    return several or (path.is_dir() and path.suffix.lower() != ".zarr")


def _write_view(plan: Plan) -> list[str]:
    lines = []
    # The order first: it says which axes have sliders.
    if plan.order is not None and plan.order != tuple(range(len(plan.order))):
        lines.append(f"viewer.dims.order = {plan.order!r}")
    if plan.point is not None:
        lines.append(f"viewer.dims.point = {plan.point!r}")
    if plan.margins is not None:
        left, right = plan.margins
        lines += [f"viewer.dims.margin_left = {left!r}", f"viewer.dims.margin_right = {right!r}"]
    for name, mode in plan.projections.items():
        lines.append(f"viewer.layers[{name!r}].projection_mode = {mode!r}")
    return lines


def _list_arguments(plan: Plan) -> dict[str, Any]:
    arguments: dict[str, Any] = {"preset": plan.config.preset_name}
    # The finest, by default, may be another layer where other planes are shown.
    if plan.reference != plan.names[0] or plan.resampled:
        arguments["reference"] = plan.reference
    if plan.interpolation != "linear":
        arguments["interpolation"] = plan.interpolation
    if plan.multiscale:
        # The free memory, by which a level may have been chosen, will be another one.
        arguments["level"] = plan.level
    return arguments | _list_changes(plan.config)


def _list_changes(config: FusionConfig) -> dict[str, Any]:
    """Return the settings that differ from the preset, and those in ``_OPTIONS`` always."""
    changes = config.changes()
    return {
        name: value
        for name, value in config.leaves().items()
        if name in _OPTIONS or name in changes
    }


def _write_entry(entry: Any) -> str:
    return entry if isinstance(entry, str) else f"{entry[0]!r}:{entry[1]!r}"


def _write_value(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
