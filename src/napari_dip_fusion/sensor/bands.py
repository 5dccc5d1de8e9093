"""Split sources into bands: a base and its details."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.windows import blur

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Bands:
    """Sources as base and details, each of shape (K, ...), which add up to the sources."""

    base: Floats
    details: Floats


def split_bands(sources: Floats, sigma: float, steps: Sequence[float] = ()) -> Bands:
    """Split sources into their Gaussian blur and the details that remain.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32
    sigma : float
        Standard deviation of the blur in pixels, above 0.
    steps : sequence of float, optional
        As for :func:`.blur`.
    """
    base = blur(sources, sigma, steps)
    return Bands(base, sources - base)
