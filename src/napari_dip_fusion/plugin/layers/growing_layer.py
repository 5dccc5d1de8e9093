"""The layer that shows a fusion while its blocks are written into a file, and then the file."""

from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.files import read_fused
from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.plugin.layers.fused_layer import FusedLayer
from napari_dip_fusion.plugin.layers.levels import LEVEL_AFFINES
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.layers.result_layers import ROLE, find_free_name, make_metadata
from napari_dip_fusion.sources import Source


class GrowingLayer(FusedLayer):
    """A layer of an image that grows in a file, of which napari reads what is in sight.

    Parameters
    ----------
    viewer, name, place
        As for :class:`.FusedLayer`.

    Attributes
    ----------
    path : Path or None
        The image that the layer shows; None before there is one.
    """

    def __init__(self, viewer: ViewerModel, name: str, place: Placement) -> None:
        super().__init__(viewer, name, place)
        self.path: Path | None = None
        # napari reads the coarsest of several levels of a plane once, and keeps what it has read.
        # So it is given an array in memory, which changes in place with what is stored.
        self._stored: Any = None
        self._coarsest: NDArray[Any] | None = None

    def grow(self, path: Path) -> None:
        """Show an image that grows, in the layer that there is or a new one."""
        if self.in_viewer and path == self.path:
            self.refresh()
            return
        self.path = path
        try:
            self._open(path, {ROLE: "preview"})
        except ImageFileError:
            # A short run has ended by the time it is looked at: its end shows the file.
            if path.exists():
                raise

    def refresh(self) -> None:
        """Show what has been written since; napari reads the part that is in sight."""
        if self.removed or self.layer is None:
            return
        if self._coarsest is not None:
            np.copyto(self._coarsest, np.asarray(self._stored))
        self.layer.refresh(highlight=False, extent=False)

    def complete(self, path: Path, record: dict[str, Any], metrics: dict[str, float]) -> None:
        """Show the file with its record, in a new layer if the old one was removed."""
        self.path = path
        self._open(path, make_metadata(record, metrics, self._place))

    def _open(self, path: Path, metadata: dict[str, Any]) -> None:
        """Show an image in the layer, or in a new one if that was removed."""
        # What is to be said of the place was said of the layers that are fused.
        with silence_warnings():
            image = read_fused(path)
        levels = self._list_levels(image)
        metadata |= self._note_levels(image)
        if self.layer is None or self.removed:
            self.layer = self._add(levels, image, metadata)
            return
        # Not every format keeps the resolutions that the image had while it grew.
        self.layer.data = levels if self.layer.multiscale else levels[0]
        self.layer.metadata.update(metadata)
        if ROLE not in metadata:
            # With its record it is a preview no longer.
            self.layer.metadata.pop(ROLE, None)

    def _list_levels(self, image: Source) -> list[Any]:
        """Return the resolutions as napari takes them, the coarsest in memory."""
        levels = [self._place.arrange(x, image.ndim) for x in (image.data, *image.pyramid)]
        self._stored = self._coarsest = None
        if len(levels) > 1 and len(self._place.shape) == 2:
            self._stored = levels.pop()
            self._coarsest = np.array(self._stored)
            levels.append(self._coarsest)
        return levels

    def _add(self, levels: list[Any], image: Source, metadata: dict[str, Any]) -> Image:
        pyramid = len(levels) > 1
        return self._viewer.add_image(
            levels if pyramid else levels[0],
            multiscale=pyramid,
            name=find_free_name(self._viewer, self._place.add_slice(self._name)),
            rgb=image.rgb,
            # The same for all results, so that the eye can compare them.
            contrast_limits=(0.0, 1.0),
            metadata=metadata,
            # dask would keep what it has read, and show black where blocks have come since.
            cache=False,
            **self._place.spatial,
        )

    def _note_levels(self, image: Source) -> dict[str, Any]:
        """Return metadata that say where the pixels of coarser levels lie, as readers have them."""
        if not image.level_affines:
            return {}
        matrices = map(self._place.arrange_matrix, image.level_affines)
        return {LEVEL_AFFINES: [matrix.tolist() for matrix in matrices]}
