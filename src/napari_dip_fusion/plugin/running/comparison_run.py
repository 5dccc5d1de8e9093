"""A comparison of methods in a worker thread: what is run, and what it reports.

Everything here is free of widgets and layers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import Failure, Finished, Row, Running, SourceSet
from napari_dip_fusion.comparison.runs import iter_compare
from napari_dip_fusion.config import PRESETS, FusionConfig
from napari_dip_fusion.plugin.running.scores import Reader
from napari_dip_fusion.plugin.running.worker import (
    EVENT_INTERVAL,
    Discarded,
    Failed,
    FusionWorker,
    Progress,
    RunControl,
    start_worker,
)
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources.prepare import PreparedSources, prepare_sources

SCHEMA = "napari-dip-fusion/comparison-record"
DIP = "dip-"
_NOT_OF_A_PRESET = ("preset_name", "method", "intensity", "percentiles", "seed")


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
        For :func:`~napari_dip_fusion.comparison.runs.iter_compare`.
    settings, options : mapping
        As there, for this method alone.
    seed : int
        Of methods that have one.
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


@dataclass(frozen=True, eq=False)
class Task:
    """What to compare on what.

    Attributes
    ----------
    readers : sequence of Reader
        The sources.
    names, paths
        Of the sources.
    config : FusionConfig
        For the intensities.
    entries : sequence of Entry
    which : sequence of str
        Names of metrics.
    """

    readers: Sequence[Reader]
    names: tuple[str, ...]
    paths: tuple[str | None, ...]
    config: FusionConfig
    entries: Sequence[Entry]
    which: Sequence[str]


@dataclass(frozen=True)
class Progressed:
    """A method runs: the one after `done`, of which `part` from 0 to 1 is made."""

    entry: Entry
    done: int
    part: float


@dataclass(frozen=True, eq=False)
class Compared:
    """A method has its result, with what is known of it."""

    entry: Entry
    done: int
    image: NDArray[np.float32]
    metrics: dict[str, float]
    seconds: float
    record: dict[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A method could not fuse these sources."""

    entry: Entry
    done: int
    reason: str


@dataclass(frozen=True)
class Ended:
    """No more methods are run: all were, or the comparison was stopped."""

    stopped: bool


CompareEvent = Progressed | Compared | LeftOut | Ended


def own_settings(config: FusionConfig) -> dict[str, Any]:
    """Return all settings that a comparison takes, as changes of their preset."""
    return {n: value for n, value in config.leaves().items() if n not in _NOT_OF_A_PRESET}


def machine_settings(config: FusionConfig) -> dict[str, Any]:
    """Return the settings that say how to compute, not what."""
    return config.compute.model_dump()


def start_comparison(
    task: Task,
    control: RunControl,
    receive: Callable[[CompareEvent | Progress | Failed | Discarded], None],
) -> FusionWorker:
    """Start a comparison in a worker thread; call from the GUI thread.

    Parameters
    ----------
    task : Task
    control : RunControl
        Stop and discard both end it within one iteration; methods that do not
        iterate are finished first.
    receive : callable
        Called in the GUI thread with each CompareEvent, the last an Ended; or
        with a Failed or Discarded.
    """

    def events() -> Iterator[CompareEvent]:
        return run_methods(task, control)

    return start_worker(events, control, receive)


def run_methods(task: Task, control: RunControl) -> Iterator[CompareEvent]:
    """Run one method after the other on the same sources.

    A method that fails, for whatever reason, does not end the comparison.

    Parameters
    ----------
    task : Task
    control : RunControl

    Yields
    ------
    CompareEvent

    Raises
    ------
    ValueError
        If the sources cannot be read or prepared.
    """
    sources = _Sources.read(task)
    for done, entry in enumerate(task.entries):
        yield Progressed(entry, done, 0.0)
        reported = time.perf_counter()
        for event in _run(entry, done, sources, task.which, control):
            if control.discarded:
                break
            if isinstance(event, Progressed):
                if time.perf_counter() - reported < EVENT_INTERVAL:
                    continue
                reported = time.perf_counter()
            yield event
        if control.stopped or control.discarded:
            yield Ended(stopped=True)
            return
    yield Ended(stopped=False)


@dataclass(frozen=True, eq=False)
class _Sources:
    """The sources in memory, and what the record says of them."""

    arrays: list[NDArray[Any]]
    names: tuple[str, ...]
    config: FusionConfig
    described: list[dict[str, Any]]

    @classmethod
    def read(cls, task: Task) -> "_Sources":
        arrays = [np.asarray(reader.read()) for reader in task.readers]
        prepared: PreparedSources = prepare_sources(
            arrays, intensity=task.config.intensity, percentiles=task.config.percentiles
        )
        described = [
            describe_source(array, window, name=name, path=path)
            for array, window, name, path in zip(
                arrays, prepared.windows, task.names, task.paths, strict=True
            )
        ]
        return cls(arrays, task.names, task.config, described)


def _run(
    entry: Entry, done: int, sources: _Sources, which: Sequence[str], control: RunControl
) -> Iterator[CompareEvent]:
    for event in _events(entry, sources, which, control):
        if not isinstance(event, Finished):
            yield Progressed(entry, done, event.part)
        elif isinstance(event.outcome, Failure):
            yield LeftOut(entry, done + 1, event.outcome.reason)
        elif event.image is not None:
            yield _compared(entry, done + 1, event.outcome, event.image, sources)


def _events(
    entry: Entry, sources: _Sources, which: Sequence[str], control: RunControl
) -> Iterator[Running | Finished]:
    scene = SourceSet(" + ".join(sources.names), "layers", lambda: sources.arrays, sources.names)
    return iter_compare(
        [scene],
        [entry.method],
        seeds=[entry.seed],
        settings=entry.settings,
        options={entry.method: entry.options},
        intensity=sources.config.intensity,
        percentiles=sources.config.percentiles,
        which=which,
        control=control,
    )


def _compared(
    entry: Entry, done: int, row: Row, image: NDArray[np.float32], sources: _Sources
) -> Compared:
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"napari-dip-fusion": version("napari-dip-fusion")},
        "method": entry.method,
        "label": entry.label,
        "seed": row.seed,
        "options": {name: str(value) for name, value in entry.options.items()},
        "sources": sources.described,
        "seconds": {"total": row.seconds},
        "metrics": dict(row.metrics),
    }
    preset = entry.method.removeprefix(DIP)
    if row.seed is not None and preset in PRESETS:
        given = sources.config
        intensity = {"intensity": given.intensity, "percentiles": given.percentiles}
        changes = {**entry.settings, **intensity, "seed": row.seed}
        record["config"] = FusionConfig.preset(preset, **changes).to_dict()
    return Compared(entry, done, image, dict(row.metrics), row.seconds, record)
