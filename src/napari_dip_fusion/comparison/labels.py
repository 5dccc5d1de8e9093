"""The names under which methods are compared, and their labels for people."""

from napari_dip_fusion.config import DIP, PRESETS
from napari_dip_fusion.methods import METHODS

PRESET_PREFIX = f"{DIP}-"
"""What stands before a preset in the name of the Deep Image Prior with that preset."""


def label_methods() -> dict[str, str]:
    """Return the label of every method that can be compared, by name.

    Those of :data:`~napari_dip_fusion.methods.METHODS`, and the Deep Image Prior as ``dip-`` and
    the name of a preset.
    """
    labels = {name: method.label for name, method in METHODS.items()}
    presets = {f"{PRESET_PREFIX}{preset}": f"Deep Image Prior, {preset}" for preset in PRESETS}
    return labels | presets
