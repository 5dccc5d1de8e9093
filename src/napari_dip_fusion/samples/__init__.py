"""Deterministic synthetic source sets with a known true image.

Owns the head phantoms, the focus series and the cell series that the demonstrations, the tests
and napari's sample menu use; everything is computed, nothing is downloaded.
"""

from collections.abc import Callable
from types import MappingProxyType

from napari_dip_fusion.samples.cells import cell_series
from napari_dip_fusion.samples.focus import focus_pair, focus_stack
from napari_dip_fusion.samples.head import FIELD_OF_VIEW, head_phantom, noisy_head_phantom
from napari_dip_fusion.samples.head_pet import head_pet
from napari_dip_fusion.samples.head_volume import head_thick, head_volume
from napari_dip_fusion.samples.sample_set import SampleSet

__all__ = [
    "FIELD_OF_VIEW",
    "SAMPLES",
    "SampleSet",
    "cell_series",
    "focus_pair",
    "focus_stack",
    "head_pet",
    "head_phantom",
    "head_thick",
    "head_volume",
    "noisy_head_phantom",
]

SAMPLES: MappingProxyType[str, Callable[[], SampleSet]] = MappingProxyType(
    {
        "head": head_phantom,
        "noisy-head": noisy_head_phantom,
        "focus-pair": focus_pair,
        "focus-stack": focus_stack,
        "head-pet": head_pet,
        "head-volume": head_volume,
        "head-thick": head_thick,
        "cell-series": cell_series,
    }
)
"""The source sets by name; each value makes its set with the default options."""
