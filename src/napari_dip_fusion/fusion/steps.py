"""The order of the steps, from sources to a fused image with its metrics and record."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import decide, list_degraded, needs_network
from napari_dip_fusion.fusion.events import Decided, Done, Event, GainsReady
from napari_dip_fusion.fusion.frames import (
    count_frame_axes,
    find_noise_of_all,
    list_frames,
)
from napari_dip_fusion.fusion.iterations import iterate
from napari_dip_fusion.fusion.memory import check_memory
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.fusion.preparation import MIN_SIZE, Given, Sources
from napari_dip_fusion.fusion.restoring import Restoring
from napari_dip_fusion.fusion.result import Findings, FusionResult, RunState, Scoring, complete
from napari_dip_fusion.fusion.run import RestorationState, Run, describe_gains, find_plane
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.methods import METHODS, fuse_stack
from napari_dip_fusion.metrics import DEFAULT_METRICS
from napari_dip_fusion.prior.devices import resolve_device
from napari_dip_fusion.sources.prepared import PreparedSources

Floats = NDArray[np.float32]


def fuse(
    sources: Sources,
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
    notes: Mapping[str, Any] | None = None,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> FusionResult:
    """Fuse images of one scene into one: planes, volumes, or series of either.

    Parameters
    ----------
    sources : sequence of K >= 2 images, GridSources or PreparedSources
        Each a :class:`~napari_dip_fusion.Source`, or an array of any real type: a plane of shape
        (M, N), (M, N, 3) or (M, N, 4), or a volume of shape (Z, M, N). Never modified. Planes
        have at least 8 pixels each way. Source objects that lie on different grids are brought
        to one, by :func:`~napari_dip_fusion.sources.grid.resample_to_reference`.
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
    reference : int, optional
        Index of the source whose grid is taken; by default the finest. The record says which.
    plane : int or str, optional
        The plane, or volume of a series, that is fused, as in ``"z=12"``; by default all.
    interpolation : {"linear", "nearest"}
        For sources on other grids.

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
    for event in iter_fuse(
        sources,
        config,
        names=names,
        paths=paths,
        control=control,
        notes=notes,
        reference=reference,
        plane=plane,
        interpolation=interpolation,
    ):
        if isinstance(event, Done):
            return event.result
    raise AssertionError("iter_fuse ends with Done")


