"""What is fused at once of a volume or a series, and what is found of all of it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.analysis import Analysis
from napari_dip_fusion.sources.prepare import PreparedSources

Floats = NDArray[np.float32]
Index = tuple[int, ...]


def count_frame_axes(prepared: PreparedSources, config: FusionConfig) -> int:
    """Return how many of the first axes of the sources frames are counted along.

    A frame is fused at once: a plane, or a volume of a series. Of axes of no space frames share
    nothing, and planes share nothing where the settings say so.
    """
    if config.gains.volumes == "planes":
        return len(prepared.shape) - 2
    return sum(math.isinf(step) for step in prepared.steps)


@dataclass(eq=False)
class Findings:
    """What was found of the sources beside the fused image; see :class:`.FusionResult`."""

    gains: Floats | None = None
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    consensus: Floats | None = None
    noise: tuple[float, ...] = ()
    floor: float = 0.0

    @classmethod
    def copy(cls, analysis: Analysis) -> "Findings":
        """Return what is given out of an analysis: copies, since it may be changed."""
        model = analysis.model
        arrays = () if model is None else (model.gains, model.base_gains, model.undershoot)
        copies = (None if a is None else a.copy() for a in arrays)
        consensus = analysis.consensus.copy()
        return cls(*copies, consensus=consensus, noise=analysis.noise, floor=analysis.floor)

    @classmethod
    def take(cls, analysis: Analysis) -> "Findings":
        """Return what is given out of an analysis that nobody needs any more, without copies."""
        model = analysis.model
        arrays = () if model is None else (model.gains, model.base_gains, model.undershoot)
        return cls(*arrays, consensus=analysis.consensus, noise=analysis.noise, floor=analysis.floor)

    def put(self, index: Index, analysis: Analysis, shape: tuple[int, ...]) -> None:
        """Take what was found of one frame.

        Parameters
        ----------
        index : tuple of int
        analysis : Analysis
            Of the frame.
        shape : tuple of int
            Of all images together.
        """
        found = self.take(analysis)
        for name in ("gains", "base_gains", "undershoot", "consensus"):
            part = getattr(found, name)
            if part is None:
                continue
            sources = (len(found.noise),) if name.endswith("gains") else ()
            if getattr(self, name) is None:
                setattr(self, name, np.zeros((*sources, *shape), dtype=np.float32))
            getattr(self, name)[(slice(None),) * len(sources) + index] = part
        self.noise = tuple(map(max, found.noise, self.noise or found.noise))
