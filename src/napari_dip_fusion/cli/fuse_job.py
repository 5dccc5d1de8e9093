"""What the command dip-fusion fuse is to do: by its options, or as a run record says it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip_fusion.cli.masks import NONE
from napari_dip_fusion.cli.options import Choice
from napari_dip_fusion.cli.planes import name_part
from napari_dip_fusion.config import DIP, FusionConfig
from napari_dip_fusion.io.files import is_bundle, read_fused
from napari_dip_fusion.io.record_images import find_source
from napari_dip_fusion.record import parse_record, read_record


@dataclass(frozen=True, kw_only=True)
class FuseJob:
    """What is fused how, from options or from the record of an earlier run."""

    paths: list[Path]
    config: FusionConfig
    choice: Choice
    hashes: Sequence[str] = ()
    """Of the sources when the record was written; nothing to compare without one."""
    mask_hashes: Sequence[str | None] = ()
    """Of the masks when the record was written; nothing to compare without one."""
    stop_after: int = 0
    """Iterations after which a run was stopped on its way; 0 for one that came to its end."""
    continued: bool = False
    """Whether networks that restore went on after their run: it is repeated as a single one."""
    axes: Sequence[str] = ()
    """Of what was fused when the record was written; nothing to compare without one."""
    block: Sequence[int] = ()
    """Pixels of a block along all axes, if the record is of a run that went block by block."""

    @property
    def names(self) -> list[str]:
        """What the sources are called."""
        return [path.name for path in self.paths]

    @property
    def read_paths(self) -> list[Path]:
        """All files that are read."""
        return [*self.paths, *(Path(text) for text in self.choice.mask if text != NONE)]

    def check_axes(self, axes: Sequence[str]) -> None:
        """Raise ValueError if a record is of planes and its files hold more, or the other way."""
        if self.axes and len(self.axes) != len(axes):
            raise ValueError(
                f"the record is of a {name_part(self.axes)}, and its sources are read as a "
                f"{name_part(axes)}, without a word in the record on which part of them it was; "
                "fuse them anew, with --slice for a part"
            )


def load_job(path: Path, device: str | None) -> FuseJob:
    """Return what a run record repeats, on another device where one is named.

    The record is a file of its own, or lies in a bundle.
    """
    record = _read_bundled(path) if is_bundle(path) else read_record(path)
    try:
        entries = record["sources"]
        missing = [str(e.get("name")) for e in entries if not e.get("path")]
        if missing:
            raise ValueError(
                f"{path} names no files for {', '.join(missing)}: it was run on arrays, not files"
            )
        if record.get("options"):
            given = ", ".join(record["options"])
            raise ValueError(
                f"{path} was made with options of its method ({given}), which this command does "
                "not take; repeat it in Python with fuse_with()"
            )
        config = _load_config(record, path)
        block = tuple(int(size) for size in record.get("blocks", {}).get("block", ()))
        return FuseJob(
            paths=[find_source(path, entry["path"]) for entry in entries],
            config=config if device is None else config.replace(device=device),
            choice=_load_choice(record.get("choice", {}), path),
            stop_after=_find_stop(record, config),
            continued=bool(record.get("continued")),
            hashes=[entry["sha256"] for entry in entries],
            mask_hashes=record.get("grid", {}).get("masks", ()),
            # Before volumes were fused, there were only planes, and no word of their axes.
            axes=record.get("axes", () if block else ("y", "x")),
            block=block,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); use another record") from error


def _read_bundled(path: Path) -> dict[str, Any]:
    # It brings tifffile, which no other record needs.
    from napari_dip_fusion.io.tiff.bundle import find_record

    record = find_record(read_fused(path))
    if record is None:
        raise ValueError(f"{path} holds no run record; name the record of its run")
    # It is checked as that of a file is.
    return parse_record(json.dumps(record))


def _load_config(record: dict[str, Any], path: Path) -> FusionConfig:
    try:
        config = FusionConfig.from_dict(record["config"])
        # Other methods make no iterations, nor does dip where there is nothing for a network to do.
        if config.method != DIP or record["iterations"] == 0:
            return config
        # A record has the iterations of all frames together; its settings end each of them alike.
        if record.get("frames"):
            return config
        # Networks that restore pace themselves by the number of their iterations: it stays, and
        # whatever stopped them is repeated by whoever runs them.
        if record.get("restoration"):
            return config.replace(time_budget=0.0)
        # Exactly the iterations that were run, whatever ended them: on another machine, or a busier
        # one, a time budget would end the run elsewhere.
        return config.replace(iterations=record["iterations"], stop="iterations", time_budget=0.0)
    except ValueError as error:
        raise ValueError(f"{path} has settings that cannot be used: {error}") from error


def _find_stop(record: dict[str, Any], config: FusionConfig) -> int:
    """Return after how many iterations networks that restore sources were stopped on their way."""
    # Behind them another network may have run, and it is its iterations that the record counts.
    alone = config.fit.network != "always" and not record.get("frames")
    stopped = record["stop_reason"] in ("stopped", "time")
    return int(record["iterations"]) if record.get("restoration") and alone and stopped else 0


def _load_choice(values: Any, path: Path) -> Choice:
    found = {
        "fwhm": [str(text) for text in values.get("fwhm", ())],
        "mask": [
            NONE if text == NONE else str(find_source(path, text, what="mask"))
            for text in values.get("mask", ())
        ],
    }
    try:
        # Records of runs that chose nothing are of the first source's grid.
        return Choice(**{"reference": 0, **values, **found})
    except TypeError as error:
        raise ValueError(f"{path} has a choice of images that is not known: {values}") from error
