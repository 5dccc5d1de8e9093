"""What a run reads of layers: planes and contrast limits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image

from napari_dip_fusion.plugin.layers.acquisition import (
    PLAIN,
    Acquisition,
    make_layer_source,
    take_mask,
)
from napari_dip_fusion.plugin.layers.planes import (
    Matrix,
    Plane,
    Units,
    find_matching_level,
    find_plane,
    find_plane_axes,
    find_world_units,
)
from napari_dip_fusion.plugin.layers.thick_slice import ProjectedPlanes, find_grid
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.footprint import Footprint
from napari_dip_fusion.sources.own_pixels import find_footprint, resample_source


@dataclass(frozen=True, eq=False)
class PlaneReader:
    """The plane of one layer on the reference's grid, not read yet.

    It holds what the layer shows and not the layer, so that :meth:`read` may be
    called in any thread.

    Attributes
    ----------
    source : Source
        One level of the layer, with its place in the world of the layers; of a thick
        slice, the planes that the viewer shows as one.
    to_affine : ndarray of shape (D + 1, 3)
        From (row, column, 1) of the reference's plane to that world.
    to_shape : (M, N)
        Rows and columns of that plane.
    interpolation : {"linear", "nearest"}
        How pixels are sampled that do not lie on the grid of the plane.
    """

    source: Source
    to_affine: Matrix
    to_shape: tuple[int, int]
    interpolation: str

    @property
    def name(self) -> str:
        """The name that the layer had."""
        return self.source.name

    def find_footprint(self) -> Footprint | None:
        """Return how wide pixels and blur of the layer are beside the pixels of the target.

        None where it is as fine as the target; no pixels are read.
        """
        return find_footprint(self.source, self.to_affine, self.to_shape)

    def read(self) -> Source:
        """Read the plane and nothing else.

        Returns
        -------
        Source
            The plane in the layer's own values, with its name, on the pixels of the
            reference's plane; see :func:`.resample_source`.

        Raises
        ------
        ValueError
            If the layer does not overlap the reference.
        """
        try:
            plane, _ = resample_source(
                self.source, self.to_affine, self.to_shape, interpolation=self.interpolation
            )
        # It knows no layers.
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from error
        # The result's Placement says where the plane lies.
        return plane


def make_plane_readers(
    layers: Sequence[Image],
    reference: Image,
    dims: Dims,
    *,
    level: int = 0,
    interpolation: str = "linear",
    acquisitions: Sequence[Acquisition] = (),
) -> list[PlaneReader]:
    """Return what reads the plane of each layer on the grid of the reference.

    Parameters
    ----------
    layers : sequence of Image
    reference : Image
        One of the layers, or another one.
    dims : Dims
        ``viewer.dims``; the slice now shown is the one that will be read.
    level : int
        Level of the reference's pyramid. Other layers are read at their
        coarsest level that is as fine.
    interpolation : {"linear", "nearest"}
        For layers that do not lie on the grid.
    acquisitions : sequence of Acquisition
        How each layer was taken; of the last ones it may be left out.

    Raises
    ------
    ValueError
        If a layer has no plane here, or was not taken so.
    """
    units = find_world_units([reference, *layers])
    axes = find_plane_axes([*layers, reference], dims)
    target = find_plane(reference, dims, axes, level, units=units)
    readers = []
    for layer, taken in zip(layers, chain(acquisitions, repeat(PLAIN)), strict=False):
        # A layer of fewer dimensions knows nothing of the viewer's first axes.
        to_affine = target.affine[-layer.ndim - 1 :]
        own = level if layer is reference else find_matching_level(layer, units, to_affine)
        readers.append(
            PlaneReader(
                source=_make_source(layer, taken, dims, target, units, own),
                to_affine=to_affine,
                to_shape=target.shape,
                interpolation=interpolation,
            )
        )
    return readers


def _make_source(
    layer: Image, taken: Acquisition, dims: Dims, target: Plane, units: Units, level: int
) -> Source:
    """Return what is taken of one level of a layer as a source, with its place in the world.

    No pixels are read: the data may be an array of dask or zarr.
    """
    grid = find_grid(layer, dims, target, units, level)
    data = layer.data[level] if layer.multiscale else layer.data
    mask: Any = take_mask(layer, taken, level)
    if grid.thick is not None:
        data = ProjectedPlanes(data, grid.thick)
        # Of a projection that is seen which all of its planes saw.
        mask = mask and ProjectedPlanes(mask, replace(grid.thick, mode="min"))
    axes = tuple(layer.axis_labels)
    return make_layer_source(
        layer, taken, units, data=data, axes=axes, affine=grid.affine, mask=mask
    )


def get_contrast_windows(layers: Sequence[Image]) -> tuple[tuple[float, float], ...]:
    """Return the contrast limits of layers as intensity windows for a fusion.

    Color layers, which napari draws without limits, give the range of their type.
    """
    return tuple(_get_contrast_window(layer) for layer in layers)


def _get_contrast_window(layer: Image) -> tuple[float, float]:
    if not layer.rgb:
        low, high = layer.contrast_limits
        return float(low), float(high)
    dtype = np.dtype(layer.dtype)
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, float(np.iinfo(dtype).max))
