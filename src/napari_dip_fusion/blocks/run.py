"""The way of a run that goes block by block: sources, statistics, blocks, output."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from napari_dip_fusion.blocks.engine import Engine, open_engine
from napari_dip_fusion.blocks.events import (
    BlockDone,
    BlockEvent,
    BlocksBegun,
    BlocksDone,
    BlocksResult,
)
from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.blocks.manifest import Manifest, name_folder
from napari_dip_fusion.blocks.output import Output
from napari_dip_fusion.blocks.plan import Plan
from napari_dip_fusion.blocks.schedule import Focus, Schedule
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.blocks.work import BlockJob, FusedBlock, fuse_block, hash_block
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Decided, PlanesDone
from napari_dip_fusion.io.zarr.growing import GrowingImage
from napari_dip_fusion.metrics import DEFAULT_METRICS
from napari_dip_fusion.sources import Source

__all__ = ["fuse_blocks", "iter_fuse_blocks"]


def fuse_blocks(
    sources: Sequence[ArrayLike | Source],
    output: str | Path,
    config: FusionConfig | None = None,
    **options: Any,
) -> BlocksResult:
    """Fuse images that need not fit into memory, block by block, into a file.

    Parameters
    ----------
    sources, output, config, **options
        As for :func:`iter_fuse_blocks`.

    Returns
    -------
    BlocksResult

    Raises
    ------
    ValueError, FusionError, FileExistsError
        As :func:`iter_fuse_blocks`.

    Examples
    --------
    >>> import tempfile
    >>> from napari_dip_fusion.samples import SAMPLES
    >>> sample = SAMPLES["head"]()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = fuse_blocks(sample.sources, f"{folder}/fused.ome.zarr", block=128)
    ...     result.total, result.to_source().shape
    (4, (256, 256))
    """
    for event in iter_fuse_blocks(sources, output, config, **options):
        if isinstance(event, BlocksDone):
            return event.result
    raise AssertionError("iter_fuse_blocks ends with BlocksDone")


def iter_fuse_blocks(
    sources: Sequence[ArrayLike | Source],
    output: str | Path,
    config: FusionConfig | None = None,
    *,
    client: Any = None,
    workers: int = 0,
    scheduler: str = "",
    block: Sequence[int] | int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dtype: str | None = None,
    like: int | None = None,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    which: Sequence[str] = DEFAULT_METRICS,
    notes: Mapping[str, Any] | None = None,
    control: Control | None = None,
    schedule: Sequence[int] | Focus | None = None,
) -> Iterator[BlockEvent]:
    """Fuse images block by block, and yield how far that is.

    What holds for the whole is found first: intensity windows, noise and clipping, and the
    networks that restore sources, which are trained once. Each block is then read with a halo,
    fused and written by itself. Memory depends on the size of a block, not of the image.

    Parameters
    ----------
    sources : sequence of K >= 2 arrays or Source objects
        As for :func:`~napari_dip_fusion.fuse`. Those that are read lazily (zarr, dask, files from
        :func:`~napari_dip_fusion.read_image`) are read block by block.
    output : path-like
        OME-Zarr folder (``.ome.zarr``), OME-TIFF or NIfTI file, or a bundle (``.fusion.ome.tif``)
        of the sources, on their own pixels, and the fused image. Until all blocks are done, what
        there is lies in a folder of the same name with ``.part`` behind it, which holds an OME-Zarr
        image whatever the format.
    config : FusionConfig, optional
        Of the methods ``dip`` and ``consensus``.
    client : distributed.Client, optional
        The cluster that computes: one of this machine, of another one, or of dask-jobqueue.
    workers : int
        Without a client, so many processes of this machine; 0 for none, when this process computes.
    scheduler : str
        Without a client, the address of a scheduler, such as ``"tcp://10.0.0.1:8786"``.
    block : int or sequence of int, optional
        Pixels of a block along rows and columns, or along the last axes. They are rounded up to
        multiples of 64, and of 16 planes. By default 1536x1536, and 64x256x256 of volumes.
    resume : bool
        Go on with a run that was stopped or killed: blocks that are done are not made again.
    overwrite : bool
        Whether an output that exists may be replaced, once the new one is complete.
    dtype : str, optional
        Type of the pixels, by default float32 in [0, 1]; those of integers span their range.
    like : int, optional
        Write in the units, and by default in the type, of this source.
    reference, plane, interpolation, names, paths, control
        As for :func:`~napari_dip_fusion.fuse`. A run that is stopped keeps what is done.
    which : sequence of str
        Names of the metrics to compute, of samples that are spread over the image.
    notes : mapping, optional
        Entries that the caller adds to the run record.
    schedule : sequence of int or Focus, optional
        The pixel around which it begins, along each axis of the reference; that of a focus may
        move on the way.

    Yields
    ------
    PlanesDone
        While the sources are looked at.
    Decided
        Once the noise is known.
    StepDone
        After each iteration of a network.
    BlocksBegun, BlockDone
        Once the image is there, and after each block.
    BlocksDone
        Once, at the end.

    Raises
    ------
    ValueError
        If sources, settings or output cannot be used, or a run that is resumed was another one.
    FileExistsError
        If the output exists, or a run on its way to it does and is not resumed.
    FusionError
        If blocks fail, as when a worker runs out of memory or the disk is full: what is done is
        kept.
    StoppedError
        If it was stopped before there was a block, or thrown away.
    """
    control = Control() if control is None else control
    plan = Plan.make(
        sources,
        FusionConfig() if config is None else config,
        block=block,
        reference=reference,
        plane=plane,
        interpolation=interpolation,
        names=names,
        paths=paths,
    )
    target = Output(Path(output), plan, dtype, like, overwrite)
    target.check(resume=resume)
    with ExitStack() as stack:
        where = open_engine(
            client, workers=workers, scheduler=scheduler, side_by_side=plan.side_by_side
        )
        engine = stack.enter_context(where)
        manifest = _open_manifest(target, resume)
        stack.callback(manifest.leave)
        run = _Run(plan, target, manifest, engine, control, time.perf_counter())
        yield from run.go(schedule, tuple(which), dict(notes or {}))


def _open_manifest(target: Output, resume: bool) -> Manifest:
    """Return the folder of the run, a new one or that of a run that is taken up."""
    folder = name_folder(target.path)
    described = target.describe()
    if resume and folder.exists():
        manifest = Manifest.open(folder)
        try:
            manifest.check(described)
        except BaseException:
            manifest.unlock()
            raise
        return manifest
    if folder.exists():
        raise FileExistsError(
            f"{folder} holds a run that was not finished; resume it, or remove the folder to start "
            "anew"
        )
    return Manifest.create(folder, described)


@dataclass(frozen=True, eq=False)
class _Run:
    """A run whose sources and output were checked."""

    plan: Plan
    output: Output
    manifest: Manifest
    engine: Engine
    control: Control
    start: float

    def go(
        self, look_at: Sequence[int] | Focus | None, which: tuple[str, ...], notes: dict[str, Any]
    ) -> Iterator[BlockEvent]:
        """Yield the events of the run, to BlocksDone."""
        seconds: dict[str, float] = {}
        statistics = yield from self._find_statistics()
        layout = self.plan.choose_layout(statistics)
        self.manifest.check_done(layout, len(self.plan.names))
        seconds["gains"] = time.perf_counter() - self.start
        image = self._open_image(layout)
        job = BlockJob(
            self.plan.cutter,
            layout,
            self.plan.config,
            statistics,
            image.writer,
            self.output.kind,
            self.output.like,
        )
        yield from self._verify(job)
        done = frozenset(self.manifest.done)
        yield BlocksBegun(
            self.manifest.image, layout, done, self.engine.workers, self.engine.dashboard
        )
        yield from self._fuse_all(job, image, Schedule(layout, done, look_at))
        if len(self.manifest.done) < layout.count:
            if not self.manifest.done:
                raise StoppedError(
                    f"stopped before a block was done; {self.manifest.folder} is kept to be resumed"
                )
            yield BlocksDone(
                BlocksResult(self.manifest.image, len(self.manifest.done), layout.count, "stopped")
            )
            return
        seconds["fit"] = time.perf_counter() - self.start - seconds["gains"]
        result = yield from self.output.finish(
            self.manifest, image, statistics, layout, seconds, which, notes
        )
        yield BlocksDone(result)

    def _find_statistics(self) -> Generator[BlockEvent, None, Statistics]:
        """Return what holds for all blocks: as an earlier run found it, or found now."""
        known = self.manifest.read_statistics()
        if known is None:
            known = yield from self.plan.survey.find_statistics(
                self.engine, self.control, self.start, check=self.plan.choose_layout
            )
            # Blocks that turn out to be too small for what is found are refused before it is kept:
            # a run of that name could not be taken up with larger ones.
            self.plan.choose_layout(known)
            self.manifest.write_statistics(known)
            return known
        decision = known.decision
        yield Decided(any(known.noise), decision.network, decision.lines)
        if self.plan.survey.hash_samples() != known.hashes:
            self._refuse_changed()
        return known

    def _open_image(self, layout: Layout) -> GrowingImage:
        """Return the growing image: that of an earlier run, or a new one."""
        path, blank = self.manifest.image, self.output.make_blank()
        if self.manifest.done:
            return GrowingImage.open(path, blank, layout.block)
        return GrowingImage.create(path, blank, layout.block, overwrite=True)

    def _verify(self, job: BlockJob) -> Iterator[BlockEvent]:
        """Refuse sources that are others than when blocks were made of them."""
        made = list(self.manifest.done)
        for count, (index, hashes) in enumerate(
            self.engine.run(hash_block, job, made, self.control), 1
        ):
            if hashes != self.manifest.done[index]:
                self._refuse_changed()
            yield PlanesDone("checking sources", count, len(made))
        self.control.raise_if_discarded()

    def _refuse_changed(self) -> None:
        raise ValueError(
            f"the sources have changed since {self.manifest.folder} was begun; restore them, or "
            "remove the folder to start anew"
        )

    def _fuse_all(
        self, job: BlockJob, image: GrowingImage, schedule: Schedule
    ) -> Iterator[BlockEvent]:
        """Make the blocks that are left, and enter each when it is written."""
        begun, pixels = time.perf_counter(), 0
        total = job.layout.count
        left = sum(job.layout.locate(index).pixels for index in schedule.list_left())
        blocks = self.engine.run(fuse_block, job, schedule, self.control)
        try:
            for _, fused in blocks:
                region = self._enter(job, image, fused)
                pixels += region.pixels
                rate = pixels / (time.perf_counter() - begun)
                yield BlockDone(
                    region,
                    len(self.manifest.done),
                    total,
                    fused.seconds,
                    rate,
                    (left - pixels) / rate,
                )
        except StoppedError:
            raise
        except (FusionError, ValueError, OSError, MemoryError) as error:
            count, reason = len(self.manifest.done), str(error) or type(error).__name__
            raise FusionError(
                f"{reason}; {count} of {total} blocks are done and kept in "
                f"{self.manifest.folder}: resume it once the cause is gone"
            ) from error

    def _enter(self, job: BlockJob, image: GrowingImage, fused: FusedBlock) -> Any:
        """Complete a block in the coarse resolutions, and enter it as done."""
        region = job.layout.locate(fused.index)
        image.take(region.start, fused.piece)
        self.manifest.add(fused.index, fused.hashes)
        return region
