"""What a fusion gives, and what it needs to be continued."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.analysis import Analysis
from napari_dip_fusion.sources.prepare import PreparedSources

if TYPE_CHECKING:
    from napari_dip_fusion.prior.fit import Fit

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RunState:
    """What stays the same from the gains to the result, and continues a run."""

    config: FusionConfig
    prepared: PreparedSources
    analysis: Analysis
    described: list[dict[str, Any]]
    fit: "Fit | None"
    keep_state: bool


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
    state: RunState | None = field(default=None, repr=False)

    @property
    def excess(self) -> NDArray[np.float64]:
        """Loss above its floor at each iteration: 0 only where the image is T."""
        return self.losses - self.floor

    def rescaled(self, *, like: int, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return the fused image in the units of source `like`.

        See :meth:`napari_dip_fusion.sources.prepare.PreparedSources.rescaled`.
        """
        return self.sources.rescaled(self.image, like=like, dtype=dtype)
