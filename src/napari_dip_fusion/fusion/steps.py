"""The order of the steps, from sources to a fused image with its metrics and record."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Done, Event, GainsReady, Preview, StepDone
from napari_dip_fusion.fusion.result import FusionResult, RunState
from napari_dip_fusion.methods import fuse_stack
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.prior.devices import available_memory, resolve_device
from napari_dip_fusion.prior.memory import estimate_memory
from napari_dip_fusion.prior.stopping import Discrepancy, Plateau
from napari_dip_fusion.record import build_record, describe_source
from napari_dip_fusion.sensor.analysis import Analysis, analyze, quick_consensus
from napari_dip_fusion.sources.prepare import PreparedSources, prepare_sources

Floats = NDArray[np.float32]

MIN_SIZE = 8
"""Smallest height and width in pixels: the window of the Piella-Heijmans metric."""


def fuse(
    sources: Sequence[ArrayLike],
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
) -> FusionResult:
    """Fuse aligned images of one scene into one.

    Parameters
    ----------
    sources : sequence of K >= 2 arrays of shape (M, N), (M, N, 3) or (M, N, 4)
        Any real type; never modified. At least 8 pixels each way.
    config : FusionConfig, optional
        The preset ``fast`` by default.
    names : sequence of str, optional
        Names of the sources for the run record.
    paths : sequence of str or None, optional
        Files of the sources for the run record, by which it can be replayed.
    control : Control, optional
        Stops or pauses the run from another thread.

    Returns
    -------
    FusionResult

    Raises
    ------
    ValueError
        If sources or settings cannot be used; the message says what to do.
    FusionError
        If the run fails on the way (memory, a loss that is not finite); its
        ``result`` holds the best image so far.

    Examples
    --------
    >>> from napari_dip_fusion.samples import SAMPLES
    >>> sample = SAMPLES["head"]()
    >>> result = fuse(sample.sources, FusionConfig(iterations=2, width=4, depth=3))
    >>> result.image.shape, sorted(result.metrics)
    ((256, 256), ['cvejic', 'mutual_information', 'petrovic', 'piella'])
    """
    for event in iter_fuse(sources, config, names=names, paths=paths, control=control):
        if isinstance(event, Done):
            return event.result
    raise AssertionError("iter_fuse ends with Done")


def iter_fuse(
    sources: Sequence[ArrayLike],
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
    preview_rate: float = 0.0,
    keep_state: bool = False,
) -> Iterator[Event]:
    """Fuse images step by step; see :func:`fuse` for the arguments they share.

    Parameters
    ----------
    sources, config, names, paths, control
        As for :func:`fuse`.
    preview_rate : float
        Largest number of preview images a second; 0 for none, which saves their time.
    keep_state : bool
        Keep network and optimiser in the result, for :func:`continue_fuse`.

    Yields
    ------
    Preview
        First the consensus image of the sources as they are, then at most
        ``preview_rate`` times a second; none if that is 0.
    GainsReady
        Once.
    StepDone
        After each iteration.
    Done
        Once, at the end.
    """
    config = FusionConfig() if config is None else config
    control = Control() if control is None else control
    start = time.perf_counter()
    arrays = [np.asarray(s) for s in sources]
    prepared = prepare_sources(arrays, intensity=config.intensity, percentiles=config.percentiles)
    _check_size(prepared.shape)
    if config.method == DIP:
        _check_memory(config, prepared, resolve_device(config.compute.device))
    described = _described(arrays, prepared, names, paths)
    if preview_rate > 0 and config.method == DIP:
        yield Preview(0, prepared.colored(quick_consensus(prepared.images, config)))
    analysis = analyze(prepared.images, config)
    yield _gains_ready(prepared, analysis)
    seconds = {"gains": time.perf_counter() - start}
    run = RunState(config, prepared, analysis, described, None, keep_state)
    if config.method != DIP:
        yield Done(_other_result(run, seconds))
        return

    from napari_dip_fusion.prior.fit import Fit

    fit = Fit(analysis.target, analysis.weight, analysis.guides, config)
    yield from _iterate(
        replace(run, fit=fit), config.fit.iterations, np.empty(0), seconds, control, preview_rate
    )


def estimate_gains(sources: Sequence[ArrayLike], config: FusionConfig | None = None) -> GainsReady:
    """Return the gains and the consensus image of sources, without fusing them.

    The same as the first event of :func:`iter_fuse`, for images of every size
    and without torch.

    Parameters
    ----------
    sources, config
        As for :func:`fuse`.

    Raises
    ------
    ValueError
        If sources or settings cannot be used; the message says what to do.
    """
    config = FusionConfig() if config is None else config
    prepared = prepare_sources(sources, intensity=config.intensity, percentiles=config.percentiles)
    _check_size(prepared.shape)
    return _gains_ready(prepared, analyze(prepared.images, config))


def continue_fuse(
    result: FusionResult,
    iterations: int,
    *,
    control: Control | None = None,
    preview_rate: float = 0.0,
) -> Iterator[Event]:
    """Go on where a run ended, for so many more iterations.

    Parameters
    ----------
    result : FusionResult
        From :func:`iter_fuse` with ``keep_state=True``. Its network is
        trained further; its images stay as they are.
    iterations : int
        Iterations to add. All of them are made, unless the run is stopped.
    control : Control, optional
    preview_rate : float
        As for :func:`iter_fuse`.

    Yields
    ------
    StepDone, Preview, Done
        As :func:`iter_fuse`; the iterations are counted on.

    Raises
    ------
    ValueError
        If the result has no state or `iterations` is below 1.
    """
    if result.state is None:
        raise ValueError("this result cannot be continued; run iter_fuse with keep_state=True")
    if iterations < 1:
        raise ValueError(f"iterations must be 1 or more, got {iterations}")
    config = result.state.config.replace(
        iterations=len(result.losses) + iterations, stop="iterations", time_budget=0.0
    )
    seconds = {k: result.record["seconds"][k] for k in ("gains", "fit")}
    control = Control() if control is None else control
    run = replace(result.state, config=config)
    yield from _iterate(run, iterations, result.losses, seconds, control, preview_rate)


def _gains_ready(prepared: PreparedSources, analysis: Analysis) -> GainsReady:
    return GainsReady(
        sources=prepared,
        gains=analysis.model.gains,
        base_gains=analysis.model.base_gains,
        consensus=analysis.consensus,
        floor=analysis.floor,
        noise=analysis.noise,
    )


class _Ending:
    """Says whether a run has reached its end, and by which rule."""

    def __init__(self, config: FusionConfig, noise: float, start: float) -> None:
        self._config = config
        self._plateau = Plateau(config.fit.patience, config.fit.min_improvement)
        self._noise = Discrepancy(noise)
        # Without noise all that the network misses is given back: it cannot change the result.
        self._idle = noise == 0 and config.denoising.give_back
        self._start = start
        self._made = 0

    def reason(self, excess: float, seconds: float) -> str | None:
        """Take the excess of an iteration and the seconds it took."""
        budget = self._config.fit.time_budget
        if budget and time.perf_counter() - self._start + seconds > budget:
            return "time"
        if self._config.fit.stop == "iterations":
            return None
        self._made += 1
        if self._config.fit.stop == "noise":
            if self._idle and self._made >= self._config.fit.patience:
                return "clean"
            if self._noise.update(excess):
                return "noise"
        return "plateau" if self._plateau.update(excess) else None


def _iterate(
    run: RunState,
    iterations: int,
    losses: NDArray[np.float64],
    seconds: dict[str, float],
    control: Control,
    preview_rate: float,
) -> Iterator[Event]:
    """Yield the events of a fit, from its first iteration here to Done."""
    assert run.fit is not None
    made = list(losses)
    total = len(made) + iterations
    reason = "iterations"
    computing = 0.0
    spent = time.perf_counter() - sum(seconds.values())
    ending = _Ending(run.config, run.analysis.expected_excess, spent)
    clock = _PreviewClock(preview_rate)
    floor = run.analysis.floor
    try:
        for step in run.fit.run(iterations):
            made.append(step.excess + floor)
            computing += step.seconds
            done = len(made) - len(losses)
            yield StepDone(step.iteration, total, made[-1], floor, done / computing)
            if clock.due():
                assert run.fit.image is not None
                yield Preview(step.iteration, run.prepared.colored(run.fit.image))
            if control.paused:
                control.wait_while_paused()
            if control.stopped:
                reason = "stopped"
                break
            ended = ending.reason(step.excess, step.seconds)
            if ended:
                reason = ended
                break
    except FusionError as error:
        if run.fit.image is not None:
            seconds = {**seconds, "fit": seconds.get("fit", 0.0) + computing}
            error.result = _result(run, np.array(made), "failed", seconds)
        raise
    seconds = {**seconds, "fit": seconds.get("fit", 0.0) + computing}
    yield Done(_result(run, np.array(made), reason, seconds))


class _PreviewClock:
    """Says when the next preview is due."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate > 0 else float("inf")
        self._last = float("-inf") if rate > 0 else time.perf_counter()

    def due(self) -> bool:
        now = time.perf_counter()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True


