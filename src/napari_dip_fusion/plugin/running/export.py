"""A run as code: a script for a napari session, or a command for a terminal."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.plugin.running.block_export import (
    list_block_options,
    name_next,
    write_block_script,
)
from napari_dip_fusion.plugin.running.origin_files import Opening
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import Provenance

_NEEDS_FILES = (
    '"""Repeats a fusion: paste it into the console of napari, or run it with python.',
    "",
    "Run with python it opens napari, fuses, and ends when the window is closed.",
    '"""',
)
_NEEDS_LAYERS = (
    '"""Repeats a fusion: paste it into the console of the napari that has the layers.',
    "",
    "No file holds all of them as they were fused.",
    '"""',
)

# Settings that have an option of their own on the command line; the others go by --set.
_OPTIONS = ("iterations", "seed", "device")


def pin_config(config: FusionConfig, result: FusionResult | None) -> FusionConfig:
    """Return the settings that repeat a run, stopped or continued as it was if settings can say so.

    Parameters
    ----------
    config : FusionConfig
        The settings that the run was started with.
    result : FusionResult or None
        None for a run that has not been made, or left nothing.
    """
    if result is None:
        return config
    if is_cut_short(result):
        return config
    # The user's hand is no setting: the number of iterations stands for it.
    if result.stop_reason == "stopped":
        return config.replace(iterations=len(result.losses), stop="iterations")
    return FusionConfig.from_dict(result.record["config"])


def is_cut_short(result: FusionResult | None) -> bool:
    """Tell whether a run was stopped in a way that no settings repeat.

    Networks that restore pace themselves by the number of their iterations: a run of fewer makes
    another image than one of more that is stopped.
    """
    if result is None or result.stop_reason != "stopped":
        return False
    return bool(result.record.get("restoration"))


def is_continued(result: FusionResult | None) -> bool:
    """Tell whether networks that restore went on after a run: one of as many makes another image.

    Each run has a pace of its own.
    """
    return result is not None and bool(result.record.get("continued"))


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


def write_script(plan: Plan, provenance: Provenance) -> str:
    """Return Python code that repeats a run on the layers of a napari session.

    Layers that a file holds as they were fused are opened if the session does not have them. A run
    block by block of files needs no session.
    """
    if plan.blocks is not None and provenance.choice is not None and not any(plan.masks):
        # Nobody has to look on: it may take hours.
        return write_block_script(plan, provenance, _list_changes(plan.config))
    function = "fuse_layers" if plan.blocks is None else "fuse_layer_blocks"
    output = [] if plan.blocks is None else [f"    {name_next(plan.blocks)!r},"]
    lines = [
        *(_NEEDS_FILES if _has_files(plan, provenance) else _NEEDS_LAYERS),
        "",
        "import napari",
        "",
        f"from napari_dip_fusion.plugin import {function}",
        "",
        "# In napari's console there is a viewer, in a process of its own there is none.",
        "viewer = napari.current_viewer()",
        "alone = viewer is None",
        "if alone:",
        "    viewer = napari.Viewer()",
        *_write_openings(plan, provenance),
        *_write_view(plan),
        f"result = {function}(",
        "    viewer,",
        f"    {list(plan.names)!r},",
        *output,
        *(f"    {key}={value!r}," for key, value in _list_arguments(plan).items()),
        ")",
        "print(result.metrics)",
        "if alone:",
        "    # Shows the window, with the fused layer on top, until it is closed.",
        "    napari.run()",
        "",
    ]
    return "\n".join(lines)


def _has_files(plan: Plan, provenance: Provenance) -> bool:
    """Tell whether files hold all layers of a run, those of its masks included."""
    pairs = zip(plan.masks, provenance.masks, strict=False)
    return None not in provenance.openings and all(opening for mask, opening in pairs if mask)


