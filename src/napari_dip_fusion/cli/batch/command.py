"""The command dip-fusion batch: from its options to jobs, and from their outcomes to a table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.batch.inputs import collect_batch
from napari_dip_fusion.cli.batch.jobs import FAILED, FUSED, THERE, Job, Outcome, find_earlier
from napari_dip_fusion.cli.batch.patterns import MATCHES
from napari_dip_fusion.cli.batch.progress import show_progress
from napari_dip_fusion.cli.batch.sets import BatchSet, Found
from napari_dip_fusion.cli.batch.stopping import StopSwitch
from napari_dip_fusion.cli.batch.summary import check_summary, write_summary
from napari_dip_fusion.cli.batch.workers import run_jobs
from napari_dip_fusion.cli.options import (
    Channel,
    Choice,
    Device,
    Fwhm,
    IntensityOption,
    Interpolation,
    Iterations,
    Level,
    Like,
    Mask,
    MethodOption,
    Network,
    PixelType,
    Preset,
    Quiet,
    Reference,
    Restore,
    Seed,
    SetOption,
    Slice,
    TimeBudget,
    build_config,
)
from napari_dip_fusion.cli.output_names import choose_pixel_type
from napari_dip_fusion.cli.reading import warn_of_unused_blur
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.sensor.threads import count_cores

SUMMARY = "batch.csv"

_FEW = 3  # sets that are told before a batch starts

_Inputs = Annotated[
    list[str],
    typer.Argument(
        help="A folder of images whose names differ only after the last - or _, like 11_ct.png and "
        "11_mr.png; or a table in CSV with a row for each set and columns source1, source2, ... "
        "and, if wanted, name or id, and fwhm1, mask1, ... for the options of these names; or a "
        "pattern for each source, in quotes: 'ct/*.nii.gz' 'mr/*.nii.gz', or 'patients/*/CT' "
        "'patients/*/MR' for folders of DICOM."
    ),
]
_Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")
]
_Match = Annotated[
    str,
    typer.Option(
        help=f"How the files of patterns are matched: {' or '.join(MATCHES)}. By name, those "
        "belong together for which * stands for the same, or the same up to the last - or _."
    ),
]
_Ending = Annotated[
    str,
    typer.Option(help=f"Format of the results: {', '.join(list_endings(writing=True))}."),
]
_Workers = Annotated[
    int,
    typer.Option(
        min=1,
        help="Sets fused at the same time, each in a process of its own that has its part of the "
        "processor's threads. The same number of threads gives the same image; with another one "
        "that of dip differs a little, since a network's rounding does.",
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print all sets, and neither fuse nor write anything.")
]
_Force = Annotated[
    bool,
    typer.Option(
        "--force",
        "-f",
        help="Replace what is there with other settings or of other images. What is there with "
        "the same ones stays in any case.",
    ),
]


def batch_files(
    inputs: _Inputs,
    *,
    output: _Folder,
    match: _Match = "name",
    ending: _Ending = ".ome.tif",
    workers: _Workers = 1,
    dry_run: _DryRun = False,
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
    force: _Force = False,
    quiet: Quiet = False,
) -> None:
    """Fuse many sets of aligned images, all with the same settings.

    Each result is written into the output folder with its run record, and batch.csv at the end
    says what became of each set, with its metrics. What fails does not hold up the rest. After
    Ctrl-C, or whatever ended it, the same command goes on: what is there already, with the same
    settings and of the same images, is not fused again.
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
    config = _divide_threads(build_config(preset, changes, intensity, settings), workers)
    choice = Choice(
        channel=tuple(channel or ()),
        plane=plane,
        level=level,
        reference=reference,
        interpolation=interpolation,
        fwhm=tuple(fwhm or ()),
        mask=tuple(mask or ()),
    )
    choice.check(config)
    warn_of_unused_blur(choice, config)
    ending = ending if ending.startswith(".") else f".{ending}"
    kind = choose_pixel_type(Path(f"fused{ending}"), dtype, like)
    found = collect_batch(inputs, output, match)
    _refuse_sources_among_results(found.sets, output)
    jobs = [
        Job(
            name=each.name,
            paths=each.paths,
            output=output / f"{each.name}{ending}",
            config=config,
            choice=_choose(choice, each),
            dtype=kind,
            like=like,
            force=force,
        )
        for each in found.sets
    ]
    _announce(found, jobs, everything=dry_run, quiet=quiet)
    if not dry_run:
        _fuse_all(jobs, found, output, workers, quiet=quiet, force=force)


