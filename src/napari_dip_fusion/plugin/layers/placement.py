"""Where the result of a run goes: the place of the reference, and its slice or all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.levels import (
    get_level_affine,
    get_level_factors,
    get_level_shape,
)
from napari_dip_fusion.plugin.layers.planes import (
    find_plane,
    find_plane_axes,
    get_guess,
    get_physical_affine,
)
from napari_dip_fusion.plugin.layers.single_plane import SinglePlane
from napari_dip_fusion.plugin.layers.thick_slice import ThickSlice
from napari_dip_fusion.sources.views import View


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a fused image goes: taken when a run starts, used whenever it has an image.

    Attributes
    ----------
    spatial : dict
        The seven spatial arguments of ``viewer.add_image``, the reference's own
        up to the place of the slice and the size of the level's pixels.
    shape : tuple of int
        Size of the result along the axes of the reference. Of a plane it is 1 along those
        that are not in the plane, so that napari shows it at this slice only.
    plane : dict
        Reference, level and slice, and what is fused of thick slices, of values that JSON
        can hold. Of a whole stack, no axis has an index.
    where : str
        The slice as it stands in names of layers, such as ``z=42``; empty for a 2-D reference
        and for a whole stack.
    guess : str
        Why the place of the reference is only a guess; empty where its file says it.
    """

    spatial: dict[str, Any]
    shape: tuple[int, ...]
    plane: dict[str, Any]
    where: str = ""
    guess: str = ""

    def expand(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image, gray or in color, with the axes of the reference."""
        colors = image.shape[-1:] if self.is_color(image) else ()
        return image.reshape(self.shape + colors)

    def is_color(self, image: NDArray[Any]) -> bool:
        """Tell whether an image that goes here is in color."""
        return image.size != prod(self.shape)

    def arrange(self, stored: Any, ndim: int) -> Any:
        """Return a stored image with the axes of the reference, not read yet.

        Parameters
        ----------
        stored : array-like
            Of a plane, rows and columns are the last axes, beside any others of one pixel.
        ndim : int
            Number of its axes, without one of colors.
        """
        axes = self.plane["axes"]
        if len(axes) != 2 or tuple(stored.shape[:ndim]) == self.shape:
            return stored
        return SinglePlane(View(stored)[(0,) * (ndim - 2)], tuple(axes), len(self.shape))

    def arrange_matrix(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a matrix between pixels of stored images as one between those of the layer."""
        axes = self.plane["axes"]
        if len(axes) != 2:
            return matrix
        arranged = np.eye(len(self.shape) + 1)
        arranged[np.ix_([*axes, -1], [*axes, -1])] = matrix[-3:, -3:]
        return arranged

    def locate(self, index: Sequence[int]) -> tuple[int, ...]:
        """Return where a part of the result lies in the array of its layer.

        Parameters
        ----------
        index : sequence of int
            Along the first of those axes of the reference that are longer than 1.
        """
        numbers = iter(index)
        found: list[int] = []
        for size in self.shape[:-2]:
            number = 0 if size == 1 else next(numbers, None)
            if number is None:
                break
            found.append(number)
        return tuple(found)

    def add_slice(self, name: str) -> str:
        """Return a name for a layer that goes here, with the slice at its end."""
        return f"{name} {self.where}" if self.where else name


def place_result(
    reference: Image,
    dims: Dims,
    *,
    level: int = 0,
    thick: Mapping[str, ThickSlice] = MappingProxyType({}),
    whole: bool = False,
) -> Placement:
    """Return where what is fused on the grid of the reference goes.

    Parameters
    ----------
    reference : Image
    dims : Dims
        ``viewer.dims``, at the slice that is fused.
    level : int
        From :func:`~napari_dip_fusion.plugin.layers.planes.choose_level`.
    thick : mapping of str to ThickSlice
        Names of the sources of which several planes are fused as one, and these planes.
    whole : bool
        Whether all planes are fused, wherever the sliders are.

    Raises
    ------
    ValueError
        If the reference has no data at this slice.
    """
    if whole:
        return _place(reference, level, tuple(range(reference.ndim)), (0,) * reference.ndim)
    world_axes = find_plane_axes([reference], dims)
    plane = find_plane(reference, dims, world_axes, level)
    # Of the full resolution, as the sliders count.
    fine = find_plane(reference, dims, world_axes).index
    return _place(reference, level, plane.axes, plane.index, fine=fine, thick=thick)


def _place(
    reference: Image,
    level: int,
    axes: tuple[int, ...],
    index: tuple[int, ...],
    *,
    fine: tuple[int, ...] = (),
    thick: Mapping[str, ThickSlice] = MappingProxyType({}),
) -> Placement:
    """Return the place of what a reference holds along some axes, at an index of the others."""
    factors = get_level_factors(reference, level)
    # Pixel 0 of the result, in pixels of the full resolution.
    corner = (get_level_affine(reference, level) @ [*index, 1])[:-1]
    physical = get_physical_affine(reference)
    # napari drops the units of all layers when one layer's units or axis labels differ.
    spatial = {
        "scale": reference.scale * factors,
        "translate": reference.translate + physical.linear_matrix @ corner,
        "rotate": np.array(reference.rotate),
        "shear": np.array(reference.shear),
        "affine": np.array(reference.affine.affine_matrix),
        "units": tuple(reference.units),
        "axis_labels": tuple(reference.axis_labels),
    }
    still = tuple(a for a in range(reference.ndim) if a not in axes)
    recorded: dict[str, Any] = {
        "reference": reference.name,
        "axes": list(axes),
        "slice": [index[a] if a in still else None for a in range(reference.ndim)],
        "level": level,
    }
    if thick:
        recorded["thick_slices"] = {name: planes.describe() for name, planes in thick.items()}
    sizes = get_level_shape(reference, level)
    shape = tuple(1 if a in still else n for a, n in enumerate(sizes))
    where = _describe_slice(reference, still, fine)
    return Placement(spatial, shape, recorded, where, get_guess(reference))


def _describe_slice(reference: Image, axes: Sequence[int], index: Sequence[int]) -> str:
    labels = [reference.axis_labels[a] for a in axes]
    # Axes that nobody has named are called by their numbers.
    if any(label.lstrip("-").isdigit() for label in labels):
        return f"slice {', '.join(str(index[a]) for a in axes)}"
    return " ".join(f"{label}={index[a]}" for label, a in zip(labels, axes, strict=True))
