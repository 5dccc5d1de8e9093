"""How far a batch is, on the terminal: sets that are done, and the time that is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.batch.jobs import FAILED, FUSED, Forecast, Job, Outcome
from napari_dip_fusion.fusion.timing import format_seconds


class BatchProgress:
    """A bar of the sets, and a line for each that failed."""

    def __init__(self, bar: Progress, total: int, workers: int, *, quiet: bool) -> None:
        self._bar, self._quiet = bar, quiet
        self._total, self._workers = total, workers
        self._task = bar.add_task("starting", total=total, left="")
        self._done = 0
        self._seconds: list[float] = []
        self._said: set[str] = set()

    def show(
        self, job: Job, part: float, *, stage: str = "", forecast: Forecast | None = None
    ) -> None:
        """Show that a set is worked at, and how far it is.

        Parameters
        ----------
        job : Job
        part : float
            How much of it is done, from 0 to 1, or of a stage.
        stage : str
            One of several that a volume or a series goes through.
        forecast : Forecast, optional
            What the set will need, which is told of the first.
        """
        if forecast is not None and not self._seconds:
            self._tell_forecast(job, forecast)
        text = " ".join([job.name, stage, f"{part:.0%}" if part else ""]).strip()
        completed = self._done + (0.0 if stage else part)
        self._bar.update(self._task, description=escape(text), completed=completed)

    def _tell_forecast(self, job: Job, forecast: Forecast) -> None:
        """Say what the first volume or series will need, and all of them if they are alike."""
        rest = format_seconds((self._total - self._done) * forecast.estimate.seconds)
        more = f"; all that are left about {rest} if they are alike" if self._total > 1 else ""
        if not self._quiet:
            # At once, and not with what is told of a set when it is done.
            console.print_now(f"{job.name}: {forecast.planes}, {forecast.estimate}{more}")
        self._bar.update(self._task, left=f"about {rest} left")

    def tell(self, outcome: Outcome) -> None:
        """Show that a set is done, with what there is to say of it."""
        self._done += 1
        if outcome.status == FUSED:
            self._seconds.append(outcome.seconds)
        for text in outcome.messages:
            self._say(text)
        if outcome.status == FAILED:
            console.warn(f"{outcome.name} failed: {outcome.reason}")
        self._bar.update(self._task, completed=self._done, left=self._estimate_left())

    def _say(self, text: str) -> None:
        wanted = text.startswith(console.WARNING) or not self._quiet
        if wanted and text not in self._said:
            self._said.add(text)
            console.message(text)

    def _estimate_left(self) -> str:
        """Return the time that the other sets take if they take as long as those before."""
        rest = self._total - self._done
        if not self._seconds or not rest:
            return ""
        # Less than a set for each worker takes as long as one.
        rounds = max(rest / self._workers, 1.0)
        return f"about {format_seconds(rounds * fmean(self._seconds))} left"


@contextmanager
def show_progress(total: int, workers: int, *, quiet: bool) -> Iterator[BatchProgress]:
    """Show the progress of a batch; a bar is drawn on a terminal only, and not if `quiet`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    off = quiet or not console.err.is_terminal
    with Progress(*columns, console=console.err, transient=True, disable=off) as bar:
        yield BatchProgress(bar, total, workers, quiet=quiet)
