"""Where the results of a run go, checked before the run and written after it."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.output_names import is_flat, name_stacked
from napari_dip_fusion.cli.planes import count_planes, write_plane_scores
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.io import check_image, write_image, write_images, write_text
from napari_dip_fusion.io.files import is_bundle
from napari_dip_fusion.io.formats import strip_ending
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources

_FOLDERS = (".zarr",)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where the results of a run go, and in which pixel type."""

    fused: Path
    record: Path
    gains: Sequence[Path] = ()
    base_gains: Sequence[Path] = ()
    restored: Sequence[Path] = ()
    figure: Path | None = None
    scores: Path | None = None
    dtype: str | None = None
    like: int | None = None
    overwrite: bool = False

    @property
    def paths(self) -> list[Path]:
        """All files that a run writes."""
        others = [path for path in (self.figure, self.scores) if path]
        maps = [*self.gains, *self.base_gains, *self.restored]
        return [self.fused, self.record, *maps, *others]

    @property
    def hold_gains(self) -> bool:
        """Whether the gains of a run are written."""
        return bool(self.gains) or is_bundle(self.fused)

    def fit(self, sources: GridSources) -> "Outputs":
        """Return outputs whose gains are in a format that holds the grid of these sources."""
        if count_planes(sources.images[0].shape) == 1:
            return self
        gains, base_gains = name_stacked(self.gains), name_stacked(self.base_gains)
        return replace(self, gains=gains, base_gains=base_gains)

    def check_formats(self, sources: GridSources, names: Sequence[str]) -> None:
        """Refuse a run on these sources whose results the output's format cannot hold.

        Raises
        ------
        ValueError
            If pixel type, colors or axes do not fit the format, or ``like`` is no source.
        """
        images = sources.images
        if self.like is not None and not 0 <= self.like < len(images):
            raise ValueError(f"like must be a source from 0 to {len(images) - 1}, got {self.like}")
        planes = count_planes(images[0].shape)
        if planes > 1 and is_flat(self.fused):
            raise ValueError(
                f"{self.fused.name} cannot hold the result, {planes} planes: such a file holds "
                "one; write .ome.tif, .ome.zarr, .nii.gz or .fusion.ome.tif, or choose a plane "
                "with --slice"
            )
        # The format is asked about axes and type: one value stands for all pixels.
        blank = np.broadcast_to(np.zeros((), self._find_type(images)), _find_shape(images))
        layers = [sources.make_source(blank, flat=is_flat(self.fused), name="fused")]
        if is_bundle(self.fused):
            layers += [
                sources.make_source(
                    np.broadcast_to(np.zeros((), image.dtype), image.data.shape),
                    flat=False,
                    name=name,
                )
                for image, name in zip(images, names, strict=True)
            ]
        try:
            for layer in layers:
                check_image(self.fused, layer)
        except ImageFileError as error:
            raise ValueError(
                f"{self.fused.name} cannot hold the result: {error} (or choose --dtype)"
            ) from error

    def estimate_bytes(self, sources: GridSources, config: FusionConfig) -> int:
        """Return how many bytes the images take that a run writes, without compression."""
        images = sources.images
        pixels = math.prod(images[0].shape)
        fused = math.prod(_find_shape(images)) * self._find_type(images).itemsize
        bands = 1 if config.gains.band_sigma == 0 else 2
        gains, beside = len(self.gains) + len(self.base_gains) + len(self.restored), 0
        if is_bundle(self.fused):
            gains += len(images) * bands
            beside = sum(image.dtype.itemsize * math.prod(image.data.shape) for image in images)
            beside += 4 * pixels  # the consensus
        return fused + 4 * pixels * gains + beside

    def write(self, result: FusionResult, sources: GridSources, names: Sequence[str]) -> None:
        """Write image, gains, restored sources and record, each whole or not at all."""
        metadata = {"dip_fusion": {"record": result.record, "metrics": result.metrics}}
        fused = sources.make_source(
            self._make_pixels(result), flat=is_flat(self.fused), name="fused", metadata=metadata
        )
        if is_bundle(self.fused):
            layers = [*_list_beside(result, sources, names), fused]
            write_images(self.fused, layers, overwrite=self.overwrite)
        else:
            write_image(self.fused, fused, overwrite=self.overwrite)
        if result.gains is not None:
            self._write_maps(self.gains, result.gains, sources)
        if result.base_gains is not None:
            self._write_maps(self.base_gains, result.base_gains, sources)
        self._write_restored(result, sources)
        if self.scores is not None:
            scores = result.plane_metrics or {n: np.array(v) for n, v in result.metrics.items()}
            write_plane_scores(self.scores, result.sources.axes, scores, overwrite=self.overwrite)
        text = json.dumps(result.record, indent=1) + "\n"
        write_text(self.record, text, overwrite=self.overwrite)

    def _write_restored(self, result: FusionResult, sources: GridSources) -> None:
        if result.restored is not None:
            images = (
                result.sources.rescale(image, like=i, dtype=np.float32)
                for i, image in enumerate(result.restored)
            )
            self._write_maps(self.restored, images, sources)
        elif self.restored:
            console.warn(
                f"nothing was restored, and nothing is written into {self.restored[0].parent}"
            )

    def _write_maps(
        self, paths: Sequence[Path], maps: Iterable[NDArray[Any]], sources: GridSources
    ) -> None:
        """Write an image of each source, of values that may be anything."""
        for path, image in zip(paths, maps, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            placed = sources.make_source(image, flat=False, name=strip_ending(path))
            # A plain picture has no place, and nobody is to be warned that it is lost.
            write_image(path, image if is_flat(path) else placed, overwrite=self.overwrite)

    def _find_type(self, images: Sequence[Source]) -> np.dtype[Any]:
        return self._pixel_type([image.dtype for image in images])

    def _pixel_type(self, dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
        """Return the type of the output's pixels, for sources of these types."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if self.like is not None:
            return dtypes[self.like]
        return np.dtype("uint8" if all(d == np.uint8 for d in dtypes) else "uint16")

    def _make_pixels(self, result: FusionResult) -> NDArray[Any]:
        kind = self._pixel_type(result.sources.dtypes)
        if self.like is not None:
            return np.asarray(result.rescale(like=self.like, dtype=kind))
        if kind.kind == "f":
            return np.asarray(result.image)
        pixels: NDArray[Any] = np.rint(result.image * np.iinfo(kind).max).astype(kind)
        return pixels


def _find_shape(images: Sequence[Source]) -> tuple[int, ...]:
    """Return the shape of what is fused from images on one grid, colors included."""
    return images[0].shape + ((3,) if any(image.rgb for image in images) else ())


def _list_beside(result: FusionResult, sources: GridSources, names: Sequence[str]) -> list[Source]:
    """Return what a bundle holds besides the fused image."""
    gain = {"colormap": "viridis", "contrast_limits": (0.0, 1.0), "visible": False}
    gray = {"contrast_limits": (0.0, 1.0), "visible": False}
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
            sources.make_source(result.consensus, flat=False, name="consensus", display=gray)
        )
    return held


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
    # Resolved, since two spellings of a path may name one file.
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
    for folder in {p.parent for p in (*outputs.gains, *outputs.restored)}:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; choose another folder")
        # The folder is made when it is written to, in the nearest one that is there.
        _refuse_read_only(next(f for f in (folder, *folder.absolute().parents) if f.exists()))
    for folder in {outputs.fused.parent, outputs.record.parent}:
        if not folder.is_dir():
            raise ValueError(f"folder {folder} does not exist; make it first")
        _refuse_read_only(folder)


def _refuse_read_only(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise ValueError(f"folder {folder} cannot be written to; choose another output")
