"""Metrics of images and of the baselines, against the same sources."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.fusion import FusionResult, estimate_gains
from napari_dip_fusion.methods.baselines import BASELINES, make_baselines
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.sources.prepare import scale_to_unit_range

Scores = dict[str, dict[str, float]]
"""The values of each row of a table, by the names of row and metric."""


def score_layers(plan: Plan, images: Mapping[str, PlaneReader], which: Sequence[str]) -> Scores:
    """Read layers and score them against the sources of a plan; runs in a worker thread.

    Parameters
    ----------
    plan : Plan
        Its settings say how the sources become [0, 1], and what their gains are.
    images : mapping of row name to PlaneReader
        On the grid of the plan. Floats in [0, 1] and 8-bit values are taken as
        they are, others by their own minimum and maximum; color counts by its luma.
    which : sequence of str
        Names of metrics.

    Returns
    -------
    dict of row name to dict of metric name to value
        The images first, then the baselines. An image that is named like one of
        these gets ``(layer)`` behind its name.
    """
    # The ticked layers may be others than those of the last run: nothing of it is used.
    ready = estimate_gains([reader.read() for reader in plan.readers], plan.config)
    prepared = ready.sources.images
    scores = {
        _tell_apart(name): _score(prepared, scale_to_unit_range(reader.read().data), which)
        for name, reader in images.items()
    }
    baselines = make_baselines(prepared, ready.consensus)
    return scores | {name: _score(prepared, image, which) for name, image in baselines.items()}


def score_result(name: str, result: FusionResult, which: Sequence[str]) -> Scores:
    """Score a fused image against its own sources; runs in a worker thread.

    Nothing is read or estimated again: the result holds its prepared sources.

    Parameters
    ----------
    name : str
        Of the row of the fused image.
    result : FusionResult
    which : sequence of str
        Names of metrics.

    Returns
    -------
    dict of row name to dict of metric name to value
        The fused image first, then the baselines.
    """
    prepared, metrics = result.sources.images, result.metrics
    # The run has computed the metrics of the paper; others only where they are wanted.
    if not set(which) <= set(metrics):
        metrics = _score(prepared, scale_to_unit_range(result.image), which)
    scores = {_tell_apart(name): {metric: metrics[metric] for metric in which}}
    baselines = make_baselines(prepared, result.consensus)
    return scores | {name: _score(prepared, image, which) for name, image in baselines.items()}


def _score(prepared: NDArray[Any], image: NDArray[Any], which: Sequence[str]) -> dict[str, float]:
    return evaluate(prepared, image, data_range=1.0, which=which)


def _tell_apart(name: str) -> str:
    """Return a name for the row of a layer that is not the name of a baseline."""
    return f"{name} (layer)" if name in BASELINES else name
