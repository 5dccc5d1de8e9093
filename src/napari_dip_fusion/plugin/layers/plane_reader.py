"""What a run reads of layers: planes, contrast limits, files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.planes import (
    Matrix,
    compute_world_affine,
    find_matching_level,
    find_plane,
    find_plane_axes,
)
from napari_dip_fusion.sources.resample import resample


@dataclass(frozen=True, eq=False)
class PlaneReader:
    """The plane of one layer on the reference's grid, not read yet.

    It holds the layer's data and not the layer, so that :meth:`read` may be
    called in any thread.

    Attributes
    ----------
    name : str
        Name of the layer.
    data : array-like
        All pixels of the layer, at the level of its pyramid that is read.
    affine : ndarray of shape (n + 1, n + 1)
        Pixels of `data` to world coordinates of its n axes.
    to_affine : ndarray of shape (n + 1, 3)
        (row, column, 1) of the plane to the same coordinates.
    to_shape : (M, N)
        Rows and columns of the plane.
    interpolation : {"linear", "nearest"}
        How `data` are sampled where they do not lie on the grid of the plane.
    """

    name: str
    data: Any
    affine: Matrix
    to_affine: Matrix
    to_shape: tuple[int, int]
    interpolation: str

    def read(self) -> NDArray[Any]:
        """Read the plane and nothing else.

        Returns
        -------
        ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
            In the layer's own values.

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
        # resample() knows arrays, and no names.
        except ValueError as error:
            raise ValueError(f"layer {self.name!r}: {error}") from error
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
    target = find_plane(reference, dims, find_plane_axes([*layers, reference], dims), level)
    readers = []
    for layer in layers:
        # A layer of fewer dimensions knows nothing of the viewer's first axes.
        to_affine = target.affine[-layer.ndim - 1 :]
        own = level if layer is reference else find_matching_level(layer, dims, to_affine)
        readers.append(
            PlaneReader(
                name=layer.name,
                # An array of dask or zarr, or one in memory: only read() takes pixels from it.
                data=layer.data[own] if layer.multiscale else layer.data,
                affine=compute_world_affine(layer, dims, own),
                to_affine=to_affine,
                to_shape=target.shape,
                interpolation=interpolation,
            )
        )
    return readers


def get_contrast_windows(layers: Sequence[Image]) -> tuple[tuple[float, float], ...]:
    """Return the contrast limits of layers as intensity windows for a fusion.

    Color layers, which napari draws without limits, give the range of their type.
    """
    return tuple(_get_contrast_window(layer) for layer in layers)


def get_paths(layers: Sequence[Layer]) -> tuple[str | None, ...]:
    """Return the files that layers came from, None for those without."""
    return tuple(None if x.source.path is None else str(x.source.path) for x in layers)


def _get_contrast_window(layer: Image) -> tuple[float, float]:
    if not layer.rgb:
        low, high = layer.contrast_limits
        return float(low), float(high)
    dtype = np.dtype(layer.dtype)
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, float(np.iinfo(dtype).max))
