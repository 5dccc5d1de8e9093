"""What the command line shows: progress, tables, one-line errors, and Ctrl-C."""

import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_dip_fusion.fusion import Control
from napari_dip_fusion.fusion.result import ENDINGS
from napari_dip_fusion.fusion.timing import format_seconds
from napari_dip_fusion.metrics import METRICS

# Results go to the one, all else to the other, so that results can be piped.
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

WARNING = "dip-fusion: warning: "
"""How a line that warns starts."""

_COLUMNS = 6  # metrics that fit beside each other on a terminal of 80 columns

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def message(text: str) -> None:
    """Print one line to the error stream, where it does not mix with results."""
    lines = _collected.get()
    if lines is None:
        print_now(text)
    else:
        lines.append(text)


def print_now(text: str) -> None:
    """Print one line to the error stream, also where lines are collected."""
    err.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning of one line to the error stream."""
    message(f"{WARNING}{text}")


@contextmanager
def collect_messages() -> Iterator[list[str]]:
    """Collect lines in place of printing them: of a process that shares its terminal."""
    lines: list[str] = []
    token = _collected.set(lines)
    try:
        yield lines
    finally:
        _collected.reset(token)


@contextmanager
def print_warnings_in_one_line() -> Iterator[None]:
    """Print Python's warnings as lines of this program, each text once.

    A file of several images says the same of each, behind its name.
    """
    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        # What follows the image's name is the same for each image of a file.
        about = text.partition(": ")[2] or text
        if about not in seen:
            seen.add(about)
            warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextmanager
def stop_on_interrupt(control: Control, kept: str) -> Iterator[None]:
    """Let the first Ctrl-C stop a run, and say what of it is kept.

    The second one ends the program.
    """

    # After the first Ctrl-C the default handler is back, so that the second one ends a program
    # that does not stop by itself.
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        message(f"stopping (Ctrl-C again to give up): {kept}")
        control.stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_metrics(rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> None:
    """Print the metrics of images, the best value of each metric marked.

    Parameters
    ----------
    rows : dict of str to dict of str to float
        Metrics by image name; all rows have the same metrics.
    title : str
        What stands above them, such as over how many planes they are a mean.
    """
    print_scores(
        {image: {METRICS[n].label: v for n, v in row.items()} for image, row in rows.items()},
        title=title,
    )


def print_scores(rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> None:
    """Print scores of images, of which higher is better, the best value of each marked.

    Parameters
    ----------
    rows : dict of str to dict of str to float
        Scores by their labels, by image name; all rows have the same scores.
    title : str
        What stands above them.
    """
    names = list(next(iter(rows.values())))
    best = {n: max(row[n] for row in rows.values()) for n in names}
    cells = {
        (image, n): _format_cell(row[n], row[n] == best[n] and len(rows) > 1)
        for image, row in rows.items()
        for n in names
    }
    table = Table(title=title or None)
    if len(names) <= _COLUMNS:
        table.add_column("image")
        for n in names:
            table.add_column(n, justify="right")
        for image in rows:
            table.add_row(escape(image), *(cells[image, n] for n in names))
    else:
        table.add_column("metric")
        for image in rows:
            table.add_column(escape(image), justify="right")
        for n in names:
            table.add_row(n, *(cells[image, n] for image in rows))
    out.print(table)
    out.print("higher is better everywhere")


def _format_cell(value: float, best: bool) -> str:
    text = f"{round(value, 4) + 0.0:.4f}"  # no minus before a zero
    return f"[bold]{text}*[/bold]" if best else f"{text} "


def print_end(record: Mapping[str, Any], where: str) -> None:
    """Print in one line how a run ended, by its record, and where its result is."""
    seconds = format_seconds(record["seconds"]["total"])
    why = ENDINGS.get(record["stop_reason"], record["stop_reason"])
    frames = record.get("frames", {})
    if frames and frames["fused"] < frames["count"]:
        why = f"{frames['fused']} of {frames['count']} frames are complete, and the others 0"
    made = record["iterations"]
    how = f"{made} iteration{'s' if made != 1 else ''} in {seconds}" if made else f"in {seconds}"
    out.print(f"{how} ({why}); {where}", markup=False, soft_wrap=True)


def print_pairs(title: str, values: Mapping[str, Any]) -> None:
    """Print names and values below a title."""
    out.print(f"[bold]{title}[/bold]")
    for name, value in values.items():
        out.print(f"  {name:<20} {value}", markup=False)


def fail(text: str, code: int) -> int:
    """Print one line about a failure and return its exit code."""
    line = " ".join(text.split())
    # Not by rich, which would wrap the line and take brackets for markup.
    print(f"dip-fusion: {line}", file=sys.stderr)
    return code
