"""Files are opened again as napari opened them, to see whether they hold what a run was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import npe2
import numpy as np
from napari.layers.utils.stack_utils import split_channels
from napari.utils.transforms import Affine

from napari_dip_fusion.plugin.layers.block_plane import BlockPlaneReader
from napari_dip_fusion.plugin.layers.drawable import make_drawable
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.layers.planes import Matrix
from napari_dip_fusion.plugin.layers.thick_slice import ProjectedPlanes
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader
from napari_dip_fusion.plugin.running.samples import holds_samples, is_same
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["OpenedLayer", "Reader", "holds_plane", "open_image_layer", "open_layers", "shows_plane"]

Reader = PlaneReader | WholeReader


@dataclass(frozen=True, eq=False)
class OpenedLayer:
    """A layer as a file gives it when it is opened again."""

    levels: Sequence[Any]
    affine: Matrix
    units: tuple[str, ...]


def open_image_layer(image: Source) -> OpenedLayer:
    """Return the layer that this plugin makes of an image of a file."""
    image = make_drawable(image)
    return OpenedLayer((image.data, *image.pyramid), image.affine, image.units)


def open_layers(path: Path, plugin: str) -> list[OpenedLayer]:
    """Return the layers that a plugin makes of a file."""
    found = npe2.read([str(path)], stack=False, plugin_name=plugin)
    return [_open_layer(*layer) for data in found for layer in _split(data)]


def _split(layer: Sequence[Any]) -> Sequence[Any]:
    """Return the layers that napari makes of one entry of a reader, as data and arguments."""
    data, arguments = layer[0], dict(layer[1]) if len(layer) > 1 else {}
    if arguments.get("channel_axis") is None:
        return [(data, arguments)]
    return [entry[:2] for entry in split_channels(data, **arguments)]


def _open_layer(data: Any, arguments: Mapping[str, Any]) -> OpenedLayer:
    levels = list(data) if isinstance(data, list | tuple) else [data]
    ndim = len(levels[0].shape) - bool(arguments.get("rgb"))
    parts = {key: arguments.get(key) for key in ("scale", "translate", "rotate", "shear")}
    inner = Affine(**{k: v for k, v in parts.items() if v is not None}, ndim=ndim)
    outer = arguments.get("affine")
    outer = np.eye(ndim + 1) if outer is None else getattr(outer, "affine_matrix", outer)
    units = arguments.get("units") or "pixel"
    each = [units] * ndim if isinstance(units, str) else list(units)
    return OpenedLayer(
        levels,
        np.asarray(outer, dtype=np.float64) @ inner.affine_matrix,
        tuple(abbreviate_unit(unit) for unit in each),
    )


def holds_plane(levels: Sequence[Any], reader: Reader, plane: Source) -> bool:
    """Tell whether one of the levels of an image has the pixels of a plane, or of all planes."""
    if isinstance(reader, WholeReader):
        return any(_holds_all(level, plane.data) for level in levels)
    wanted = reader.source.data
    for level in levels:
        # Of a thick slice, the same planes are one again.
        data = wanted.repeat(level) if isinstance(wanted, ProjectedPlanes) else level
        if tuple(data.shape) == tuple(wanted.shape) and data.dtype == wanted.dtype:
            # The same way of sampling on the other pixels.
            again = replace(reader, source=reader.source.replace(data=data)).read()
            return is_same(again.data, plane.data)
    return False


def shows_plane(levels: Sequence[Any], reader: BlockPlaneReader) -> bool:
    """Tell whether one of the levels of an image has the plane that is shown, where sampled."""
    wanted = reader.find_shown(reader.stack.data)
    shown = map(reader.find_shown, levels)
    return any(view is not None and holds_samples(view, wanted, 2) for view in shown)


def _holds_all(level: Any, wanted: Any) -> bool:
    """Tell whether two arrays of planes are the same, without ever reading either of them whole."""
    if tuple(level.shape) != tuple(wanted.shape) or level.dtype != wanted.dtype:
        return False
    return all(is_same(level[i], wanted[i]) for i in range(len(wanted)))
