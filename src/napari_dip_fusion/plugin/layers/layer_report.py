"""Whether chosen layers can be fused, and what to know beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from napari.components import Dims
from napari.layers import Image, Layer

from napari_dip_fusion.fusion import MIN_SIZE
from napari_dip_fusion.plugin.layers.planes import (
    compute_world_affine,
    find_plane,
    find_plane_axes,
    get_level_shape,
)
from napari_dip_fusion.sources.resample import SMALL_COVERAGE, is_on_grid, measure_coverage


@dataclass(frozen=True)
class LayerReport:
    """Whether layers can be fused, for the user to read.

    Attributes
    ----------
    ok : bool
        Whether they can.
    message : str
        One line: what will be done, or why nothing can be and what to do.
    warnings : tuple of str
        What the user should know first, a line each.
    coverage : dict of layer to float
        Fraction of the reference's plane that each layer covers.
    resampled : tuple of str
        Names of the layers that do not lie on the reference's grid.
    """

    ok: bool
    message: str
    warnings: tuple[str, ...] = ()
    coverage: Mapping[Layer, float] = field(default_factory=dict)
    resampled: tuple[str, ...] = ()


def check_layers(layers: Sequence[Layer], reference: Layer | None, dims: Dims) -> LayerReport:
    """Say whether layers can be fused at the slice now shown.

    No pixels are read, so that this may follow every change of the viewer.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the fusion.
    reference : Layer or None
        Whose grid the result takes; the first layer if None.
    dims : Dims
        ``viewer.dims``.
    """
    problem = _find_problem(layers)
    if problem:
        return LayerReport(False, problem)
    first = layers[0] if reference is None else reference
    try:
        return _report_grids([*map(_require_image, layers)], _require_image(first), dims)
    except ValueError as error:
        return LayerReport(False, str(error))


def _find_problem(layers: Sequence[Layer]) -> str | None:
    """Return why layers cannot be fused, as far as it does not depend on their grids."""
    for layer in layers:
        if not isinstance(layer, Image):
            kind = type(layer).__name__.lower()
            return f"{layer.name} is a {kind} layer; choose image layers only"
        # Neither truth values nor complex numbers are intensities.
        if np.dtype(layer.dtype).kind not in "iuf":
            return f"{layer.name} holds {layer.dtype} values; convert it to integers or floats"
        if sum(layer is other for other in layers) > 1:
            return f"{layer.name} is chosen twice; choose each layer once"
    if len(layers) < 2:
        return f"choose two or more image layers (chosen: {len(layers)})"
    return None


def _report_grids(layers: list[Image], reference: Image, dims: Dims) -> LayerReport:
    """Return the report on layers that could be fused if they lay on one grid."""
    target = find_plane(reference, dims, find_plane_axes([*layers, reference], dims))
    if min(target.shape) < MIN_SIZE:
        rows, columns = target.shape
        raise ValueError(
            f"{reference.name} has {rows} x {columns} pixels here; {MIN_SIZE} x {MIN_SIZE} are "
            "the fewest for a fusion"
        )
    covered: dict[Layer, float] = {}
    resampled = []
    for layer in layers:
        # The finest level stands for all of them: their borders coincide.
        grid = (
            compute_world_affine(layer, dims),
            get_level_shape(layer),
            target.affine[-layer.ndim - 1 :],
            target.shape,
        )
        covered[layer] = measure_coverage(*grid)
        # Most often the scale of one layer is missing, or the slider is elsewhere.
        if covered[layer] == 0:
            raise ValueError(
                f"{layer.name} does not overlap {reference.name} here; check the layers' scale "
                "and translate, or move the slider"
            )
        if not is_on_grid(*grid):
            resampled.append(layer.name)
    return LayerReport(
        True,
        _describe_grids(reference, resampled, covered),
        tuple(_list_warnings(reference, covered)),
        covered,
        tuple(resampled),
    )


def _list_warnings(reference: Image, covered: Mapping[Layer, float]) -> list[str]:
    little = [
        f"{layer.name} covers only {part:.0%} of {reference.name}"
        for layer, part in covered.items()
        if part < SMALL_COVERAGE
    ]
    return little + [
        f"{layer.name} has {layer.ndim} dimensions and {reference.name} {reference.ndim}; "
        "they are matched along the last ones"
        for layer in covered
        if layer.ndim != reference.ndim
    ]


def _describe_grids(
    reference: Image, resampled: Sequence[str], covered: Mapping[Layer, float]
) -> str:
    if not resampled:
        return f"{len(covered)} layers on one grid"
    # One number for all: the worst is what one has to look at.
    least = min(covered.values())
    return (
        f"{', '.join(resampled)} will be resampled to the grid of {reference.name} "
        f"({least:.0%} covered)"
    )


def _require_image(layer: Layer) -> Image:
    if not isinstance(layer, Image):
        raise ValueError(f"{layer.name} is not an image layer; choose another reference")
    return layer
