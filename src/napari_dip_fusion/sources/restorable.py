"""What is to be restored of sources that are fused, and from what."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import Window
from napari_dip_fusion.sources.footprint import Footprint, measure_footprint
from napari_dip_fusion.sources.observation import (
    Observation,
    ObservedFrames,
    make_observation,
    make_own_observation,
)
from napari_dip_fusion.sources.own_frames import OwnFrames
from napari_dip_fusion.sources.own_pixels import (
    InterpolatedSeries,
    InterpolatedSource,
    OwnPixels,
    ResampledSource,
)
from napari_dip_fusion.sources.source import Source

__all__ = ["observe_source", "widen_window"]

Floats = NDArray[np.float32]


def widen_window(window: Window, source: Source, mode: str | Window, restore: str) -> Window:
    """Return a window that holds the own pixels of a source that is restored, too.

    Interpolation lowers the peaks of large pixels: what is restored from them is higher.

    Parameters
    ----------
    window : (low, high)
        Of the interpolated source.
    source : Source
    mode : str or (low, high)
        How the window was found: only one of all values is widened.
    restore : {"auto", "always", "never"}
        As for :func:`.prepare_sources`.
    """
    by_limits = mode == "minmax" or (mode == "auto" and source.dtype != np.uint8)
    if not by_limits or not isinstance(source, (InterpolatedSource, InterpolatedSeries)):
        return window
    lost = source.footprint is not None and source.footprint.loses(restore)
    limits = source.own_limits if lost else None
    return window if limits is None else (min(window[0], limits[0]), max(window[1], limits[1]))


def observe_source(
    source: Source,
    image: Floats,
    own: OwnPixels | OwnFrames | None,
    inside: NDArray[np.bool_] | None,
    steps: Sequence[float],
    restore: str,
) -> Observation | ObservedFrames | None:
    """Return what a source saw on its own pixels, to be restored from.

    Parameters
    ----------
    source : Source
        On the pixels that are fused.
    image : ndarray of its shape, float32 in [0, 1]
        Its prepared pixels.
    own : OwnPixels, OwnFrames or None
        From :func:`.find_own_values`.
    inside : ndarray of its shape, bool, or None
        Which pixels it saw; None for all.
    steps : sequence of float
        Of the axes, as of :class:`.PreparedSources`.
    restore : {"auto", "always", "never"}
        As for :func:`.prepare_sources`.

    Returns
    -------
    Observation, ObservedFrames or None
        None where nothing is to be restored.
    """
    footprint = _find_footprint(source)
    # Frames share nothing, so they are looked at one by one.
    frame_axes = own.axes if isinstance(own, OwnFrames) else sum(map(math.isinf, steps))
    if footprint is None or any(map(math.isinf, steps[frame_axes:])):
        return None
    if own is None:
        footprint = footprint.take_last(image.ndim - frame_axes)
    loss = footprint.find_loss(restore)
    if loss is None:
        return None

    def find(index: tuple[int, ...]) -> Observation | None:
        pixels = own.read(index) if isinstance(own, OwnFrames) else own
        if pixels is not None:
            return make_own_observation(pixels, loss)
        if own is not None:
            return None
        seen = None if inside is None else inside[index]
        return make_observation(image[index], loss, seen, steps[frame_axes])

    return ObservedFrames(find, frame_axes, loss.text) if frame_axes else find(())


def _find_footprint(source: Source) -> Footprint | None:
    if isinstance(source, ResampledSource):
        return source.footprint
    if source.psf is None and not any(source.widths):
        return None
    identity = np.eye(source.ndim + 1)
    return measure_footprint(source, range(source.ndim), identity)
