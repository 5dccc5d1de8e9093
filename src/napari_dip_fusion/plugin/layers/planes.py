"""The plane of a layer that the viewer shows, and its place in the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pint
from napari.components import Dims
from napari.layers import Image
from napari.utils.transforms import CompositeAffine
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.plugin.layers.levels import (
    drop_single,
    find_level_index,
    get_level_affine,
    get_level_factors,
    get_level_shape,
)
from napari_dip_fusion.prior.devices import measure_free_memory, resolve_device, torch_is_imported
from napari_dip_fusion.sources import GUESSED_PLACE
from napari_dip_fusion.sources.coverage import measure_pixel, pick_finest

Matrix = NDArray[np.float64]
Units = tuple[pint.Unit, ...]

MOST_PIXELS = 4096 * 4096
"""Level ``auto`` of a pyramid takes no larger plane than this."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of a layer, at one level of its pyramid.

    Attributes
    ----------
    axes : tuple of two int
        Axes of the layer that the plane spans, in ascending order.
    index : tuple of int
        Pixel along each axis of the layer, 0 along those of the plane.
    shape : (M, N)
        Rows and columns.
    affine : ndarray of shape (n + 1, 3)
        (row, column, 1) to homogeneous world coordinates of the viewer's n axes, in
        the units of :func:`find_world_units`.
    """

    axes: tuple[int, int]
    index: tuple[int, ...]
    shape: tuple[int, int]
    affine: Matrix


def choose_level(
    reference: Image,
    dims: Dims,
    *,
    level: int | str = "auto",
    count: int = 2,
    config: FusionConfig | None = None,
    whole: bool = False,
) -> int:
    """Return the level of the reference's pyramid that a fusion uses.

    Parameters
    ----------
    reference : Image
    dims : Dims
    level : int or "auto"
        ``auto`` is the finest level whose plane has at most
        :data:`MOST_PIXELS` and fits the free memory; 0 for a layer without
        levels. Until torch is imported, which is not done here, the memory is
        that of the processor.
    count : int
        Number of sources.
    config : FusionConfig, optional
    whole : bool
        Whether all planes are fused, which all have to fit the memory.

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
    # The import of torch takes seconds, and this runs on the GUI thread.
    device = resolve_device(config.compute.device) if torch_is_imported() else "cpu"
    free = measure_free_memory(device)
    axes = list(range(reference.ndim))
    if not whole:
        axes = [a - dims.ndim + reference.ndim for a in find_plane_axes([reference], dims)]
    for i in range(levels):
        shape = get_level_shape(reference, i)
        size = drop_single([shape[a] for a in axes])
        fits = estimate_memory(config, size, count) <= free
        if prod(size[-2:]) <= MOST_PIXELS and fits:
            return i
    return levels - 1


def find_plane_axes(layers: Sequence[Image], dims: Dims) -> tuple[int, int]:
    """Return the two axes of the viewer that the shown plane spans, in ascending order.

    Layers that are all 2-D have one plane, whatever the viewer shows.

    Raises
    ------
    ValueError
        If the viewer shows volumes, or a layer does not extend along the axes.
    """
    if all(layer.ndim == 2 for layer in layers):
        return dims.ndim - 2, dims.ndim - 1
    if dims.ndisplay != 2:
        raise ValueError("the viewer shows volumes; switch to 2-D display to choose a plane")
    first, second = sorted(dims.displayed)
    for layer in layers:
        # napari aligns layers of fewer dimensions with the last axes of the viewer.
        if first < dims.ndim - layer.ndim:
            raise ValueError(
                f"{layer.name} has {layer.ndim} dimensions and does not extend along axis "
                f"{dims.axis_labels[first]!r}; show another plane of the volumes"
            )
    return first, second


def find_world_units(layers: Sequence[Image]) -> Units:
    """Return the units of the world in which layers are brought together, one per axis.

    Those of the viewer are none as soon as any of its layers, fused or not, does not fit:
    here the layers that are fused are asked, and nobody else.

    Parameters
    ----------
    layers : sequence of Image
        The first gives the units; those after it give them for the axes that it lacks.
    """
    units: Units = ()
    for layer in layers:
        # Layers of fewer dimensions lie along the last axes.
        units = (*layer.units[: max(layer.ndim - len(units), 0)], *units)
    return units


def find_finest(layers: Sequence[Image], dims: Dims) -> Image:
    """Return the layer with the smallest pixels in the plane shown, the first of equals.

    Parameters
    ----------
    layers : sequence of Image
        One or more. Those whose units do not fit those of the first are left out: their
        pixels are neither smaller nor larger.
    dims : Dims
        Where it shows volumes, or a layer is flat, the last two axes of the layers count.
    """
    first = layers[0]
    fewest = min(layer.ndim for layer in layers)
    axes = sorted(axis - dims.ndim for axis in dims.displayed)
    if dims.ndisplay != 2 or fewest == 2 or axes[0] < -fewest:
        axes = [-2, -1]
    areas = []
    for layer in layers:
        fits = all(layer.units[a].dimensionality == first.units[a].dimensionality for a in axes)
        affine = compute_world_affine(layer, find_world_units([first, layer]))
        areas.append(measure_pixel(affine, axes) if fits else np.inf)
    return layers[pick_finest(areas)]


