"""The results of a comparison on disk, by which one that was interrupted goes on."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import Row
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io import read_image, write_image, write_text
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.observation import Observation, ObservedFrames
from napari_dip_fusion.sources.prepared import PreparedSources

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """What is to be fused how.

    Attributes
    ----------
    method : str
        Name out of :func:`.label_methods`.
    seed : int or None
        None for methods without a seed.
    config : FusionConfig
        Settings, with the method that is run.
    options : mapping
        Options of a method other than ``dip``.
    which : tuple of str
        Names of the metrics.
    eight_bit : bool
        Whether images are rounded to 256 gray levels before they are scored.
    """

    method: str
    seed: int | None
    config: FusionConfig
    options: Mapping[str, Any]
    which: tuple[str, ...]
    eight_bit: bool

    def fingerprint(self, digests: Sequence[str]) -> str:
        """Return a digest of the run and its sources: equal ones have equal results.

        Parameters
        ----------
        digests : sequence of str
            What tells the sources from others, such as the SHA-256 of each.
        """
        parts = {
            **vars(self),
            "config": self.config.to_dict(),
            "options": dict(self.options),
            "sources": list(digests),
            # Another version may fuse or score otherwise.
            "version": version("napari-dip-fusion"),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Stored:
    """A result that can be kept: its scores, its image of [0, 1], and its record."""

    row: Row
    image: Floats
    record: dict[str, Any]
    placed: Source | None = None
    """The image of a volume or a series in its place, which its file says."""


class Store:
    """Results as files: one JSON and one float32 TIFF for each run that has an image.

    Volumes and series, which a plain TIFF cannot hold, are kept as OME-TIFF.

    Parameters
    ----------
    folder : Path or None
        Where they are; without one, nothing is kept or found.
    fresh : bool
        Whether nothing is looked for.
    """

    def __init__(self, folder: Path | None, *, fresh: bool) -> None:
        self._folder, self._fresh = folder, fresh

    def find(self, kind: str, name: str, run: Run, digests: Sequence[str]) -> Stored | None:
        """Return the stored result of the same run on the same sources, if there is one."""
        if self._folder is None or self._fresh:
            return None
        path = _name_file(self._folder, (kind, name, run.method), run.seed)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["fingerprint"] != run.fingerprint(digests):
                return None
            row = Row(**entry["row"] | {"stack_axes": tuple(entry["row"].get("stack_axes", ()))})
            image = np.asarray(read_image(_name_image(path, row)).data, dtype=np.float32)
            return Stored(row, image, dict(entry["record"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or not whole: it is made again

    def keep(self, result: Stored, run: Run, digests: Sequence[str]) -> None:
        """Write a result; failures are not kept, so that they are tried again the next time."""
        if self._folder is None:
            return
        row = result.row
        path = _name_file(self._folder, (row.kind, row.name, row.method), row.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        axes = (*row.stack_axes, "y", "x")
        image = Source(result.image, axes=axes, rgb=result.image.ndim > len(axes))
        write_image(_name_image(path, row), result.placed or image, overwrite=True)
        entry = {
            "fingerprint": run.fingerprint(digests),
            "row": asdict(row),
            "record": result.record,
        }
        write_text(path, json.dumps(entry, indent=1) + "\n", overwrite=True)


def identify(prepared: PreparedSources) -> list[str]:
    """Return what tells these sources from others."""
    digests = [str(description["sha256"]) for description in prepared.descriptions]
    if prepared.stack_axes:
        # The same pixels are fused otherwise where their planes lie further apart, or in time.
        places = zip(prepared.axes, prepared.steps, strict=True)
        digests.append(", ".join(f"{axis} {step:.6g}" for axis, step in places))
    # The same pixels are restored otherwise where their sensor lost more, or saw less.
    digests += [_identify_loss(seen) for seen in prepared.observations if seen is not None]
    digests += [array_sha256(inside) for inside in prepared.inside if inside is not None]
    return digests


def _identify_loss(seen: Observation | ObservedFrames) -> str:
    if isinstance(seen, ObservedFrames):
        return seen.describe()
    kernel = "" if seen.kernel is None else array_sha256(seen.kernel)
    return f"{seen.factors} {[round(sigma, 6) for sigma in seen.sigmas]} {kernel}"


def _name_file(folder: Path, parts: Sequence[str], seed: int | None) -> Path:
    whole = [*parts] + ([] if seed is None else [f"seed{seed}"])
    # Names of sets come from files of any system; what no file name takes becomes "_".
    plain = "--".join(re.sub(r"[^\w.+-]+", "_", part) for part in whole)
    return folder / "results" / f"{plain}.json"


def _name_image(path: Path, row: Row) -> Path:
    return path.with_suffix(".ome.tif" if row.stack_axes else ".tif")
