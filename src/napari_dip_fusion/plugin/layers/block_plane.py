"""What a run block by block reads of layers of which one plane is fused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image

from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.plugin.layers.plane_reader import make_plane_readers
from napari_dip_fusion.plugin.layers.planes import (
    Matrix,
    Plane,
    Units,
    compute_world_affine,
    find_plane,
    find_plane_axes,
    find_world_units,
)
from napari_dip_fusion.plugin.layers.single_plane import SinglePlane
from napari_dip_fusion.plugin.layers.thick_slice import ProjectedPlanes
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, name_axes
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axes import share_space
from napari_dip_fusion.sources.units import abbreviate_unit
from napari_dip_fusion.sources.views import View


@dataclass(frozen=True, eq=False)
class BlockPlaneReader(WholeReader):
    """All planes of a layer, of which a plane of the reference takes what it needs.

    The reference is a stack of its one plane that is fused, and its own source as well.

    Attributes
    ----------
    stack : Source
        The layer with all of its planes; of a thick slice, the one that the viewer shows.
    shown : tuple of int or slice
        The plane of the stack that is nearest to the plane that is fused.
    """

    stack: Source
    shown: tuple[int | slice, ...]

    def find_shown(self, data: Any) -> View | None:
        """Return of other data of the layer the plane that is shown, not read yet.

        None if they have other sizes than the layer.
        """
        own = self.stack.data
        # Of a thick slice, the same planes are one again.
        data = own.repeat(data) if isinstance(own, ProjectedPlanes) else data
        return View(data)[self.shown] if tuple(data.shape) == tuple(own.shape) else None


def make_block_plane_readers(
    layers: Sequence[Image],
    reference: Image,
    dims: Dims,
    *,
    level: int = 0,
    interpolation: str = "linear",
    acquisitions: Sequence[Acquisition] = (),
) -> list[BlockPlaneReader]:
    """Return what reads the plane of each layer part by part; nothing is read.

    Parameters
    ----------
    layers, dims, level, interpolation, acquisitions
        As for :func:`.make_plane_readers`.
    reference : Image
        One of the layers.

    Raises
    ------
    ValueError
        If a layer has no plane here, or was not taken so.
    """
    found = make_plane_readers(
        layers,
        reference,
        dims,
        level=level,
        interpolation=interpolation,
        acquisitions=acquisitions,
    )
    names = name_axes([reference, *layers])
    # As planes of whole stacks are called: axes go together as napari counts them.
    stacks = [each.source.replace(axes=names[-each.source.ndim :]) for each in found]
    units = find_world_units([reference, *layers])
    axes = find_plane_axes([*layers, reference], dims)
    plane = find_plane(reference, dims, axes, level, units=units)
    number = list(layers).index(reference)
    affine = compute_world_affine(reference, units, level)
    place = _place_plane(stacks[number], plane, affine, names, units)
    along = [axis - dims.ndim for axis in axes]
    readers = []
    for n, stack in enumerate(stacks):
        shown = _find_shown(stack, place, along)
        source = place if n == number else _compare(stack, place, shown)
        readers.append(BlockPlaneReader(source, place, interpolation, stack, shown))
    return readers


def _compare(stack: Source, place: Source, shown: tuple[int | slice, ...]) -> Source:
    """Return what of a stack is compared with a place: all, or the plane of the same number."""
    ahead = place.ndim - stack.ndim
    if place.affine[:ahead, -3:-1].any():
        raise ValueError(
            f"{stack.name} has {stack.ndim} dimensions, and the plane of {place.name} lies oblique "
            "to them; fuse it at once and not block by block, or choose another reference"
        )
    if share_space(stack, place):
        return stack
    # Pixels that are only counted, from the first plane on.
    for axis, index in zip(stack.axes, shown, strict=True):
        if not isinstance(index, slice):
            stack = stack.take(axis, index)
    return stack


def _place_plane(
    stack: Source, plane: Plane, steps: Matrix, names: tuple[str, ...], units: Units
) -> Source:
    """Return a plane of a stack as one of its own, with an axis for each of all layers.

    Its rows and columns are the last axes, whatever axes of the world they run along.

    Parameters
    ----------
    stack : Source
    plane : Plane
    steps : ndarray of shape (stack.ndim + 1, stack.ndim + 1)
        Pixels of the layer to the world: a thick slice is as thick as one of them, too.
    names : tuple of str
        Of all axes.
    units : tuple of pint.Unit
        Along them.
    """
    ndim, rest = len(names), len(names) - stack.ndim
    still = [axis for axis in range(stack.ndim) if axis not in plane.axes]
    order = [*still, *plane.axes]
    # Along axes that only other layers have, one pixel is one step of the world.
    affine = np.eye(ndim + 1)
    affine[rest:, rest:] = steps[:, [*order, -1]]
    affine[:, -1] = plane.affine[-ndim - 1 :, -1]

    def cut(data: Any) -> SinglePlane:
        index: list[int | slice] = [slice(None)] * stack.ndim
        for axis in still:
            # Of a thick slice there is one.
            index[axis] = min(plane.index[axis], data.shape[axis] - 1)
        return SinglePlane(View(data)[tuple(index)], (ndim - 2, ndim - 1), ndim)

    return stack.replace(
        data=cut(stack.data),
        axes=names,
        affine=affine,
        units=tuple(abbreviate_unit(unit) for unit in units),
        fwhm=(*(0.0,) * rest, *(stack.widths[axis] for axis in order)),
        mask=None if stack.mask is None else cut(stack.mask),
    )


def _find_shown(stack: Source, place: Source, axes: Sequence[int]) -> tuple[int | slice, ...]:
    """Return the index of the plane of a stack that is nearest to the middle of a place."""
    rows, columns = place.shape[-2:]
    middle = place.affine[:, -3:] @ [(rows - 1) / 2, (columns - 1) / 2, 1]
    pixel = np.linalg.solve(stack.affine, middle[-stack.ndim - 1 :])
    nearest = np.clip(np.rint(pixel[:-1]), 0, np.array(stack.shape) - 1)
    flat = [axis % stack.ndim for axis in axes]
    return tuple(slice(None) if n in flat else int(i) for n, i in enumerate(nearest))
