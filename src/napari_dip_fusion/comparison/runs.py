"""Fusion methods side by side: every method on every set of sources, with metrics and time."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import (
    Failure,
    Finished,
    Outcomes,
    Row,
    Running,
    SourceSet,
)
from napari_dip_fusion.comparison.labels import PRESET_PREFIX, label_methods
from napari_dip_fusion.comparison.store import Run, Store, Stored, identify
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig, Intensity, Window
from napari_dip_fusion.errors import FusionError, StoppedError, summarize_error
from napari_dip_fusion.fusion import (
    Control,
    Done,
    FrameFailed,
    FusionResult,
    PlanesDone,
    StepDone,
    iter_fuse,
)
from napari_dip_fusion.metrics import (
    DEFAULT_METRICS,
    average_planes,
    describe_mean,
    evaluate_planes,
    list_planes,
)
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.grid import bring_together
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

Floats = NDArray[np.float32]

Progress = tuple[str, float]
"""The stage of a run, empty for its iterations, and how much of that is done, from 0 to 1."""

log = logging.getLogger(__name__)

_DEFAULT = FusionConfig()
# Our own errors say what to do at their end, which must not be cut off.
_REASON_LENGTH = 1000

# What keeps a method from fusing some sources; the other methods go on.
_FAILURES = (ValueError, FusionError, RuntimeError, MemoryError, ImportError, OSError)


def compare(sets: Sequence[SourceSet], methods: Sequence[str], **options: Any) -> Outcomes:
    """Run methods on sets of sources; see :func:`iter_compare` for the arguments.

    Returns
    -------
    Outcomes

    Examples
    --------
    >>> pair = np.random.default_rng(0).random((2, 32, 32))
    >>> outcomes = compare([SourceSet("noise", "test", lambda: pair)], ["average", "maximum"])
    >>> [(row.method, round(row.metrics["petrovic"], 2)) for row in outcomes.rows]
    [('average', 0.33), ('maximum', 0.32)]
    """
    outcomes = Outcomes()
    for event in iter_compare(sets, methods, **options):
        if isinstance(event, Finished):
            outcomes.add(event.outcome)
    return outcomes


def iter_compare(
    sets: Sequence[SourceSet],
    methods: Sequence[str],
    *,
    seeds: int | Sequence[int] = 1,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    intensity: Intensity = _DEFAULT.intensity,
    percentiles: Window = _DEFAULT.percentiles,
    which: Sequence[str] = DEFAULT_METRICS,
    eight_bit: bool = False,
    folder: Path | None = None,
    fresh: bool = False,
    control: Control | None = None,
) -> Iterator[Running | Finished]:
    """Run methods on sets of sources, step by step.

    Parameters
    ----------
    sets : sequence of SourceSet
    methods : sequence of str
        Names out of :func:`label_methods`.
    seeds : int or sequence of int
        Seeds with which each method that has one is run; of a number n,
        0, 1, ..., n - 1.
    options : mapping of method to its options, optional
    settings : mapping, optional
        Settings of :class:`~napari_dip_fusion.config.FusionConfig` that differ from the presets.
    intensity, percentiles
        As for :func:`~napari_dip_fusion.sources.prepare.prepare_sources`.
    which : sequence of str
        Names of metrics, taken of the luma against the prepared sources; of volumes and series
        they are means over planes.
    eight_bit : bool
        Round the fused images to 256 gray levels before the metrics, as saving them would.
    folder : Path, optional
        Where each result is written, and found again.
    fresh : bool
        Do not look for results there.
    control : Control, optional
        Stops or pauses the comparison between methods, and within those that
        iterate; a method that was stopped gives no result.

    Yields
    ------
    Running
        At the start of each run, after each iteration of those that iterate, and while the planes
        of volumes and series go through the stages of a run.
    Finished
        Once for each run. A method that fails on a set does not end the comparison.

    Raises
    ------
    ValueError
        If a name, an option or a set of sources cannot be used.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    control = Control() if control is None else control
    _check(sets, methods, seeds)
    scale = {"intensity": intensity, "percentiles": percentiles}
    restore = (settings or {}).get("restore", _DEFAULT.restoration.restore)
    runs = [
        Run(
            method,
            seed,
            _configure(method, seed, settings or {}, scale),
            (options or {}).get(method, {}) if seed is None else {},
            tuple(which),
            eight_bit,
        )
        for method in methods
        for seed in (seeds if method.startswith(PRESET_PREFIX) else [None])
    ]
    store = Store(folder, fresh=fresh)
    total = len(sets) * len(runs)
    for i, sources in enumerate(sets):
        if control.stopped or control.discarded:
            return
        inputs = _Inputs.read(sources, intensity, percentiles, restore)
        for done, run in enumerate(runs, start=i * len(runs)):
            # A pause between two methods holds here, one within a method in its own loop.
            control.wait_while_paused()
            if control.stopped or control.discarded:
                return
            where = (sources.kind, sources.name, run.method)
            yield Running(done, total, *where)
            for part in _find_or_run(sources, run, inputs, store, control):
                if isinstance(part, tuple):
                    stage, share = part
                    yield Running(done, total, *where, share, stage)
                else:
                    yield Finished(done + 1, total, **part)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """A set of sources in [0, 1], or the reason why it cannot be fused."""

    prepared: PreparedSources | None
    reason: str = ""

    @classmethod
    def read(
        cls, sources: SourceSet, intensity: Intensity, percentiles: Window, restore: str
    ) -> "_Inputs":
        """Read and prepare the sources, once for all methods."""
        if sources.prepared is not None:
            return cls(sources.prepared)
        try:
            prepared = prepare_sources(
                bring_together(sources.read()),
                intensity=intensity,
                percentiles=percentiles,
                restore=restore,
                names=sources.source_names or None,
                paths=sources.source_paths or None,
            )
            return cls(prepared)
        except (ValueError, OSError) as error:
            return cls(None, summarize_error(error, most=_REASON_LENGTH))