def _choose(choice: Choice, each: BatchSet) -> Choice:
    """Return the choice for a set, whose own blurs and masks come before those of all sets."""
    return replace(choice, fwhm=each.fwhm or choice.fwhm, mask=each.mask or choice.mask)


def _divide_threads(config: FusionConfig, workers: int) -> FusionConfig:
    """Give each of several workers its part of the cores, unless threads were set."""
    if workers == 1 or config.compute.threads:
        return config
    return config.replace(threads=max(1, count_cores() // workers))


def _refuse_sources_among_results(sets: Sequence[BatchSet], output: Path) -> None:
    folder = output.resolve()
    inside = [p for each in sets for p in each.paths if p.resolve().parent == folder]
    if inside:
        raise ValueError(
            f"{inside[0]} is a source and lies in {output}, where the results go; choose another "
            "folder for -o"
        )


def _announce(found: Found, jobs: Sequence[Job], *, everything: bool, quiet: bool) -> None:
    """Say what is fused with what, before it is."""
    say = console.message
    if everything:
        say = _print
    if everything or not quiet:
        count = len(jobs)
        say(f"{count} set{'s' if count != 1 else ''}, matched {found.how}:")
        # The last one as well: it shows whether files that were matched by order are out of step.
        rest = 0 if everything else max(0, count - _FEW - 1)
        for i, job in enumerate(jobs):
            if i < _FEW or i >= _FEW + rest:
                say(f"  {job.name}: {', '.join(map(str, job.paths))}")
            elif i == _FEW:
                say(f"  ... {rest} more; --dry-run prints all")
    told = found.left_out if everything else found.left_out[:_FEW]
    for each in told:
        console.warn(f"left out: {', '.join(map(str, each.paths))} {each.reason}")
    if len(found.left_out) > len(told):
        console.warn(f"left out: {len(found.left_out) - len(told)} more; --dry-run prints all")


def _print(text: str) -> None:
    console.out.print(text, markup=False, soft_wrap=True)


def _fuse_all(
    jobs: Sequence[Job], found: Found, output: Path, workers: int, *, quiet: bool, force: bool
) -> None:
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; choose a folder for -o")
    output.mkdir(parents=True, exist_ok=True)
    table = output / SUMMARY
    check_summary(table, force=force)
    there = {job.name: job for job in jobs if _seems_there(job)}
    if there and not quiet:
        console.message(
            f"{len(there)} of {len(jobs)} are there already; it is looked whether their sources "
            "are the same"
        )
    # What is there takes next to no time, and says nothing of the time that the others take.
    ordered = [*there.values(), *(job for job in jobs if job.name not in there)]
    outcomes: dict[str, Outcome] = {}
    switch = StopSwitch()
    with switch.connected():
        with show_progress(len(jobs), workers, quiet=quiet) as progress:

            def tell(outcome: Outcome) -> None:
                outcomes[outcome.name] = outcome
                progress.tell(outcome)

            run_jobs(ordered, workers, switch, tell=tell, show=progress.show)
        write_summary(table, jobs, outcomes, found.left_out)
    _report(jobs, outcomes, table, quiet=quiet)


def _seems_there(job: Job) -> bool:
    try:
        return find_earlier(job) is not None
    except FileExistsError:
        return False


def _report(jobs: Sequence[Job], outcomes: dict[str, Outcome], table: Path, *, quiet: bool) -> None:
    """Say how a batch ended; raise an error if not all is well."""
    statuses = [outcome.status for outcome in outcomes.values()]
    counts = {status: statuses.count(status) for status in (FUSED, THERE, FAILED)}
    rest = len(jobs) - len(statuses)
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if rest:
        console.message(
            f"stopped: {told or 'nothing fused'}, {rest} not run, see {table}; the same command "
            "goes on from there"
        )
        raise KeyboardInterrupt
    if not quiet:
        _print(f"{told}; metrics and reasons in {table}")
    if counts[FAILED]:
        raise FusionError(f"{counts[FAILED]} of {len(jobs)} sets failed; reasons in {table}")
