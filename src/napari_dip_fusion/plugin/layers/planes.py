"""The plane of a layer that the viewer shows, and its place in the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image
from napari.utils.transforms import CompositeAffine
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.prior.devices import measure_free_memory, resolve_device, torch_is_imported

Matrix = NDArray[np.float64]

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
        (row, column, 1) to homogeneous world coordinates of the viewer's n axes.
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
    axes = [a - dims.ndim + reference.ndim for a in find_plane_axes([reference], dims)]
    for i, shape in enumerate(reference.level_shapes):
        rows, columns = (int(shape[a]) for a in axes)
        fits = estimate_memory(config, (rows, columns), count) <= free
        if rows * columns <= MOST_PIXELS and fits:
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


def find_plane(layer: Image, dims: Dims, world_axes: tuple[int, int], level: int = 0) -> Plane:
    """Return the plane of a layer that the viewer shows.

    Parameters
    ----------
    layer : Image
    dims : Dims
    world_axes : tuple of two int
        From :func:`find_plane_axes`.
    level : int

    Raises
    ------
    ValueError
        If the layer has no data at this slice.
    """
    offset = dims.ndim - layer.ndim
    rows, columns = (a - offset for a in world_axes)
    shape = get_level_shape(layer, level)
    fine = _find_slice(layer, dims, (rows, columns))
    # The center of the fine pixel says which pixel of the coarser level it lies in.
    index = np.floor((fine + 0.5) / get_level_factors(layer, level)).astype(int)
    index[[rows, columns]] = 0
    pixel = np.zeros((layer.ndim + 1, 3))
    pixel[rows, 0] = pixel[columns, 1] = 1
    pixel[:, 2] = [*index, 1]
    affine = np.zeros((dims.ndim + 1, 3))
    # Along axes that only other layers have, the plane lies where the sliders are.
    affine[:offset, 2] = dims.point[:offset]
    affine[offset:] = compute_world_affine(layer, dims, level) @ pixel
    return Plane((rows, columns), tuple(map(int, index)), (shape[rows], shape[columns]), affine)


def _find_slice(layer: Image, dims: Dims, axes: tuple[int, int]) -> NDArray[Any]:
    """Return the pixel that the sliders are at, as napari slices (0 along the plane's axes)."""
    index = np.zeros(layer.ndim)
    still = [a for a in range(layer.ndim) if a not in axes]
    if not still:
        return index
    inverse = np.linalg.inv(compute_world_affine(layer, dims))
    point = np.array(dims.point[dims.ndim - layer.ndim :])
    # Only the axes that are sliced: napari, too, leaves rotations into the plane out.
    index[still] = np.round(inverse[np.ix_(still, still)] @ point[still] + inverse[still, -1])
    if (index < 0).any() or (index >= get_level_shape(layer)).any():
        raise ValueError(f"{layer.name} has no data at this slice; move the slider")
    return index


def find_matching_level(layer: Image, dims: Dims, to_affine: Matrix) -> int:
    """Return the coarsest level of a layer that is as fine as the target's pixels.

    Parameters
    ----------
    layer : Image
    dims : Dims
    to_affine : ndarray of shape (layer.ndim + 1, 3)
        The affine of the target :class:`Plane`, its last rows.
    """
    if not layer.multiscale:
        return 0
    steps = np.linalg.solve(compute_world_affine(layer, dims), to_affine)[:-1, :2]
    fine = [
        i
        for i in range(len(layer.level_shapes))
        # A little below 1: levels are seldom exactly half of one another.
        if np.linalg.norm(steps.T / get_level_factors(layer, i), axis=1).min() > 0.99
    ]
    return max(fine, default=0)


def get_level_shape(layer: Image, level: int = 0) -> tuple[int, ...]:
    """Return the shape of a level, without the axis of colors."""
    return tuple(int(n) for n in layer.level_shapes[level])


def get_level_factors(layer: Image, level: int) -> Matrix:
    """Return along each axis how many pixels of full resolution one pixel of a level covers."""
    coarse = np.array(get_level_shape(layer, level), dtype=np.float64)
    return np.array(get_level_shape(layer)) / coarse


def get_physical_affine(layer: Image) -> CompositeAffine:
    """Return scale, translate, rotate and shear of a layer as one transform."""
    return CompositeAffine(
        layer.scale,
        layer.translate,
        rotate=layer.rotate,
        shear=layer.shear,
        ndim=layer.ndim,
    )


def compute_world_affine(layer: Image, dims: Dims, level: int = 0) -> Matrix:
    """Return the matrix from pixels of a level to the viewer's world, in the viewer's units."""
    factors = get_level_factors(layer, level)
    pixels = np.diag([*factors, 1.0])
    # The borders of the levels coincide, as napari draws them.
    pixels[:-1, -1] = (factors - 1) / 2
    world = layer.affine.affine_matrix @ get_physical_affine(layer).affine_matrix @ pixels
    return np.asarray(np.diag([*_get_unit_factors(layer, dims), 1.0]) @ world, dtype=np.float64)


def _get_unit_factors(layer: Image, dims: Dims) -> list[float]:
    """Return how many of the viewer's units one unit of the layer is, along each axis."""
    # The viewer has no units as soon as those of its layers do not fit together.
    if dims.units is None or len(dims.units) < layer.ndim:
        return [1.0] * layer.ndim
    world = dims.units[-layer.ndim :]
    return [
        1.0 if a == b else float((1 * a).to(b).magnitude)
        for a, b in zip(layer.units, world, strict=True)
    ]