def find_plane(
    layer: Image,
    dims: Dims,
    world_axes: tuple[int, int],
    level: int = 0,
    *,
    units: Units | None = None,
) -> Plane:
    """Return the plane of a layer that the viewer shows.

    Parameters
    ----------
    layer : Image
    dims : Dims
    world_axes : tuple of two int
        From :func:`find_plane_axes`.
    level : int
    units : tuple of pint.Unit, optional
        Of the plane's world, from :func:`find_world_units`; by default the layer's own.

    Raises
    ------
    ValueError
        If the layer has no data at this slice.
    """
    offset = dims.ndim - layer.ndim
    rows, columns = (a - offset for a in world_axes)
    shape = get_level_shape(layer, level)
    fine = _find_slice(layer, dims, (rows, columns))
    index = find_level_index(layer, level, fine)
    index[[rows, columns]] = 0
    pixel = np.zeros((layer.ndim + 1, 3))
    pixel[rows, 0] = pixel[columns, 1] = 1
    pixel[:, 2] = [*index, 1]
    affine = np.zeros((dims.ndim + 1, 3))
    units = layer.units if units is None else units
    # Along axes that only other layers have, the plane lies where the sliders are.
    affine[:offset, 2] = _place_sliders(dims, units)[:offset]
    affine[offset:] = compute_world_affine(layer, units, level) @ pixel
    return Plane((rows, columns), tuple(map(int, index)), (shape[rows], shape[columns]), affine)


def _place_sliders(dims: Dims, units: Units) -> Matrix:
    """Return where the sliders are, in other units than the viewer's as far as they fit."""
    # Without units the sliders count in the numbers of each layer, as it is drawn.
    if dims.units is None:
        return np.array(dims.point)
    known = min(len(units), len(dims.units))
    factors = np.ones(dims.ndim)
    if known:
        factors[-known:] = get_unit_factors(dims.units[-known:], units[-known:])
    return np.asarray(factors * dims.point, dtype=np.float64)


def _find_slice(layer: Image, dims: Dims, axes: tuple[int, int]) -> NDArray[Any]:
    """Return the pixel that the sliders are at, as napari slices (0 along the plane's axes)."""
    index = np.zeros(layer.ndim)
    still = [a for a in range(layer.ndim) if a not in axes]
    if not still:
        return index
    inverse = compute_world_to_pixel(layer, dims, still, layer.units)
    point = np.array(dims.point[dims.ndim - layer.ndim :])
    index[still] = np.round(inverse[:, :-1] @ point[still] + inverse[:, -1])
    if (index < 0).any() or (index >= get_level_shape(layer)).any():
        raise ValueError(f"{layer.name} has no data at this slice; move the slider")
    return index


def compute_world_to_pixel(layer: Image, dims: Dims, axes: Sequence[int], units: Units) -> Matrix:
    """Return the matrix from the sliders to a layer's pixels along some axes, as napari slices.

    Parameters
    ----------
    layer : Image
    dims : Dims
    axes : sequence of N int
        Axes of the layer that are not displayed.
    units : tuple of pint.Unit
        What the sliders count where the viewer has no units. napari then slices each layer in
        its own; those of the reference say where the plane is that is fused.

    Returns
    -------
    ndarray of shape (N, N + 1)
    """
    drawn = compute_world_affine(layer, units if dims.units is None else dims.units)
    inverse = np.linalg.inv(drawn)
    # Only the axes that are sliced: napari, too, leaves rotations into the plane out.
    return np.asarray(inverse[np.ix_(axes, [*axes, layer.ndim])], dtype=np.float64)


def find_matching_level(layer: Image, units: Units, to_affine: Matrix) -> int:
    """Return the coarsest level of a layer that is as fine as the target's pixels.

    Parameters
    ----------
    layer : Image
    units : tuple of pint.Unit
        Of the target's world.
    to_affine : ndarray of shape (layer.ndim + 1, 3) or (layer.ndim + 1, layer.ndim + 1)
        The affine of the target: of a :class:`Plane` its last rows, or of a whole stack.
    """
    if not layer.multiscale:
        return 0
    steps = np.linalg.solve(compute_world_affine(layer, units), to_affine)[:-1, :-1]
    sizes = [
        np.linalg.norm(steps.T / get_level_factors(layer, i), axis=1)
        for i in range(len(layer.level_shapes))
    ]
    # A little below 1: levels are seldom exactly half of one another. Along an axis on which the
    # target is finer than all levels, nothing more is to be lost.
    least = np.minimum(0.99, sizes[0] * 0.99)
    return max(i for i, size in enumerate(sizes) if (size >= least).all())


def get_physical_affine(layer: Image) -> CompositeAffine:
    """Return scale, translate, rotate and shear of a layer as one transform."""
    return CompositeAffine(
        layer.scale,
        layer.translate,
        rotate=layer.rotate,
        shear=layer.shear,
        ndim=layer.ndim,
    )


def compute_world_affine(layer: Image, units: Units, level: int = 0) -> Matrix:
    """Return the matrix from pixels of a level to the world.

    Parameters
    ----------
    layer : Image
    units : tuple of pint.Unit
        Of the world's axes, the last of which are the layer's.
    level : int
    """
    pixels = get_level_affine(layer, level)
    world = layer.affine.affine_matrix @ get_physical_affine(layer).affine_matrix @ pixels
    scales = [1.0] * layer.ndim
    # napari leaves a layer as it is while it has more axes than the viewer has units.
    if len(units) >= layer.ndim:
        scales = get_unit_factors(layer.units, units[-layer.ndim :])
    return np.asarray(np.diag([*scales, 1.0]) @ world, dtype=np.float64)


def get_guess(layer: Image) -> str:
    """Return why the place of a layer is only a guess, as its reader says; empty if it is none."""
    return str(layer.metadata.get(GUESSED_PLACE, ""))


def get_unit_factors(own: Units, world: Units) -> list[float]:
    """Return how many units of the world one unit of a layer is, along each axis.

    Where they measure different things, such as pixels and lengths, numbers stay as they are.
    """
    return [
        float((1 * a).to(b).magnitude) if a != b and a.dimensionality == b.dimensionality else 1.0
        for a, b in zip(own, world, strict=True)
    ]
