"""What a run tells while it goes on, what it gives, and how it is held or stopped."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip_fusion.sources import PreparedSources

if TYPE_CHECKING:
    from napari_dip_fusion.fusion import RunState

Floats = NDArray[np.float32]


class Control:
    """Stop, pause and resume a run from another thread or between its events.

    Every call takes effect within one iteration.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._running = threading.Event()
        self._running.set()

    def stop(self) -> None:
        """End the run and keep its best output so far."""
        self._stop.set()
        self._running.set()

    def pause(self) -> None:
        """Hold the run before its next iteration."""
        if not self.stopped:
            self._running.clear()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._running.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._running.is_set()

    def wait_while_paused(self) -> None:
        """Return at once, or when a paused run is resumed or stopped."""
        self._running.wait()


@dataclass(frozen=True, eq=False)
class FusionResult:
    """A fused image and everything that is known of it.

    Attributes
    ----------
    image : ndarray of shape (M, N), or (M, N, 3) if a source is in colour
        The fused image, float32 in [0, 1].
    gains : ndarray of shape (K, M, N)
        Sensor gain maps, float32; in two bands, those of the details.
    base_gains : ndarray of shape (K, M, N), or None in one band
        Sensor gain maps of the base, float32.
    consensus : ndarray of shape (M, N)
        The closed form T, float32; of the denoised sources where they are noisy.
    noise : tuple of float
        Standard deviation of the noise in each prepared source; 0 where there
        is none, or it was not estimated.
    losses : ndarray of shape (iterations,)
        Mean over pixels of sum_i (X_i - beta_i X_0)^2 at each iteration.
    floor : float
        The smallest value that the loss can take.
    metrics : dict of str to float
        Quality metrics of the (luma of the) image against the prepared sources.
    record : dict
        The run record, of values that JSON can hold.
    sources : PreparedSources
        The sources in [0, 1] and their intensity windows.
    stop_reason : str
        ``iterations``, ``noise``, ``clean``, ``plateau``, ``time``, ``stopped``, or
        ``closed form`` for methods other than ``dip``.
    state : RunState or None
        The network and optimiser, where the run was asked to keep them for
        :func:`continue_fuse`.
    """

    image: Floats
    gains: Floats
    consensus: Floats
    losses: NDArray[np.float64]
    floor: float
    metrics: dict[str, float]
    record: dict[str, Any]
    sources: PreparedSources
    stop_reason: str
    base_gains: Floats | None = None
    noise: tuple[float, ...] = ()
    state: "RunState | None" = field(default=None, repr=False)

    @property
    def excess(self) -> NDArray[np.float64]:
        """Loss above its floor at each iteration: 0 only where the image is T."""
        return self.losses - self.floor

    def rescaled(self, *, like: int, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return the fused image in the units of source `like`.

        See :meth:`napari_dip_fusion.sources.PreparedSources.rescaled`.
        """
        return self.sources.rescaled(self.image, like=like, dtype=dtype)


@dataclass(frozen=True, eq=False)
class GainsReady:
    """The gains are known, and with them the closed form T; see :class:`FusionResult`."""

    sources: PreparedSources
    gains: Floats
    base_gains: Floats | None
    consensus: Floats
    floor: float
    noise: tuple[float, ...]


@dataclass(frozen=True)
class StepDone:
    """One iteration was made.

    Attributes
    ----------
    iteration, iterations : int
        Iterations made and the largest number that will be.
    loss, floor : float
        Loss of this iteration and the smallest value that it can take.
    rate : float
        Iterations a second of computing, pauses left out.
    """

    iteration: int
    iterations: int
    loss: float
    floor: float
    rate: float

    @property
    def excess(self) -> float:
        """Loss above its floor."""
        return self.loss - self.floor

    @property
    def remaining(self) -> float:
        """Seconds left if all iterations are made."""
        return (self.iterations - self.iteration) / self.rate


@dataclass(frozen=True, eq=False)
class Preview:
    """An image to look at while the run goes on.

    Attributes
    ----------
    iteration : int
        0 for the consensus image of the sources as they are, which comes at
        once; later, what the network explains after so many iterations.
    image : ndarray of shape (M, N) or (M, N, 3)
        In [0, 1]. The structure that the network missed is given back at the
        end only.
    """

    iteration: int
    image: Floats


@dataclass(frozen=True, eq=False)
class Done:
    """The run ended."""

    result: FusionResult


Event = GainsReady | StepDone | Preview | Done
