"""A comparison of methods in a worker thread: what is run, and what it reports.

Nothing here knows widgets or layers.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import Failure, Finished, SourceSet
from napari_dip_fusion.comparison.runs import iter_compare
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.metrics import describe_mean, read_planes
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import put_on_grid, read_sources
from napari_dip_fusion.plugin.running.run_events import EVENT_INTERVAL, RunControl
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

# What a comparison is told beside the settings, or takes from the sources.
_GIVEN_APART = ("preset_name", "method", "intensity", "percentiles", "seed")


@dataclass(frozen=True)
class Entry:
    """A method as it is to be run.

    Attributes
    ----------
    key : str
        Name in tables and files.
    label : str
        As it is shown.
    method : str
        Name of the method for :func:`~napari_dip_fusion.comparison.runs.iter_compare`.
    settings : mapping
        Changes of the preset, if the method is the Deep Image Prior.
    options : mapping
        Arguments of any other method, such as the file of its weights.
    seed : int
        Seed of the run; methods that draw no random numbers take no notice.
    """

    key: str
    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def short(self) -> str:
        """The label where there is little room: in tables and names of layers."""
        return self.label.replace("Deep Image Prior", "DIP")


@dataclass(frozen=True)
class MethodProgress:
    """A method is running, after `done` others; `part` says how far it is, from 0 to 1.

    Of a stack it is so far with what `stage` names, such as its gains, and else with all of it.
    """

    entry: Entry
    done: int
    part: float
    stage: str = ""


@dataclass(frozen=True, eq=False)
class MethodDone:
    """A method has made its image, which has scores and a run record.

    `mean` says over how many planes the scores of a stack are means; it is empty for a plane.
    """

    entry: Entry
    done: int
    image: NDArray[np.float32]
    metrics: dict[str, float]
    seconds: float
    record: dict[str, Any]
    mean: str = ""


@dataclass(frozen=True)
class MethodLeftOut:
    """A method could not fuse these sources."""

    entry: Entry
    done: int
    reason: str


@dataclass(frozen=True)
class ComparisonEnded:
    """No more methods are run: all were, or the comparison was stopped."""

    stopped: bool


ComparisonEvent = PreparedSources | MethodProgress | MethodDone | MethodLeftOut | ComparisonEnded


def get_comparable_settings(config: FusionConfig) -> dict[str, Any]:
    """Return all settings that a comparison takes, as changes of their preset."""
    return {name: value for name, value in config.leaves().items() if name not in _GIVEN_APART}


def get_compute_settings(config: FusionConfig) -> dict[str, Any]:
    """Return the settings that say how to compute, not what."""
    return config.compute.model_dump()


def run_methods(
    plan: Plan, control: RunControl, *, entries: Sequence[Entry], which: Sequence[str]
) -> Iterator[ComparisonEvent]:
    """Run one method after the other on the same sources.

    A method that fails, for whatever reason, does not end the comparison.

    Parameters
    ----------
    plan : Plan
        What to read; of its settings only those of the intensities count.
    control : RunControl
        Stop and discard both end the run within one iteration or step.
    entries : sequence of Entry
    which : sequence of str
        Names of metrics.

    Yields
    ------
    ComparisonEvent

    Raises
    ------
    ValueError
        If the sources cannot be read or prepared.
    """
    # Once for all methods, and here: what no method can fuse is one failure, and not one each.
    sources, _ = read_sources(plan)
    prepared = prepare_sources(
        put_on_grid(plan, sources),
        intensity=plan.config.intensity,
        percentiles=plan.config.percentiles,
        restore=plan.config.restoration.restore,
    )
    # For metrics that are wanted later.
    yield prepared
    for done, entry in enumerate(entries):
        yield MethodProgress(entry, done, 0.0)
        yield from _limit_progress(_run(entry, done, prepared, plan.config, which, control))
        if control.stopped or control.discarded:
            yield ComparisonEnded(stopped=True)
            return
    yield ComparisonEnded(stopped=False)


def _limit_progress(events: Iterator[ComparisonEvent]) -> Iterator[ComparisonEvent]:
    """Leave out reports of progress that come too soon: each of them paints the window."""
    reported = time.perf_counter()
    for event in events:
        if isinstance(event, MethodProgress):
            if time.perf_counter() - reported < EVENT_INTERVAL:
                continue
            reported = time.perf_counter()
        yield event


def _run(
    entry: Entry,
    done: int,
    prepared: PreparedSources,
    config: FusionConfig,
    which: Sequence[str],
    control: RunControl,
) -> Iterator[ComparisonEvent]:
    """Run one method, with settings and a seed that are its own, and report on it."""
    sources = SourceSet("layers", "layers", read=lambda: [*prepared.images], prepared=prepared)
    events = iter_compare(
        [sources],
        [entry.method],
        seeds=[entry.seed],
        settings=entry.settings,
        options={entry.method: entry.options},
        intensity=config.intensity,
        percentiles=config.percentiles,
        which=which,
        control=control,
    )
    for event in events:
        # A method that was stopped within its iterations has no event Finished.
        if not isinstance(event, Finished):
            yield MethodProgress(entry, done, event.part, event.stage)
        elif isinstance(event.outcome, Failure):
            yield MethodLeftOut(entry, done + 1, event.outcome.reason)
        elif event.image is not None and event.record is not None:
            row = event.outcome
            yield MethodDone(
                entry,
                done + 1,
                event.image,
                row.metrics,
                row.seconds,
                event.record,
                describe_mean(read_planes(row.plane_metrics)),
            )
