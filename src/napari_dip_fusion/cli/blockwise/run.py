"""A fusion block by block, from sources that are read lazily to the image and its record."""

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from napari_dip_fusion.blocks import BlocksResult, iter_fuse_blocks
from napari_dip_fusion.blocks.cluster import require_distributed
from napari_dip_fusion.blocks.events import BlockEvent
from napari_dip_fusion.blocks.manifest import name_folder
from napari_dip_fusion.blocks.output import Output
from napari_dip_fusion.blocks.plan import Plan
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.blockwise.bar import Watcher
from napari_dip_fusion.cli.blockwise.options import BlockChoice
from napari_dip_fusion.cli.fuse_job import FuseJob
from napari_dip_fusion.cli.outputs import Outputs
from napari_dip_fusion.cli.reading import GridReport, describe_grid, tell_grid
from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.io import write_text
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.matching import list_extended

_AGAIN = "go on with the same command and --resume"


def fuse_by_blocks(
    images: Sequence[Source],
    output: Output,
    job: FuseJob,
    outputs: Outputs,
    choice: BlockChoice,
    *,
    quiet: bool,
) -> None:
    """Fuse images block by block, write image and record, and say how it ended.

    Parameters
    ----------
    images : sequence of Source
    output : Output
        From :func:`.choose_way`.
    job : FuseJob
    outputs : Outputs
    choice : BlockChoice
    quiet : bool
        Whether nothing but warnings is shown.

    Raises
    ------
    StoppedError
        If Ctrl-C ended it; what is done is kept.
    """
    if choice.needs_cluster:
        require_distributed()
    folder = name_folder(output.path)
    _refuse_unfinished(folder, choice)
    grid = report_plan(output.plan)
    job.check_axes(grid.axes)
    if job.stop_after:
        console.warn(
            f"the record is of a run that was stopped after {job.stop_after} iterations; block by "
            "block all are made, which gives another image"
        )
    tell_grid(job.paths, grid, job.choice, quiet=quiet)
    control, notes = Control(), describe_grid(job.paths, grid, job.choice)
    events = _begin(images, output, job, choice, notes, control)
    watcher = Watcher(output.count_bytes(), cluster=choice.needs_cluster, quiet=quiet)
    result = _run(events, watcher, control, folder)
    text = json.dumps(result.record, indent=1) + "\n"
    write_text(outputs.record, text, overwrite=outputs.overwrite)
    _tell_changed(result, job)
    if not quiet:
        count = len(result.record["blocks"]["samples"])
        title = f"of {count} samples of the image, their mean" if count > 1 else "of a sample"
        console.print_metrics({"fused": result.metrics}, title=title)
        console.print_end(result.record, f"{result.path}; record in {outputs.record}")


def report_plan(plan: Plan) -> GridReport:
    """Return how the sources of a plan lie on the grid of the reference."""
    described = plan.cutter.describe()
    return GridReport(
        axes=list_extended(plan.cutter.place),
        reference=plan.cutter.reference,
        coverage=plan.cutter.coverage,
        resampled=described["resampled"],
        remarks=described["remarks"],
    )


def _refuse_unfinished(folder: Path, choice: BlockChoice) -> None:
    """Refuse to begin anew where a run was begun and not finished."""
    if folder.exists() and not choice.resume:
        raise FileExistsError(
            f"{folder} holds a run that was not finished; go on with --resume, or remove the "
            "folder to start anew"
        )


def _run(
    events: Generator[BlockEvent], watcher: Watcher, control: Control, folder: Path
) -> BlocksResult:
    """Return the result of a run that came to its end."""
    kept = "the blocks at work are finished, and what is done is kept"
    try:
        # Whatever ends it, the processes that it started end with it.
        with console.stop_on_interrupt(control, kept), closing(events):
            result = watcher.watch(events)
    except KeyboardInterrupt:
        raise StoppedError(f"given up{_describe_kept(watcher, folder)}; {_AGAIN}") from None
    except StoppedError:
        raise StoppedError(f"stopped{_describe_kept(watcher, folder)}; {_AGAIN}") from None
    if not result.is_complete:
        raise StoppedError(f"stopped{_describe_kept(watcher, folder)}; {_AGAIN}")
    return result


def _describe_kept(watcher: Watcher, folder: Path) -> str:
    """Return how much is kept of a run that did not come to its end."""
    if not watcher.done:
        return " before a block was done"
    return f": {watcher.done} of {watcher.total} blocks are kept in {folder}"


def _begin(
    images: Sequence[Source],
    output: Output,
    job: FuseJob,
    choice: BlockChoice,
    notes: dict[str, Any],
    control: Control,
) -> Generator[BlockEvent]:
    """Return the events of a run."""
    plan = output.plan
    events = iter_fuse_blocks(
        images,
        output.path,
        job.config,
        workers=choice.workers,
        scheduler=choice.scheduler,
        block=plan.block,
        resume=choice.resume,
        overwrite=output.overwrite,
        dtype=output.dtype,
        like=output.like,
        reference=job.choice.reference,
        plane=job.choice.plane,
        interpolation=job.choice.interpolation,
        names=plan.names,
        paths=plan.paths,
        notes=notes,
        control=control,
    )
    yield from events


def _tell_changed(result: BlocksResult, job: FuseJob) -> None:
    """Warn of sources that are not as they were when the record was written that is replayed."""
    if not job.hashes:
        return
    if not job.block:
        console.message(
            "the record is of whole images; whether they have changed since then is not looked at "
            "block by block"
        )
        return
    entries = result.record["sources"]
    for path, entry, before in zip(job.paths, entries, job.hashes, strict=True):
        if entry["sha256"] != before:
            console.warn(f"{path} has changed since the record was written; the result differs")