def _result(
    run: RunState, losses: NDArray[np.float64], reason: str, seconds: dict[str, float]
) -> FusionResult:
    assert run.fit is not None
    fused = run.fit.image
    assert fused is not None
    start = time.perf_counter()
    if run.config.denoising.give_back:
        fused = run.analysis.given_back(fused)
    seconds = {**seconds, "fit": seconds["fit"] + time.perf_counter() - start}
    return _completed(run, fused, losses, reason, seconds)


def _other_result(run: RunState, seconds: dict[str, float]) -> FusionResult:
    """Fuse with one of the methods beside ours."""
    start = time.perf_counter()
    fused = fuse_stack(run.config.method, run.prepared.images)
    seconds = {**seconds, "fit": time.perf_counter() - start}
    return _completed(run, fused, np.empty(0), "closed form", seconds)


def _completed(
    run: RunState,
    fused: Floats,
    losses: NDArray[np.float64],
    reason: str,
    seconds: dict[str, float],
) -> FusionResult:
    start = time.perf_counter()
    metrics = evaluate(run.prepared.images, fused, data_range=1.0)
    seconds = {**seconds, "metrics": time.perf_counter() - start}
    seconds["total"] = sum(seconds.values())
    gains = run.analysis.model
    record = build_record(
        config=run.config,
        device=run.fit.device if run.fit else "cpu",
        threads=run.fit.threads if run.fit else 1,
        sources=run.described,
        losses=losses,
        floor=run.analysis.floor,
        noise=run.analysis.noise,
        stop_reason=reason,
        seconds=seconds,
        metrics=metrics,
    )
    return FusionResult(
        image=run.prepared.colored(fused),
        # Copies: what is given out may be changed, and the run be continued.
        gains=gains.gains.copy(),
        base_gains=None if gains.base_gains is None else gains.base_gains.copy(),
        consensus=run.analysis.consensus.copy(),
        noise=run.analysis.noise,
        losses=losses,
        floor=run.analysis.floor,
        metrics=metrics,
        record=record,
        sources=run.prepared,
        stop_reason=reason,
        state=run if run.keep_state and run.fit else None,
    )


