"""Whether chosen layers can be fused, and what to know beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from napari.components import Dims
from napari.layers import Image, Layer

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import MIN_SIZE
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.plugin.layers.levels import drop_single, get_level_shape
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader, make_plane_readers
from napari_dip_fusion.plugin.layers.planes import (
    find_finest,
    find_plane,
    find_plane_axes,
    find_world_units,
    get_guess,
    get_unit_factors,
)
from napari_dip_fusion.plugin.layers.restoration_report import describe_restoration
from napari_dip_fusion.plugin.layers.shared_axes import require_one_world
from napari_dip_fusion.plugin.layers.thick_slice import find_grid
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, make_whole_readers
from napari_dip_fusion.prior.devices import measure_free_memory
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.coverage import (
    Coverage,
    format_part,
    list_coverage_warnings,
    measure_both_ways,
)
from napari_dip_fusion.sources.grid import compare_grids
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
    fits : bool
        Whether the layers can be fused, and the memory holds what their closed form needs.
    restored : tuple of str
        Which layers are restored and why, a line each.
    is_interpolated : bool
        Whether any layer is brought to the reference's grid by interpolation alone.
    """

    ok: bool
    message: str
    warnings: tuple[str, ...] = ()
    coverage: Mapping[Layer, Coverage] = field(default_factory=dict)
    resampled: tuple[str, ...] = ()
    fits: bool = True
    restored: tuple[str, ...] = ()
    is_interpolated: bool = False


def is_stacked(layer: Image) -> bool:
    """Tell whether a layer has several planes."""
    return len(drop_single(get_level_shape(layer))) > 2


def check_layers(
    layers: Sequence[Layer],
    reference: Layer | None,
    dims: Dims,
    *,
    whole: bool = False,
    acquisitions: Sequence[Acquisition] = (),
    restore: str = "auto",
) -> LayerReport:
    """Say whether layers can be fused at the slice now shown, or all of their planes.

    No pixels are read, so that this may follow every change of the viewer.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the fusion.
    reference : Layer or None
        Whose grid the result takes; the finest of the layers if None.
    dims : Dims
        ``viewer.dims``.
    whole : bool
        Whether all planes are to be fused, wherever the sliders are.
    acquisitions : sequence of Acquisition
        How each layer was taken; of the last ones it may be left out.
    restore : {"auto", "always", "never", ""}
        As the settings have it; empty where the method knows nothing of sensors.
    """
    problem = _find_problem(layers)
    if problem:
        return LayerReport(False, problem, fits=False)
    try:
        images = [*map(_require_image, layers)]
        target = find_finest(images, dims) if reference is None else _require_image(reference)
        report = (_report_whole if whole else _report_grids)(images, target, dims)
        return _add_restorations(report, images, target, dims, acquisitions, restore, whole=whole)
    except ValueError as error:
        return LayerReport(False, str(error), fits=False)


def _add_restorations(
    report: LayerReport,
    layers: list[Image],
    reference: Image,
    dims: Dims,
    acquisitions: Sequence[Acquisition],
    restore: str,
    *,
    whole: bool,
) -> LayerReport:
    """Return a report that also says which layers are restored, and why."""
    readers: Sequence[PlaneReader | WholeReader]
    if whole:
        readers = make_whole_readers(layers, reference, acquisitions=acquisitions)
    else:
        readers = make_plane_readers(layers, reference, dims, acquisitions=acquisitions)
    told = {
        reader.name: line
        for reader in readers
        if restore and (line := describe_restoration(reader, reference.name, restore))
    }
    left = [name for name in report.resampled if restore == "never" or name not in told]
    return replace(report, restored=tuple(told.values()), is_interpolated=bool(left))


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


