"""The layer that shows a fusion while it runs, and keeps its result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.fusion import FusionResult
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.layers.result_layers import ROLE, add_fused_layer, make_metadata


class FusedLayer:
    """A layer that appears with the first image and is updated in place.

    Parameters
    ----------
    viewer : napari.Viewer
    name : str
        Wish for a name; the layer takes a fresh one.
    place : Placement
    above : FusedLayer, optional
        Another such layer, under which this one appears.

    Attributes
    ----------
    layer : napari.layers.Image or None
        None before the first image.
    """

    def __init__(
        self, viewer: ViewerModel, name: str, place: Placement, *, above: "FusedLayer | None" = None
    ) -> None:
        self._viewer = viewer
        self._above = above
        self._name = name
        self._place = place
        self.layer: Image | None = None
        # What the layer shows as long as its image comes in parts; nobody else holds it.
        self._parts: NDArray[Any] | None = None

    @property
    def in_viewer(self) -> bool:
        """Whether the layer is in the viewer."""
        return self.layer is not None and self.layer in self._viewer.layers

    @property
    def removed(self) -> bool:
        """Whether the layer was in the viewer and is no longer."""
        return self.layer is not None and not self.in_viewer

    def preview(self, image: NDArray[Any]) -> None:
        """Show an image; a layer that the user has removed does not come back."""
        # Whoever removes the layer during the run wants the canvas for something else.
        if not self.removed:
            self._parts = None
            self._show(image, {})

    def preview_part(self, image: NDArray[Any], where: Sequence[int | slice]) -> None:
        """Show a part of the image in its place: what has not come yet is black, or stays.

        Parameters
        ----------
        image : ndarray
            In [0, 1], and perhaps in color.
        where : sequence of int or slice
            Index of the part in the array of the layer.
        """
        if self.removed:
            return
        if self._parts is None:
            self._parts = self._start_parts(image, where)
        self._parts[tuple(where)] = image
        if self.layer is None:
            self._show(self._parts, {})
            return
        # The array is in the layer already: only what is in sight is drawn anew. A thumbnail of a
        # volume looks at all of its pixels.
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def finish(self, result: FusionResult) -> None:
        """Show the result with its record, in a new layer if the old one was removed."""
        # The result is what the run was for: it comes in any case.
        if self.removed:
            self.layer = None
        self._parts = None
        self._show(result.image, make_metadata(result.record, result.metrics, self._place))

    def discard(self) -> None:
        """Remove the layer."""
        if self.in_viewer:
            self._viewer.layers.remove(self.layer)
        self.layer = None

    def _start_parts(self, image: NDArray[Any], where: Sequence[int | slice]) -> NDArray[Any]:
        """Return the array that parts are written into: what is shown now, or nothing."""
        if self.layer is not None:
            # Copied: the run may still need what it has sent.
            parts = np.array(self.layer.data, dtype=np.float32)
            self.layer.data = parts
            return parts
        shape = self._place.shape
        size = np.broadcast_to(np.False_, shape)[tuple(where)].size
        colors = () if image.size == size else image.shape[-1:]
        return np.zeros((*shape, *colors), dtype=np.float32)

    def _show(self, image: NDArray[Any], metadata: dict[str, Any]) -> None:
        if self.layer is None:
            self.layer = add_fused_layer(
                self._viewer, image, self._name, self._place, metadata=metadata
            )
            self._move_under()
            return
        # In place, so that colors and limits that the user has set stay.
        self.layer.data = self._place.expand(image)
        self.layer.metadata.update(metadata)
        if metadata:
            # With its record it is a preview no longer.
            self.layer.metadata.pop(ROLE, None)

    def _move_under(self) -> None:
        """Leave in sight what is to be seen, and what was selected selected."""
        if self._above is None or self._above.layer is None or not self._above.in_viewer:
            return
        layers = self._viewer.layers
        layers.move(layers.index(self.layer), layers.index(self._above.layer))
        layers.selection.active = self._above.layer
