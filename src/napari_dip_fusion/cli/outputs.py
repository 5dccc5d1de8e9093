"""Where the results of a run go, checked before the run and written after it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.io import write_image, write_images, write_text
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.prepare import PreparedSources

_FLAT = (".png", ".tif", ".tiff")  # formats that know no place in the world
_BUNDLE = ".fusion.ome.tif"
_FOLDERS = (".zarr",)
_SMALL = 8  # pixels a side of what is written in a rehearsal


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where the results of a run go, and in which pixel type."""

    fused: Path
    record: Path
    gains: Sequence[Path] = ()
    base_gains: Sequence[Path] = ()
    figure: Path | None = None
    dtype: str | None = None
    like: int | None = None
    overwrite: bool = False

    @property
    def paths(self) -> list[Path]:
        """All files that a run writes."""
        figure = [self.figure] if self.figure else []
        return [self.fused, self.record, *self.gains, *self.base_gains, *figure]

    def rehearse(self, sources: GridSources, names: Sequence[str]) -> None:
        """Raise an error now if the format cannot hold what a run on the sources would give.

        Writes a small blank result to a temporary folder.

        Raises
        ------
        ValueError
            If pixel type, colours or axes do not fit the format, or ``like`` is no source.
        """
        with TemporaryDirectory() as folder, silence_warnings():
            elsewhere = replace(
                self,
                fused=Path(folder, self.fused.name),
                record=Path(folder, "record"),
                gains=(),
                base_gains=(),
            )
            try:
                elsewhere.write(*_blank(sources), names)
            except ImageFileError as error:
                raise ValueError(
                    f"{self.fused.name} cannot hold the result: {error} (or choose --dtype)"
                ) from error

    def write(self, result: FusionResult, sources: GridSources, names: Sequence[str]) -> None:
        """Write image, gains and record, each whole or not at all."""
        metadata = {"dip_fusion": {"record": result.record, "metrics": result.metrics}}
        fused = sources.make_source(
            self._pixels(result), flat=is_flat(self.fused), name="fused", metadata=metadata
        )
        if self.fused.name.lower().endswith(_BUNDLE):
            layers = [*_beside(result, sources, names), fused]
            write_images(self.fused, layers, overwrite=self.overwrite)
        else:
            write_image(self.fused, fused, overwrite=self.overwrite)
        if result.gains is not None:
            self._write_gains(self.gains, result.gains)
        if result.base_gains is not None:
            self._write_gains(self.base_gains, result.base_gains)
        text = json.dumps(result.record, indent=1) + "\n"
        write_text(self.record, text, overwrite=self.overwrite)

    def _write_gains(self, paths: Sequence[Path], gains: NDArray[Any]) -> None:
        for path, gain in zip(paths, gains, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, gain, overwrite=self.overwrite)

    def _pixels(self, result: FusionResult) -> NDArray[Any]:
        if self.like is not None:
            return np.asarray(result.rescale(like=self.like, dtype=self.dtype))
        if self.dtype == "float32":
            return np.asarray(result.image)
        all_bytes = all(d == np.uint8 for d in result.sources.dtypes)
        kind = np.dtype(self.dtype or ("uint8" if all_bytes else "uint16"))
        pixels: NDArray[Any] = np.rint(result.image * np.iinfo(kind).max).astype(kind)
        return pixels


def _blank(sources: GridSources) -> tuple[FusionResult, GridSources]:
    """Return a result as of a run on the sources, and them, with few pixels."""
    arrays = [a[:_SMALL, :_SMALL] for a in sources.arrays]
    blank = np.zeros((len(arrays), *arrays[0].shape[:2]), np.float32)
    data = np.zeros([min(size, _SMALL) for size in sources.place.shape], np.float32)
    small = replace(
        sources, arrays=arrays, place=sources.place.replace(data=data, rgb=False, pyramid=())
    )
    colored = any(a.ndim == 3 for a in arrays)
    prepared = PreparedSources(blank, ((0.0, 1.0),) * len(arrays), tuple(a.dtype for a in arrays))
    result = FusionResult(
        image=np.stack([blank[0]] * 3, axis=-1) if colored else blank[0],
        gains=blank,
        consensus=blank[0],
        losses=np.zeros(1),
        floor=0.0,
        metrics={},
        record={},
        sources=prepared,
        stop_reason="",
    )
    return result, small


def _beside(result: FusionResult, sources: GridSources, names: Sequence[str]) -> list[Source]:
    """Return what a bundle holds besides the fused image."""
    gain = {"colormap": "viridis", "contrast_limits": (0.0, 1.0), "visible": False}
    grey = {"contrast_limits": (0.0, 1.0), "visible": False}
    held = [
        *(
            sources.make_source(a, flat=False, name=n)
            for a, n in zip(sources.arrays, names, strict=True)
        ),
        *(
            sources.make_source(maps[i], flat=False, name=f"{n} {band}", display=gain)
            for i, n in enumerate(names)
            for band, maps in result.gain_bands.items()
        ),
    ]
    if result.consensus is not None:
        held.append(
            sources.make_source(result.consensus, flat=False, name="consensus", display=grey)
        )
    return held


def is_flat(path: Path) -> bool:
    """Tell whether a format holds a plain picture only."""
    name = path.name.lower()
    return name.endswith(_FLAT) and not name.endswith((".ome.tif", ".ome.tiff"))


def record_beside(output: Path) -> Path:
    """Return NAME.record.json for an output NAME with any known ending."""
    ending = next(e for e in list_endings(writing=True) if output.name.lower().endswith(e))
    return output.with_name(f"{output.name[: -len(ending)]}.record.json")


def output_kind(output: Path, dtype: str | None, like: int | None) -> str | None:
    """Return the pixel type to write, or None where it follows from the sources.

    Raises
    ------
    ValueError
        If the ending or the type cannot be written.
    """
    endings = list_endings(writing=True)
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


def base_gain_paths(paths: Sequence[Path], config: FusionConfig) -> list[Path]:
    """Return where the gains of the base go, beside those of the details; nowhere in one band."""
    if config.gains.band_sigma == 0:
        return []
    return [p.with_name(f"{p.stem}_base{p.suffix}") for p in paths]


def check_outputs(outputs: Outputs, sources: Sequence[Path]) -> None:
    """Raise an error now if a file could not be written after the run.

    Raises
    ------
    FileExistsError
        If a file is there and may not be replaced.
    ValueError
        If an output is a source, a folder or another output, or its folder is missing or
        read-only.
    """
    read = {p.resolve() for p in sources}
    written: set[Path] = set()
    for path in outputs.paths:
        if path.exists() and not outputs.overwrite:
            raise FileExistsError(f"{path} exists; choose another name or add --force")
        if path.resolve() in read:
            raise ValueError(f"{path} is a source; choose another output")
        if path.is_dir() and not path.name.lower().endswith(_FOLDERS):
            raise ValueError(f"{path} is a folder; choose another output")
        if path.resolve() in written:
            raise ValueError(f"{path} is to hold two results; choose another output")
        written.add(path.resolve())
    for folder in {p.parent for p in outputs.gains}:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; choose another folder for the gains")
    for folder in {outputs.fused.parent, outputs.record.parent}:
        if not folder.is_dir():
            raise ValueError(f"folder {folder} does not exist; make it first")
        if not os.access(folder, os.W_OK):
            raise ValueError(f"folder {folder} cannot be written to; choose another output")
