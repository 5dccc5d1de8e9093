"""A comparison of methods in a worker thread: what is run, and what it reports.

Everything here is free of widgets and layers.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import Failure, Finished, Row, Running, SourceSet
from napari_dip_fusion.comparison.runs import iter_compare
from napari_dip_fusion.config import PRESETS, FusionConfig
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import EVENT_INTERVAL, RunControl
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources.prepare import PreparedSources, prepare_sources

SCHEMA = "napari-dip-fusion/comparison-record"
PRESET_PREFIX = "dip-"
"""What stands before the name of a preset in that of its method."""
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


@dataclass(frozen=True)
class MethodProgress:
    """A method runs: the one after `done`, of which `part` from 0 to 1 is made."""

    entry: Entry
    done: int
    part: float


@dataclass(frozen=True, eq=False)
class MethodDone:
    """A method has its result, with what is known of it."""

    entry: Entry
    done: int
    image: NDArray[np.float32]
    metrics: dict[str, float]
    seconds: float
    record: dict[str, Any]


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


ComparisonEvent = MethodProgress | MethodDone | MethodLeftOut | ComparisonEnded


def get_comparable_settings(config: FusionConfig) -> dict[str, Any]:
    """Return all settings that a comparison takes, as changes of their preset."""
    return {n: value for n, value in config.leaves().items() if n not in _NOT_OF_A_PRESET}


def get_compute_settings(config: FusionConfig) -> dict[str, Any]:
    """Return the settings that say how to compute, not what."""
    return config.compute.model_dump()


def run_methods(
    plan: Plan, entries: Sequence[Entry], which: Sequence[str], control: RunControl
) -> Iterator[ComparisonEvent]:
    """Run one method after the other on the same sources.

    A method that fails, for whatever reason, does not end the comparison.

    Parameters
    ----------
    plan : Plan
        What to read; of its settings only those of the intensities count.
    entries : sequence of Entry
    which : sequence of str
        Names of metrics.
    control : RunControl
        Stop and discard both end the run within one iteration; methods that do
        not iterate are finished first.

    Yields
    ------
    ComparisonEvent

    Raises
    ------
    ValueError
        If the sources cannot be read or prepared.
    """
    sources = _Sources.read(plan)
    for done, entry in enumerate(entries):
        yield MethodProgress(entry, done, 0.0)
        reported = time.perf_counter()
        for event in _run(entry, done, sources, which, control):
            if control.discarded:
                break
            if isinstance(event, MethodProgress):
                if time.perf_counter() - reported < EVENT_INTERVAL:
                    continue
                reported = time.perf_counter()
            yield event
        if control.stopped or control.discarded:
            yield ComparisonEnded(stopped=True)
            return
    yield ComparisonEnded(stopped=False)


@dataclass(frozen=True, eq=False)
class _Sources:
    """The sources in memory, and what the record says of them."""

    arrays: list[NDArray[Any]]
    names: tuple[str, ...]
    config: FusionConfig
    described: list[dict[str, Any]]

    @classmethod
    def read(cls, plan: Plan) -> "_Sources":
        arrays = [np.asarray(reader.read()) for reader in plan.readers]
        prepared: PreparedSources = prepare_sources(
            arrays, intensity=plan.config.intensity, percentiles=plan.config.percentiles
        )
        described = [
            describe_source(array, window, name=name, path=path)
            for array, window, name, path in zip(
                arrays, prepared.windows, plan.names, plan.paths, strict=True
            )
        ]
        return cls(arrays, plan.names, plan.config, described)


def _run(
    entry: Entry, done: int, sources: _Sources, which: Sequence[str], control: RunControl
) -> Iterator[ComparisonEvent]:
    for event in _events(entry, sources, which, control):
        if not isinstance(event, Finished):
            yield MethodProgress(entry, done, event.part)
        elif isinstance(event.outcome, Failure):
            yield MethodLeftOut(entry, done + 1, event.outcome.reason)
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
) -> MethodDone:
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
    preset = entry.method.removeprefix(PRESET_PREFIX)
    if row.seed is not None and preset in PRESETS:
        given = sources.config
        intensity = {"intensity": given.intensity, "percentiles": given.percentiles}
        changes = {**entry.settings, **intensity, "seed": row.seed}
        record["config"] = FusionConfig.preset(preset, **changes).to_dict()
    return MethodDone(entry, done, image, dict(row.metrics), row.seconds, record)
