"""How far a run is, on the terminal: a bar of its stages, and one of the frames of a series."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from napari_dip_fusion.cli import console
from napari_dip_fusion.fusion import (
    Decided,
    Done,
    Event,
    FrameDone,
    FrameFailed,
    FusionResult,
    GainsReady,
    PlanesDone,
    StepDone,
)
from napari_dip_fusion.fusion.timing import format_seconds
from napari_dip_fusion.interruption import make_observable


def watch(
    events: Iterator[Event],
    *,
    quiet: bool,
    announce: Callable[[Decided], None],
    frames: int = 1,
    axes: Sequence[str] = (),
) -> FusionResult:
    """Drain a run, with a progress bar on a terminal unless `quiet`, and return its result.

    Parameters
    ----------
    events : iterator of Event
    quiet : bool
        Whether nothing is shown but the frames that fail, which are warnings.
    announce : callable
        Called with the first event of a run whose sources have been looked at.
    frames : int
        How many frames there are.
    axes : sequence of str
        Names of the axes of the images.
    """
    with make_progress(quiet or not console.err.is_terminal) as progress:
        bar, failed = RunBar(progress, frames), 0
        for event in events:
            if isinstance(event, Decided):
                announce(event)
            elif isinstance(event, FrameFailed):
                failed += 1
                console.warn(describe_failure(event, axes))
            elif isinstance(event, Done):
                if failed:
                    console.warn(f"{failed} of {frames} frames failed; they are 0 in the image")
                return event.result
            bar.show(event)
    raise AssertionError("a run ends with Done")


@contextmanager
def show_stages(*, quiet: bool) -> Iterator[None]:
    """Show how far long computations in this context are, on a terminal unless `quiet`."""
    with make_progress(quiet or not console.err.is_terminal) as progress:
        bar = RunBar(progress)

        def tell(stage: str, done: float, total: float) -> None:
            bar.show(PlanesDone(stage, done, total))

        with make_observable(tell):
            yield


class RunBar:
    """A bar of the stage that a run is in, and one of the frames of a series below it.

    Parameters
    ----------
    progress : Progress
        From :func:`make_progress`.
    frames : int
        How many frames there are.
    parts : str
        What a stage counts.
    restores : bool
        Whether networks that make iterations restore sources, where no event says so before.
    """

    def __init__(
        self,
        progress: Progress,
        frames: int = 1,
        *,
        parts: str = "planes",
        restores: bool = False,
    ) -> None:
        self._progress = progress
        self._stage = ""
        self._task: TaskID | None = None
        self._frames = progress.add_task("frames", total=frames, text="") if frames > 1 else None
        self._total, self._finished = frames, 0
        self._parts, self._restores = parts, restores

    def show(self, event: Event) -> None:
        """Show how far a run is that tells this."""
        if isinstance(event, PlanesDone):
            several = event.total > 1
            text = f"{event.done:.0f}/{event.total:.0f} {self._parts}" if several else ""
            self.show_stage(event.stage, event.done, event.total, text)
        elif isinstance(event, Decided):
            self._restores = event.network and bool(event.restored)
        elif isinstance(event, GainsReady):
            self.show_stage("restoring" if self._restores else "fusing", 0, None, "")
        elif isinstance(event, StepDone):
            # The losses of networks that restore have no floor; what is fitted afterward has one.
            restores = self._restores and event.floor == 0
            excess = "" if restores else f"excess {event.excess:.3e}  "
            text = (
                f"{event.iteration}/{event.iterations}  loss {event.loss:.3e}  {excess}"
                f"{event.rate:.1f} it/s"
            )
            stage = "restoring" if restores else "fusing"
            self.show_stage(stage, event.iteration, event.iterations, text)
        elif isinstance(event, (FrameDone, FrameFailed)) and self._frames is not None:
            self._finished += 1
            text = f"{self._finished}/{self._total}"
            self._progress.update(self._frames, completed=self._finished, text=text)

    def show_stage(
        self,
        stage: str,
        done: float,
        total: float | None,
        text: str,
        *,
        left: float | None = None,
    ) -> None:
        """Show how far a stage is, and the seconds that are left of it where they are known."""
        # A bar of its own for each stage: its time left is not told by the pace of another.
        if self._task is None or stage != self._stage:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task, self._stage = self._progress.add_task(stage, total=total, text=text), stage
        self._progress.update(self._task, completed=done, total=total, text=text, left=left)


def describe_failure(event: FrameFailed, axes: Sequence[str]) -> str:
    """Return in a line which frame of a series failed, by its place on these axes, and why."""
    place = ", ".join(f"{a}={n}" for a, n in zip(axes, event.index, strict=False))
    return f"frame {place} failed: {event.message}"


class _TimeLeft(TimeRemainingColumn):
    """The time that is left, said to be so, once there is a pace to tell it by."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if left is not None:
            return Text(f"{format_seconds(left)} left", style="progress.remaining")
        known = task.time_remaining is not None
        return Text.assemble(super().render(task), " left") if known else Text("")


def make_progress(disable: bool) -> Progress:
    """Return what draws the bars, on the terminal's error stream."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        _TimeLeft(compact=True),
        console=console.err,
        transient=True,
        disable=disable,
    )
