"""What is fused at once of a volume or a series."""

import math

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sources.prepare import PreparedSources


def count_frame_axes(prepared: PreparedSources, config: FusionConfig) -> int:
    """Return how many of the first axes of the sources frames are counted along.

    A frame is fused at once: a plane, or a volume of a series. Of axes of no space frames share
    nothing, and planes share nothing where the settings say so.
    """
    if config.gains.volumes == "planes":
        return len(prepared.shape) - 2
    return sum(math.isinf(step) for step in prepared.steps)
