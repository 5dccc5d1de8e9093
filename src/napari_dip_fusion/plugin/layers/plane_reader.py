"""What a run reads of layers: planes and contrast limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import Dims
from napari.layers import Image

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
from napari_dip_fusion.sources.own_pixels import resample_source


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

    Raises
    ------
    ValueError
        If a layer has no plane here.
    """
    units = find_world_units([reference, *layers])
    axes = find_plane_axes([*layers, reference], dims)
    target = find_plane(reference, dims, axes, level, units=units)
    readers = []
    for layer in layers:
        # A layer of fewer dimensions knows nothing of the viewer's first axes.
        to_affine = target.affine[-layer.ndim - 1 :]
        own = level if layer is reference else find_matching_level(layer, units, to_affine)
        readers.append(
            PlaneReader(
                source=_make_source(layer, dims, target, units, own),
                to_affine=to_affine,
                to_shape=target.shape,
                interpolation=interpolation,
            )
        )
    return readers


def _make_source(layer: Image, dims: Dims, target: Plane, units: Units, level: int) -> Source:
    """Return what is taken of one level of a layer as a source, with its place in the world.

    No pixels are read: the data may be an array of dask or zarr.
    """
    grid = find_grid(layer, dims, target, units, level)
    data = layer.data[level] if layer.multiscale else layer.data
    return Source(
        data if grid.thick is None else ProjectedPlanes(data, grid.thick),
        tuple(layer.axis_labels),
        affine=grid.affine,
        units=tuple(str(unit) for unit in units[-layer.ndim :]),
        name=layer.name,
        rgb=bool(layer.rgb),
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
