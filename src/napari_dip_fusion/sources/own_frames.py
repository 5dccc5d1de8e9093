"""Own pixels with the values of prepared sources: in gray and in [0, 1], of images and series."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from napari_dip_fusion.config import Window
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.own_pixels import InterpolatedSeries, InterpolatedSource, OwnPixels
from napari_dip_fusion.sources.scaling import cut_parts, scale_values
from napari_dip_fusion.sources.source import Source

__all__ = ["OwnFrames", "find_own_values"]


@dataclass(frozen=True, eq=False)
class OwnFrames:
    """What the frames of a series were interpolated from, which is read when it is asked for.

    Attributes
    ----------
    find : callable
        Takes the index of a frame, and returns its :class:`.OwnPixels` in the source's units.
    window : (low, high)
        The values that become 0 and 1.
    axes : int
        How many numbers an index has.
    """

    find: Callable[[tuple[int, ...]], OwnPixels | None]
    window: Window
    axes: int

    def take(self, index: tuple[int, ...]) -> OwnPixels | None:
        """Return the pixels of a frame, in gray and in [0, 1]; None of a part of a frame."""
        own = self.read(index) if len(index) == self.axes else None
        return None if own is None or not own.tells_noise else own.take_core()

    def read(self, index: tuple[int, ...]) -> OwnPixels | None:
        """Return the pixels of a frame, even where they tell nothing of the noise."""
        own = self.find(index)
        return None if own is None else _scale_own(own, self.window)


def find_own_values(source: Source, window: Window) -> OwnPixels | OwnFrames | None:
    """Return what a source was interpolated from, with the values of a prepared source.

    Parameters
    ----------
    source : Source
    window : (low, high)
        The values that become 0 and 1.

    Returns
    -------
    OwnPixels, OwnFrames or None
        None where the source was not interpolated, or that is not known.
    """
    if isinstance(source, InterpolatedSource):
        return _scale_own(source.own_pixels, window)
    if isinstance(source, InterpolatedSeries):
        return OwnFrames(source.find_own_pixels, window, source.frame_axes)
    return None


def _scale_own(own: OwnPixels, window: Window) -> OwnPixels:
    """Return own pixels in gray and in [0, 1]."""
    planes = np.empty(own.planes.shape[: own.weights.ndim], dtype=np.float32)
    seen = None if own.seen is None else own.seen.copy()
    for number, (image, pixels) in enumerate(zip(planes, own.planes, strict=True)):
        for part in cut_parts(image):
            scaled = scale_values(pixels[part][..., :3] if own.rgb else pixels[part], window)
            image[part] = scaled @ LUMA if own.rgb else scaled
            # The target may pass by pixels that are not a number, such as those around a
            # scanner's field: they were not seen.
            known = np.isfinite(image[part])
            if not known.all():
                seen = np.ones(planes.shape, dtype=bool) if seen is None else seen
                seen[number][part] &= known
        if seen is not None:
            image[~seen[number]] = 0
    return replace(own, planes=planes, seen=seen)
