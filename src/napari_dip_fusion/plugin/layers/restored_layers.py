"""The layers that show what a run made of each source, and which pixels each source saw."""

from collections.abc import Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.layers.result_layers import ROLE, find_free_name


def list_restored(result: FusionResult) -> list[int]:
    """Return the indices of the sources that a run restored, none if it restored none."""
    if result.restored is None:
        return []
    return [int(entry["source"]) for entry in result.record.get("restoration", ())]


def list_partly_seen(result: FusionResult) -> list[int]:
    """Return the indices of the sources that did not see all pixels of the result."""
    inside = enumerate(result.sources.inside)
    return [number for number, seen in inside if seen is not None and not seen.all()]


def add_restored_layers(
    viewer: ViewerModel, result: FusionResult, names: Sequence[str], place: Placement
) -> list[Image]:
    """Add a layer for each source that was restored, in its own units, and return them.

    Parameters
    ----------
    viewer : ViewerModel
    result : FusionResult
    names : sequence of K str
        Names of the sources.
    place : Placement
        Of the result.
    """
    added = []
    for number in list_restored(result):
        assert result.restored is not None
        image = result.sources.rescale(result.restored[number], like=number, dtype=np.float32)
        added.append(
            viewer.add_image(
                place.expand(image),
                name=find_free_name(viewer, place.add_slice(f"{names[number]} restored")),
                rgb=False,
                # As its source was taken, so that the eye can compare them.
                contrast_limits=result.sources.windows[number],
                metadata={ROLE: "restored"},
                **place.spatial,
            )
        )
    return added


def add_coverage_layers(
    viewer: ViewerModel, result: FusionResult, names: Sequence[str], place: Placement
) -> list[Labels]:
    """Add labels of 1 where a source saw something, for each that did not see all.

    Parameters
    ----------
    viewer, result, names, place
        As of :func:`add_restored_layers`.
    """
    return [
        viewer.add_labels(
            place.expand(np.asarray(result.sources.inside[number], dtype=np.uint8)),
            name=find_free_name(viewer, place.add_slice(f"{names[number]} coverage")),
            opacity=0.4,
            metadata={ROLE: "coverage"},
            **place.spatial,
        )
        for number in list_partly_seen(result)
    ]