def _check(sets: Sequence[SourceSet], methods: Sequence[str], seeds: Sequence[int]) -> None:
    labels = label_methods()
    for method in methods:
        if method not in labels:
            raise ValueError(f"unknown method {method!r}; the methods are {', '.join(labels)}")
    given = {
        "method": [*methods],
        "set": [f"{s.kind} {s.name}" for s in sets],
        "seed": [str(seed) for seed in seeds],
    }
    for what, names in given.items():
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"each {what} must be given once, got {', '.join(twice)} more often")
    if not sets or not methods:
        raise ValueError("a comparison needs at least one set of sources and one method")
    if not seeds:
        raise ValueError("a comparison needs one seed or more, got none")


def _configure(
    method: str, seed: int | None, settings: Mapping[str, Any], scale: Mapping[str, Any]
) -> FusionConfig:
    """Return the settings with which a method is run."""
    if method == CONSENSUS:
        # It has the gains and the denoising of the Deep Image Prior beside it.
        return FusionConfig(**{**settings, **scale, "method": method})
    if seed is None:
        return FusionConfig(method=method, **scale)
    preset = method.removeprefix(PRESET_PREFIX)
    return FusionConfig.preset(preset, **{**settings, **scale, "method": DIP, "seed": seed})


def _find_or_run(
    sources: SourceSet, run: Run, inputs: _Inputs, store: Store, control: Control
) -> Iterator[Progress | dict[str, Any]]:
    """Yield how far the run is, then the fields of the event Finished; nothing if stopped."""
    where = (sources.kind, sources.name, run.method)
    if inputs.prepared is None:
        yield {"outcome": Failure(*where, inputs.reason)}
        return
    digests = identify(inputs.prepared)
    found = store.find(sources.kind, sources.name, run, digests)
    if found is not None:
        yield {**_list_fields(found), "reused": True}
        return
    try:
        for part in _fuse(run, inputs.prepared, control):
            if isinstance(part, tuple):
                yield part
            # A fit that was stopped on its way has an image, but not that of its settings.
            elif part.stop_reason != "stopped":
                made = _score(part, where, run)
                store.keep(made, run, digests)
                yield _list_fields(made)
    except StoppedError:
        return
    except _FAILURES as error:
        log.info("%s failed on %s", run.method, sources.name, exc_info=True)
        yield {"outcome": Failure(*where, summarize_error(error, most=_REASON_LENGTH))}


def _list_fields(result: Stored) -> dict[str, Any]:
    return {"outcome": result.row, "image": result.image, "record": result.record}


def _fuse(
    run: Run, prepared: PreparedSources, control: Control
) -> Iterator[Progress | FusionResult]:
    """Yield how far the run is, then the result."""
    notes = {"kind": "comparison", "method": run.method}
    # An image that is rounded first is scored afterwards.
    which = () if run.eight_bit else run.which
    events = iter_fuse(
        prepared, run.config, options=run.options, which=which, notes=notes, control=control
    )
    for event in events:
        if isinstance(event, StepDone):
            yield "", event.iteration / event.iterations
        elif isinstance(event, PlanesDone) and prepared.stack_axes:
            yield event.stage, event.done / event.total
        elif isinstance(event, FrameFailed):
            # A series that lacks a frame is scored on others than those of the other methods.
            raise FusionError(f"frame {', '.join(map(str, event.index))}: {event.message}")
        elif isinstance(event, Done):
            yield event.result


def _score(result: FusionResult, where: tuple[str, str, str], run: Run) -> Stored:
    """Return the row, the image and the record of a result."""
    image, record, planes = result.image, result.record, result.plane_metrics
    if run.eight_bit:
        luma = image if result.sources.chroma is None else (image @ LUMA).clip(0, 1)
        levels = np.rint(luma * 255) / 255
        planes = evaluate_planes(result.sources.images, levels, data_range=1.0, which=run.which)
        record = {**record, "metrics": average_planes(planes)}
        if "planes" in record:
            means = {"metrics_are": describe_mean(planes), "metrics": list_planes(planes)}
            record["planes"] = record["planes"] | means
    # Estimating the gains is a part of our methods; the others begin with prepared sources.
    stages = ("gains", "fit") if result.gains is not None else ("fit",)
    seconds = sum(record["seconds"][stage] for stage in stages)
    rounded = float(f"{seconds:.4g}")
    lists, axes = list_planes(planes), result.sources.stack_axes
    row = Row(*where, run.seed, rounded, record["metrics"], lists, axes)
    return Stored(row, image, record, result.to_source() if axes else None)
