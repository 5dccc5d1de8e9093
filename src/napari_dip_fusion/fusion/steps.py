"""The order of the steps, from sources to a fused image with its metrics and record."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Decided, Done, Event, GainsReady, Preview
from napari_dip_fusion.fusion.iterations import iterate
from napari_dip_fusion.fusion.memory import check_memory, may_run_network
from napari_dip_fusion.fusion.result import FusionResult, RunState, Scoring, complete
from napari_dip_fusion.methods import METHODS, fuse_stack
from napari_dip_fusion.metrics import DEFAULT_METRICS
from napari_dip_fusion.prior.devices import resolve_device
from napari_dip_fusion.sensor.analysis import Analysis, analyze, find_noise
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepare import PreparedSources, find_flat_sources, prepare_sources

MIN_SIZE = 8
"""Smallest height and width in pixels: the window of the Piella-Heijmans metric."""


def fuse(
    sources: Sequence[ArrayLike | Source] | PreparedSources,
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
    notes: Mapping[str, Any] | None = None,
) -> FusionResult:
    """Fuse aligned images of one scene into one.

    Parameters
    ----------
    sources : sequence of K >= 2 planes, or PreparedSources
        Each a :class:`~napari_dip_fusion.Source` of one plane, or an array of shape (M, N),
        (M, N, 3) or (M, N, 4) of any real type; never modified. At least 8 pixels each way.
    config : FusionConfig, optional
        The preset ``fast`` by default.
    names : sequence of str, optional
        Names of the sources for the run record; those of the Source objects by default.
    paths : sequence of str or None, optional
        Files of the sources for the run record, by which it can be replayed.
    control : Control, optional
        Stops or pauses the run from another thread.
    notes : mapping, optional
        Entries that the caller adds to the run record, of values that JSON can hold.

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
    for event in iter_fuse(sources, config, names=names, paths=paths, control=control, notes=notes):
        if isinstance(event, Done):
            return event.result
    raise AssertionError("iter_fuse ends with Done")


