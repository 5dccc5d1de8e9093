"""A run block by block as code that needs no napari: it reads files, and writes a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_dip_fusion.plugin.running.block_choice import BlockChoice, number_output
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import Provenance


def write_block_script(plan: Plan, provenance: Provenance, changes: Mapping[str, Any]) -> str:
    """Return Python code that repeats a run block by block on the files of its sources.

    Parameters
    ----------
    plan : Plan
        Without masks.
    provenance : Provenance
        With the choice by which files give what was fused.
    changes : mapping
        The settings that are not as in the preset.
    """
    assert plan.blocks is not None
    settings = ", ".join([repr(plan.config.preset_name), *_write_arguments(changes)])
    options = {"names": list(plan.names), **plan.grid, **list_block_options(plan.blocks)}
    plane = (provenance.choice or {}).get("plane")
    if plane is not None:
        options["plane"] = plane
    lines = [
        '"""Repeats a fusion block by block, from files into a file: run it with python."""',
        "",
        "from napari_dip_fusion import FusionConfig, fuse_blocks, read_image",
        "",
        "# Worker processes import this file once more.",
        'if __name__ == "__main__":',
        "    sources = [",
        *(f"        {call}," for call in _write_sources(plan, provenance)),
        "    ]",
        "    result = fuse_blocks(",
        "        sources,",
        f"        {name_next(plan.blocks)!r},",
        f"        FusionConfig.preset({settings}),",
        *(f"        {argument}," for argument in _write_arguments(options)),
        "    )",
        "    print(result.metrics)",
        "",
    ]
    return "\n".join(lines)


def list_block_options(choice: BlockChoice) -> dict[str, int]:
    """Return the options that say how a run goes block by block, by their names."""
    options = {"block": choice.block, "workers": choice.workers}
    return {name: value for name, value in options.items() if value}


def name_next(choice: BlockChoice) -> str:
    """Return the file that a run writes if it is made now: that of the last one may be there."""
    return number_output(choice.output).as_posix()


def _write_sources(plan: Plan, provenance: Provenance) -> list[str]:
    """Return the calls that read the sources of a plan from their files, each lazily."""
    choice = provenance.choice or {}
    channels = choice.get("channel") or [None] * len(plan.names)
    calls = []
    for opening, channel, fwhm in zip(provenance.openings, channels, plan.fwhm, strict=True):
        assert opening is not None
        # Of the command, an index is a text like a name.
        number = int(channel) if channel is not None and channel.isdigit() else channel
        chosen = {"channel": number, "level": choice.get("level")}
        given = _write_arguments({k: v for k, v in chosen.items() if v is not None})
        call = f"read_image({', '.join([repr(opening.path.as_posix()), *given])})"
        calls.append(f"{call}.replace(fwhm={fwhm!r})" if np.any(fwhm) else call)
    return calls


def _write_arguments(arguments: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in arguments.items()]
