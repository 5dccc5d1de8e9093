"""The fields that say how source values become [0, 1]."""

from collections.abc import Hashable, Sequence

from magicgui.widgets import ComboBox, Container, FloatSpinBox
from magicgui.widgets.bases import Widget
from napari.layers import Layer
from qtpy.QtWidgets import QAbstractSpinBox

from napari_dip_fusion.config import INTENSITY_MODES, FusionConfig, Intensity, Window
from napari_dip_fusion.plugin.forms.layout import align_labels, make_row, show_number
from napari_dip_fusion.plugin.forms.shortening import cut_middle

# Choices that only the widget has. In a configuration they become a window or a mode for each
# source.
CONTRAST_LIMITS = "contrast limits"
PER_SOURCE = "one by one"

_TIPS = {
    CONTRAST_LIMITS: "the contrast limits that the layer has when the fusion starts",
    PER_SOURCE: "a choice for each source",
}
# A longer name would not fit the column of labels; the tooltip has all of it.
_MOST_LETTERS = 16


class IntensityForm(Container[Widget]):
    """Choose an intensity window for all sources, or for each.

    Emits ``changed`` when a choice is made, as every container of magicgui.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sources: list[tuple[Hashable, str]] = []
        self._each: list[ComboBox] = []
        # By the layer and not by its name, which may change or go to another one. A source that
        # is ticked again finds what was chosen for it.
        self._chosen: dict[Hashable, str] = {}
        self.mode = ComboBox(
            choices=[*INTENSITY_MODES, CONTRAST_LIMITS, PER_SOURCE],
            label="Intensity",
            tooltip=_describe_modes([*_TIPS]),
        )
        # Connected before the container is: whoever hears of the mode finds its rows there.
        self.mode.changed.connect(self._show_each)
        self.low, self.high = _make_percentile_box(), _make_percentile_box()
        percentiles = make_row(self.low, self.high)
        percentiles.label = "Percentiles"
        percentiles.tooltip = FusionConfig.describe("percentiles").help
        self.margins = (0, 0, 0, 0)
        self.extend([self.mode, percentiles])
        align_labels(self)
        self.show_config(FusionConfig())

    def show_config(self, config: FusionConfig) -> None:
        """Show the mode and percentiles of a configuration.

        A configuration with an entry for each source leaves the mode as it is: its windows
        have no field here, but are taken from the layers.
        """
        if isinstance(config.intensity, str):
            self.mode.value = config.intensity
        for box, value in zip((self.low, self.high), config.percentiles, strict=True):
            show_number(box, value)

    def set_sources(self, layers: Sequence[Layer]) -> None:
        """Offer a choice for each of these layers."""
        # No layer is held, whose pixels would stay in memory with it.
        sources = [(layer.unique_id, layer.name) for layer in layers]
        if sources != self._sources:
            self._sources = sources
            self._show_each()

    def get_percentiles(self) -> Window:
        """Return the percentiles for the mode ``percentiles``."""
        return float(self.low.value), float(self.high.value)

    def get_intensity(self, contrast_limits: Sequence[Window]) -> Intensity:
        """Return the intensity for a configuration.

        Parameters
        ----------
        contrast_limits : sequence of (low, high)
            Of the source layers, in order.
        """
        if self.mode.value == PER_SOURCE:
            modes = [str(box.value) for box in self._each]
        elif self.mode.value == CONTRAST_LIMITS:
            modes = [CONTRAST_LIMITS] * len(contrast_limits)
        else:
            return str(self.mode.value)
        return tuple(
            limits if mode == CONTRAST_LIMITS else mode
            for mode, limits in zip(modes, contrast_limits, strict=True)
        )

    def _show_each(self) -> None:
        """Show one row a source, with what was chosen for that layer before."""
        for box in self._each:
            self.remove(box)
        self._each = []
        if self.mode.value == PER_SOURCE:
            self._each = [self._make_source_box(*source) for source in self._sources]
            self.extend(self._each)
            # magicgui has measured the labels anew.
            align_labels(self)

    def _make_source_box(self, layer_id: Hashable, name: str) -> ComboBox:
        box = ComboBox(
            choices=[*INTENSITY_MODES, CONTRAST_LIMITS],
            value=self._chosen.get(layer_id, INTENSITY_MODES[0]),
            label=cut_middle(name, _MOST_LETTERS),
            tooltip=f"{name}\n{_describe_modes([CONTRAST_LIMITS])}",
        )
        # Connected before the container is, as above.
        box.changed.connect(lambda mode: self._chosen.update({layer_id: mode}))
        return box


def _make_percentile_box() -> FloatSpinBox:
    setting = FusionConfig.describe("percentiles")
    box = FloatSpinBox(
        min=setting.minimum or 0, max=setting.maximum or 0, step=0.1, tooltip=setting.help
    )
    # Two buttons each would leave no room for the digits.
    box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    return box


def _describe_modes(here: Sequence[str]) -> str:
    """Return the help of the setting, followed by that of modes that only the widget has."""
    more = "; ".join(f"{name}: {_TIPS[name]}" for name in here)
    return f"{FusionConfig.describe('intensity').help}\nHere also: {more}."
