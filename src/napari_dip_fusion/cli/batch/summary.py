"""The table that a batch leaves: what became of each set, with its metrics, as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.batch.jobs import Job, Outcome
from napari_dip_fusion.cli.batch.sets import LeftOut
from napari_dip_fusion.cli.masks import NONE, name_masks
from napari_dip_fusion.io import write_text

_FIRST = ("name", "status", "reason")
_RUN = ("output", "method", "preset", "stop_reason", "iterations", "seconds")
# Spreadsheets take a cell that starts so for a formula, and run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, Any]


def check_summary(path: Path, *, force: bool) -> None:
    """Refuse to replace a file that is no table of a batch.

    Raises
    ------
    FileExistsError
        If there is one, unless `force` is true.
    """
    if force or not path.exists():
        return
    with path.open("rb") as file:
        start = file.read(100)
    if not start.startswith(",".join(_FIRST).encode()):
        raise FileExistsError(
            f"{path} exists and is no table of a batch; choose another folder or add --force"
        )


def write_summary(
    path: Path, jobs: Sequence[Job], outcomes: Mapping[str, Outcome], left_out: Sequence[LeftOut]
) -> None:
    """Write a row for each set, in their order, and for what was left out.

    Parameters
    ----------
    path : Path
    jobs : sequence of Job
    outcomes : dict of str to Outcome
        By the names of the jobs; those without one were not run.
    left_out : sequence of LeftOut
    """
    rows = [_describe(job, outcomes.get(job.name)) for job in jobs]
    rows += [
        {"name": each.name, "status": "left out", "reason": each.reason, **_name(each.paths)}
        for each in left_out
    ]
    found = dict.fromkeys(column for row in rows for column in row)
    # Sets may have different numbers of sources, each with its noise.
    columns = [*_FIRST, *(c for c in found if c not in (*_FIRST, "messages")), "messages"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _guard(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue(), overwrite=True)


def _describe(job: Job, outcome: Outcome | None) -> Row:
    row: Row = {
        "name": job.name,
        "status": outcome.status if outcome else "not run",
        "reason": outcome.reason if outcome else "the batch was stopped before",
        **dict.fromkeys(_RUN, ""),
        **_name(job.paths),
        **_name_sensors(job),
    }
    if outcome is None:
        return row
    row["messages"] = "; ".join(m.removeprefix(console.WARNING) for m in outcome.messages)
    return row | (_describe_run(job, outcome.record) if outcome.record else {})


def _describe_run(job: Job, record: Mapping[str, Any]) -> Row:
    return {
        "output": str(job.output.resolve()),
        "method": job.config.method,
        "preset": record["preset"],
        "stop_reason": record["stop_reason"],
        "iterations": record["iterations"],
        "seconds": record["seconds"]["total"],
        **{f"noise{i}": value for i, value in enumerate(record["noise"], start=1)},
        **record["metrics"],
    }


def _name(paths: Sequence[Path]) -> Row:
    # Absolute, so that the table can be given to a batch itself.
    return {f"source{i}": str(path.resolve()) for i, path in enumerate(paths, start=1)}


def _name_sensors(job: Job) -> Row:
    """Return what is said of the sensors of a set, as a table of a batch takes it."""
    count, choice = len(job.paths), job.choice
    widths = list(choice.fwhm) * (count if len(choice.fwhm) == 1 else 1)
    masks = ["" if mask == NONE else mask for mask in name_masks(choice.mask)]
    return {
        **{f"fwhm{i}": width for i, width in enumerate(widths, start=1)},
        **{f"mask{i}": mask for i, mask in enumerate(masks, start=1)},
    }


def _guard(value: Any) -> Any:
    """Return a value of the table; a text that would be a formula becomes plain text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