def _check_size(shape: tuple[int, int]) -> None:
    if min(shape) < MIN_SIZE:
        raise ValueError(
            f"images must be at least {MIN_SIZE}x{MIN_SIZE} pixels, got {shape[0]}x{shape[1]}"
        )


def _check_memory(config: FusionConfig, prepared: PreparedSources, device: str) -> None:
    needed = estimate_memory(config, prepared.shape, len(prepared.images))
    free = available_memory(device)
    if needed <= free:
        return
    rows, columns = prepared.shape
    raise ValueError(
        f"{rows}x{columns} pixels with width {config.network.width} need about "
        f"{needed / 1e9:.1f} GB, but {device} has {free / 1e9:.1f} GB free; "
        f"{_what_fits(config, prepared, free)}"
    )


def _what_fits(config: FusionConfig, prepared: PreparedSources, free: int) -> str:
    """Return advice on a run that needs no more memory than is free."""
    count, (rows, columns) = len(prepared.images), prepared.shape
    widths = [config.network.width >> n for n in range(1, 8) if config.network.width >> n >= 4]
    sizes = [(rows * n // 20, columns * n // 20) for n in range(19, 0, -1)]
    width = next(
        (
            w
            for w in widths
            if estimate_memory(config.replace(width=w), (rows, columns), count) <= free
        ),
        None,
    )
    size = next((s for s in sizes if estimate_memory(config, s, count) <= free), None)
    fits = [f"width {width}"] if width else []
    if size and min(size) >= MIN_SIZE:
        fits.append(f"images of at most {size[0]}x{size[1]} pixels")
    return f"use {', or '.join(fits)}" if fits else "free memory, or use another machine"


def _described(
    arrays: Sequence[NDArray[Any]],
    prepared: PreparedSources,
    names: Sequence[str] | None,
    paths: Sequence[str | None] | None,
) -> list[dict[str, Any]]:
    names = [f"source {i}" for i in range(len(arrays))] if names is None else names
    paths = [None] * len(arrays) if paths is None else paths
    if not len(names) == len(paths) == len(arrays):
        raise ValueError(
            f"names and paths must have one entry for each of the {len(arrays)} sources, got "
            f"{len(names)} names and {len(paths)} paths"
        )
    return [
        describe_source(a, w, name=n, path=p)
        for a, w, n, p in zip(arrays, prepared.windows, names, paths, strict=True)
    ]
