"""Color apart from luma: the chroma of colored sources, and the way back to colors."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""

# Scale of (B - Y) and (R - Y) in the chroma Cb and Cr of ITU-R BT.601, full range.
_CB, _CR = 1.772, 1.402


class Chroma:
    """The mean chroma of colored sources, weighted by distance from gray."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._sum: Floats | None = None
        self._weight: Floats | None = None

    def add(self, part: tuple[slice, ...], rgb: Floats) -> None:
        """Take a part of a source, in colors."""
        if self._sum is None or self._weight is None:
            self._sum = np.zeros((2, *self._shape), dtype=np.float32)
            self._weight = np.zeros(self._shape, dtype=np.float32)
        chroma = _compute_chroma(rgb)
        weight = np.abs(chroma).sum(axis=0)
        self._sum[:, *part] += weight * chroma
        self._weight[part] += weight

    def mix(self) -> Floats | None:
        """Return the mean, shape (2, ..., M, N); None without a colored source."""
        if self._sum is None or self._weight is None:
            return None
        self._weight[self._weight == 0] = 1
        self._sum /= self._weight
        return self._sum


def add_chroma(luma: Floats, chroma: Floats) -> Floats:
    """Give the luma of a plane a chroma.

    Parameters
    ----------
    luma : ndarray of shape (M, N), float32 in [0, 1]
    chroma : ndarray of shape (2, M, N), float32
        Cb and Cr.

    Returns
    -------
    ndarray of shape (M, N, 3), float32 in [0, 1]
        Chroma that leaves the range is reduced, so that the luma of the result is `luma`.
    """
    offsets = _convert_chroma(chroma)
    room = np.where(offsets > 0, 1 - luma[..., None], luma[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):
        allowed = np.where(offsets == 0, 1, room / np.abs(offsets))
    saturation = np.clip(allowed.min(axis=-1, keepdims=True), 0, 1)
    rgb: Floats = np.clip(luma[..., None] + saturation * offsets, 0, 1).astype(np.float32)
    return rgb


def _compute_chroma(rgb: Floats) -> Floats:
    luma = rgb @ LUMA
    return np.stack([(rgb[..., 2] - luma) / _CB, (rgb[..., 0] - luma) / _CR])


def _convert_chroma(chroma: Floats) -> Floats:
    blue, red = _CB * chroma[0], _CR * chroma[1]
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    return np.stack([red, green, blue], axis=-1)