def _report_whole(layers: list[Image], reference: Image, dims: Dims) -> LayerReport:
    """Return the report on layers all of whose planes could be fused, if they fit together."""
    for layer in layers:
        require_one_world(layer, reference, [-2, -1])
    readers = make_whole_readers(layers, reference)
    place = readers[0].reference
    shape = drop_single(place.shape)
    if len(shape) == 2:
        raise ValueError(
            f"{reference.name} has one plane only; choose a reference that has several, or fuse "
            "this plane"
        )
    _require_size(reference, shape)
    for reader in readers:
        _require_one_series(reader.source, place)
    sources = [place, *(reader.source for reader in readers)]
    parts, moved = compare_grids(sources, reference=0)
    coverage: dict[Layer, Coverage] = dict(zip(layers, parts[1:], strict=True))
    for layer, part in coverage.items():
        if part.of_target == 0:
            raise ValueError(
                f"{layer.name} does not overlap {reference.name}; check the layers' scale and "
                "translate"
            )
    resampled = [layer for layer, other in zip(layers, moved[1:], strict=True) if other]
    needed = estimate_memory(
        FusionConfig(network="never"), shape, len(layers), steps=readers[0].steps
    )
    return LayerReport(
        True,
        f"{_describe_stack(place)}; {_describe_grids(reference, resampled, coverage)}",
        (
            *(f"the place of {x.name} is a guess: {get_guess(x)}" for x in layers if get_guess(x)),
            *_list_warnings(reference, coverage),
            *_list_unit_warnings(layers, reference, dims),
        ),
        coverage,
        tuple(layer.name for layer in resampled),
        fits=needed <= measure_free_memory("cpu"),
    )


def _list_series(source: Source) -> dict[str, int]:
    """Return the lengths of the axes that are not of space, by their names, where longer than 1."""
    axes = zip(source.axes, source.units, source.shape, strict=True)
    return {name: n for name, unit, n in axes if find_kind(name, unit) != "space" and n > 1}


def _count_space(source: Source) -> int:
    return len(source.shape) - sum(
        find_kind(*pair) != "space" for pair in zip(source.axes, source.units, strict=True)
    )


def _require_one_series(source: Source, place: Source) -> None:
    """Refuse a source whose planes or frames are not those of the reference."""
    frames, wanted = _list_series(source), _list_series(place)
    # A plane that is given as a volume has its place among the others.
    own, other = (_count_space(image) for image in (source, place))
    if own + len(frames) != other + len(wanted):
        raise ValueError(
            f"{source.name} has {own + len(frames)} dimensions ({_list_sizes(source)}) and "
            f"{place.name} {other + len(wanted)} ({_list_sizes(place)}); stacks that are fused "
            "whole must have the same ones: fuse this plane, or make a layer of one volume of the "
            "series"
        )
    if frames != wanted:
        raise ValueError(
            f"{source.name} has {_list_frames(frames)} and {place.name} {_list_frames(wanted)}; "
            "frames are fused one by one, so that both need the same number: leave those out that "
            "only one has"
        )


def _list_sizes(source: Source) -> str:
    pairs = zip(source.axes, source.shape, strict=True)
    return " x ".join(f"{size} {axis}" for axis, size in pairs if size > 1)


def _list_frames(series: Mapping[str, int]) -> str:
    return " and ".join(f"{n} frames along {axis}" for axis, n in series.items()) or "no frames"


def _describe_stack(place: Source) -> str:
    """Say what is fused, and how its axes are understood."""
    *stacked, rows, columns = drop_single(place.shape)
    pairs = zip(place.axes[:-2], place.shape[:-2], strict=True)
    names = [axis for axis, size in pairs if size > 1]
    return f"{prod(stacked)} planes of {rows}x{columns}, {' '.join([*names, *place.axes[-2:]])}"


def _require_size(reference: Image, shape: Sequence[int]) -> None:
    rows, columns = shape[-2:]
    if min(rows, columns) < MIN_SIZE:
        raise ValueError(
            f"{reference.name} has {rows} x {columns} pixels here; {MIN_SIZE} x {MIN_SIZE} are "
            "the fewest for a fusion"
        )


def _report_grids(layers: list[Image], reference: Image, dims: Dims) -> LayerReport:
    """Return the report on layers that could be fused if they lay on one grid."""
    units = find_world_units([reference, *layers])
    axes = find_plane_axes([*layers, reference], dims)
    for layer in layers:
        require_one_world(layer, reference, [a - dims.ndim for a in axes])
    target = find_plane(reference, dims, axes, units=units)
    _require_size(reference, target.shape)
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
        f"{names} will be brought to the grid of {reference.name} ({format_part(covered)} of it "
        f"covered, {format_part(kept)} of {names if len(resampled) == 1 else 'each'} used)"
    )


def _require_image(layer: Layer) -> Image:
    if not isinstance(layer, Image):
        raise ValueError(f"{layer.name} is not an image layer; choose another reference")
    return layer
