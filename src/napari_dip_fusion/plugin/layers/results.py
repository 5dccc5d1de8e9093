"""What becomes of fused images and gain maps: layers with names, places, colours, metadata."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims, ViewerModel
from napari.layers import Image, Layer
from napari.utils.naming import inc_name_count
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.plugin.layers.planes import (
    layer_plane,
    level_factors,
    physical_affine,
    plane_axes,
)
from napari_dip_fusion.sources.prepare import PreparedSources

GAIN_COLORMAP = "viridis"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a fused plane goes: taken when a run starts, used whenever it has an image.

    Attributes
    ----------
    spatial : dict
        The seven spatial arguments of ``viewer.add_image``, the reference's own
        up to the place of the slice and the size of the level's pixels.
    axes : tuple of int
        Axes of the reference that are not in the plane. The result has length 1
        there, so that napari shows it at this slice only.
    plane : dict
        Reference, level and slice, of values that JSON can hold.
    """

    spatial: dict[str, Any]
    axes: tuple[int, ...]
    plane: dict[str, Any]

    def array(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image of shape (M, N) or (M, N, 3) as data for the layer."""
        return np.expand_dims(image, self.axes)


def placement(reference: Image, dims: Dims, *, level: int = 0) -> Placement:
    """Return where a plane fused on the grid of the reference goes.

    Parameters
    ----------
    reference : Image
    dims : Dims
        ``viewer.dims``, at the slice that was fused.
    level : int
        From :func:`~napari_dip_fusion.plugin.layers.planes.chosen_level`.

    Raises
    ------
    ValueError
        If the reference has no data at this slice.
    """
    plane = layer_plane(reference, dims, plane_axes([reference], dims), level)
    factors = level_factors(reference, level)
    # Pixel 0 of the result, in pixels of the full resolution.
    corner = factors * plane.index + (factors - 1) / 2
    physical = physical_affine(reference)
    spatial = {
        "scale": reference.scale * factors,
        "translate": reference.translate + physical.linear_matrix @ corner,
        "rotate": np.array(reference.rotate),
        "shear": np.array(reference.shear),
        "affine": np.array(reference.affine.affine_matrix),
        "units": tuple(reference.units),
        "axis_labels": tuple(reference.axis_labels),
    }
    axes = tuple(a for a in range(reference.ndim) if a not in plane.axes)
    described = {
        "reference": reference.name,
        "axes": list(plane.axes),
        "slice": [None if a in plane.axes else plane.index[a] for a in range(reference.ndim)],
        "level": level,
    }
    return Placement(spatial, axes, described)


def result_spatial(reference: Image, dims: Dims, *, level: int = 0) -> dict[str, Any]:
    """Return the spatial arguments of ``viewer.add_image``; see :func:`placement`.

    They fit data with as many axes as the reference, as
    :meth:`Placement.array` makes them.
    """
    return placement(reference, dims, level=level).spatial


def fresh_name(viewer: ViewerModel, name: str) -> str:
    """Return a name that no layer has: the wished one, or numbered like napari's."""
    taken = {layer.name for layer in viewer.layers}
    while name in taken:
        name = inc_name_count(name)
    return name


def fused_name(layers: Sequence[Layer]) -> str:
    """Return a name for the fused layer, before :func:`fresh_name`."""
    return f"fused {' + '.join(layer.name for layer in layers)}"


def consensus_name(layers: Sequence[Layer]) -> str:
    """Return a name for the consensus layer, before :func:`fresh_name`."""
    return f"consensus {' + '.join(layer.name for layer in layers)}"


def consensus_image(sources: PreparedSources, consensus: NDArray[Any]) -> NDArray[Any]:
    """Return T as it is shown beside the fused image: in [0, 1] and in colour as that one.

    Parameters
    ----------
    sources : PreparedSources
        As in the event ``GainsReady`` or a ``FusionResult``.
    consensus : ndarray of shape (M, N)
        Gains of scale ``unit-norm`` lift it above 1, where it is clipped.
    """
    return sources.add_color(np.clip(consensus, 0, 1))


def fused_layer_kwargs(
    place: Placement, name: str, *, rgb: bool = False, result: FusionResult | None = None
) -> dict[str, Any]:
    """Return arguments of ``viewer.add_image`` for a fused, consensus or preview image.

    Parameters
    ----------
    place : Placement
    name : str
        From :func:`fresh_name`.
    rgb : bool
        Whether the image is in colour.
    result : FusionResult, optional
        Fills ``metadata["dip_fusion"]``; see :func:`fusion_metadata`.
    """
    return {
        "name": name,
        "rgb": rgb,
        "contrast_limits": (0.0, 1.0),
        "metadata": {} if result is None else fusion_metadata(result, place),
        **place.spatial,
    }


def gain_layer_kwargs(place: Placement, name: str) -> dict[str, Any]:
    """Return arguments of ``viewer.add_image`` for a gain map.

    All gain maps have the same colours for the same gain.
    """
    return {
        "name": name,
        "rgb": False,
        "colormap": GAIN_COLORMAP,
        "contrast_limits": (0.0, 1.0),
        **place.spatial,
    }


def fusion_metadata(result: FusionResult, place: Placement) -> dict[str, Any]:
    """Return layer metadata: under ``dip_fusion`` the run record, metrics and plane."""
    return {
        "dip_fusion": {
            "record": result.record,
            "metrics": result.metrics,
            "plane": place.plane,
        }
    }


def add_gain_layers(
    viewer: ViewerModel,
    gains: NDArray[Any],
    layers: Sequence[Layer],
    place: Placement,
    *,
    base_gains: NDArray[Any] | None = None,
) -> list[Image]:
    """Add one layer for each gain map of shape (K, M, N), named after source and band."""
    bands = {"": gains}
    if base_gains is not None:
        bands = {" (base)": base_gains, " (details)": gains}
    added = []
    for i, layer in enumerate(layers):
        for band, maps in bands.items():
            name = fresh_name(viewer, f"{layer.name} gain{band}")
            image = place.array(maps[i])
            added.append(viewer.add_image(image, **gain_layer_kwargs(place, name)))
    return added


def add_fused_layer(
    viewer: ViewerModel,
    image: NDArray[Any],
    name: str,
    place: Placement,
    *,
    result: FusionResult | None = None,
) -> Image:
    """Add a fused, consensus or preview image in [0, 1] under a fresh name."""
    arguments = fused_layer_kwargs(
        place, fresh_name(viewer, name), rgb=image.ndim == 3, result=result
    )
    return viewer.add_image(place.array(image), **arguments)


def recorded_config(layers: Iterable[Layer]) -> tuple[FusionConfig, str]:
    """Return the settings in the run record of the first layer that has one, and its name.

    Raises
    ------
    ValueError
        If no layer has a run record, or its settings cannot be used.
    """
    for layer in layers:
        known = layer.metadata.get("dip_fusion")
        record = known.get("record") if isinstance(known, Mapping) else None
        if isinstance(record, Mapping) and isinstance(record.get("config"), Mapping):
            try:
                return FusionConfig.from_dict(record["config"]), layer.name
            except ValueError as error:
                raise ValueError(
                    f"the run record of {layer.name} cannot be used: {error}"
                ) from error
    raise ValueError("select a fused layer that carries its run record")
