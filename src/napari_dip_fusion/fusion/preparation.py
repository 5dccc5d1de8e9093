"""Sources of any kind to the sources of a run: on one grid, in [0, 1], and large enough."""

import math
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources, bring_together
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources, find_flat_sources

MIN_SIZE = 8
"""Smallest height and width in pixels: the window of the Piella-Heijmans metric."""

Sources = Sequence[ArrayLike | Source] | GridSources | PreparedSources
"""What a fusion takes."""


@dataclass(frozen=True)
class Given:
    """What is to be fused, and how it is brought to one grid; see :func:`.fuse`."""

    sources: Sources
    names: Sequence[str] | None = None
    paths: Sequence[str | None] | None = None
    reference: int | None = None
    plane: int | str | None = None
    interpolation: str = "linear"

    def prepare(
        self, config: FusionConfig, control: Control
    ) -> Generator[PlanesDone, None, PreparedSources]:
        """Return the sources in [0, 1] on one grid, and refuse those that are too small."""
        sources = self.sources
        if isinstance(sources, PreparedSources):
            prepared = sources
        else:

            def work() -> PreparedSources:
                placed = bring_together(
                    sources,
                    reference=self.reference,
                    plane=self.plane,
                    interpolation=self.interpolation,
                )
                return prepare_sources(
                    placed,
                    intensity=config.intensity,
                    percentiles=config.percentiles,
                    restore=config.restoration.restore,
                    names=self.names,
                    paths=self.paths,
                )

            prepared = yield from observe(work, control.watch, _count_planes(sources))
        rows, columns = prepared.shape[-2:]
        if min(rows, columns) < MIN_SIZE:
            raise ValueError(
                f"images must be at least {MIN_SIZE}x{MIN_SIZE} pixels, got {rows}x{columns}"
            )
        _warn_of_flat_sources(prepared)
        return prepared


def _count_planes(sources: Sequence[ArrayLike | Source] | GridSources) -> int:
    """Return how many planes there may be to prepare."""
    if isinstance(sources, GridSources):
        return math.prod(sources.place.shape[:-2])
    shapes = [s.shape if isinstance(s, Source) else np.shape(s) for s in sources]
    return max((math.prod(shape[:-2]) for shape in shapes), default=1)


def _warn_of_flat_sources(prepared: PreparedSources) -> None:
    for number in find_flat_sources(prepared):
        low, high = prepared.windows[number]
        warnings.warn(
            f"{prepared.descriptions[number]['name']} is nearly constant here in its intensity "
            f"window, {low:g} to {high:g}: next to nothing of it will be seen",
            stacklevel=2,
        )
