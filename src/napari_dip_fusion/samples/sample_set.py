"""The set of images that each sample is, and the checks that the makers of samples share."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dip_fusion.sources import Source

Image: TypeAlias = npt.NDArray[np.float64]
Shape: TypeAlias = tuple[int, int]

# A head of fewer pixels cannot be recognized as one.
_SMALLEST = 16


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Sources that fit together, and the image that an ideal fusion of them would show.

    Attributes
    ----------
    name : str
        Key of the set in :data:`SAMPLES`.
    sources : tuple of ndarray of shape (M, N) or (M, N, 3), or tuple of Source
        Source images: planes of one shape and dtype that are aligned, or volumes and
        series with their place in the world.
    source_names : tuple of str
        One name for each source.
    truth : ndarray or Source, optional
        True image, of the shape, dtype and place of the first source. None where there is
        none.
    description : str
        What the set shows and what `truth` is, in one sentence or two.
    undegraded : tuple of Source
        Where sources are blurred or have larger pixels: all of them as they would be without
        that and without noise, on the grid of the first one. Else empty.
    """

    name: str
    sources: tuple[npt.NDArray[Any] | Source, ...]
    source_names: tuple[str, ...]
    truth: npt.NDArray[Any] | Source | None
    description: str
    undegraded: tuple[Source, ...] = ()


def to_uint8(image: Image) -> npt.NDArray[np.uint8]:
    """Return an image of values in [0, 1] as it would be saved: clipped, times 255, and rounded."""
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def check_shape(shape: Shape) -> None:
    """Raise ValueError unless a shape is two numbers of at least 16."""
    if len(shape) != 2 or min(shape) < _SMALLEST:
        raise ValueError(f"shape must be two numbers >= {_SMALLEST}, got {shape}; try (256, 256)")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError, naming the argument, unless a value lies between two others."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
