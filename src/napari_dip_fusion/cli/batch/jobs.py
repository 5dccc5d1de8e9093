"""One set of a batch: it is fused, or its result of an earlier call is recognized."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_dip_fusion import fusion
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.batch.stopping import StopSwitch
from napari_dip_fusion.cli.options import Choice
from napari_dip_fusion.cli.output_names import name_record
from napari_dip_fusion.cli.outputs import Outputs, check_outputs
from napari_dip_fusion.cli.planes import count_planes, describe_planes
from napari_dip_fusion.cli.reading import (
    FINEST,
    check_count,
    describe_choice,
    describe_grid,
    list_changed,
    read_sources,
)
from napari_dip_fusion.cli.run import estimate, prepare_files
from napari_dip_fusion.cli.run_bar import describe_failure
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import summarize_error
from napari_dip_fusion.fusion import (
    Decided,
    Done,
    Event,
    FrameFailed,
    FusionResult,
    PlanesDone,
    StepDone,
)
from napari_dip_fusion.fusion.timing import Estimate
from napari_dip_fusion.io import read_images
from napari_dip_fusion.record import read_record
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.prepared import PreparedSources

FUSED, THERE, FAILED = "fused", "there already", "failed"

Show = Callable[..., None]
"""Takes what :meth:`.BatchProgress.show` does, without the job."""

# A batch divides the threads among its workers, and may go on with another number of them. It is no
# other setting then: what differs is a network's rounding, by 0.7 % of the range at most in 29
# pairs fused for 6 iterations in bfloat16 with one and with two threads.
_FREE = {"threads": 0}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is fused how, and where the result goes."""

    name: str
    paths: tuple[Path, ...]
    output: Path
    config: FusionConfig
    choice: Choice
    dtype: str | None
    like: int | None
    force: bool

    @property
    def record(self) -> Path:
        """The run record's file."""
        return name_record(self.output)

    @property
    def notes(self) -> dict[str, Any]:
        """What the record holds beside settings and sources, as JSON gives it back."""
        notes = {
            "choice": describe_choice(self.choice),
            "pixels": {"dtype": self.dtype, "like": self.like},
        }
        return dict(json.loads(json.dumps(notes)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a set.

    Attributes
    ----------
    name : str
    status : str
        ``fused``, ``there already`` or ``failed``.
    reason : str
        Why it failed.
    record : dict or None
        The run record, unless it failed.
    messages : list of str
        Lines about its sources, as the command prints them.
    seconds : float
        Time from reading to writing.
    """

    name: str
    status: str
    reason: str = ""
    record: dict[str, Any] | None = None
    messages: Sequence[str] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """What a set will need.

    Attributes
    ----------
    planes : str
        How many of what size there are.
    estimate : Estimate
    """

    planes: str
    estimate: Estimate


def run_job(job: Job, switch: StopSwitch, show: Show | None = None) -> Outcome | None:
    """Fuse a set and write its result, or say why that failed; None if it was stopped.

    Parameters
    ----------
    job : Job
    switch : StopSwitch
        Stops the fusion, but not the writing.
    show : callable, optional
        Called with the part of the iterations, or of another stage, that is done, and once with
        what a volume or a series will need; see :meth:`.BatchProgress.show`.
    """
    start = time.perf_counter()
    with console.collect_messages() as messages, console.print_warnings_in_one_line():
        try:
            status, record = _run(job, switch, show)
            reason = ""
        except KeyboardInterrupt:
            return None
        except MemoryError:
            status, record, reason = (
                FAILED,
                None,
                "not enough memory; take one plane, a smaller image, or fewer --workers",
            )
        # Whatever is wrong with one set, the others are fused.
        except Exception as error:
            status, record, reason = FAILED, None, summarize_error(error, most=1000)
    return Outcome(
        name=job.name,
        status=status,
        reason=reason,
        record=record,
        messages=list(dict.fromkeys(messages)),
        seconds=time.perf_counter() - start,
    )


def _run(job: Job, switch: StopSwitch, show: Show | None) -> tuple[str, dict[str, Any]]:
    with switch.armed():
        check_count(job.paths)
        job.choice.check(job.config)
        earlier = find_earlier(job)
        read = read_sources(job.paths, job.choice, bar=False)
        earlier = _keep_if_same_sources(earlier, read, job)
        if earlier is not None and _is_whole(job.output):
            return THERE, earlier
        outputs = _check(job, read, overwrite=job.force or earlier is not None)
        result = _fuse(job, read, show, keep_gains=outputs.hold_gains)
    outputs.write(result, read, [path.name for path in job.paths])
    return FUSED, result.record


def _check(job: Job, read: GridSources, *, overwrite: bool) -> Outputs:
    outputs = Outputs(
        fused=job.output, record=job.record, dtype=job.dtype, like=job.like, overwrite=overwrite
    )
    check_outputs(outputs, job.paths)
    outputs.check_formats(read, [path.name for path in job.paths])
    return outputs


def _fuse(job: Job, read: GridSources, show: Show | None, *, keep_gains: bool) -> FusionResult:
    prepared = prepare_files(read, job.paths, job.config)
    notes = {**job.notes, **describe_grid(job.paths, read, job.choice)}
    for event in fusion.iter_fuse(prepared, job.config, notes=notes, keep_gains=keep_gains):
        if isinstance(event, Done):
            return event.result
        if isinstance(event, Decided):
            for line in event.restored:
                console.message(line)
        if isinstance(event, FrameFailed):
            console.warn(describe_failure(event, prepared.axes))
        elif show is not None:
            _show(event, prepared, job.config, show)
    raise AssertionError("a run ends with Done")


def _show(event: Event, prepared: PreparedSources, config: FusionConfig, show: Show) -> None:
    if isinstance(event, StepDone):
        show(event.iteration / event.iterations)
    elif isinstance(event, PlanesDone):
        show(event.done / event.total, stage=event.stage)
    elif isinstance(event, Decided) and count_planes(prepared.shape) > 1:
        expected = estimate(prepared, config, noisy=event.noisy)
        if expected is not None:
            planes = describe_planes(prepared.axes, prepared.shape)
            show(0.0, forecast=Forecast(planes, expected))


def find_earlier(job: Job) -> dict[str, Any] | None:
    """Return the run record of an earlier call with the same settings, None without one.

    Raises
    ------
    FileExistsError
        If there is one with other settings, unless the job is to replace it.
    """
    try:
        record = read_record(job.record)
    except (ValueError, OSError):
        return None  # whatever has this name is found by the checks before a run
    differences = _list_differences(record, job)
    if not differences:
        return record
    if job.force:
        return None
    raise FileExistsError(
        f"{job.output} was made in another way ({', '.join(differences)}); choose another folder "
        "or add --force"
    )


def _list_differences(record: dict[str, Any], job: Job) -> list[str]:
    """Return in which settings a record differs from a job, as they are there and here."""
    pairs = {
        **_pair_settings(record, job.config),
        **{
            f"{group} {name}": ((record.get(group) or {}).get(name), value)
            for group, values in job.notes.items()
            for name, value in values.items()
        },
        "version": (record.get("versions", {}).get("napari-dip-fusion"), _find_version()),
    }
    if job.choice.reference is None:
        # The record has the number that was found; the job does not know it yet.
        before = (record.get("grid") or {}).get("chosen")
        pairs["choice reference"] = (before, FINEST)
    return [f"{name} {a}, now {b}" for name, (a, b) in pairs.items() if a != b]


def _pair_settings(record: dict[str, Any], config: FusionConfig) -> dict[str, tuple[Any, Any]]:
    try:
        before = FusionConfig.from_dict(record["config"]).replace(**_FREE).leaves()
    except ValueError:
        return {"settings": ("that are not known here", "others")}
    return {n: (before[n], v) for n, v in config.replace(**_FREE).leaves().items()}


def _find_version() -> str:
    # Another version may fuse or score otherwise.
    return version("napari-dip-fusion")


def _keep_if_same_sources(
    record: dict[str, Any] | None, read: GridSources, job: Job
) -> dict[str, Any] | None:
    """Return an earlier record if it is of these very pixels."""
    if record is None:
        return None
    before = [entry.get("sha256") for entry in record["sources"]]
    masks = (record.get("grid") or {}).get("masks", [])
    changed = list_changed(read, job.paths, job.choice.mask, before, masks)
    if not changed and len(before) == len(job.paths):
        return record
    if job.force:
        return None
    names = ", ".join(path.name for path in changed)
    raise FileExistsError(
        f"{job.output} was made of other images (not of {names or 'these alone'}); "
        "choose another folder or add --force"
    )


def _is_whole(path: Path) -> bool:
    """Tell whether a fused image is there and can be read to its end."""
    try:
        return read_images(path)[-1].to_numpy().size > 0
    except (ValueError, OSError):
        return False
