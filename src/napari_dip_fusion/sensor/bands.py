"""Split sources into bands: a base and its details."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Bands:
    """Sources as base and details, each of shape (K, ...), which add up to the sources."""

    base: Floats
    details: Floats


def split_off(sources: Floats, base: Floats) -> Bands:
    """Split sources into their base and the details that remain.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32
    base : ndarray of the shape of `sources`, float32
        Their Gaussian blur.
    """
    return Bands(base, sources - base)
