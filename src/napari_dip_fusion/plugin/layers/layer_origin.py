"""Where layers say that they came from, which need not be what they hold now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Layer

from napari_dip_fusion.plugin.layers.planes import Matrix, get_physical_affine
from napari_dip_fusion.sources.units import abbreviate_unit


@dataclass(frozen=True, eq=False)
class LayerOrigin:
    """The file that a layer was opened from, and the place that the layer has now.

    Nothing says that the file still holds the layer: its data may have been replaced or
    edited, and it may have been moved. Only reading the file again can tell.

    Attributes
    ----------
    path : Path
        The file or folder.
    plugin : str
        The plugin that read it for napari.
    affine : ndarray of shape (D + 1, D + 1)
        From pixels of full resolution to the layer's world, in its own units.
    units : tuple of D str
        Short symbols.
    """

    path: Path
    plugin: str
    affine: Matrix
    units: tuple[str, ...]


def get_origins(layers: Sequence[Layer]) -> tuple[LayerOrigin | None, ...]:
    """Return where layers say that they came from, None for those that came from no file."""
    return tuple(_get_origin(layer) for layer in layers)


def _get_origin(layer: Layer) -> LayerOrigin | None:
    source = layer.source
    if source.path is None or source.reader_plugin is None:
        return None
    return LayerOrigin(
        Path(source.path).absolute(),
        str(source.reader_plugin),
        layer.affine.affine_matrix @ get_physical_affine(layer).affine_matrix,
        tuple(abbreviate_unit(unit) for unit in layer.units),
    )
