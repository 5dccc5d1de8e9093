"""What the run record in a layer's metadata says: settings and sources."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.plugin.layers.acquisition import Acquisition

ACQUISITION = "acquisition"
"""Key of a run record under which stands how each layer was taken, where that was said."""

# The sources of the layers that were fused in this session, all by the ids that napari gives them:
# names may change, and metadata go into files, where ids would mean nothing.
_sources: dict[Hashable, tuple[Hashable, ...]] = {}


def note_sources(fused: Layer, sources: Sequence[Hashable]) -> None:
    """Remember by their ``unique_id`` the layers that a layer was fused of."""
    _sources[fused.unique_id] = tuple(sources)


def get_record(layer: Layer) -> Mapping[str, Any] | None:
    """Return the run record that a layer carries, None if it carries none."""
    # Metadata come from files, too, where the key may stand for anything.
    known = layer.metadata.get("dip_fusion")
    record = known.get("record") if isinstance(known, Mapping) else None
    return record if isinstance(record, Mapping) else None


def find_config(layers: Iterable[Layer]) -> tuple[FusionConfig, Layer]:
    """Return the settings in the run record of the first layer that has one, and that layer.

    Raises
    ------
    ValueError
        If no layer has a run record, or its settings cannot be used.
    """
    for layer in layers:
        record = get_record(layer)
        if record is not None and isinstance(record.get("config"), Mapping):
            try:
                return FusionConfig.from_dict(record["config"]), layer
            except ValueError as error:
                raise ValueError(
                    f"the run record of {layer.name} cannot be used: {error}"
                ) from error
    raise ValueError("select a fused layer that carries its run record")


def find_acquisitions(viewer: ViewerModel, fused: Layer) -> list[tuple[Layer, Acquisition]]:
    """Return the sources of a fused layer, and how its record says that each was taken.

    Returns
    -------
    list of (Layer, Acquisition)
        Of a mask that is not in the viewer, it is said that it is gone. Empty if a source is
        missing.
    """
    record = get_record(fused)
    if record is None:
        return []
    layers = {layer.name: layer for layer in viewer.layers}
    found = []
    try:
        sources = find_sources(viewer, fused)
        known = record.get(ACQUISITION) or [{}] * len(sources)
        for source, entry in zip(sources, known, strict=True):
            fwhm, mask = entry.get("fwhm", 0.0), entry.get("mask")
            width = tuple(map(float, fwhm)) if isinstance(fwhm, list | tuple) else float(fwhm)
            taken = Acquisition(width, layers.get(mask), bool(mask) and mask not in layers)
            found.append((source, taken))
    # Records come from files, too, where the key may stand for anything.
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
    return found


def find_sources(viewer: ViewerModel, fused: Layer) -> list[Layer]:
    """Return the layers that a fused layer was made of, none if one of them is missing."""
    record = get_record(fused)
    if record is None:
        return []
    present = {layer.unique_id: layer for layer in viewer.layers}
    known = _sources.get(fused.unique_id)
    if known is not None:
        return [present[x] for x in known] if set(known) <= set(present) else []
    # Of a layer from a file: by name, for records outlive the layers that they tell of.
    names = [source["name"] for source in record["sources"]]
    layers = {layer.name: layer for layer in viewer.layers}
    return [layers[name] for name in names] if set(names) <= set(layers) else []
