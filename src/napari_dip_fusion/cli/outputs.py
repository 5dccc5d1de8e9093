"""Where the results of a run go, checked before the run and written after it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.events import FusionResult
from napari_dip_fusion.grids import GridSources
from napari_dip_fusion.io import (
    SpatialImage,
    write_image,
    write_images,
    write_text,
)
from napari_dip_fusion.io.formats import known_endings

_FLAT = (".png", ".tif", ".tiff")  # formats that know no place in the world
_BUNDLE = ".fusion.ome.tif"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where the results of a run go, and in which pixel type."""

    fused: Path
    record: Path
    gains: Sequence[Path] = ()
    dtype: str | None = None
    like: int | None = None
    overwrite: bool = False

    def write(self, result: FusionResult, sources: GridSources, names: Sequence[str]) -> None:
        """Write image, gains and record, each whole or not at all."""
        metadata = {"dip_fusion": {"record": result.record, "metrics": result.metrics}}
        fused = sources.placed(
            self._pixels(result), flat=is_flat(self.fused), name="fused", metadata=metadata
        )
        if self.fused.name.lower().endswith(_BUNDLE):
            layers = [*_beside(result, sources, names), fused]
            write_images(self.fused, layers, overwrite=self.overwrite)
        else:
            write_image(self.fused, fused, overwrite=self.overwrite)
        for path, gain in zip(self.gains, result.gains, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, gain, overwrite=self.overwrite)
        text = json.dumps(result.record, indent=1) + "\n"
        write_text(self.record, text, overwrite=self.overwrite)

    def _pixels(self, result: FusionResult) -> NDArray[Any]:
        if self.like is not None:
            return np.asarray(result.rescaled(like=self.like, dtype=self.dtype))
        if self.dtype == "float32":
            return np.asarray(result.image)
        all_bytes = all(d == np.uint8 for d in result.sources.dtypes)
        kind = np.dtype(self.dtype or ("uint8" if all_bytes else "uint16"))
        pixels: NDArray[Any] = np.rint(result.image * np.iinfo(kind).max).astype(kind)
        return pixels


def _beside(result: FusionResult, sources: GridSources, names: Sequence[str]) -> list[SpatialImage]:
    """Return what a bundle holds besides the fused image."""
    gain = {"colormap": "viridis", "contrast_limits": (0.0, 1.0), "visible": False}
    grey = {"contrast_limits": (0.0, 1.0), "visible": False}
    return [
        *(
            sources.placed(a, flat=False, name=n)
            for a, n in zip(sources.arrays, names, strict=True)
        ),
        *(
            sources.placed(g, flat=False, name=f"{n} gain", display=gain)
            for g, n in zip(result.gains, names, strict=True)
        ),
        sources.placed(result.consensus, flat=False, name="consensus", display=grey),
    ]


def is_flat(path: Path) -> bool:
    """Tell whether a format holds a plain picture only."""
    name = path.name.lower()
    return name.endswith(_FLAT) and not name.endswith((".ome.tif", ".ome.tiff"))


def record_beside(output: Path) -> Path:
    """Return NAME.record.json for an output NAME with any known ending."""
    ending = next(e for e in known_endings(writing=True) if output.name.lower().endswith(e))
    return output.with_name(f"{output.name[: -len(ending)]}.record.json")


def output_kind(output: Path, dtype: str | None, like: int | None) -> str | None:
    """Return the pixel type to write, or None where it follows from the sources.

    Raises
    ------
    ValueError
        If the ending or the type cannot be written.
    """
    endings = known_endings(writing=True)
    if not output.name.lower().endswith(endings):
        raise ValueError(f"the output must end in one of {', '.join(endings)}, got {output.name!r}")
    png = output.name.lower().endswith(".png")
    kinds = ("uint8", "uint16") if png else ("uint8", "uint16", "float32")
    if dtype is not None and dtype not in kinds:
        raise ValueError(f"--dtype must be one of {', '.join(kinds)} for {output}, got {dtype!r}")
    return dtype if dtype or png or like is not None else "float32"


def gain_paths_in(folder: Path | None, sources: Sequence[Path]) -> list[Path]:
    """Return where the gain map of each source goes; nowhere without a folder."""
    if folder is None:
        return []
    return [folder / f"gain_{i}_{p.stem}.tif" for i, p in enumerate(sources)]


def check_outputs(outputs: Outputs, sources: Sequence[Path]) -> None:
    """Raise an error now if a file could not be written after the run.

    Raises
    ------
    FileExistsError
        If a file is there and may not be replaced.
    ValueError
        If an output is a source, or its folder is missing or read-only.
    """
    read = {p.resolve() for p in sources}
    for path in (outputs.fused, outputs.record, *outputs.gains):
        if path.exists() and not outputs.overwrite:
            raise FileExistsError(f"{path} exists; choose another name or add --force")
        if path.resolve() in read:
            raise ValueError(f"{path} is a source; choose another output")
    for folder in {outputs.fused.parent, outputs.record.parent}:
        if not folder.is_dir():
            raise ValueError(f"folder {folder} does not exist; make it first")
        if not os.access(folder, os.W_OK):
            raise ValueError(f"folder {folder} cannot be written to; choose another output")
