"""Metrics of images and of the baselines, against the same sources."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.fusion import FusionResult, estimate_gains
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.methods.baselines import make_baselines
from napari_dip_fusion.metrics import PlaneScores, average_planes, evaluate_planes
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import read_on_grid
from napari_dip_fusion.sources import Source
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
    planes : tuple of PlaneScores
        Of each image, then of each baseline, the values of every plane, of which those above are
        the means.
    """

    images: tuple[Values, ...]
    baselines: Mapping[str, Values]
    planes: tuple[PlaneScores, ...] = ()


def score_layers(
    plan: Plan, images: Sequence[PlaneReader | WholeReader], which: Sequence[str]
) -> Scores:
    """Read layers and score them against the sources of a plan; runs in a worker thread.

    Parameters
    ----------
    plan : Plan
        Its settings say how the sources become [0, 1], and what their gains are.
    images : sequence of PlaneReader or WholeReader
        On the grid of the plan. Floats in [0, 1] and 8-bit values are taken as
        they are, others by their own minimum and maximum; color counts by its luma.
    which : sequence of str
        Names of metrics.
    """
    # The ticked layers may be others than those of the last run: nothing of it is used.
    ready = estimate_gains(read_on_grid(plan), plan.config)
    prepared = ready.sources.images
    planes = [scale_to_unit_range(reader.read(), name=reader.name) for reader in images]
    scored = [_score(prepared, plane, which) for plane in planes]
    return _gather(scored, _score_baselines(prepared, ready.consensus, which))


def score_result(result: FusionResult, which: Sequence[str]) -> Scores:
    """Score a fused image against its own sources; runs in a worker thread.

    Nothing is read or estimated again: the result holds its prepared sources.

    Parameters
    ----------
    result : FusionResult
    which : sequence of str
        Names of metrics.
    """
    own = _score_itself(result, which)
    prepared = result.sources.images
    if _is_consensus(result):
        # It is not scored twice: of a stack that takes as long as the fusion.
        baselines = {"consensus": own, **_score_baselines(prepared, None, which)}
    else:
        baselines = _score_baselines(prepared, result.consensus, which)
    return _gather([own], baselines)


def take_scores(result: FusionResult, which: Sequence[str]) -> Scores | None:
    """Return the scores that a run has computed itself, None if others are wanted."""
    if not set(which) <= set(result.metrics):
        return None
    return _gather([_score_itself(result, which)], {})


def _is_consensus(result: FusionResult) -> bool:
    """Tell whether the image of a run is its consensus image, as it is without a network."""
    if result.consensus is None or result.sources.chroma is not None:
        return False
    return np.array_equal(result.image, np.clip(result.consensus, 0, 1))


def _score_itself(result: FusionResult, which: Sequence[str]) -> PlaneScores:
    # The run has computed the metrics of the paper; others only where they are wanted.
    if set(which) <= set(result.metrics):
        known = result.plane_metrics or result.metrics
        return {metric: np.asarray(known[metric]) for metric in which}
    image = Source(result.image, rgb=result.sources.chroma is not None)
    return _score(result.sources.images, scale_to_unit_range(image), which)


def _gather(images: Sequence[PlaneScores], baselines: Mapping[str, PlaneScores]) -> Scores:
    return Scores(
        tuple(average_planes(scores) for scores in images),
        {name: average_planes(scores) for name, scores in baselines.items()},
        (*images, *baselines.values()),
    )


def score_images(
    prepared: NDArray[Any], images: Sequence[Source], which: Sequence[str]
) -> list[Values]:
    """Score images in [0, 1] against prepared sources; runs in a worker thread."""
    return [average_planes(_score(prepared, scale_to_unit_range(image), which)) for image in images]


def _score_baselines(
    prepared: NDArray[Any], consensus: NDArray[Any] | None, which: Sequence[str]
) -> dict[str, PlaneScores]:
    images = make_baselines(prepared, consensus)
    return {name: _score(prepared, image, which) for name, image in images.items()}


def _score(prepared: NDArray[Any], image: NDArray[Any], which: Sequence[str]) -> PlaneScores:
    with stage("metrics", math.prod(prepared.shape[1:-2])):
        return evaluate_planes(prepared, image, data_range=1.0, which=which)
