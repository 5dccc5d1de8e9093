"""The frames of a series, fused one after another with one network and one set of windows."""

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.fusion.events import Event, FrameDone, FrameFailed
from napari_dip_fusion.fusion.iterations import Track, optimize, take_image
from napari_dip_fusion.fusion.restoring import Restoring
from napari_dip_fusion.fusion.result import Findings, RunState, Scoring, name_closed_form
from napari_dip_fusion.sensor.analysis import Analysis, SourceNoise
from napari_dip_fusion.sources.prepared import PreparedSources

if TYPE_CHECKING:
    from napari_dip_fusion.restoration.restorer import Restorer

Floats = NDArray[np.float32]
Index = tuple[int, ...]

# Iterations that the network makes for a frame after the first, as a share of those for that one:
# it goes on from what it has learned of the frame before.
_LATER = 0.25


@dataclass
class Series:
    """A series on its way: what is fused how, and what its frames have given so far.

    Attributes
    ----------
    prepared : PreparedSources
        All frames.
    config : FusionConfig
    noise : tuple of SourceNoise
        One for each source, the same for all frames.
    decision : Decision
        What is done about the sources.
    scoring : Scoring
    frames : list of tuple of int
        Index of each frame, in the order in which they are fused.
    begun : float
        When the run began, by :func:`time.perf_counter`.
    look_at : tuple of int
        Index of the plane whose previews are wanted.
    keep_gains : bool
    image : ndarray of shape (..., M, N)
        0 in frames that are not fused.
    findings : Findings
    done : list of tuple of int
        The frames that are fused.
    failed : dict
        What happened to those that could not be.
    track : Track
        The iterations of all frames.
    run : RunState or None
        The latest frame to which a network was fitted.
    restoring : Restoring or None
        The latest frame whose sources networks restored.
    reason : str
        What ended the series, or its last network.
    """

    prepared: PreparedSources
    config: FusionConfig
    noise: tuple[SourceNoise, ...]
    decision: Decision
    scoring: Scoring
    frames: list[Index]
    begun: float
    look_at: Index = ()
    keep_gains: bool = True
    findings: Findings = field(default_factory=Findings)
    done: list[Index] = field(default_factory=list)
    failed: dict[Index, str] = field(default_factory=dict)
    track: Track = field(default_factory=Track)
    run: RunState | None = None
    restoring: Restoring | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        self.image = np.zeros(self.prepared.shape, dtype=np.float32)
        self._floors: list[float] = []
        self._restored: dict[str, object] = {}
        self._restorers: dict[int, Restorer] = {}
        self._analyzing = 0.0

    @property
    def notes(self) -> dict[str, object]:
        """What a record says of the frames."""
        return {
            **self._restored,
            "frames": {
                "count": len(self.frames),
                "fused": len(self.done),
                "failed": [
                    {"frame": list(index), "reason": reason}
                    for index, reason in self.failed.items()
                ],
            },
        }

    def fuse(self, control: Control, preview_rate: float) -> Generator[Event, None, None]:
        """Fuse the frames, and yield the events of each.

        Raises
        ------
        StoppedError
            If the run is thrown away, or stopped before a frame was fused.
        FusionError
            If no frame could be fused.
        """
        for index in self.frames:
            try:
                control.raise_if_stopped()
                fused = yield from self._fuse_frame(index, control, preview_rate)
            except StoppedError:
                # What is complete is kept, unless nobody wants it.
                if control.discarded or not self.done:
                    raise
                self.reason = "stopped"
                break
            except (FusionError, ValueError) as error:
                self.failed[index] = str(error)
                yield FrameFailed(index, str(error))
                continue
            self.image[index] = fused
            self.done.append(index)
            yield FrameDone(index, self.prepared.take(index).add_color(fused))
        if not self.done:
            raise FusionError(f"no frame could be fused: {next(iter(self.failed.values()))}")
        self.findings.floor = 0.0 if self.restoring else float(np.mean(self._floors))
        if not self.reason:
            restored = bool(self.decision.restored)
            self.reason = name_closed_form(self.config, restored=restored)

    def _fuse_frame(
        self, index: Index, control: Control, preview_rate: float
    ) -> Generator[Event, None, Floats]:
        frame = self.prepared.take(index)
        keep_model = self.keep_gains or self.decision.network
        start = time.perf_counter()
        restoring = Restoring(
            frame, self.decision, self.config, self.noise, control, self._restorers
        )
        analysis = yield from restoring.begin(keep_model=keep_model)
        self._analyzing = time.perf_counter() - start
        self._restored = restoring.describe()
        if self.decision.networked:
            analysis = yield from self._restore(index, restoring, preview_rate)
        self._floors.append(analysis.floor)
        if self.decision.fits:
            fused = yield from self._fit(index, frame, analysis, control, preview_rate)
        else:
            fused = analysis.consensus.clip(0, 1)
        if not self.keep_gains:
            analysis = replace(analysis, model=None)
        self.findings.put(index, analysis, self.prepared.shape)
        return fused

    def _restore(
        self, index: Index, restoring: Restoring, preview_rate: float
    ) -> Generator[Event, None, Analysis]:
        """Restore the sources of a frame by networks, from the frame before on."""
        iterations = self.config.fit.count_restoring(len(self.decision.networked))
        if self.config.gains.volumes == "planes":
            restoring.restorers.clear()
        elif restoring.restorers:
            iterations = count_later_iterations(iterations)
        begun = self._share_budget()
        try:
            self.reason = yield from restoring.improve(
                iterations, begun, preview_rate, self.track, index
            )
        except FusionError:
            # Their weights may be no numbers any more: the next frame begins anew.
            restoring.restorers.clear()
            raise
        self.restoring = restoring
        return (yield from restoring.finish())

    def _fit(
        self,
        index: Index,
        frame: PreparedSources,
        analysis: Analysis,
        control: Control,
        preview_rate: float,
    ) -> Generator[Event, None, Floats]:
        """Fit the network to a frame, from the frame before on."""
        # torch takes a second or more to import: the frames that need none do without.
        from napari_dip_fusion.prior.crops import make_fit

        data = (analysis.target, analysis.weight, analysis.guides)
        iterations = self.config.fit.fitting_iterations
        if self.run is None or self.config.gains.volumes == "planes":
            fit = make_fit(*data, self.config)
        else:
            fit = self.run.fit
            fit.move_to(*data)
            iterations = count_later_iterations(iterations)
        look_at = self.look_at[len(index) :]
        seen = self.look_at[: len(index)] == index
        self.run = RunState(self.config, frame, analysis, fit, self.scoring, False, look_at, index)
        begun = self._share_budget()
        rate = preview_rate if seen else 0.0
        try:
            self.reason = yield from optimize(
                self.run, iterations, begun, control, rate, self.track
            )
            return (yield from take_image(self.run, control))
        except FusionError:
            # Its weights may be no numbers any more: the next frame begins anew.
            self.run = None
            raise

    def _share_budget(self) -> float:
        """Return when this frame would have begun, had it the time budget of the run for itself.

        What the analyses of frames that are left do not take is shared evenly by their networks.
        """
        now, budget = time.perf_counter(), self.config.fit.time_budget
        left = len(self.frames) - len(self.done) - len(self.failed)
        spare = budget - (now - self.begun) - (left - 1) * self._analyzing
        return now + max(spare, 0.0) / left - budget


def count_later_iterations(iterations: int) -> int:
    """Return how many iterations a frame gets after the first one, which has so many."""
    return max(round(_LATER * iterations), 1)
