"""What is fused at once of a volume or a series, and the noise of all of it."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.sensor.analysis import Analysis, SourceNoise, analyze, find_noise
from napari_dip_fusion.sources.prepared import PreparedSources, take_own

# Frames of which the own pixels are looked at for the noise of a series: it is one camera's.
_FRAMES = 8


def count_frame_axes(steps: Sequence[float], config: FusionConfig) -> int:
    """Return how many of the first axes of images of some steps frames are counted along.

    A frame is fused at once: a plane, or a volume of a series. Frames along an axis of no space
    share nothing, nor do planes where the settings say so.
    """
    if config.gains.volumes == "planes":
        return len(steps) - 2
    return sum(math.isinf(step) for step in steps)


def list_frames(prepared: PreparedSources, config: FusionConfig) -> Iterator[tuple[int, ...]]:
    """Yield the index of each frame along the axes that frames are counted along."""
    yield from np.ndindex(prepared.shape[: count_frame_axes(prepared.steps, config)])


def analyze_frame(
    frame: PreparedSources,
    config: FusionConfig,
    noise: Sequence[SourceNoise],
    watch: Callable[[], AbstractContextManager[None]],
    *,
    keep_model: bool = True,
    wanted: tuple[slice, ...] | None = None,
) -> Generator[PlanesDone, None, Analysis]:
    """Return the analysis of a plane or a volume, and yield how far it is.

    Parameters
    ----------
    frame : PreparedSources
        Of one frame.
    config, noise, keep_model, wanted
        As for :func:`.analyze`.
    watch : callable
        Returns the context that ends it, such as :meth:`.Control.watch`.
    """

    def work() -> Analysis:
        return analyze(
            frame.images,
            config,
            noise,
            own_pixels=[take_own(own, ()) for own in frame.own_pixels],
            inside=frame.inside,
            steps=frame.steps,
            keep_model=keep_model,
            wanted=wanted,
        )

    return (yield from observe(work, watch, frame.plane_count))


def find_noise_of_all(prepared: PreparedSources, config: FusionConfig) -> tuple[SourceNoise, ...]:
    """Return one estimate of the noise of each source, for all of its frames."""
    images = list(prepared.images)
    own_pixels = [take_own(own, ()) for own in prepared.own_pixels]
    count = count_frame_axes(prepared.steps, config)
    for number, own in enumerate(prepared.own_pixels):
        if count and own is not None:
            frames = list(list_frames(prepared, config))
            few = [take_own(own, index) for index in frames[:: -(-len(frames) // _FRAMES)]]
            own_pixels[number] = None
            if found := [f.planes[0] for f in few if f is not None]:
                images[number] = np.concatenate([f.reshape(-1, *f.shape[-2:]) for f in found])
    return find_noise(images, config, own_pixels)
