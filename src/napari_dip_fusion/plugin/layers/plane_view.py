"""A fused plane of a volume is seen at its slice only: whether it is, and the way back to it."""

from napari import Viewer
from napari.components import Dims
from napari.layers import Image, Layer

from napari_dip_fusion.plugin.layers.levels import get_level_shape
from napari_dip_fusion.plugin.layers.planes import compute_world_affine, find_plane
from napari_dip_fusion.plugin.layers.result_layers import is_original


def is_result_plane(layer: Layer | None) -> bool:
    """Tell whether a layer is a plane of a volume, and one that this plugin has made."""
    return isinstance(layer, Image) and not is_original(layer) and len(_find_still(layer)) > 0


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
    # The center of the only pixel along each of the other axes, in the numbers of the sliders.
    units = layer.units if dims.units is None else dims.units
    place = compute_world_affine(layer, units)[:-1, -1]
    for axis in _find_still(layer):
        dims.set_point(axis + offset, float(place[axis]))
    layer.visible = True


def _find_still(layer: Image) -> list[int]:
    """Return the axes along which a layer has one pixel, beside the two of its plane."""
    return [a for a, length in enumerate(get_level_shape(layer)) if length == 1]


def _find_spanned(layer: Image) -> tuple[int, int]:
    rows, columns = (a for a, length in enumerate(get_level_shape(layer)) if length > 1)
    return rows, columns
