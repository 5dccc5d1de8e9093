"""Thick slices: the planes of a layer that the viewer shows as one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.levels import find_level_index, get_level_shape
from napari_dip_fusion.plugin.layers.planes import (
    Matrix,
    Plane,
    Units,
    compute_world_affine,
    compute_world_to_pixel,
)

_PROJECTIONS: dict[str, Callable[..., NDArray[Any]]] = {
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "sum": np.sum,
}


@dataclass(frozen=True)
class ThickSlice:
    """Planes of a layer, at its full resolution, and what is shown of them.

    Attributes
    ----------
    mode : {"mean", "max", "min", "sum"}
        The layer's projection mode.
    planes : mapping of int to (int, int)
        For each axis that is not displayed, the first plane and the one behind the last.
    """

    mode: str
    planes: Mapping[int, tuple[int, int]]

    def __str__(self) -> str:
        ranges = [f"{low} to {high - 1}" for low, high in self.planes.values() if high - low > 1]
        return f"{self.mode} of planes {' by '.join(ranges)}"

    def describe(self) -> dict[str, Any]:
        """Return mode, and first and last plane by axis, in values that JSON can hold."""
        planes = {str(axis): [low, high - 1] for axis, (low, high) in self.planes.items()}
        return {"projection": self.mode, "planes": planes}


class ProjectedPlanes:
    """An array in which several planes are one, made when that one is read.

    Parameters
    ----------
    data : array-like
        NumPy, dask, zarr or anything that is sliced like them.
    thick : ThickSlice
        In pixels of `data`.
    """

    def __init__(self, data: Any, thick: ThickSlice) -> None:
        self._data, self._thick = data, thick
        self.shape = tuple(
            1 if axis in thick.planes else int(size) for axis, size in enumerate(data.shape)
        )
        # A mean of integers is none, and a sum may need more bits: NumPy knows.
        self.dtype = self._project(np.ones((1,) * len(self.shape), data.dtype)).dtype
        self.ndim = len(self.shape)

    def repeat(self, data: Any) -> "ProjectedPlanes":
        """Return the same planes of other data as one."""
        return ProjectedPlanes(data, self._thick)

    def __getitem__(self, index: tuple[slice | int, ...]) -> NDArray[Any]:
        parts = list(index) + [slice(None)] * (self.ndim - len(index))
        for axis, (low, high) in self._thick.planes.items():
            parts[axis] = slice(low, high)
        # Axes that are left out by a number stay until the planes are one.
        kept = tuple(slice(p, p + 1) if isinstance(p, int) else p for p in parts)
        plane = self._project(np.asarray(self._data[kept]))
        dropped = tuple(0 if isinstance(i, int) else slice(None) for i in index)
        return plane[dropped]

    def _project(self, block: NDArray[Any]) -> NDArray[Any]:
        project = _PROJECTIONS[self._thick.mode]
        return project(block, axis=tuple(self._thick.planes), keepdims=True)


@dataclass(frozen=True, eq=False)
class LayerGrid:
    """The pixels that a run takes of a layer, and their place; nothing is read.

    Attributes
    ----------
    affine : ndarray of shape (n + 1, n + 1)
        Pixel to world coordinates.
    shape : tuple of n int
        In a thick slice 1 along the axes that are not displayed.
    thick : ThickSlice or None
        At the level of the grid; None where one plane is shown.
    """

    affine: Matrix
    shape: tuple[int, ...]
    thick: ThickSlice | None = None


def find_grid(layer: Image, dims: Dims, target: Plane, units: Units, level: int = 0) -> LayerGrid:
    """Return what a run takes of a layer: all of its planes, or those of a thick slice as one.

    Parameters
    ----------
    layer : Image
    dims : Dims
    target : Plane
        The reference's, where the layer is sampled.
    units : tuple of pint.Unit
        Of the target's world.
    level : int
    """
    affine, shape = compute_world_affine(layer, units, level), get_level_shape(layer, level)
    thick = find_thick_slice(layer, dims, units)
    if thick is None:
        return LayerGrid(affine, shape)
    coarse = _find_planes_at_level(thick, layer, level)
    rows, columns = target.shape
    middle = target.affine[-layer.ndim - 1 :] @ np.array([(rows - 1) / 2, (columns - 1) / 2, 1.0])
    return LayerGrid(
        affine @ _make_slab(coarse, np.linalg.solve(affine, middle)),
        tuple(1 if a in coarse.planes else n for a, n in enumerate(shape)),
        coarse,
    )


def find_thick_slice(layer: Image, dims: Dims, units: Units) -> ThickSlice | None:
    """Return the planes of which the viewer shows a projection; None where it shows one plane.

    Parameters
    ----------
    layer : Image
    dims : Dims
        ``viewer.dims``, in 2-D display.
    units : tuple of pint.Unit
        Of the world that the layers share, from
        :func:`~napari_dip_fusion.plugin.layers.planes.find_world_units`.
    """
    mode = str(layer.projection_mode)
    offset = dims.ndim - layer.ndim
    still = [a - offset for a in dims.not_displayed if a >= offset]
    margins = np.array([dims.margin_left, dims.margin_right])[:, offset:][:, still]
    if mode not in _PROJECTIONS or not still or layer.ndim == 2 or not margins.any():
        return None
    inverse = compute_world_to_pixel(layer, dims, still, units)
    points = inverse[:, :-1] @ np.array(dims.point[offset:])[still] + inverse[:, -1]
    # A flipped axis has its left where the world has its right, but the slice is as thick.
    left, right = np.abs(margins @ inverse[:, :-1].T)
    planes = {}
    for axis, point, a, b in zip(still, points, left, right, strict=True):
        size = get_level_shape(layer)[axis]
        if round(point + b) < 0 or round(point - a) >= size:
            return None
        low, high = _round_planes(point - a, point + b)
        planes[axis] = (low, min(high, size))
    is_one = all(high - low == 1 for low, high in planes.values())
    return None if is_one else ThickSlice(mode, planes)


def _round_planes(low: float, high: float) -> tuple[int, int]:
    """Return the first plane of a range and the one behind the last, as napari takes them."""
    first, end = max(round(low), 0), max(round(high), 0)
    # A range that ends at the center of a plane includes it.
    if np.isclose(end, high) or first == end:
        end += 1
    return first, end


def _find_planes_at_level(thick: ThickSlice, layer: Image, level: int) -> ThickSlice:
    planes = {}
    for axis, (low, high) in thick.planes.items():
        fine = np.zeros((2, layer.ndim))
        fine[:, axis] = low, high - 1
        first, last = (int(find_level_index(layer, level, n)[axis]) for n in fine)
        planes[axis] = (first, last + 1)
    return ThickSlice(thick.mode, planes)


def _make_slab(thick: ThickSlice, middle: Matrix) -> Matrix:
    """Return the matrix from pixels of the projected planes to those of the layer.

    Parameters
    ----------
    thick : ThickSlice
        At the level of those pixels.
    middle : ndarray of shape (n + 1,)
        Pixel of the layer at the middle of the target's plane, which may lie a part of a
        plane beside the sliders: what the viewer shows there is the whole slice all the same.
    """
    slab = np.eye(len(middle))
    for axis, (low, high) in thick.planes.items():
        center = middle[axis]
        slab[axis, axis] = 2 * max(center - (low - 0.5), high - 0.5 - center)
        slab[axis, -1] = center
    return slab