def iter_fuse(
    sources: Sources,
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
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
    look_at: Sequence[int] | None = None,
    keep_gains: bool = True,
) -> Iterator[Event]:
    """Fuse images step by step; see :func:`fuse` for the arguments they share.

    Parameters
    ----------
    sources, config, names, paths, control, notes, reference, plane, interpolation
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
    look_at : sequence of int, optional
        Index, along the axes before rows and columns, of the plane of which previews are wanted
        while a network runs; by default the middle one.
    keep_gains : bool
        Whether the gains are part of the result, which take more memory than the sources.

    Yields
    ------
    PlanesDone
        Of volumes and series, several times a second.
    Decided
        Once the noise is known, and with it whether a network will run.
    GainsReady
        Once, before the first iteration; of a series, before Done. None without `keep_gains`.
    Preview
        First the consensus image; while a network runs, then its output at most ``preview_rate``
        times a second, of one plane of a volume. None if that is 0.
    StepDone
        After each iteration.
    FrameDone, FrameFailed
        Once for each frame of a series.
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
    given = Given(sources, names, paths, reference, plane, interpolation)
    prepared = yield from given.prepare(config, control)
    scoring = Scoring(tuple(which), dict(notes or {}))
    where = find_plane(prepared, look_at)
    degraded = bool(list_degraded(prepared, config))
    surely = needs_network(config, noisy=False, degraded=degraded)
    _check_memory(config, prepared, network=surely)
    # The other methods know neither gains nor noise, and one step has no events on its way.
    if config.method not in (DIP, CONSENSUS):
        yield from _fuse_at_once(prepared, config, options or {}, scoring, start, control)
        return
    if options:
        raise ValueError(
            f"options are for methods other than dip and consensus, got {', '.join(options)}"
        )
    with control.watch():
        noise = find_noise_of_all(prepared, config)
    decision = decide(prepared, config, noise)
    if decision.network and not surely:
        _check_memory(config, prepared, network=True)
    yield Decided(any(noise), decision.network, decision.lines)
    run = Run(prepared, config, noise, decision, scoring, control, start, where)
    if count_frame_axes(prepared.steps, config):
        yield from run.fuse_series(preview_rate, keep_gains)
    else:
        yield from run.fuse_frame(preview_rate, keep_gains, keep_state)


def estimate_gains(
    sources: Sources,
    config: FusionConfig | None = None,
    *,
    control: Control | None = None,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> GainsReady:
    """Return the gains and the consensus image of sources, without fusing them.

    The same as the event :class:`GainsReady` of :func:`iter_fuse`, without torch.

    Parameters
    ----------
    sources, config, control, reference, plane, interpolation
        As for :func:`fuse`.

    Raises
    ------
    ValueError
        If sources or settings cannot be used; the message says what to do.
    StoppedError
        If it was stopped.
    """
    for event in iter_gains(
        sources,
        config,
        control=control,
        reference=reference,
        plane=plane,
        interpolation=interpolation,
    ):
        if isinstance(event, GainsReady):
            return event
    raise AssertionError("iter_gains ends with GainsReady")


def iter_gains(
    sources: Sources,
    config: FusionConfig | None = None,
    *,
    control: Control | None = None,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> Iterator[Event]:
    """Yield what :func:`estimate_gains` returns, and before it how far it is with a volume.

    Parameters
    ----------
    sources, config, control, reference, plane, interpolation
        As for :func:`fuse`.

    Yields
    ------
    PlanesDone
    GainsReady
        Once, at the end.
    """
    config = FusionConfig() if config is None else config
    control = Control() if control is None else control
    given = Given(sources, reference=reference, plane=plane, interpolation=interpolation)
    prepared = yield from given.prepare(config, control)
    with control.watch():
        noise = find_noise_of_all(prepared, config)
    decision = decide(prepared, config, noise)
    findings = Findings()
    for index in list_frames(prepared, config):
        frame = prepared.take(index)
        analysis = yield from Restoring(frame, decision, config, noise, control).begin()
        findings.put(index, analysis, prepared.shape)
        findings.floor = analysis.floor
    yield describe_gains(prepared, findings)


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
    state = result.state
    seconds = {stage: result.record["seconds"][stage] for stage in ("gains", "fit")}
    control = Control() if control is None else control
    if isinstance(state, RestorationState):
        made = result.losses.tolist()
        more = state.take_up(control, len(made) + iterations)
        yield from more.restore(iterations, seconds, preview_rate, losses_before=made)
        return
    assert isinstance(state, RunState)
    config = state.config.replace(
        iterations=len(result.losses) + iterations, stop="iterations", time_budget=0.0
    )
    run = replace(state, config=config)
    yield from iterate(run, iterations, seconds, control, preview_rate, losses_before=result.losses)


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
        steps=prepared.steps,
    )


def _fuse_at_once(
    prepared: PreparedSources,
    config: FusionConfig,
    options: Mapping[str, Any],
    scoring: Scoring,
    start: float,
    control: Control,
) -> Iterator[Event]:
    """Fuse by a method that does not iterate, and needs no noise and no gains of ours."""
    # Records name what comes before the fusion itself "gains": here it is preparation alone.
    seconds = {"gains": time.perf_counter() - start}
    METHODS[config.method].load()  # an import is not a part of the method's time
    start = time.perf_counter()

    def work() -> Floats:
        with stage(config.method, prepared.plane_count):
            return fuse_stack(config.method, prepared.images, **options)

    fused = yield from observe(work, control.watch, prepared.plane_count)
    seconds["fit"] = time.perf_counter() - start
    scoring = scoring.add({"options": _as_text(options)})

    def finish() -> FusionResult:
        return complete(
            fused, prepared, config, scoring, seconds=seconds, stop_reason="closed form"
        )

    yield Done((yield from observe(finish, control.watch_discarding, prepared.plane_count)))


def _as_text(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}
