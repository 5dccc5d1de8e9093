"""Reads napari layers for the core: may these be fused, and what are their planes.

Layers are only touched here, in :mod:`.planes` and in :mod:`.results`, on the GUI
thread; :class:`PlaneReader` and :class:`Placement` are snapshots that stay valid
when layers or sliders change. Everything that the widget needs of the three can be
imported from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import MIN_SIZE
from napari_dip_fusion.plugin.layers.planes import (
    Matrix,
    chosen_level,
    layer_plane,
    level_shape,
    matching_level,
    plane_axes,
    world_affine,
)
from napari_dip_fusion.plugin.layers.results import (
    Placement,
    add_fused_layer,
    add_gain_layers,
    consensus_image,
    consensus_name,
    fresh_name,
    fused_layer_kwargs,
    fused_name,
    fusion_metadata,
    gain_layer_kwargs,
    placement,
    recorded_config,
    result_spatial,
)
from napari_dip_fusion.sources.resample import (
    SMALL_COVERAGE,
    is_on_grid,
    measure_coverage,
    resample,
)

__all__ = [
    "LayerReport",
    "Placement",
    "PlaneReader",
    "add_fused_layer",
    "add_gain_layers",
    "check_layers",
    "chosen_level",
    "consensus_image",
    "consensus_name",
    "contrast_windows",
    "fresh_name",
    "fused_layer_kwargs",
    "fused_name",
    "fusion_metadata",
    "gain_layer_kwargs",
    "layer_paths",
    "layer_planes",
    "placement",
    "plane_readers",
    "recorded_config",
    "result_spatial",
]


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
    """

    ok: bool
    message: str
    warnings: tuple[str, ...] = ()
    coverage: Mapping[Layer, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PlaneReader:
    """The plane of one layer on the reference's grid, not read yet.

    Holds the layer's data, not the layer, so :meth:`read` may be called in any
    thread.
    """

    name: str
    data: Any
    affine: Matrix
    to_affine: Matrix
    to_shape: tuple[int, int]
    interpolation: str

    def read(self) -> NDArray[Any]:
        """Read the plane and nothing else.

        Raises
        ------
        ValueError
            If the layer does not overlap the reference.
        """
        try:
            plane, _ = resample(
                self.data,
                self.affine,
                self.to_affine,
                self.to_shape,
                interpolation=self.interpolation,
            )
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from error
        return plane


def check_layers(layers: Sequence[Layer], reference: Layer | None, dims: Dims) -> LayerReport:
    """Say whether layers can be fused at the slice now shown.

    Reads no pixels, so it may follow every change of the viewer.

    Parameters
    ----------
    layers : sequence of Layer
        In the order of the fusion.
    reference : Layer or None
        Whose grid the result takes; the first layer if None.
    dims : Dims
        ``viewer.dims``.
    """
    problem = _choice_problem(layers)
    if problem:
        return LayerReport(False, problem)
    first = layers[0] if reference is None else reference
    try:
        return _grid_report([*map(_image, layers)], _image(first), dims)
    except ValueError as error:
        return LayerReport(False, str(error))


def layer_planes(
    layers: Sequence[Image],
    reference: Image,
    dims: Dims,
    *,
    level: int | str = "auto",
    interpolation: str = "linear",
    config: FusionConfig | None = None,
) -> list[NDArray[Any]]:
    """Return the planes to fuse, on the grid of the reference.

    Only these planes are read of dask and zarr arrays. For the arguments see
    :func:`plane_readers`, which leaves the reading to another thread.

    Returns
    -------
    list of ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
        In the axis order of the reference's data, however the viewer turns them.
    """
    readers = plane_readers(
        layers, reference, dims, level=level, interpolation=interpolation, config=config
    )
    return [r.read() for r in readers]


def plane_readers(
    layers: Sequence[Image],
    reference: Image,
    dims: Dims,
    *,
    level: int | str = "auto",
    interpolation: str = "linear",
    config: FusionConfig | None = None,
) -> list[PlaneReader]:
    """Return what reads the planes to fuse, on the grid of the reference.

    Parameters
    ----------
    layers : sequence of Image
        Layers with fewer axes than the viewer lie along its last ones.
    reference : Image
        Whose plane, now shown in the viewer, is the target.
    dims : Dims
        ``viewer.dims``.
    level : int or "auto"
        Level of a multiscale reference; see :func:`chosen_level`. Multiscale
        sources use the coarsest level that is as fine as the reference's.
    interpolation : {"linear", "nearest"}
        For layers on other grids.
    config : FusionConfig, optional
        For the memory of level ``auto``.

    Raises
    ------
    ValueError
        If the reference has no data at this slice, a layer does not extend
        along the axes shown, or there is no such level.
    """
    level = chosen_level(reference, dims, level=level, count=len(layers), config=config)
    target = layer_plane(reference, dims, plane_axes([*layers, reference], dims), level)
    readers = []
    for layer in layers:
        to_affine = target.affine[-layer.ndim - 1 :]
        own = level if layer is reference else matching_level(layer, dims, to_affine)
        readers.append(
            PlaneReader(
                name=layer.name,
                data=layer.data[own] if layer.multiscale else layer.data,
                affine=world_affine(layer, dims, own),
                to_affine=to_affine,
                to_shape=target.shape,
                interpolation=interpolation,
            )
        )
    return readers


def contrast_windows(layers: Sequence[Image]) -> tuple[tuple[float, float], ...]:
    """Return the contrast limits of layers as intensity windows for a fusion.

    Colour layers, which napari draws without limits, give the range of their type.
    """
    return tuple(_contrast_window(layer) for layer in layers)


def layer_paths(layers: Sequence[Layer]) -> list[str | None]:
    """Return the files that layers came from, None for those without."""
    return [None if layer.source.path is None else str(layer.source.path) for layer in layers]


def _choice_problem(layers: Sequence[Layer]) -> str | None:
    """Return why layers cannot be fused, as far as it does not depend on their grids."""
    for layer in layers:
        if not isinstance(layer, Image):
            kind = type(layer).__name__.lower()
            return f"{layer.name} is a {kind} layer; choose image layers only"
        if np.dtype(layer.dtype).kind not in "iuf":
            return f"{layer.name} holds {layer.dtype} values; convert it to integers or floats"
        if sum(layer is other for other in layers) > 1:
            return f"{layer.name} is chosen twice; choose each layer once"
    if len(layers) < 2:
        return f"choose two or more image layers (chosen: {len(layers)})"
    return None


def _grid_report(layers: list[Image], reference: Image, dims: Dims) -> LayerReport:
    target = layer_plane(reference, dims, plane_axes([*layers, reference], dims))
    if min(target.shape) < MIN_SIZE:
        rows, columns = target.shape
        raise ValueError(
            f"{reference.name} has {rows} x {columns} pixels here; {MIN_SIZE} x {MIN_SIZE} are "
            "the fewest for a fusion"
        )
    covered: dict[Layer, float] = {}
    moved = []
    for layer in layers:
        grid = (
            world_affine(layer, dims),
            level_shape(layer),
            target.affine[-layer.ndim - 1 :],
            target.shape,
        )
        covered[layer] = measure_coverage(*grid)
        if covered[layer] == 0:
            raise ValueError(
                f"{layer.name} does not overlap {reference.name} here; check the layers' scale "
                "and translate, or move the slider"
            )
        if not is_on_grid(*grid):
            moved.append(layer.name)
    warnings = [
        f"{layer.name} covers only {part:.0%} of {reference.name}"
        for layer, part in covered.items()
        if part < SMALL_COVERAGE
    ]
    warnings += [
        f"{layer.name} has {layer.ndim} dimensions and {reference.name} {reference.ndim}; "
        "they are matched along the last ones"
        for layer in layers
        if layer.ndim != reference.ndim
    ]
    return LayerReport(True, _message(layers, reference, moved, covered), tuple(warnings), covered)


def _message(
    layers: list[Image], reference: Image, moved: list[str], covered: Mapping[Layer, float]
) -> str:
    if not moved:
        return f"{len(layers)} layers on one grid"
    least = min(covered.values())
    return (
        f"{', '.join(moved)} will be resampled to the grid of {reference.name} "
        f"({least:.0%} covered)"
    )


def _image(layer: Layer) -> Image:
    if not isinstance(layer, Image):
        raise ValueError(f"{layer.name} is not an image layer; choose another reference")
    return layer


def _contrast_window(layer: Image) -> tuple[float, float]:
    if not layer.rgb:
        low, high = layer.contrast_limits
        return float(low), float(high)
    dtype = np.dtype(layer.dtype)
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, float(np.iinfo(dtype).max))
