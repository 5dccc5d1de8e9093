"""Reads napari layers for the core, and says how its images become layers.

Layers are only touched here, on the GUI thread; :class:`PlaneReader` and
:class:`Placement` are snapshots that stay valid when layers or sliders change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.components import Dims, ViewerModel
from napari.layers import Image, Layer
from napari.utils.naming import inc_name_count
from napari.utils.transforms import CompositeAffine
from numpy.typing import NDArray

from napari_dip_fusion.align import SMALL_COVERAGE, coverage, on_grid, resample
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.devices import available_memory, resolve_device
from napari_dip_fusion.estimate import estimate_memory
from napari_dip_fusion.fusion import MIN_SIZE, FusionResult

Matrix = NDArray[np.float64]

MOST_PIXELS = 4096 * 4096
"""Level ``auto`` of a pyramid takes no larger plane than this."""

GAIN_COLORMAP = "viridis"


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


@dataclass(frozen=True, eq=False)
class _Plane:
    """The plane of the reference: its own axes, the slice, and the way to the world."""

    axes: tuple[int, int]
    index: tuple[int, ...]
    shape: tuple[int, int]
    affine: Matrix


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
    target = _reference_plane(reference, dims, _plane_axes([*layers, reference], dims), level)
    readers = []
    for layer in layers:
        to_affine = target.affine[-layer.ndim - 1 :]
        own = level if layer is reference else _matching_level(layer, dims, to_affine)
        readers.append(
            PlaneReader(
                name=layer.name,
                data=layer.data[own] if layer.multiscale else layer.data,
                affine=_world_affine(layer, dims, own),
                to_affine=to_affine,
                to_shape=target.shape,
                interpolation=interpolation,
            )
        )
    return readers


def chosen_level(
    reference: Image,
    dims: Dims,
    *,
    level: int | str = "auto",
    count: int = 2,
    config: FusionConfig | None = None,
) -> int:
    """Return the level of the reference's pyramid that a fusion uses.

    Parameters
    ----------
    reference : Image
    dims : Dims
    level : int or "auto"
        ``auto`` is the finest level whose plane has at most
        :data:`MOST_PIXELS` and fits the free memory; 0 for a layer without
        levels.
    count : int
        Number of sources.
    config : FusionConfig, optional

    Raises
    ------
    ValueError
        If there is no such level.
    """
    levels = len(reference.level_shapes) if reference.multiscale else 1
    if level != "auto":
        if not isinstance(level, int) or not 0 <= level < levels:
            raise ValueError(
                f"level must be 'auto' or from 0 to {levels - 1} for layer {reference.name!r}, "
                f"got {level!r}"
            )
        return level
    if levels == 1:
        return 0
    config = FusionConfig() if config is None else config
    free = available_memory(resolve_device(config.device))
    axes = [a - dims.ndim + reference.ndim for a in _plane_axes([reference], dims)]
    for i, shape in enumerate(reference.level_shapes):
        rows, columns = (int(shape[a]) for a in axes)
        fits = estimate_memory(config, (rows, columns), count) <= free
        if rows * columns <= MOST_PIXELS and fits:
            return i
    return levels - 1


def placement(reference: Image, dims: Dims, *, level: int = 0) -> Placement:
    """Return where a plane fused on the grid of the reference goes.

    Parameters
    ----------
    reference : Image
    dims : Dims
        ``viewer.dims``, at the slice that was fused.
    level : int
        From :func:`chosen_level`.

    Raises
    ------
    ValueError
        If the reference has no data at this slice.
    """
    plane = _reference_plane(reference, dims, _plane_axes([reference], dims), level)
    factors = _factors(reference, level)
    # Pixel 0 of the result, in pixels of the full resolution.
    corner = factors * plane.index + (factors - 1) / 2
    physical = _physical(reference)
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


def contrast_windows(layers: Sequence[Image]) -> tuple[tuple[float, float], ...]:
    """Return the contrast limits of layers as intensity windows for a fusion.

    Colour layers, which napari draws without limits, give the range of their type.
    """
    return tuple(_contrast_window(layer) for layer in layers)


def layer_paths(layers: Sequence[Layer]) -> list[str | None]:
    """Return the files that layers came from, None for those without."""
    return [None if layer.source.path is None else str(layer.source.path) for layer in layers]


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
    viewer: ViewerModel, gains: NDArray[Any], layers: Sequence[Layer], place: Placement
) -> list[Image]:
    """Add one layer for each gain map of shape (K, M, N), named after its source."""
    added = []
    for gain, layer in zip(gains, layers, strict=True):
        name = fresh_name(viewer, f"{layer.name} gain")
        added.append(viewer.add_image(place.array(gain), **gain_layer_kwargs(place, name)))
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
    target = _reference_plane(reference, dims, _plane_axes([*layers, reference], dims), 0)
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
            _world_affine(layer, dims),
            _shape(layer),
            target.affine[-layer.ndim - 1 :],
            target.shape,
        )
        covered[layer] = coverage(*grid)
        if covered[layer] == 0:
            raise ValueError(
                f"{layer.name} does not overlap {reference.name} here; check the layers' scale "
                "and translate, or move the slider"
            )
        if not on_grid(*grid):
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


def _plane_axes(layers: Sequence[Image], dims: Dims) -> tuple[int, int]:
    """Return the two axes of the viewer that the plane shown spans, in ascending order."""
    if all(layer.ndim == 2 for layer in layers):
        return dims.ndim - 2, dims.ndim - 1
    if dims.ndisplay != 2:
        raise ValueError("the viewer shows volumes; switch to 2-D display to choose a plane")
    first, second = sorted(dims.displayed)
    for layer in layers:
        if first < dims.ndim - layer.ndim:
            raise ValueError(
                f"{layer.name} has {layer.ndim} dimensions and does not extend along axis "
                f"{dims.axis_labels[first]!r}; show another plane of the volumes"
            )
    return first, second


def _reference_plane(
    reference: Image, dims: Dims, world_axes: tuple[int, int], level: int
) -> _Plane:
    offset = dims.ndim - reference.ndim
    first, second = (a - offset for a in world_axes)
    index = _slice_index(reference, dims, (first, second))
    factors = _factors(reference, level)
    shape = _shape(reference, level)
    index = np.clip(np.floor((index + 0.5) / factors), 0, np.array(shape) - 1).astype(int)
    index[[first, second]] = 0
    pixel = np.zeros((reference.ndim + 1, 3))
    pixel[first, 0] = pixel[second, 1] = 1
    pixel[:, 2] = [*index, 1]
    affine = np.zeros((dims.ndim + 1, 3))
    affine[:offset, 2] = dims.point[:offset]
    affine[offset:] = _world_affine(reference, dims, level) @ pixel
    return _Plane((first, second), tuple(map(int, index)), (shape[first], shape[second]), affine)


def _slice_index(layer: Image, dims: Dims, axes: tuple[int, int]) -> NDArray[Any]:
    """Return the pixel that the sliders are at, as napari slices (0 along the plane's axes)."""
    index = np.zeros(layer.ndim)
    still = [a for a in range(layer.ndim) if a not in axes]
    if not still:
        return index
    inverse = np.linalg.inv(_world_affine(layer, dims))
    point = np.array(dims.point[dims.ndim - layer.ndim :])
    index[still] = np.round(inverse[np.ix_(still, still)] @ point[still] + inverse[still, -1])
    if (index < 0).any() or (index >= _shape(layer)).any():
        raise ValueError(f"{layer.name} has no data at this slice; move the slider")
    return index


def _matching_level(layer: Image, dims: Dims, to_affine: Matrix) -> int:
    """Return the coarsest level that is as fine as the target's pixels."""
    if not layer.multiscale:
        return 0
    steps = np.linalg.solve(_world_affine(layer, dims), to_affine)[:-1, :2]
    fine = [
        i
        for i in range(len(layer.level_shapes))
        if np.linalg.norm(steps.T / _factors(layer, i), axis=1).min() > 0.99
    ]
    return max(fine, default=0)


def _shape(layer: Image, level: int = 0) -> tuple[int, ...]:
    """Return the shape of a level, without colours."""
    return tuple(int(n) for n in layer.level_shapes[level])


def _factors(layer: Image, level: int) -> Matrix:
    """Return how many pixels of full resolution one of a level has along each axis."""
    full: Matrix = np.array(_shape(layer), dtype=np.float64)
    return np.asarray(full / np.array(_shape(layer, level)), dtype=np.float64)


def _physical(layer: Image) -> CompositeAffine:
    return CompositeAffine(
        layer.scale,
        layer.translate,
        rotate=layer.rotate,
        shear=layer.shear,
        ndim=layer.ndim,
    )


def _world_affine(layer: Image, dims: Dims, level: int = 0) -> Matrix:
    """Return the matrix from pixels of a level to the viewer's world, in its units."""
    factors = _factors(layer, level)
    pixels = np.diag([*factors, 1.0])
    # The borders of the levels coincide, as napari draws them.
    pixels[:-1, -1] = (factors - 1) / 2
    world = layer.affine.affine_matrix @ _physical(layer).affine_matrix @ pixels
    return np.asarray(np.diag([*_unit_factors(layer, dims), 1.0]) @ world, dtype=np.float64)


def _unit_factors(layer: Image, dims: Dims) -> list[float]:
    """Return how many of the viewer's units one of the layer's has (1 if the viewer has none)."""
    if dims.units is None or len(dims.units) < layer.ndim:
        return [1.0] * layer.ndim
    world = dims.units[-layer.ndim :]
    return [
        1.0 if a == b else float((1 * a).to(b).magnitude)
        for a, b in zip(layer.units, world, strict=True)
    ]


def _contrast_window(layer: Image) -> tuple[float, float]:
    if not layer.rgb:
        low, high = layer.contrast_limits
        return float(low), float(high)
    dtype = np.dtype(layer.dtype)
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, float(np.iinfo(dtype).max))
