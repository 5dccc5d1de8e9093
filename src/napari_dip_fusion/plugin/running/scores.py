"""Metrics of images and of the baselines, against the same sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.fusion import FusionResult, estimate_gains
from napari_dip_fusion.methods.baselines import make_baselines
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.sources.prepare import scale_to_unit_range

Values = Mapping[str, float]
"""The metrics of one image, by their names."""


@dataclass(frozen=True)
class Scores:
    """What images are worth beside the baselines.

    Attributes
    ----------
    images : tuple of Values
        In the order in which the images were given.
    baselines : mapping of name to Values
    """

    images: tuple[Values, ...]
    baselines: Mapping[str, Values]


def score_layers(plan: Plan, images: Sequence[PlaneReader], which: Sequence[str]) -> Scores:
    """Read layers and score them against the sources of a plan; runs in a worker thread.

    Parameters
    ----------
    plan : Plan
        Its settings say how the sources become [0, 1], and what their gains are.
    images : sequence of PlaneReader
        On the grid of the plan. Floats in [0, 1] and 8-bit values are taken as
        they are, others by their own minimum and maximum; color counts by its luma.
    which : sequence of str
        Names of metrics.
    """
    # The ticked layers may be others than those of the last run: nothing of it is used.
    ready = estimate_gains([reader.read() for reader in plan.readers], plan.config)
    prepared = ready.sources.images
    planes = [scale_to_unit_range(reader.read().data, name=reader.name) for reader in images]
    values = tuple(_score(prepared, plane, which) for plane in planes)
    return Scores(values, _score_baselines(prepared, ready.consensus, which))


def score_result(result: FusionResult, which: Sequence[str]) -> Scores:
    """Score a fused image against its own sources; runs in a worker thread.

    Nothing is read or estimated again: the result holds its prepared sources.

    Parameters
    ----------
    result : FusionResult
    which : sequence of str
        Names of metrics.
    """
    prepared, metrics = result.sources.images, result.metrics
    # The run has computed the metrics of the paper; others only where they are wanted.
    if not set(which) <= set(metrics):
        metrics = _score(prepared, scale_to_unit_range(result.image), which)
    values = {metric: metrics[metric] for metric in which}
    return Scores((values,), _score_baselines(prepared, result.consensus, which))


def score_images(
    prepared: NDArray[Any], images: Sequence[NDArray[Any]], which: Sequence[str]
) -> list[Values]:
    """Score images in [0, 1] against prepared sources; runs in a worker thread."""
    return [_score(prepared, scale_to_unit_range(image), which) for image in images]


def _score_baselines(
    prepared: NDArray[Any], consensus: NDArray[Any] | None, which: Sequence[str]
) -> dict[str, Values]:
    images = make_baselines(prepared, consensus)
    return {name: _score(prepared, image, which) for name, image in images.items()}


def _score(prepared: NDArray[Any], image: NDArray[Any], which: Sequence[str]) -> dict[str, float]:
    return evaluate(prepared, image, data_range=1.0, which=which)