def iter_fuse(
    sources: Sequence[ArrayLike | Source] | PreparedSources,
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
    preview_rate: float = 0.0,
    keep_state: bool = False,
    options: Mapping[str, Any] | None = None,
    which: Sequence[str] = DEFAULT_METRICS,
    notes: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Fuse images step by step; see :func:`fuse` for the arguments they share.

    Parameters
    ----------
    sources, config, names, paths, control, notes
        As for :func:`fuse`.
    preview_rate : float
        Largest number of preview images a second; 0 for none, which saves their time.
    keep_state : bool
        Keep network and optimizer in the result, for :func:`continue_fuse`.
    options : mapping, optional
        Options of a method other than ``dip`` and ``consensus``, which have settings; see
        :class:`~napari_dip_fusion.methods.Method`.
    which : sequence of str
        Names of the metrics to compute.

    Yields
    ------
    Decided
        Once the noise is known, and with it whether a network will run.
    GainsReady
        Once, before the first iteration.
    Preview
        First the consensus image; while a network runs, then its output at most ``preview_rate``
        times a second. None if that is 0.
    StepDone
        After each iteration.
    Done
        Once, at the end; for methods other than ``dip`` and ``consensus`` it is the only event.

    Raises
    ------
    ValueError, FusionError
        As :func:`fuse`, at the first event or at a later one.
    StoppedError
        If the run was stopped before it had an image, or discarded at any time.
    """
    config = FusionConfig() if config is None else config
    control = Control() if control is None else control
    start = time.perf_counter()
    prepared = _prepare(sources, config, names, paths)
    scoring = Scoring(tuple(which), dict(notes or {}))
    surely = needs_network(config, noisy=False)
    _check_memory(config, prepared, network=surely)
    # The other methods know neither gains nor noise, and one step has no events on its way.
    if config.method not in (DIP, CONSENSUS):
        yield Done(_fuse_at_once(prepared, config, options or {}, scoring, start, control))
        return
    if options:
        raise ValueError(
            f"options are for methods other than dip and consensus, got {', '.join(options)}"
        )
    with control.watch():
        noise = find_noise(prepared.images, config, prepared.own_pixels)
    network = needs_network(config, any(noise))
    if network and not surely:
        _check_memory(config, prepared, network=True)
    yield Decided(any(noise), network)
    with control.watch():
        analysis = analyze(prepared.images, config, noise, own_pixels=prepared.own_pixels)
    yield _describe_gains(prepared, analysis)
    if preview_rate > 0:
        yield Preview(0, prepared.add_color(analysis.consensus.clip(0, 1)))
    seconds = {"gains": time.perf_counter() - start}
    if not network:
        yield Done(_take_consensus(prepared, config, analysis, scoring, seconds, control))
        return

    # torch takes a second or more to import: the gains are shown before.
    from napari_dip_fusion.prior.fit import Fit

    fit = Fit(analysis.target, analysis.weight, analysis.guides, config)
    run = RunState(config, prepared, analysis, fit, scoring, keep_state)
    yield from iterate(run, config.fit.iterations, seconds, control, preview_rate)


def needs_network(config: FusionConfig, noisy: bool) -> bool:
    """Tell whether a run needs a network: whether one may, and can, change the image.

    Parameters
    ----------
    config : FusionConfig
    noisy : bool
        Whether noise was found in a source.
    """
    if not may_run_network(config):
        return False
    # Where the structure that a network misses is given back, nothing is missing without noise.
    return config.fit.network == "always" or noisy or not config.denoising.give_back


def estimate_gains(
    sources: Sequence[ArrayLike | Source] | PreparedSources,
    config: FusionConfig | None = None,
    *,
    control: Control | None = None,
) -> GainsReady:
    """Return the gains and the consensus image of sources, without fusing them.

    The same as the event :class:`GainsReady` of :func:`iter_fuse`, without torch.

    Parameters
    ----------
    sources, config, control
        As for :func:`fuse`.

    Raises
    ------
    ValueError
        If sources or settings cannot be used; the message says what to do.
    StoppedError
        If it was stopped.
    """
    config = FusionConfig() if config is None else config
    control = Control() if control is None else control
    prepared = _prepare(sources, config)
    with control.watch():
        analysis = analyze(prepared.images, config, own_pixels=prepared.own_pixels)
    return _describe_gains(prepared, analysis)


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
    seconds = {stage: result.record["seconds"][stage] for stage in ("gains", "fit")}
    control = Control() if control is None else control
    run = replace(result.state, config=config)
    yield from iterate(run, iterations, seconds, control, preview_rate, losses_before=result.losses)


def _prepare(
    sources: Sequence[ArrayLike | Source] | PreparedSources,
    config: FusionConfig,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
) -> PreparedSources:
    """Return the sources in [0, 1], and refuse those that are too small to be scored."""
    if isinstance(sources, PreparedSources):
        prepared = sources
    else:
        prepared = prepare_sources(
            sources,
            intensity=config.intensity,
            percentiles=config.percentiles,
            names=names,
            paths=paths,
        )
    rows, columns = prepared.shape
    if min(rows, columns) < MIN_SIZE:
        raise ValueError(
            f"images must be at least {MIN_SIZE}x{MIN_SIZE} pixels, got {rows}x{columns}"
        )
    _warn_of_flat_sources(prepared)
    return prepared


def _warn_of_flat_sources(prepared: PreparedSources) -> None:
    for number in find_flat_sources(prepared):
        low, high = prepared.windows[number]
        warnings.warn(
            f"{prepared.descriptions[number]['name']} is nearly constant here in its intensity "
            f"window, {low:g} to {high:g}: next to nothing of it will be seen",
            stacklevel=2,
        )


def _describe_gains(prepared: PreparedSources, analysis: Analysis) -> GainsReady:
    return GainsReady(
        sources=prepared,
        gains=analysis.model.gains,
        base_gains=analysis.model.base_gains,
        consensus=analysis.consensus,
        floor=analysis.floor,
        noise=analysis.noise,
    )


def _check_memory(config: FusionConfig, prepared: PreparedSources, *, network: bool) -> None:
    """Refuse a run that needs more memory than there is, where it computes."""
    # Only a network may run on a GPU, and only for one is torch imported.
    device = resolve_device(config.compute.device) if network else "cpu"
    check_memory(
        config,
        prepared.shape,
        len(prepared.images),
        device,
        network=network,
        smallest=MIN_SIZE,
    )


def _take_consensus(
    prepared: PreparedSources,
    config: FusionConfig,
    analysis: Analysis,
    scoring: Scoring,
    seconds: Mapping[str, float],
    control: Control,
) -> FusionResult:
    """Return the consensus image as the result, without a network."""
    chosen = config.method == CONSENSUS or config.fit.network == "never"
    with control.watch_discarding():
        return complete(
            analysis.consensus.clip(0, 1),
            prepared,
            config,
            scoring,
            seconds={**seconds, "fit": 0.0},
            stop_reason="closed form" if chosen else "exact",
            analysis=analysis,
        )


def _fuse_at_once(
    prepared: PreparedSources,
    config: FusionConfig,
    options: Mapping[str, Any],
    scoring: Scoring,
    start: float,
    control: Control,
) -> FusionResult:
    """Fuse by a method that does not iterate, and needs no noise and no gains of ours."""
    # Records name what comes before the fusion itself "gains": here it is preparation alone.
    seconds = {"gains": time.perf_counter() - start}
    METHODS[config.method].load()  # an import is not a part of the method's time
    start = time.perf_counter()
    with control.watch():
        fused = fuse_stack(config.method, prepared.images, **options)
    seconds["fit"] = time.perf_counter() - start
    scoring = replace(scoring, notes={**scoring.notes, "options": _as_text(options)})
    with control.watch_discarding():
        return complete(
            fused, prepared, config, scoring, seconds=seconds, stop_reason="closed form"
        )


def _as_text(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}
