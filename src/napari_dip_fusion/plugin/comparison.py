"""Metrics of several images against the same prepared sources, for the table."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig, Window
from napari_dip_fusion.fusion import estimate_gains
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.sources import prepare_sources

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


def unit_range(
    image: NDArray[np.generic],
    *,
    intensity: str | Window | None = None,
    percentiles: Window = (0.5, 99.5),
) -> NDArray[np.float32]:
    """Bring an image of any origin to [0, 1], in grey.

    Parameters
    ----------
    image : ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
    intensity, percentiles
        As for :func:`~napari_dip_fusion.sources.prepare_sources`. By default
        floats in [0, 1] and 8-bit values are taken as they are, others by
        their own minimum and maximum.
    """
    values = np.asarray(image)
    if intensity is None:
        inside = values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
        intensity = "dtype" if inside or values.dtype == np.uint8 else "minmax"
    mode = intensity if isinstance(intensity, str) else (intensity, intensity)
    prepared = prepare_sources([values, values], intensity=mode, percentiles=percentiles)
    grey: NDArray[np.float32] = prepared.images[0]
    return grey
