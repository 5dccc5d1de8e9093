"""Where a run that goes block by block writes, and what becomes of the image when it is whole."""

import hashlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.events import BlocksResult
from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.blocks.manifest import Manifest, name_folder
from napari_dip_fusion.blocks.plan import Plan
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.fusion.result import name_closed_form
from napari_dip_fusion.io import check_image, read_image, write_image, write_images
from napari_dip_fusion.io.atomic import move_into_place
from napari_dip_fusion.io.files import is_bundle
from napari_dip_fusion.io.streaming import count_bytes
from napari_dip_fusion.io.zarr.growing import GrowingImage
from napari_dip_fusion.metrics import average_planes, evaluate_planes
from napari_dip_fusion.prior.devices import resolve_device
from napari_dip_fusion.record import build_record
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.grid import put_in_place
from napari_dip_fusion.sources.scaling import scale_values
from napari_dip_fusion.sources.source import GUESSED_PLACE

__all__ = ["Output"]

_TYPES = ("uint8", "uint16", "float32")
_ZARR = ".zarr"
# Formats of one picture are not written block by block: nothing that fits them is so large.
# A bundle is an OME-TIFF by its ending.
_STREAMED = (_ZARR, ".ome.tif", ".ome.tiff", ".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class Output:
    """The file or folder that is written.

    Attributes
    ----------
    path : Path
    plan : Plan
        What is fused.
    dtype : str or None
        Type of the pixels; None for float32, or that of the source `like`.
    like : int or None
        Index of the source in whose units they are.
    overwrite : bool
        Whether what exists may be replaced.
    """

    path: Path
    plan: Plan
    dtype: str | None
    like: int | None
    overwrite: bool

    @property
    def kind(self) -> str:
        """Type of the pixels."""
        if self.dtype is not None or self.like is None:
            return self.dtype or "float32"
        # In the byte order of this machine.
        return str(self.plan.cutter.sources[self.like].dtype.newbyteorder("="))

    def check(self, *, resume: bool) -> None:
        """Refuse an output that could not be written in the end.

        Parameters
        ----------
        resume : bool
            Whether a run on its way to it is taken up.

        Raises
        ------
        ValueError, FileExistsError
        """
        if not self.path.name.lower().endswith(_STREAMED):
            raise ValueError(
                "block by block, the output ends in one of .ome.zarr, .ome.tif, .fusion.ome.tif, "
                f".nii or .nii.gz, got {self.path.name!r}"
            )
        count = len(self.plan.cutter.sources)
        if self.like is not None and not 0 <= self.like < count:
            raise ValueError(f"like must be a source from 0 to {count - 1}, got {self.like}")
        if self.dtype is not None and self.dtype not in _TYPES:
            raise ValueError(f"dtype must be one of {', '.join(_TYPES)}, got {self.dtype!r}")
        if self.path.exists() and not self.overwrite:
            raise FileExistsError(f"{self.path} exists; choose another name or allow overwriting")
        if not self.path.parent.is_dir():
            raise ImageFileError(f"folder {self.path.parent} does not exist; make it first")
        blank = self.make_blank()
        for image in (*self._list_beside(), blank):
            check_image(self.path, image)
        if not resume or not name_folder(self.path).exists():
            # The image that grows is an OME-Zarr one, whatever the output is.
            check_image(Path("image.ome.zarr"), blank)

    def make_blank(self) -> Source:
        """Return an image without pixels of its own, which says what is written."""
        sources, place = self.plan.cutter.sources, self.plan.cutter.place
        colors = (3,) if any(source.rgb for source in sources) else ()
        zeros = np.broadcast_to(np.zeros((), self.kind), (*self.plan.shape, *colors))
        return put_in_place(zeros, place, name="fused")

    def count_bytes(self) -> int:
        """Return how many bytes the pixels have that are written, without compression."""
        return sum(count_bytes(image.data) for image in (*self._list_beside(), self.make_blank()))

    def _list_beside(self) -> list[Source]:
        """Return what is written beside the fused image: the sources in a bundle, not read yet.

        They keep their own pixels. Gains and consensus are there of no more than a block at once.
        """
        if not is_bundle(self.path):
            return []
        return [
            source.replace(
                name=name,
                mask=None,
                display={},
                metadata={GUESSED_PLACE: source.guess} if source.guess else {},
            )
            for source, name in zip(self.plan.cutter.sources, self.plan.names, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a run that is taken up must have in common, of values of JSON."""
        return {**self.plan.describe(), "pixels": self.kind, "like": self.like}

    def finish(
        self,
        manifest: Manifest,
        image: GrowingImage,
        statistics: Statistics,
        layout: Layout,
        seconds: dict[str, float],
        which: Sequence[str],
        notes: dict[str, Any],
    ) -> Generator[PlanesDone, None, BlocksResult]:
        """Complete the image and its record, and give it its name.

        Parameters
        ----------
        manifest : Manifest
            All of whose blocks are done.
        image : GrowingImage
        statistics : Statistics
        layout : Layout
        seconds : dict of str to float
            Time of the stages before.
        which : sequence of str
            Names of the metrics to compute.
        notes : dict
            Entries that are added to the run record.
        """
        start = time.perf_counter()
        yield PlanesDone("metrics", 0, 1)
        metrics = self._evaluate(manifest.image, statistics, which) if which else {}
        seconds["metrics"] = time.perf_counter() - start
        seconds["total"] = sum(seconds.values())
        reason = name_closed_form(self.plan.config, restored=bool(statistics.decision.restored))
        reason = "iterations" if statistics.losses else reason
        record = self._make_record(manifest, statistics, layout, seconds, metrics, reason, notes)
        metadata = {"dip_fusion": {"record": record, "metrics": metrics}}
        if self.path.name.lower().endswith(_ZARR):
            image.finish(metadata)
            move_into_place(manifest.image, self.path, overwrite=self.overwrite)
        else:
            yield PlanesDone("writing", 0, 1)
            # The image stays as one that grows: whatever fails here, the run can be taken up.
            grown = read_image(manifest.image)
            self._write(grown.replace(metadata={**grown.metadata, **metadata}))
        manifest.remove()
        return BlocksResult(self.path, layout.count, layout.count, reason, record, metrics)

    def _write(self, fused: Source) -> None:
        """Write the image in another format than that in which it grew, part by part."""
        if is_bundle(self.path):
            write_images(self.path, [*self._list_beside(), fused], overwrite=self.overwrite)
        else:
            write_image(self.path, fused, overwrite=self.overwrite)

    def _evaluate(
        self, path: Path, statistics: Statistics, which: Sequence[str]
    ) -> dict[str, float]:
        """Return the metrics of the samples, their mean; one after the other is in memory."""
        survey, fused = self.plan.survey, read_image(path)
        scores, shown = [], []
        for sample in survey.samples:
            sources, _ = survey.read_sample(sample, statistics.windows)
            pixels = np.asarray(fused.data[sample])
            image = self._scale(pixels, statistics, fused.rgb).reshape(sources.shape)
            scores.append(evaluate_planes(sources.images, image, data_range=1.0, which=which))
            shown.append(bool(np.ptp(sources.images, axis=(-2, -1)).any()))
        # Those that show nothing tell nothing, as planes of a volume, unless all do.
        kept = [found for found, tells in zip(scores, shown, strict=True) if tells] or scores
        together = {name: np.concatenate([np.ravel(each[name]) for each in kept]) for name in which}
        return average_planes(together)

    def _scale(
        self, pixels: NDArray[Any], statistics: Statistics, rgb: bool
    ) -> NDArray[np.float32]:
        """Return pixels of the output in gray and in [0, 1]."""
        if self.like is not None:
            values = scale_values(pixels, statistics.windows[self.like])
        elif pixels.dtype.kind == "f":
            values = pixels.astype(np.float32)
        else:
            values = (pixels / np.iinfo(pixels.dtype).max).astype(np.float32)
        return np.asarray(values @ LUMA if rgb else values, np.float32)

    def _make_record(
        self,
        manifest: Manifest,
        statistics: Statistics,
        layout: Layout,
        seconds: dict[str, float],
        metrics: dict[str, float],
        reason: str,
        notes: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the run record."""
        plan, survey = self.plan, self.plan.survey
        sources = [
            {
                "name": plan.names[number],
                "path": plan.paths[number],
                "shape": list(source.shape),
                "dtype": str(source.dtype),
                # One digest of all: those of the blocks, in the order of the blocks.
                "sha256": join_hashes([manifest.done[index][number] for index in layout]),
                "intensity_window": list(statistics.windows[number]),
            }
            for number, source in enumerate(plan.cutter.sources)
        ]
        restored = {"restoration": list(statistics.restoration)} if statistics.restoration else {}
        samples = [[[axis.start, axis.stop] for axis in sample] for sample in survey.samples]
        described: dict[str, Any] = {
            "axes": plan.axes,
            "grid": plan.cutter.describe(),
            "blocks": {
                **layout.describe(),
                "sha256_is": "of the SHA-256 of what each block read, joined by line breaks",
                "metrics_are": describe_metrics(len(samples)),
                "samples": samples,
            },
            **restored,
        }
        return build_record(
            config=plan.config,
            device=resolve_device(plan.config.compute.device) if statistics.losses else "cpu",
            threads=1,
            sources=sources,
            losses=np.array(statistics.losses, dtype=np.float64),
            floor=statistics.floor,
            noise=statistics.list_deviations(),
            stop_reason=reason,
            seconds=seconds,
            metrics=metrics,
            notes={**described, **notes},
        )


def describe_metrics(samples: int) -> str:
    """Return what the metrics of so many samples are of, for people."""
    return "of the whole image" if samples == 1 else f"mean over {samples} samples"


def join_hashes(hashes: Sequence[str]) -> str:
    """Return one SHA-256 of those of all blocks."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
