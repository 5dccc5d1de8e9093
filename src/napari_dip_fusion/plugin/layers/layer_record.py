"""What the run record in a layer's metadata says: settings and sources."""

from collections.abc import Iterable, Mapping
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_dip_fusion.config import FusionConfig


def get_record(layer: Layer) -> Mapping[str, Any] | None:
    """Return the run record that a layer carries, None if it carries none."""
    # Metadata come from files, too, where the key may stand for anything.
    known = layer.metadata.get("dip_fusion")
    record = known.get("record") if isinstance(known, Mapping) else None
    return record if isinstance(record, Mapping) else None


def find_config(layers: Iterable[Layer]) -> tuple[FusionConfig, str]:
    """Return the settings in the run record of the first layer that has one, and its name.

    Raises
    ------
    ValueError
        If no layer has a run record, or its settings cannot be used.
    """
    for layer in layers:
        record = get_record(layer)
        if record is not None and isinstance(record.get("config"), Mapping):
            try:
                return FusionConfig.from_dict(record["config"]), layer.name
            except ValueError as error:
                raise ValueError(
                    f"the run record of {layer.name} cannot be used: {error}"
                ) from error
    raise ValueError("select a fused layer that carries its run record")


def find_sources(viewer: ViewerModel, fused: Layer) -> list[Layer]:
    """Return the layers that a fused layer was made of, none if one of them is missing."""
    record = get_record(fused)
    if record is None:
        return []
    # By name, for records outlive the layers that they tell of.
    names = [source["name"] for source in record["sources"]]
    layers = {layer.name: layer for layer in viewer.layers}
    return [layers[name] for name in names] if set(names) <= set(layers) else []
