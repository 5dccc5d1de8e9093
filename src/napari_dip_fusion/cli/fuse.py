"""The command dip-fusion fuse, which fuses files into one."""

from pathlib import Path

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.blockwise.options import Block, BlockChoice, Resume, Scheduler, Workers
from napari_dip_fusion.cli.blockwise.run import fuse_by_blocks
from napari_dip_fusion.cli.blockwise.way import choose_way
from napari_dip_fusion.cli.fuse_job import FuseJob, load_job
from napari_dip_fusion.cli.options import (
    Channel,
    Choice,
    Device,
    Force,
    Fwhm,
    GainsFolder,
    IntensityOption,
    Interpolation,
    Iterations,
    Level,
    Like,
    Mask,
    MethodOption,
    Network,
    OptionalSources,
    Output,
    PixelType,
    PlanesCsv,
    Preset,
    Quiet,
    RecordFile,
    Reference,
    Replay,
    Restore,
    RestoredFolder,
    Seed,
    SetOption,
    Slice,
    TimeBudget,
    Yes,
    build_config,
)
from napari_dip_fusion.cli.output_names import (
    choose_pixel_type,
    name_base_gains,
    name_gains,
    name_record,
    name_restored,
)
from napari_dip_fusion.cli.outputs import Outputs, check_outputs
from napari_dip_fusion.cli.planes import count_planes, describe_planes
from napari_dip_fusion.cli.reading import (
    bring_to_grid,
    check_count,
    confirm_count,
    describe_grid,
    list_changed,
    read_images,
    warn_of_unused_blur,
)
from napari_dip_fusion.cli.run import run_fusion
from napari_dip_fusion.config import CONSENSUS, DIP
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.timing import format_bytes
from napari_dip_fusion.metrics import describe_mean
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources


def fuse_files(
    sources: OptionalSources = None,
    *,
    output: Output,
    preset: Preset = "fast",
    method: MethodOption = None,
    network: Network = None,
    restore: Restore = None,
    time_budget: TimeBudget = None,
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    intensity: IntensityOption = None,
    settings: SetOption = None,
    channel: Channel = None,
    plane: Slice = None,
    level: Level = None,
    reference: Reference = None,
    interpolation: Interpolation = "linear",
    fwhm: Fwhm = None,
    mask: Mask = None,
    dtype: PixelType = None,
    like: Like = None,
    gains_dir: GainsFolder = None,
    restored_dir: RestoredFolder = None,
    record: RecordFile = None,
    planes_csv: PlanesCsv = None,
    block: Block = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    replay: Replay = None,
    force: Force = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Fuse two or more images of one scene into one, with its metrics and run record.

    Volumes and series are fused whole, unless --slice chooses a part. What does not fit into
    memory is fused block by block.
    """
    changes = {
        "method": method,
        "network": network,
        "restore": restore,
        "time_budget": time_budget,
        "iterations": iterations,
        "seed": seed,
        "device": device,
    }
    choice = Choice(
        channel=tuple(channel or ()),
        plane=plane,
        level=level,
        reference=reference,
        interpolation=interpolation,
        fwhm=tuple(fwhm or ()),
        mask=tuple(mask or ()),
    )
    blocks = BlockChoice.take(block, workers, scheduler, resume)
    if replay is not None:
        # Who computes is the one choice that a replay leaves open: another machine, perhaps.
        changed = [value is not None for name, value in changes.items() if name != "device"]
        given = any([sources, intensity, settings, block, *changed])
        if given or preset != "fast" or choice != Choice():
            raise ValueError("--replay takes sources and settings from the record; give only -o")
        job = load_job(replay, device)
    else:
        config = build_config(preset, changes, intensity, settings)
        job = FuseJob(paths=list(sources or []), config=config, choice=choice)
        confirm_count(job.paths, yes=yes)
    check_count(job.paths)
    kind = choose_pixel_type(output, dtype, like)
    _refuse_unused(job, gains_dir=gains_dir, restored_dir=restored_dir)
    warn_of_unused_blur(job.choice, job.config)
    gains = name_gains(gains_dir, job.paths)
    outputs = Outputs(
        fused=output,
        record=name_record(output) if record is None else record,
        gains=gains,
        base_gains=name_base_gains(gains, job.config),
        restored=name_restored(restored_dir, job.paths, output),
        scores=planes_csv,
        dtype=kind,
        like=like,
        overwrite=force,
    )
    check_outputs(outputs, job.read_paths)
    if job.continued:
        console.warn(
            f"{replay} was continued; all its iterations are made at once, "
            "which gives another image"
        )
    images = read_images(job.paths, job.choice)
    growing = choose_way(images, job, outputs, blocks)
    if growing is None:
        _fuse_whole(images, job, outputs, quiet=quiet)
    else:
        fuse_by_blocks(images, growing, job, outputs, blocks, quiet=quiet)


def _refuse_unused(job: FuseJob, *, gains_dir: Path | None, restored_dir: Path | None) -> None:
    """Raise ValueError for an option that says nothing of a run with these settings."""
    folders = {"--gains-dir": gains_dir, "--restored-dir": restored_dir}
    job.choice.check(job.config)
    if job.config.method not in (DIP, CONSENSUS):
        for option, folder in folders.items():
            if folder is not None:
                raise ValueError(
                    f"{option} is for the methods dip and consensus, which alone have such "
                    f"images, got {job.config.method}"
                )
    if restored_dir is not None and job.config.restoration.restore == "never":
        raise ValueError("--restored-dir needs --restore auto or always, got never")


def _fuse_whole(images: list[Source], job: FuseJob, outputs: Outputs, *, quiet: bool) -> None:
    """Fuse images that are held in memory, all of them at once."""
    read = bring_to_grid(images, job.paths, job.choice, quiet=quiet)
    job.check_axes(read.images[0].axes)
    outputs = outputs.fit(read)
    check_outputs(outputs, job.read_paths)
    outputs.check_formats(read, job.names)
    if not quiet:
        _tell_size(read, job, outputs)
    if job.hashes:
        masks = job.choice.mask
        for path in list_changed(read, job.paths, masks, job.hashes, job.mask_hashes):
            console.warn(f"{path} has changed since the record was written; the result will differ")
    _fuse_and_write(read, job, outputs, quiet=quiet)


def _fuse_and_write(read: GridSources, job: FuseJob, outputs: Outputs, *, quiet: bool) -> None:
    notes = describe_grid(job.paths, read, job.choice)
    try:
        result = run_fusion(
            read,
            job.paths,
            job.config,
            quiet=quiet,
            notes=notes,
            keep_gains=outputs.hold_gains,
            stop_after=job.stop_after,
        )
    except FusionError as error:
        if error.result is None:
            raise
        outputs.write(error.result, read, job.names)
        raise FusionError(f"{error}; the best image so far is in {outputs.fused}") from error
    outputs.write(result, read, job.names)
    if not quiet:
        console.print_metrics({"fused": result.metrics}, title=describe_mean(result.plane_metrics))
        console.print_end(result.record, f"{outputs.fused}; record in {outputs.record}")


def _tell_size(read: GridSources, job: FuseJob, outputs: Outputs) -> None:
    """Say how much is going to be fused, unless it is a plane."""
    first = read.images[0]
    if count_planes(first.shape) > 1:
        size = format_bytes(outputs.estimate_bytes(read, job.config))
        console.message(
            f"{describe_planes(first.axes, first.shape)}, {size} on disk before compression"
        )