def write_command(plan: Plan, provenance: Provenance) -> str:
    """Return a command for a terminal that repeats a run on the layers' files.

    Raises
    ------
    ValueError
        If no command reads what was fused.
    """
    if provenance.choice is None:
        raise ValueError(provenance.reason)
    config = plan.config
    paths = [str(opening.path) for opening in provenance.openings if opening is not None]
    output = provenance.output if plan.blocks is None else name_next(plan.blocks)
    parts = ["dip-fusion", "fuse", *paths, "-o", output]
    parts += _list_choices(provenance.choice, resampled=plan.resampled)
    if plan.blocks is not None:
        for name, size in list_block_options(plan.blocks).items():
            parts += [f"--{name}", str(size)]
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


def _list_choices(choice: Mapping[str, Any], *, resampled: bool) -> list[str]:
    parts = [f"--channel={channel}" for channel in choice["channel"]]
    if choice["plane"] is not None:
        parts += ["--slice", choice["plane"]]
    if choice["level"] is not None:
        parts += ["--level", str(choice["level"])]
    # Where it matters it is said, whatever the command takes by itself.
    if choice["reference"] or resampled:
        parts += ["--reference", str(choice["reference"])]
    if choice["interpolation"] != "linear":
        parts += ["--interpolation", choice["interpolation"]]
    parts += [f"--fwhm={width}" for width in choice.get("fwhm", ())]
    parts += [f"--mask={mask}" for mask in choice.get("mask", ())]
    return parts


def _write_openings(plan: Plan, provenance: Provenance) -> list[str]:
    lines = []
    files: dict[tuple[Any, str], list[tuple[str, Opening]]] = {}
    pairs = [*zip(plan.names, provenance.openings, strict=True)]
    pairs += [
        (mask.name, opening)
        for mask, opening in zip(plan.masks, provenance.masks, strict=False)
        # Several sources may share one.
        if mask is not None and mask.name not in dict(pairs)
    ]
    for name, opening in pairs:
        if opening is None:
            # Not even a file that it came from is named: it holds something else.
            lines.append(f"# {name!r} must be a layer of the viewer: no file holds it as fused")
        else:
            files.setdefault((opening.path, opening.plugin), []).append((name, opening))
    for (path, plugin), members in files.items():
        lines += _write_opening(path.as_posix(), plugin, members)
    return lines


def _write_opening(path: str, plugin: str, members: list[tuple[str, Opening]]) -> list[str]:
    """Return the lines that open a file if one of the layers that it holds is missing."""
    # The reader is named: napari's own reader claims some of our formats too.
    how = f"{path!r}, plugin={plugin!r}"
    names = [name for name, _ in members]
    if len(members) == 1 and members[0][1].count == 1:
        return [
            f"if {names[0]!r} not in viewer.layers:",
            f"    viewer.open({how}, name={names[0]!r})",
        ]
    # A file names its layers itself, and may hold more of them.
    return [
        f"if any(name not in viewer.layers for name in {names!r}):",
        f"    opened = viewer.open({how})",
        *(f"    opened[{opening.index}].name = {name!r}" for name, opening in members),
    ]


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
    if plan.blocks is not None:
        arguments |= list_block_options(plan.blocks)
        if not plan.whole:
            arguments["whole"] = False
    elif plan.whole:
        arguments["whole"] = True
    # The finest, by default, may be another layer where other planes are shown.
    if plan.reference != plan.names[0] or plan.resampled:
        arguments["reference"] = plan.reference
    if plan.interpolation != "linear":
        arguments["interpolation"] = plan.interpolation
    if plan.multiscale:
        # The free memory, by which a level may have been chosen, will be another one.
        arguments["level"] = plan.level
    # Without a word of it, layers are taken by what they say themselves.
    if any(map(np.any, plan.fwhm)) or plan.declares_fwhm:
        known = zip(plan.names, plan.fwhm, strict=True)
        arguments["fwhm"] = {n: w for n, w in known if np.any(w) or plan.declares_fwhm}
    masks = zip(plan.names, plan.masks, strict=False)
    if any(plan.masks):
        arguments["masks"] = {name: mask.name for name, mask in masks if mask is not None}
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
