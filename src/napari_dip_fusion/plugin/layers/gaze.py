"""Where somebody looks: the pixel of a layer in the middle of the canvas."""

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_dip_fusion.plugin.layers.planes import compute_world_affine
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions


def find_middle(viewer: ViewerModel, layer: Image, level: int = 0) -> tuple[int, ...]:
    """Return the pixel of a layer that is in the middle of the canvas, or would be.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
    level : int
        Of whose pixels it is one.

    Returns
    -------
    tuple of int
        Along each axis of the layer; outside of it if the canvas shows something else.
    """
    world = np.array(viewer.dims.point)
    displayed = list(viewer.dims.displayed)
    world[displayed] = viewer.scene.camera.center[-len(displayed) :]
    units = layer.units if viewer.dims.units is None else viewer.dims.units
    # napari draws layers of fewer dimensions along the last axes.
    point = [*world[-layer.ndim :], 1.0]
    pixel = np.linalg.solve(compute_world_affine(layer, units, level), point)[:-1]
    return tuple(int(n) for n in np.rint(pixel))


class Gaze:
    """Tells where somebody looks, as often as that changes.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
    level : int
        As for :func:`find_middle`.
    tell : callable
        Takes the pixel; called once at the beginning.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layer: Image,
        level: int,
        tell: Callable[[tuple[int, ...]], None],
    ) -> None:
        self._viewer, self._layer, self._level, self._tell = viewer, layer, level, tell
        self._events = Subscriptions()
        for event in (viewer.scene.camera.events.center, viewer.dims.events.point):
            self._events.connect(event, self._look)
        self._look()

    def close(self) -> None:
        """Tell nothing any more."""
        self._events.close()

    def _look(self) -> None:
        self._tell(find_middle(self._viewer, self._layer, self._level))
