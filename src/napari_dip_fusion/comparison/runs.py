"""Fusion methods side by side: every method on every set of sources, with metrics and time.

Owns the run of a comparison, step by step, and its results on disk, by which one that was
interrupted goes on where it stopped. Tables and figures are in ``comparison_report.py``.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import DIP, PRESETS, FusionConfig, Intensity, Window
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion import Control, Done, StepDone, iter_fuse
from napari_dip_fusion.io import read_image, write_image, write_text
from napari_dip_fusion.methods import METHODS, fuse_stack
from napari_dip_fusion.metrics import DEFAULT_METRICS, evaluate
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources.prepare import LUMA, PreparedSources, prepare_sources

__all__ = [
    "Comparison",
    "Failure",
    "Finished",
    "Row",
    "Running",
    "SourceSet",
    "compare",
    "iter_compare",
    "method_labels",
]

Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

_DIP = "dip-"
_PERCENTILES: Window = FusionConfig().percentiles

# What keeps a method from fusing some sources; the other methods go on.
_FAILURES = (ValueError, FusionError, RuntimeError, MemoryError, ImportError, OSError)


@dataclass(frozen=True, eq=False)
class SourceSet:
    """Aligned sources of one scene, read when their turn comes."""

    name: str
    """Name of the set, unique among those of its kind."""
    kind: str
    """What averages are made over, such as ``ct_mr``."""
    read: Callable[[], Sequence[ArrayLike]]
    """Returns K >= 2 arrays as :func:`.prepare_sources` takes them."""
    source_names: tuple[str, ...] = ()
    """Names of the sources, for figures."""


@dataclass(frozen=True)
class Row:
    """One method on one set of sources."""

    kind: str
    name: str
    method: str
    seed: int | None
    """None for methods without a seed."""
    seconds: float
    """Wall time of the fusion, without reading, metrics and imports."""
    metrics: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A method that could not fuse a set of sources."""

    kind: str
    name: str
    method: str
    reason: str


@dataclass(frozen=True)
class Running:
    """A run goes on; several of these are sent for methods that iterate."""

    done: int
    total: int
    kind: str
    name: str
    method: str
    part: float = 0.0
    """How much of this run is done, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A run has its result."""

    done: int
    total: int
    outcome: Row | Failure
    image: Floats | None
    """Fused image in [0, 1], of shape (M, N) or (M, N, 3); None for a failure."""
    reused: bool = False
    """Whether it was read from the folder of an earlier comparison."""


_Where = tuple[str, str, str]  # kind, name and method
_Result = tuple[Row | Failure, Floats | None]


@dataclass(eq=False)
class Comparison:
    """All results."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: Row | Failure) -> None:
        """Take in the outcome of one run."""
        if isinstance(outcome, Row):
            self.rows.append(outcome)
        else:
            self.failures.append(outcome)


@dataclass(frozen=True)
class _Run:
    """What is to be fused how; its fingerprint says whether a stored result is still its own."""

    method: str
    seed: int | None
    options: dict[str, Any]
    intensity: Intensity
    percentiles: Window
    which: tuple[str, ...]
    eight_bit: bool

    def fingerprint(self, digests: Sequence[str]) -> str:
        parts = {**asdict(self), "sources": digests, "version": version("napari-dip-fusion")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def method_labels() -> dict[str, str]:
    """Return the label of every method that can be compared, by name.

    Those of :data:`~napari_dip_fusion.methods.METHODS`, and the Deep Image Prior as ``dip-`` and
    the name of a preset.
    """
    labels = {name: method.label for name, method in METHODS.items()}
    return labels | {f"{_DIP}{preset}": f"Deep Image Prior, {preset}" for preset in PRESETS}


def compare(sets: Sequence[SourceSet], methods: Sequence[str], **options: Any) -> Comparison:
    """Run methods on sets of sources; see :func:`iter_compare` for the arguments.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> pair = np.random.default_rng(0).random((2, 32, 32))
    >>> comparison = compare([SourceSet("noise", "test", lambda: pair)], ["average", "maximum"])
    >>> [(row.method, round(row.metrics["petrovic"], 2)) for row in comparison.rows]
    [('average', 0.33), ('maximum', 0.32)]
    """
    comparison = Comparison()
    for event in iter_compare(sets, methods, **options):
        if isinstance(event, Finished):
            comparison.add(event.outcome)
    return comparison


def iter_compare(
    sets: Sequence[SourceSet],
    methods: Sequence[str],
    *,
    seeds: int | Sequence[int] = 1,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    intensity: Intensity = "auto",
    percentiles: Window = _PERCENTILES,
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
        Names out of :func:`method_labels`.
    seeds : int or sequence of int
        Seeds with which each method that has one is run; of a number n,
        0, 1, ..., n - 1.
    options : mapping of method to its options, optional
    settings : mapping, optional
        Fields of :class:`~napari_dip_fusion.config.FusionConfig` that differ from the presets.
    intensity, percentiles
        As for :func:`~napari_dip_fusion.sources.prepare.prepare_sources`.
    which : sequence of str
        Names of metrics, taken of the luma against the prepared sources.
    eight_bit : bool
        Round the fused images to 256 grey levels before the metrics, as saving them would.
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
        At the start of each run, and after each iteration of those that iterate.
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
    config = {"settings": dict(settings or {}), "options": dict(options or {})}
    runs = [
        _Run(
            method,
            seed,
            _options(method, seed, **config),
            intensity,
            percentiles,
            tuple(which),
            eight_bit,
        )
        for method in methods
        for seed in (seeds if method.startswith(_DIP) else [None])
    ]
    store = _Store(folder, fresh)
    total = len(sets) * len(runs)
    for i, sources in enumerate(sets):
        if control.stopped:
            return
        inputs = _Inputs.read(sources, intensity, percentiles)
        for done, run in enumerate(runs, start=i * len(runs)):
            control.wait_while_paused()
            if control.stopped:
                return
            where = (sources.kind, sources.name, run.method)
            yield Running(done, total, *where)
            found = store.find(where, run, inputs)
            if found is not None:
                yield Finished(done + 1, total, *found, reused=True)
                continue
            for part in _outcome(where, run, inputs, control):
                if isinstance(part, float):
                    yield Running(done, total, *where, part)
                else:
                    store.keep(part, run, inputs)
                    yield Finished(done + 1, total, *part)


@dataclass(eq=False)
class _Inputs:
    """A set of sources that was read, or the reason why it cannot be fused."""

    arrays: list[NDArray[Any]]
    prepared: PreparedSources | None
    reason: str = ""

    @classmethod
    def read(cls, sources: SourceSet, intensity: Intensity, percentiles: Window) -> "_Inputs":
        try:
            arrays = [np.asarray(a) for a in sources.read()]
            prepared = prepare_sources(arrays, intensity=intensity, percentiles=percentiles)
            return cls(arrays, prepared)
        except (ValueError, OSError) as error:
            return cls([], None, _one_line(error))

    @cached_property
    def digests(self) -> list[str]:
        return [array_sha256(a) for a in self.arrays]


def _check(sets: Sequence[SourceSet], methods: Sequence[str], seeds: Sequence[int]) -> None:
    labels = method_labels()
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


def _options(
    method: str, seed: int | None, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of one method, for the Deep Image Prior all its settings."""
    if seed is None:
        return dict(options.get(method, {}))
    preset = method.removeprefix(_DIP)
    return FusionConfig.preset(preset, **{**settings, "method": DIP, "seed": seed}).to_dict()


