"""The user's preferences for this plugin, kept by napari."""

from dataclasses import dataclass

from napari_dip_fusion.config import FusionConfig

PLUGIN = "napari-dip-fusion"


@dataclass(frozen=True)
class Preferences:
    """What a new widget starts with.

    Attributes
    ----------
    preset : str
        One of :data:`napari_dip_fusion.config.PRESETS`.
    device, threads, preview_rate
        As in :class:`~napari_dip_fusion.config.FusionConfig`.
    """

    preset: str = FusionConfig().preset_name
    device: str = FusionConfig().device
    threads: int = FusionConfig().threads
    preview_rate: float = FusionConfig().preview_rate

    def config(self) -> FusionConfig:
        """Return the settings that these preferences amount to."""
        return FusionConfig.preset(
            self.preset,
            device=self.device,
            threads=self.threads,
            preview_rate=self.preview_rate,
        )


def load_preferences() -> Preferences:
    """Read the preferences from napari's settings.

    Where napari does not know the plugin, or holds a value that is not
    allowed (an edited file), the defaults are returned.
    """
    from napari.settings import get_plugin_settings

    try:
        stored = get_plugin_settings(PLUGIN).fusion
        preferences = Preferences(
            preset=stored.preset,
            device=stored.device,
            threads=stored.threads,
            preview_rate=float(stored.preview_rate),
        )
        preferences.config()
    except (KeyError, AttributeError, ValueError):
        return Preferences()
    return preferences
