"""The layers that a run adds: fused, consensus and gain images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.naming import inc_name_count
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.sources import GUESSED_PLACE
from napari_dip_fusion.sources.prepared import PreparedSources

GAIN_COLORMAP = "viridis"

ROLE = "role"
"""Key of layer metadata that says what an image is for, as those of the samples have it."""

_ORIGINALS = (None, "source")


def find_free_name(viewer: ViewerModel, name: str) -> str:
    """Return a name that no layer has: the wished one, or it with a number as napari counts."""
    taken = {layer.name for layer in viewer.layers}
    while name in taken:
        name = inc_name_count(name)
    return name


def is_original(layer: Layer) -> bool:
    """Tell whether a layer is an image to fuse: no result, no preview of one, and no truth."""
    return "dip_fusion" not in layer.metadata and layer.metadata.get(ROLE) in _ORIGINALS


def name_fused(names: Sequence[str]) -> str:
    """Return a name for the fused image of sources with these names."""
    return f"fused {' + '.join(names)}"


def name_network(names: Sequence[str]) -> str:
    """Return a name for what the network makes of sources with these names, while it runs."""
    return f"network of {' + '.join(names)} (preview)"


def name_consensus(names: Sequence[str]) -> str:
    """Return a name for the consensus image of sources with these names."""
    return f"consensus {' + '.join(names)}"


def show_consensus(sources: PreparedSources, consensus: NDArray[Any]) -> NDArray[Any]:
    """Return T as it is shown beside the fused image: in [0, 1], and in color if that is.

    Parameters
    ----------
    sources : PreparedSources
        As in the event ``GainsReady`` or a ``FusionResult``.
    consensus : ndarray of shape (..., M, N)
        Gains of scale ``unit-norm`` lift it above 1, where it is clipped.
    """
    return sources.add_color(np.clip(consensus, 0, 1))


def make_metadata(
    record: dict[str, Any], metrics: dict[str, float], place: Placement
) -> dict[str, Any]:
    """Return layer metadata: under ``dip_fusion`` the run record, metrics and plane."""
    guess = {GUESSED_PLACE: place.guess} if place.guess else {}
    return {"dip_fusion": {"record": record, "metrics": metrics, "plane": place.plane}, **guess}


def add_fused_layer(
    viewer: ViewerModel,
    image: NDArray[Any],
    name: str,
    place: Placement,
    *,
    metadata: dict[str, Any] | None = None,
) -> Image:
    """Add a fused, consensus or preview image under a fresh name that says its slice.

    Parameters
    ----------
    viewer : ViewerModel
    image : ndarray
        In [0, 1], of the shape of the place, and perhaps in color.
    name : str
        Wish for a name.
    place : Placement
    metadata : dict, optional
        From :func:`make_metadata`; without them it is marked as a preview.
    """
    return viewer.add_image(
        place.expand(image),
        name=find_free_name(viewer, place.add_slice(name)),
        # napari would take an image of three columns for a color one.
        rgb=place.is_color(image),
        # The same for all results, so that the eye can compare them.
        contrast_limits=(0.0, 1.0),
        metadata=metadata or {ROLE: "preview"},
        **place.spatial,
    )


def add_gain_layers(
    viewer: ViewerModel,
    gains: NDArray[Any],
    names: Sequence[str],
    place: Placement,
    *,
    base_gains: NDArray[Any] | None = None,
) -> list[Image]:
    """Add one layer for each gain map, named after source, band and slice.

    All of them have the same colors for the same gain.

    Parameters
    ----------
    viewer : ViewerModel
    gains : ndarray of shape (K, ..., M, N)
        In two bands, those of the details.
    names : sequence of K str
        Names of the sources.
    place : Placement
    base_gains : ndarray of shape (K, ..., M, N), optional
        In two bands, those of the base.
    """
    # As they are called in the settings: a base, and its details.
    bands = {"": gains}
    if base_gains is not None:
        bands = {" (base)": base_gains, " (details)": gains}
    return [
        viewer.add_image(
            place.expand(maps[i]),
            name=find_free_name(viewer, place.add_slice(f"{source} gain{band}")),
            rgb=False,
            colormap=GAIN_COLORMAP,
            contrast_limits=(0.0, 1.0),
            metadata={ROLE: "gains"},
            **place.spatial,
        )
        for i, source in enumerate(names)
        for band, maps in bands.items()
    ]