def _outcome(
    where: _Where, run: _Run, inputs: _Inputs, control: Control
) -> Iterator[float | _Result]:
    """Yield parts from 0 to 1, then what came out, with the image; nothing if it was stopped."""
    if inputs.prepared is None:
        yield Failure(*where, inputs.reason), None
        return
    try:
        for part in _fused(run, inputs.arrays, inputs.prepared, control):
            if isinstance(part, float):
                yield part
            else:
                luma, seconds = part
        if control.stopped and run.seed is not None:
            return
        scored = np.rint(luma * 255) / 255 if run.eight_bit else luma
        metrics = evaluate(inputs.prepared.images, scored, data_range=1.0, which=run.which)
    except _FAILURES as error:
        log.info("%s failed on %s", run.method, where[1], exc_info=True)
        yield Failure(*where, _one_line(error)), None
        return
    row = Row(*where, run.seed, float(f"{seconds:.4g}"), metrics)
    yield row, inputs.prepared.colored(luma)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _fused(
    run: _Run, arrays: list[NDArray[Any]], prepared: PreparedSources, control: Control
) -> Iterator[float | tuple[Floats, float]]:
    """Yield parts from 0 to 1, then the fused luma and the seconds that it took."""
    if run.seed is None:
        METHODS[run.method].load()
        start = time.perf_counter()
        luma = fuse_stack(run.method, prepared.images, **run.options)
        yield luma, time.perf_counter() - start
        return
    config = FusionConfig.from_dict(run.options).replace(
        intensity=run.intensity, percentiles=run.percentiles
    )
    for event in iter_fuse(arrays, config, control=control):
        if isinstance(event, StepDone):
            yield event.iteration / event.iterations
        elif isinstance(event, Done):
            image, seconds = event.result.image, event.result.record["seconds"]
            luma = image if image.ndim == 2 else (image @ LUMA).clip(0, 1)
            yield luma, seconds["gains"] + seconds["fit"]


class _Store:
    """Results as files: one JSON and one float32 TIFF for each run that has an image."""

    def __init__(self, folder: Path | None, fresh: bool) -> None:
        self._folder, self._fresh = folder, fresh

    def find(self, where: _Where, run: _Run, inputs: _Inputs) -> _Result | None:
        """Return the stored result of the same run on the same sources, if there is one."""
        if self._folder is None or self._fresh or inputs.prepared is None:
            return None
        record = self._path(where, run.seed)
        try:
            entry = json.loads(record.read_text(encoding="utf-8"))
            if entry["fingerprint"] != run.fingerprint(inputs.digests):
                return None
            row = Row(**entry["row"])
            image = np.asarray(read_image(record.with_suffix(".tif")).data, dtype=np.float32)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or not whole: it is made again
        return row, image

    def keep(self, result: _Result, run: _Run, inputs: _Inputs) -> None:
        """Write a result; failures are tried again the next time."""
        row, image = result
        if self._folder is None or image is None or not isinstance(row, Row):
            return
        record = self._path((row.kind, row.name, row.method), row.seed)
        record.parent.mkdir(parents=True, exist_ok=True)
        write_image(record.with_suffix(".tif"), image, overwrite=True)
        entry = {"fingerprint": run.fingerprint(inputs.digests), "row": asdict(row)}
        write_text(record, json.dumps(entry, indent=1) + "\n", overwrite=True)

    def _path(self, where: _Where, seed: int | None) -> Path:
        assert self._folder is not None
        parts = [*where] + ([] if seed is None else [f"seed{seed}"])
        plain = "--".join(re.sub(r"[^\w.+-]+", "_", part) for part in parts)
        return self._folder / "results" / f"{plain}.json"
