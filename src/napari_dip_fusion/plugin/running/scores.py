"""Metrics of several images against the same prepared sources, for the table."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import estimate_gains
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.sources.prepare import unit_range

RULES = {
    "consensus T": "The closed-form image that the fusion aims at.",
    "average": "The mean of the prepared sources, pixel by pixel.",
    "maximum": "The largest of the prepared sources, pixel by pixel.",
}
"""Images that need no optimisation: what a fusion has to beat."""

Scores = dict[str, dict[str, float]]


class Reader(Protocol):
    """What has an image to read, like a PlaneReader."""

    def read(self) -> NDArray[Any]:
        """Return the image."""
        ...


def compare(
    sources: Sequence[Reader],
    images: Mapping[str, Reader],
    config: FusionConfig,
    which: Sequence[str],
) -> Scores:
    """Score images and the rules of :data:`RULES`; runs in a worker thread.

    Parameters
    ----------
    sources : sequence of Reader
    images : mapping of row name to Reader
        On the grid of the sources. Floats in [0, 1] and 8-bit values are
        taken as they are, others by their own minimum and maximum; colour
        counts by its luma. One named like a rule gets ``(layer)`` behind it.
    config : FusionConfig
        For the intensities of the sources, and their gains.
    which : sequence of str
        Names of metrics.

    Returns
    -------
    dict of row name to dict of metric name to value
    """
    ready = estimate_gains([reader.read() for reader in sources], config)
    prepared = ready.sources.images
    rows = {
        f"{name} (layer)" if name in RULES else name: unit_range(reader.read())
        for name, reader in images.items()
    }
    rules = (ready.consensus.clip(0, 1), prepared.mean(axis=0), prepared.max(axis=0))
    rows |= dict(zip(RULES, rules, strict=True))
    return {
        name: evaluate(prepared, image, data_range=1.0, which=which) for name, image in rows.items()
    }
