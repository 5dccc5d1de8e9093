"""What a fusion gives, how it is completed with metrics and record, and what continues it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip_fusion.config import CONSENSUS, FusionConfig
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.metrics import (
    PlaneScores,
    average_planes,
    describe_mean,
    evaluate_planes,
    list_planes,
)
from napari_dip_fusion.record import build_record
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import put_in_place
from napari_dip_fusion.sources.prepared import PreparedSources

# Events and results are read by programs that fuse nothing, such as dip-fusion --help: they
# need neither torch nor SciPy.
if TYPE_CHECKING:
    from napari_dip_fusion.prior.fit import Fit
    from napari_dip_fusion.sensor.analysis import Analysis

Floats = NDArray[np.float32]
Losses = NDArray[np.float64]

ENDINGS = {
    "iterations": "all iterations were made",
    "denoised": "restored without a network",
    "noise": "what is left is noise",
    "exact": "exact: nothing for a prior to restore",
    "closed form": "closed form",
    "plateau": "the excess no longer falls",
    "time": "its time was used up",
    "stopped": "stopped, and the best image kept",
}
"""How a run ended, by :attr:`FusionResult.stop_reason`."""


def name_closed_form(config: FusionConfig, *, restored: bool = False) -> str:
    """Return how a run without a network ended: as was chosen, or because none was needed.

    Parameters
    ----------
    config : FusionConfig
    restored : bool
        Whether sources were restored by a denoiser.
    """
    if config.method == CONSENSUS or config.fit.network == "never":
        return "closed form"
    return "denoised" if restored else "exact"


@dataclass(frozen=True)
class Scoring:
    """What the caller of a run wants of its result beside the image.

    Attributes
    ----------
    which : tuple of str
        Names of the metrics to compute.
    notes : dict
        Entries that are added to the run record.
    """

    which: tuple[str, ...]
    notes: dict[str, Any]

    def add(self, notes: Mapping[str, Any]) -> "Scoring":
        """Return the same with more entries for the run record, which do not replace any."""
        return Scoring(self.which, {**notes, **self.notes})


class State(Protocol):
    """A run with a network, by which it is told and, where it is kept, continued."""

    @property
    def keep_state(self) -> bool:
        """Whether the result keeps it."""

    @property
    def device(self) -> str:
        """Where the network computes."""

    @property
    def threads(self) -> int:
        """Processor threads of the network."""


@dataclass(frozen=True, eq=False)
class RunState:
    """What stays the same from the first iteration to the last, and continues a run."""

    config: FusionConfig
    prepared: PreparedSources
    analysis: "Analysis"
    fit: "Fit"
    scoring: Scoring
    keep_state: bool
    look_at: tuple[int, ...] = ()
    """Index of the plane of a volume whose previews are wanted; empty for a plane."""
    frame: tuple[int, ...] = ()
    """Index of the frame of a series that is fused; empty where there is one frame only."""

    @property
    def device(self) -> str:
        """Where the network computes."""
        return self.fit.device

    @property
    def threads(self) -> int:
        """Processor threads of the network."""
        return self.fit.threads


@dataclass(frozen=True, eq=False)
class FusionResult:
    """A fused image and everything that is known about it.

    Attributes
    ----------
    image : ndarray of shape (..., M, N), or (..., M, N, 3) if a source is in color
        The fused image, float32 in [0, 1]: a plane, a volume or a series.
    metrics : dict of str to float
        Quality metrics of the (luma of the) image against the prepared sources. They are defined
        for planes: of a volume or a series, the mean over its planes.
    record : dict
        The run record, of values that JSON can hold.
    sources : PreparedSources
        The sources in [0, 1] and their intensity windows.
    stop_reason : str
        ``iterations``, ``noise``, ``plateau``, ``time`` or ``stopped``, where a network ran;
        ``exact`` where none could change the image, ``denoised`` where none was worth its time;
        otherwise ``closed form``.
    gains : ndarray of shape (K, ..., M, N), or None
        Sensor gain maps, float32; in two bands, those of the details. None for methods other
        than ``dip`` and ``consensus``, which have no use for them.
    base_gains : ndarray of shape (K, ..., M, N), or None
        Sensor gain maps of the base, float32; None in one band.
    undershoot : ndarray of shape (..., M, N), or None
        What T is above the sum of the least-squares images of base and details, float32: what
        the undershoot beside bright structures took. None in one band.
    consensus : ndarray of shape (..., M, N), or None
        The closed form T, float32; of the denoised sources where they are noisy. None where
        there are no gains.
    noise : tuple of float
        Standard deviation of the noise in each prepared source; 0 where there
        is none. For a source that was interpolated
        (:class:`~napari_dip_fusion.sources.own_pixels.InterpolatedSource`), that of its pixels
        before interpolation. Empty where there are no gains.
    restored : ndarray of shape (K, ..., M, N), or None
        The sources from which the image and the gains come, where any was restored, float32 in
        [0, 1]: those that were not are as they were given.
    losses : ndarray of shape (iterations,)
        Mean over pixels of sum_i (X_i - beta_i X_0)^2 at each iteration. In two bands, whose
        gains differ: w (X_0 - T)^2 with the gains of the details, plus the floors of both bands.
        Where networks restored sources: their losses, on examples of what they have to do.
    floor : float
        The smallest value that the loss can take; 0 where there are no gains, or the losses are
        those of a restoration.
    plane_metrics : dict of str to ndarray
        The metrics of each plane, of the shape of the axes before rows and columns, float64; NaN
        on planes where a metric can say nothing. Empty for a plane.
    state : State or None
        The networks and optimizers, where the run was asked to keep them for
        :func:`continue_fuse`.
    """

    image: Floats
    metrics: dict[str, float]
    record: dict[str, Any]
    sources: PreparedSources
    stop_reason: str
    gains: Floats | None = None
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    consensus: Floats | None = None
    restored: Floats | None = None
    noise: tuple[float, ...] = ()
    losses: Losses = field(default_factory=lambda: np.empty(0))
    floor: float = 0.0
    plane_metrics: PlaneScores = field(default_factory=dict, repr=False)
    state: State | None = field(default=None, repr=False)

    @property
    def place(self) -> Source:
        """Where the image lies: a source with the axes, affine and units of its pixels."""
        place = self.sources.place
        return Source(self.image, rgb=self._in_color) if place is None else place

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the place, which may be more than those of the image, of size 1."""
        return tuple(self.place.axes)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Matrix from pixel indices along the axes to the world."""
        return self.place.affine

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each axis of the world."""
        return self.place.units

    @property
    def _in_color(self) -> bool:
        return self.sources.chroma is not None

    def to_source(
        self, *, like: int | None = None, dtype: DTypeLike | None = None, name: str = "fused"
    ) -> Source:
        """Return the fused image in its place, as writers take it.

        Parameters
        ----------
        like : int, optional
            In the units of this source; see :meth:`rescale`. By default in [0, 1].
        dtype : dtype, optional
            As for :meth:`rescale`; without `like`, float32.
        name : str
        """
        image = self.image if like is None else self.rescale(like=like, dtype=dtype)
        if like is None and dtype is not None:
            image = image.astype(dtype)
        return put_in_place(image, self.place, name=name)

    @property
    def excess(self) -> Losses:
        """Loss above its floor at each iteration: 0 only where the image is T."""
        return self.losses - self.floor

    @property
    def gain_bands(self) -> dict[str, Floats]:
        """Gain maps of each band by its name, as :func:`name_bands` gives them."""
        return name_bands(self.gains, self.base_gains)

    def rescale(self, *, like: int, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return the fused image in the units of source `like`.

        See :meth:`napari_dip_fusion.sources.prepare.PreparedSources.rescale`.
        """
        return self.sources.rescale(self.image, like=like, dtype=dtype)


def name_bands(gains: Floats | None, base_gains: Floats | None) -> dict[str, Floats]:
    """Return gain maps under the names that layers, files and figures give them.

    Parameters
    ----------
    gains, base_gains : ndarray of shape (K, ..., M, N), or None
        As in :class:`FusionResult`.

    Returns
    -------
    dict of str to ndarray
        ``gain`` in one band, ``gain (base)`` and ``gain (details)`` in two; empty without gains.
    """
    if gains is None:
        return {}
    if base_gains is None:
        return {"gain": gains}
    return {"gain (base)": base_gains, "gain (details)": gains}


@dataclass(eq=False)
class Findings:
    """What was found of the sources beside the fused image; see :class:`.FusionResult`."""

    gains: Floats | None = None
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    consensus: Floats | None = None
    restored: Floats | None = None
    noise: tuple[float, ...] = ()
    floor: float = 0.0

    @classmethod
    def copy(cls, analysis: "Analysis") -> "Findings":
        """Return what is given out of an analysis: copies, since it may be changed."""
        given = cls.take(analysis)
        for name, value in vars(given).items():
            if isinstance(value, np.ndarray):
                setattr(given, name, value.copy())
        return given

    @classmethod
    def take(cls, analysis: "Analysis") -> "Findings":
        """Return what is given out of an analysis that nobody needs any more, without copies."""
        model = analysis.model
        return cls(
            gains=None if model is None else model.gains,
            base_gains=None if model is None else model.base_gains,
            undershoot=None if model is None else model.undershoot,
            consensus=analysis.consensus,
            restored=analysis.restored,
            noise=analysis.noise,
            floor=analysis.floor,
        )

    def put(self, index: tuple[int, ...], analysis: "Analysis", shape: tuple[int, ...]) -> None:
        """Take what was found of one frame.

        Parameters
        ----------
        index : tuple of int
        analysis : Analysis
            Of the frame.
        shape : tuple of int
            Of all images together.
        """
        found = self.take(analysis)
        for name in ("gains", "base_gains", "undershoot", "consensus", "restored"):
            part = getattr(found, name)
            if part is None:
                continue
            sources = part.shape[: part.ndim + len(index) - len(shape)]
            if getattr(self, name) is None:
                setattr(self, name, np.zeros((*sources, *shape), dtype=np.float32))
            getattr(self, name)[(slice(None),) * len(sources) + index] = part
        self.noise = found.noise


def complete(
    fused: Floats,
    prepared: PreparedSources,
    config: FusionConfig,
    scoring: Scoring,
    *,
    seconds: Mapping[str, float],
    stop_reason: str,
    findings: Findings | None = None,
    run: State | None = None,
    losses: Losses | None = None,
    missing: Sequence[tuple[int, ...]] = (),
) -> FusionResult:
    """Return a result with its metrics and its whole record.

    Parameters
    ----------
    fused : ndarray of shape (..., M, N), float32 in [0, 1]
    prepared : PreparedSources
    config : FusionConfig
    scoring : Scoring
    seconds : dict of str to float
        Time of each stage so far.
    stop_reason : str
        As in :class:`FusionResult`.
    findings : Findings, optional
        Noise and gains, where the method has use for them.
    run : State, optional
        The networks that made the image.
    losses : ndarray of shape (iterations,), optional
    missing : sequence of tuple of int
        Index of each frame of a series that was not fused: it has no scores.
    """
    start = time.perf_counter()
    with stage("metrics", prepared.plane_count):
        planes = evaluate_planes(prepared.images, fused, data_range=1.0, which=scoring.which)
    for index in missing:
        for values in planes.values():
            values[index] = np.nan
    metrics = average_planes(planes)
    times = {**seconds, "metrics": time.perf_counter() - start}
    times["total"] = sum(times.values())
    losses = np.empty(0) if losses is None else losses
    findings = Findings() if findings is None else findings
    record = build_record(
        config=config,
        device=run.device if run else "cpu",
        threads=run.threads if run else 1,
        sources=prepared.descriptions,
        losses=losses,
        floor=findings.floor,
        noise=findings.noise,
        stop_reason=stop_reason,
        seconds=times,
        metrics=metrics,
        notes={**_describe_place(prepared, planes), **scoring.notes},
    )
    return FusionResult(
        image=prepared.add_color(fused),
        metrics=metrics,
        record=record,
        sources=prepared,
        stop_reason=stop_reason,
        losses=losses,
        **vars(findings),
        plane_metrics=planes if prepared.stack_axes else {},
        state=run if run and run.keep_state else None,
    )


def _describe_place(prepared: PreparedSources, planes: PlaneScores) -> dict[str, Any]:
    """Return what a record says of the grid, and of the planes of a volume or a series."""
    grid = {"grid": prepared.grid} if prepared.grid else {}
    if not prepared.stack_axes:
        return grid
    return {
        **grid,
        "axes": list(prepared.axes),
        "planes": {
            "shape": list(prepared.shape[:-2]),
            "steps": [None if math.isinf(step) else round(step, 6) for step in prepared.steps],
            "metrics_are": describe_mean(planes),
            "metrics": list_planes(planes),
        },
    }
