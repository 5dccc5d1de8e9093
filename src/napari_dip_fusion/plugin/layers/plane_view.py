"""Which plane of a layer the viewer shows, and the way to another one.

A fused plane of a volume is seen at its slice only.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from napari import Viewer
from napari.components import Dims
from napari.layers import Image, Layer

from napari_dip_fusion.plugin.layers.levels import get_level_shape
from napari_dip_fusion.plugin.layers.planes import compute_world_to_pixel, find_plane
from napari_dip_fusion.plugin.layers.result_layers import is_original


def is_result_plane(layer: Layer | None) -> bool:
    """Tell whether a layer is a plane of a volume, and one that this plugin has made."""
    if not isinstance(layer, Image) or is_original(layer):
        return False
    return len(_find_still(layer)) > 0 and len(_find_spanned(layer)) == 2


def is_plane_shown(layer: Image, dims: Dims) -> bool:
    """Tell whether the viewer is at the plane that such a layer holds."""
    if dims.ndisplay == 3:
        return True
    offset = dims.ndim - layer.ndim
    axes = _find_spanned(layer)
    if {a + offset for a in axes} != set(dims.displayed):
        return False
    try:
        find_plane(layer, dims, (axes[0] + offset, axes[1] + offset))
    except ValueError:
        return False
    return True


def show_plane(viewer: Viewer, layer: Image) -> None:
    """Move the sliders of the viewer to the plane that such a layer holds, and show it."""
    dims = viewer.dims
    offset = dims.ndim - layer.ndim
    spanned = [a + offset for a in _find_spanned(layer)]
    dims.ndisplay = 2
    if set(dims.displayed) != set(spanned):
        dims.order = (*(a for a in range(dims.ndim) if a not in spanned), *spanned)
    _move_sliders(dims, layer, dict.fromkeys(_find_still(layer), 0))
    layer.visible = True


def find_shown_index(layer: Image, dims: Dims) -> tuple[int, ...] | None:
    """Return where the sliders are in a stack: along the first of its axes longer than 1.

    Parameters
    ----------
    layer : Image
    dims : Dims
        ``viewer.dims``.

    Returns
    -------
    tuple of int or None
        None where the sliders are beside the layer.
    """
    try:
        plane = find_plane(layer, dims, (dims.ndim - 2, dims.ndim - 1))
    except ValueError:
        return None
    return tuple(plane.index[axis] for axis in _find_stacked(layer))


def show_index(viewer: Viewer, layer: Image, index: Sequence[int]) -> None:
    """Move the sliders of the viewer to a plane of a stack, as :func:`find_shown_index` counts."""
    _move_sliders(viewer.dims, layer, dict(zip(_find_stacked(layer), index, strict=True)))


def _move_sliders(dims: Dims, layer: Image, index: Mapping[int, int]) -> None:
    """Move the sliders to pixels of a layer along some of its axes."""
    axes = list(index)
    # As the viewer slices: it leaves out how far an axis leans into the plane.
    inverse = compute_world_to_pixel(layer, dims, axes, layer.units)
    points = np.linalg.solve(inverse[:, :-1], np.array([*index.values()]) - inverse[:, -1])
    for axis, point in zip(axes, points, strict=True):
        dims.set_point(axis + dims.ndim - layer.ndim, float(point))


def _find_stacked(layer: Image) -> list[int]:
    """Return the axes of a stack along which it has several planes."""
    return [a for a, length in enumerate(get_level_shape(layer)[:-2]) if length > 1]


def _find_still(layer: Image) -> list[int]:
    """Return the axes along which a layer has one pixel, beside the two of its plane."""
    return [a for a, length in enumerate(get_level_shape(layer)) if length == 1]


def _find_spanned(layer: Image) -> list[int]:
    return [a for a, length in enumerate(get_level_shape(layer)) if length > 1]
