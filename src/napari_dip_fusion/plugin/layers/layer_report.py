"""Whether chosen layers can be fused, and what to know beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from napari.components import Dims
from napari.layers import Image, Layer

from napari_dip_fusion.fusion import MIN_SIZE
from napari_dip_fusion.plugin.layers.planes import (
    find_finest,
    find_plane,
    find_plane_axes,
    find_world_units,
    get_guess,
    get_unit_factors,
)
from napari_dip_fusion.plugin.layers.shared_axes import require_one_world
from napari_dip_fusion.plugin.layers.thick_slice import find_grid
from napari_dip_fusion.sources.coverage import (
    Coverage,
    format_part,
    list_coverage_warnings,
    measure_both_ways,
)
from napari_dip_fusion.sources.resample import is_on_grid


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
    coverage : dict of layer to Coverage
        How much each layer and the reference's plane see of each other.
    resampled : tuple of str
        Names of the layers that do not lie on the reference's grid.
    """

    ok: bool
    message: str
    warnings: tuple[str, ...] = ()
    coverage: Mapping[Layer, Coverage] = field(default_factory=dict)
    resampled: tuple[str, ...] = ()


def check_layers(layers: Sequence[Layer], reference: Layer | None, dims: Dims) -> LayerReport:
    """Say whether layers can be fused at the slice now shown.

    No pixels are read, so that this may follow every change of the viewer.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the fusion.
    reference : Layer or None
        Whose grid the result takes; the finest of the layers if None.
    dims : Dims
        ``viewer.dims``.
    """
    problem = _find_problem(layers)
    if problem:
        return LayerReport(False, problem)
    try:
        images = [*map(_require_image, layers)]
        target = find_finest(images, dims) if reference is None else _require_image(reference)
        return _report_grids(images, target, dims)
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
    units = find_world_units([reference, *layers])
    axes = find_plane_axes([*layers, reference], dims)
    for layer in layers:
        require_one_world(layer, reference, [a - dims.ndim for a in axes])
    target = find_plane(reference, dims, axes, units=units)
    if min(target.shape) < MIN_SIZE:
        rows, columns = target.shape
        raise ValueError(
            f"{reference.name} has {rows} x {columns} pixels here; {MIN_SIZE} x {MIN_SIZE} are "
            "the fewest for a fusion"
        )
    coverage: dict[Layer, Coverage] = {}
    resampled, projected = [], []
    for layer in layers:
        # The finest level stands for all of them: their borders coincide.
        own = find_grid(layer, dims, target, units)
        grid = (own.affine, own.shape, target.affine[-layer.ndim - 1 :], target.shape)
        coverage[layer] = measure_both_ways(*grid)
        # Most often the scale of one layer is missing, or the slider is elsewhere.
        if coverage[layer].of_target == 0:
            raise ValueError(
                f"{layer.name} does not overlap {reference.name} here; check the layers' scale "
                "and translate, or move the slider"
            )
        if not is_on_grid(*grid):
            resampled.append(layer)
        if own.thick is not None:
            projected.append(f"{layer.name}: {own.thick}")
    warnings = [
        *(f"the place of {x.name} is a guess: {get_guess(x)}" for x in layers if get_guess(x)),
        *_list_warnings(reference, coverage),
        *_list_unit_warnings(layers, reference, dims),
    ]
    return LayerReport(
        True,
        "; ".join([_describe_grids(reference, resampled, coverage), *projected]),
        tuple(warnings),
        coverage,
        tuple(layer.name for layer in resampled),
    )


def _list_warnings(reference: Image, coverage: Mapping[Layer, Coverage]) -> list[str]:
    little = [
        line
        for layer, part in coverage.items()
        for line in list_coverage_warnings(layer.name, reference.name, part)
    ]
    return little + [
        f"{layer.name} has {layer.ndim} dimensions and {reference.name} {reference.ndim}; "
        "they are matched along the last ones"
        for layer in coverage
        if layer.ndim != reference.ndim
    ]


def _list_unit_warnings(layers: Sequence[Image], reference: Image, dims: Dims) -> list[str]:
    """Say where the units of layers let them be fused otherwise than they are drawn."""
    units = find_world_units([reference, *layers])
    scaled = [
        factor for layer in layers for factor in get_unit_factors(layer.units, units[-layer.ndim :])
    ]
    if dims.units is not None or np.allclose(scaled, 1):
        return []
    return [
        "napari draws these layers without their units, since a layer of the viewer has others "
        "that do not fit: they are fused by their units, not as they are drawn"
    ]


def _describe_grids(
    reference: Image, resampled: Sequence[Image], coverage: Mapping[Layer, Coverage]
) -> str:
    if not resampled:
        return f"{len(coverage)} layers on one grid"
    # One number for all: the worst is what one has to look at.
    covered = min(coverage[layer].of_target for layer in resampled)
    kept = min(coverage[layer].of_image for layer in resampled)
    names = ", ".join(layer.name for layer in resampled)
    return (
        f"{names} will be resampled to the grid of {reference.name} ({format_part(covered)} of it "
        f"covered, {format_part(kept)} of {names if len(resampled) == 1 else 'each'} used)"
    )


def _require_image(layer: Layer) -> Image:
    if not isinstance(layer, Image):
        raise ValueError(f"{layer.name} is not an image layer; choose another reference")
    return layer
