"""The resolutions of a layer: how large they are, and where their pixels lie.

napari draws every resolution over the same area. A file may say otherwise, and then the reader
puts that into the layer's metadata: what is fused lies where the file says.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.sources.source import fit_level

LEVEL_AFFINES = "level_affines"
"""Key of layer metadata with a matrix from the pixels of each coarser level to the finest ones."""


def get_level_shape(layer: Image, level: int = 0) -> tuple[int, ...]:
    """Return the shape of a level, without the axis of colors."""
    return tuple(int(n) for n in layer.level_shapes[level])


def drop_single(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape without the axes along which planes are stacked, but only one is there."""
    return (*(n for n in shape[:-2] if n > 1), *shape[-2:])


def get_level_affine(layer: Image, level: int) -> NDArray[np.float64]:
    """Return the matrix from pixels of a level to those of full resolution.

    Parameters
    ----------
    layer : Image
    level : int
        0 is the full resolution.

    Returns
    -------
    ndarray of shape (n + 1, n + 1)
        It scales and shifts along the axes: as declared, or such that the borders of the
        levels coincide, as napari draws them.
    """
    if level == 0:
        return np.eye(layer.ndim + 1)
    known, count = layer.metadata.get(LEVEL_AFFINES), len(layer.level_shapes) - 1
    declared = parse_level_affines(known, layer.ndim, count)
    if declared:
        return declared[level - 1]
    return fit_level(get_level_shape(layer), get_level_shape(layer, level))


def get_level_factors(layer: Image, level: int) -> NDArray[np.float64]:
    """Return along each axis how many pixels of full resolution one pixel of a level covers."""
    return np.diag(get_level_affine(layer, level))[:-1]


def find_level_index(layer: Image, level: int, fine: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the pixel of a level that is nearest to one of full resolution.

    Parameters
    ----------
    layer : Image
    level : int
    fine : ndarray of shape (n,)
        Index along each axis.
    """
    matrix = get_level_affine(layer, level)
    # The center of a fine pixel between two coarse ones is that of the second.
    nearest = np.floor((fine - matrix[:-1, -1]) / np.diag(matrix)[:-1] + 0.5).astype(np.intp)
    return np.clip(nearest, 0, np.array(get_level_shape(layer, level)) - 1)


def parse_level_affines(known: Any, ndim: int, count: int) -> tuple[NDArray[np.float64], ...]:
    """Return the matrices of coarser levels that stand in a layer's metadata.

    Parameters
    ----------
    known : object
        What stands under :data:`LEVEL_AFFINES`, which anybody may have changed.
    ndim, count : int
        Number of axes, and of coarser levels.

    Returns
    -------
    tuple of ndarray of shape (ndim + 1, ndim + 1)
        Empty where they are not those of so many levels.
    """
    try:
        matrices = np.asarray(known, dtype=np.float64)
    except (TypeError, ValueError):
        return ()
    if matrices.shape != (count, ndim + 1, ndim + 1):
        return ()
    return tuple(matrices) if (np.diagonal(matrices, axis1=1, axis2=2) > 0).all() else ()
