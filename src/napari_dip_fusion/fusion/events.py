"""What a run tells while it goes on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.fusion.result import FusionResult
from napari_dip_fusion.sources.prepared import PreparedSources

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Decided:
    """The noise is known, and with it what is restored and whether a network will run.

    Attributes
    ----------
    noisy : bool
        Whether noise was found in a source.
    network : bool
    restored : tuple of str
        What is restored of which source and why, one line each.
    """

    noisy: bool
    network: bool
    restored: tuple[str, ...] = ()


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
        0 for the consensus image, of the denoised and restored sources where there are such. Later,
        the image after so many iterations: that of the sources as networks have restored them by
        then, or that of a network that is fitted to the fused image.
    image : ndarray of shape (M, N) or (M, N, 3)
        In [0, 1]. Of a volume or a series, one plane, or the whole in its shape.
    plane : tuple of int, or None
        Index of the plane along the axes that come before rows and columns; None where the image
        is the whole.
    fitted : bool
        Whether it is what a network fitted to the fused image explains by now, which is a worse
        image than those before until the run ends.
    """

    iteration: int
    image: Floats
    plane: tuple[int, ...] | None = None
    fitted: bool = False


@dataclass(frozen=True)
class PlanesDone:
    """So many planes of a volume or a series have gone through a stage of the run.

    Attributes
    ----------
    stage : str
        For people, such as ``"gains"``.
    done, total : float
        Planes; a part of one counts as such.
    """

    stage: str
    done: float
    total: float


@dataclass(frozen=True, eq=False)
class FrameDone:
    """One frame of a series is fused.

    Attributes
    ----------
    index : tuple of int
        Along the axes of the series, which come before those of a frame.
    image : ndarray of shape (M, N), (Z, M, N) or (..., 3)
        In [0, 1].
    """

    index: tuple[int, ...]
    image: Floats


@dataclass(frozen=True)
class FrameFailed:
    """One frame of a series could not be fused; the others go on.

    Attributes
    ----------
    index : tuple of int
        As of :class:`FrameDone`.
    message : str
        What happened.
    """

    index: tuple[int, ...]
    message: str


@dataclass(frozen=True, eq=False)
class Done:
    """The run ended."""

    result: FusionResult


Event = Decided | GainsReady | StepDone | Preview | PlanesDone | FrameDone | FrameFailed | Done
