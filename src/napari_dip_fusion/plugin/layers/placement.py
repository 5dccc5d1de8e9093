"""Where the result of a run goes: the place and slice of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.levels import get_level_affine, get_level_factors
from napari_dip_fusion.plugin.layers.planes import (
    find_plane,
    find_plane_axes,
    get_guess,
    get_physical_affine,
)
from napari_dip_fusion.plugin.layers.thick_slice import ThickSlice


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
        Reference, level and slice, and what is fused of thick slices, of values that JSON
        can hold.
    where : str
        The slice as it stands in names of layers, such as ``z=42``; empty for a 2-D reference.
    guess : str
        Why the place of the reference is only a guess; empty where its file says it.
    """

    spatial: dict[str, Any]
    axes: tuple[int, ...]
    plane: dict[str, Any]
    where: str = ""
    guess: str = ""

    def expand(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image of shape (M, N) or (M, N, 3) with the axes of the reference."""
        return np.expand_dims(image, self.axes)

    def add_slice(self, name: str) -> str:
        """Return a name for a layer that goes here, with the slice at its end."""
        return f"{name} {self.where}" if self.where else name


def place_result(
    reference: Image,
    dims: Dims,
    *,
    level: int = 0,
    thick: Mapping[str, ThickSlice] = MappingProxyType({}),
) -> Placement:
    """Return where a plane that is fused on the grid of the reference goes.

    Parameters
    ----------
    reference : Image
    dims : Dims
        ``viewer.dims``, at the slice that is fused.
    level : int
        From :func:`~napari_dip_fusion.plugin.layers.planes.choose_level`.
    thick : mapping of str to ThickSlice
        Names of the sources of which several planes are fused as one, and these planes.

    Raises
    ------
    ValueError
        If the reference has no data at this slice.
    """
    world_axes = find_plane_axes([reference], dims)
    plane = find_plane(reference, dims, world_axes, level)
    factors = get_level_factors(reference, level)
    # Pixel 0 of the result, in pixels of the full resolution.
    corner = (get_level_affine(reference, level) @ [*plane.index, 1])[:-1]
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
    axes = tuple(a for a in range(reference.ndim) if a not in plane.axes)
    recorded: dict[str, Any] = {
        "reference": reference.name,
        "axes": list(plane.axes),
        "slice": [None if a in plane.axes else plane.index[a] for a in range(reference.ndim)],
        "level": level,
    }
    if thick:
        recorded["thick_slices"] = {name: planes.describe() for name, planes in thick.items()}
    # Of the full resolution, as the sliders count.
    index = find_plane(reference, dims, world_axes).index
    where = _describe_slice(reference, axes, index)
    return Placement(spatial, axes, recorded, where, get_guess(reference))


def _describe_slice(reference: Image, axes: Sequence[int], index: Sequence[int]) -> str:
    labels = [reference.axis_labels[a] for a in axes]
    # Axes that nobody has named are called by their numbers.
    if any(label.lstrip("-").isdigit() for label in labels):
        return f"slice {', '.join(str(index[a]) for a in axes)}"
    return " ".join(f"{label}={index[a]}" for label, a in zip(labels, axes, strict=True))
