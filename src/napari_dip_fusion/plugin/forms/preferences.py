"""The user's preferences for this plugin, kept by napari."""

from dataclasses import dataclass

from napari.settings import get_plugin_settings

from napari_dip_fusion.config import FusionConfig

PLUGIN = "napari-dip-fusion"

PREVIEW_RATE = 4.0
"""Previews a second, where the user has said nothing else."""

HIGHEST_PREVIEW_RATE = 60.0


@dataclass(frozen=True)
class Preferences:
    """What a new widget starts with.

    Attributes
    ----------
    preset : str
        One of :data:`napari_dip_fusion.config.PRESETS`.
    device, threads
        As in :class:`~napari_dip_fusion.config.ComputeSettings`.
    preview_rate : float
        Largest number of preview images a second; 0 for none.
    """

    preset: str = FusionConfig().preset_name
    device: str = FusionConfig().compute.device
    threads: int = FusionConfig().compute.threads
    preview_rate: float = PREVIEW_RATE

    def make_config(self) -> FusionConfig:
        """Return the settings that these preferences amount to."""
        return FusionConfig.preset(
            self.preset,
            device=self.device,
            threads=self.threads,
        )


def load_preferences() -> Preferences:
    """Read the preferences from napari's settings.

    Where napari does not know the plugin, or holds a value that is not
    allowed (an edited file), the defaults are returned.
    """
    try:
        stored = get_plugin_settings(PLUGIN).fusion
        preferences = Preferences(
            preset=stored.preset,
            device=stored.device,
            threads=stored.threads,
            preview_rate=float(stored.preview_rate),
        )
        # A file of settings that was edited by hand may hold anything.
        preferences.make_config()
        if not 0 <= preferences.preview_rate <= HIGHEST_PREVIEW_RATE:
            return Preferences()
    except (KeyError, AttributeError, ValueError):
        return Preferences()
    return preferences
