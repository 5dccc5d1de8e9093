"""Where the results of a run go, checked before the run and written after it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.events import FusionResult
from napari_dip_fusion.io import write_image, write_text


class Outputs:
    """Where the results of a run go; calling it writes them."""

    def __init__(
        self,
        fused: Path,
        record: Path,
        gains: Sequence[Path],
        dtype: str | None,
        like: int | None,
        force: bool,
    ) -> None:
        self.fused, self.record, self.gains = fused, record, gains
        self.dtype, self.like, self.force = dtype, like, force

    def __call__(self, result: FusionResult) -> None:
        """Write image, gains and record, each whole or not at all."""
        write_image(self.fused, self._pixels(result), overwrite=self.force)
        for path, gain in zip(self.gains, result.gains, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, gain, overwrite=self.force)
        write_text(self.record, json.dumps(result.record, indent=1) + "\n", overwrite=self.force)

    def _pixels(self, result: FusionResult) -> NDArray[Any]:
        if self.like is not None:
            return np.asarray(result.rescaled(like=self.like, dtype=self.dtype))
        if self.dtype == "float32":
            return np.asarray(result.image)
        all_bytes = all(d == np.uint8 for d in result.sources.dtypes)
        kind = np.dtype(self.dtype or ("uint8" if all_bytes else "uint16"))
        pixels: NDArray[Any] = np.rint(result.image * np.iinfo(kind).max).astype(kind)
        return pixels


def output_kind(output: Path, dtype: str | None, like: int | None) -> str | None:
    """Return the pixel type to write, or None where it follows from the sources."""
    png, tiff = output.suffix.lower() == ".png", output.suffix.lower() in (".tif", ".tiff")
    if not png and not tiff:
        raise ValueError(f"the output must end in .png, .tif or .tiff, got {output.name!r}")
    kinds = ("uint8", "uint16") if png else ("uint8", "uint16", "float32")
    if dtype is not None and dtype not in kinds:
        raise ValueError(f"--dtype must be one of {', '.join(kinds)} for {output}, got {dtype!r}")
    return dtype if dtype or png or like is not None else "float32"


def gain_paths_in(folder: Path | None, sources: Sequence[Path]) -> list[Path]:
    """Return where the gain map of each source goes; nowhere without a folder."""
    if folder is None:
        return []
    return [folder / f"gain_{i}_{p.stem}.tif" for i, p in enumerate(sources)]


def check_folders(paths: Sequence[Path]) -> None:
    """Raise an error now if a file could not be written after the run."""
    for folder in {p.parent for p in paths}:
        if not folder.is_dir():
            raise ValueError(f"folder {folder} does not exist; make it first")
        if not os.access(folder, os.W_OK):
            raise ValueError(f"folder {folder} cannot be written to; choose another output")


def refuse_existing(paths: Sequence[Path], force: bool) -> None:
    """Raise FileExistsError if a file is there and may not be replaced."""
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists; choose another name or add --force")


def refuse_sources_as_output(outputs: Sequence[Path], sources: Sequence[Path]) -> None:
    """Raise ValueError if an output would replace a source."""
    read = {p.resolve() for p in sources}
    for path in outputs:
        if path.resolve() in read:
            raise ValueError(f"{path} is a source; choose another output")
