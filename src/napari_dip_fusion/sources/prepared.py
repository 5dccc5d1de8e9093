"""Sources as the method takes them, and the way back to the user's units."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip_fusion.config import Window
from napari_dip_fusion.sources.color import add_chroma
from napari_dip_fusion.sources.observation import Observation, ObservedFrames, take_observation
from napari_dip_fusion.sources.own_frames import OwnFrames
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.scaling import PART_PIXELS, cut_parts, rescale_values
from napari_dip_fusion.sources.source import Source

__all__ = ["PreparedSources", "find_flat_sources", "take_own"]

Floats = NDArray[np.float32]

# A source is flat where all but so few of its pixels differ by less than one of 256 gray levels.
_ONE_LEVEL, _FEW = 1 / 255, 1e-4


@dataclass(frozen=True, eq=False)
class PreparedSources:
    """Sources as the method takes them, and what leads back to the user's units.

    Attributes
    ----------
    images : ndarray of shape (K, ..., M, N), float32
        Gray values, or the luma of colored sources, in [0, 1]: of planes, volumes or series.
    windows : tuple of (low, high)
        For each source the values that became 0 and 1, in the source's units.
    dtypes : tuple of numpy.dtype
        The type of each source.
    chroma : ndarray of shape (2, ..., M, N) or None
        Cb and Cr in [-0.5, 0.5]; None when all sources are gray.
    descriptions : tuple of dict
        What a run record says of each source; see :func:`.describe_source`. Of parts, their names.
    own_pixels : tuple of OwnPixels, OwnFrames or None
        What each source was interpolated from, in gray and in [0, 1] as the images; None for a
        source that was not. Empty where none was.
    inside : tuple of ndarray of shape (..., M, N), bool, or None
        Which pixels each source saw; None for a source that saw all. Empty where all did.
    observations : tuple of Observation, ObservedFrames or None
        What each source saw on its own pixels, and what its sensor lost of what these pixels could
        show; None for a source that lost nothing. Empty where none did.
    place : Source or None
        The source whose pixels these are, by its axes, affine and units; None where nothing is
        known of them.
    grid : dict
        What a run record says of how the sources were brought to this place; empty where they
        lay there.
    axes : tuple of str
        Names of the axes of an image.
    steps : tuple of float
        Distance between neighbors along each of these axes, in pixels of a plane: 1 for rows and
        columns. Infinite along axes that are none of space, whose frames share nothing.
    """

    images: Floats
    windows: tuple[Window, ...]
    dtypes: tuple[np.dtype[Any], ...]
    chroma: Floats | None = None
    descriptions: tuple[dict[str, Any], ...] = ()
    own_pixels: tuple[OwnPixels | OwnFrames | None, ...] = ()
    inside: tuple[NDArray[np.bool_] | None, ...] = ()
    observations: tuple[Observation | ObservedFrames | None, ...] = ()
    place: Source | None = None
    grid: dict[str, Any] = field(default_factory=dict)
    axes: tuple[str, ...] = ("y", "x")
    steps: tuple[float, ...] = (1.0, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes of an image, the last of which are rows and columns."""
        return self.images.shape[1:]

    @property
    def stack_axes(self) -> tuple[str, ...]:
        """Names of the axes that come before rows and columns; none for planes."""
        return self.axes[:-2]

    @property
    def plane_count(self) -> int:
        """Number of planes."""
        return math.prod(self.shape[:-2])

    def take(self, index: tuple[int, ...]) -> "PreparedSources":
        """Return what lies at an index along the first axes: a plane, or a frame of a series.

        Parameters
        ----------
        index : tuple of int
            One number for each of the first axes.
        """
        count = len(index)
        there: tuple[Any, ...] = (slice(None), *index)
        images: Floats = self.images[there]
        chroma: Floats | None = None if self.chroma is None else self.chroma[there]
        return replace(
            self,
            images=images,
            chroma=chroma,
            own_pixels=tuple(take_own(own, index) for own in self.own_pixels),
            inside=tuple(None if i is None else i[index] for i in self.inside),
            observations=tuple(take_observation(o, index) for o in self.observations),
            axes=self.axes[count:],
            steps=self.steps[count:],
        )

    def add_color(self, luma: Floats) -> Floats:
        """Give a luma image of shape (..., M, N) the chroma of the sources.

        Returns
        -------
        ndarray of shape (..., M, N, 3) or (..., M, N)
            In [0, 1]. Chroma that leaves the range is reduced, so that the
            luma of the result is exactly `luma`. Gray sources: `luma` itself.
        """
        if self.chroma is None:
            return luma
        rgb = np.empty((*luma.shape, 3), dtype=np.float32)
        for index in np.ndindex(luma.shape[:-2]):
            rgb[index] = add_chroma(luma[index], self.chroma[:, *index])
        return rgb

    def rescale(
        self, image: NDArray[Any], *, like: int, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        """Map an image in [0, 1] to the units of one of the sources.

        Parameters
        ----------
        image : ndarray
            Values in [0, 1].
        like : int
            Index of the source.
        dtype : dtype, optional
            Type of the result; that of the source by default. Integers are
            rounded and clipped to the type's range.

        Raises
        ------
        ValueError
            If there is no such source.
        """
        if not 0 <= like < len(self.windows):
            raise ValueError(f"like must be a source from 0 to {len(self.windows) - 1}, got {like}")
        kind = np.dtype(self.dtypes[like] if dtype is None else dtype)
        rescaled = np.empty(image.shape, dtype=kind)
        for part in cut_parts(image):
            rescaled[part] = rescale_values(image[part], self.windows[like], kind)
        return rescaled


def take_own(own: OwnPixels | OwnFrames | None, index: tuple[int, ...]) -> OwnPixels | None:
    """Return what a frame was interpolated from.

    Parameters
    ----------
    own : OwnPixels, OwnFrames or None
        Of all frames.
    index : tuple of int
        Of the frame; empty where there is but one.
    """
    if isinstance(own, OwnFrames):
        return own.take(index)
    # Of a volume that is taken apart into planes, what each was interpolated from is not known.
    return own if not index else None


def find_flat_sources(prepared: PreparedSources) -> list[int]:
    """Return which sources show next to nothing: nearly all of their pixels have one value.

    Parameters
    ----------
    prepared : PreparedSources

    Returns
    -------
    list of int
        Their indices. A few bright spots on black are something to see.
    """
    # Of a volume a million pixels tell as much as all, and without copies of it.
    every = max(prepared.images[0].size // PART_PIXELS, 1)
    samples = [image.ravel()[::every] for image in prepared.images]
    return [
        number
        for number, sample in enumerate(samples)
        if np.mean(np.abs(sample - np.median(sample)) > _ONE_LEVEL) < _FEW
    ]
