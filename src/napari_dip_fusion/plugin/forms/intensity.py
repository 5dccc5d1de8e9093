"""The fields that say how source values become [0, 1]."""

from collections.abc import Sequence

from magicgui.widgets import ComboBox, FloatSpinBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QAbstractSpinBox, QFormLayout, QHBoxLayout, QLabel, QWidget

from napari_dip_fusion.config import INTENSITY_MODES, FusionConfig, Intensity, Window
from napari_dip_fusion.plugin.forms.rows import LABEL_WIDTH, show_number

CONTRAST_LIMITS = "contrast limits"
PER_SOURCE = "one by one"

_TIPS = {
    CONTRAST_LIMITS: "the contrast limits that the layer has when the fusion starts",
    PER_SOURCE: "a choice for each source",
}


class IntensityForm(QWidget):
    """Choose an intensity window for all sources, or for each.

    Emits ``changed`` when a choice is made.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._each: list[ComboBox] = []
        self._chosen: dict[str, str] = {}
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.mode = ComboBox(choices=[*INTENSITY_MODES, CONTRAST_LIMITS, PER_SOURCE])
        self.mode.tooltip = _tooltip([*_TIPS])
        self.mode.changed.connect(self._mode_changed)
        self._add_row("Intensity", self.mode.native, self.mode.tooltip)
        self._add_percentiles()
        self.show_config(FusionConfig())

    def show_config(self, config: FusionConfig) -> None:
        """Show the mode and percentiles of a configuration.

        One window a source cannot be shown: the mode is then left alone.
        """
        if isinstance(config.intensity, str):
            self.mode.value = config.intensity
        for box, value in zip((self.low, self.high), config.percentiles, strict=True):
            show_number(box, value)

    def set_sources(self, names: Sequence[str]) -> None:
        """Offer a choice for each of the sources with these names."""
        if list(names) != self._names:
            self._names = list(names)
            self._show_each()

    def percentiles(self) -> Window:
        """Return the percentiles for the mode ``percentiles``."""
        return float(self.low.value), float(self.high.value)

    def intensity(self, contrast_limits: Sequence[Window]) -> Intensity:
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

    def _add_percentiles(self) -> None:
        info = FusionConfig.describe("percentiles")
        self.low, self.high = (
            FloatSpinBox(min=info.minimum or 0, max=info.maximum or 0, step=0.1, tooltip=info.help)
            for _ in range(2)
        )
        self._pair = QWidget()
        row = QHBoxLayout(self._pair)
        row.setContentsMargins(0, 0, 0, 0)
        for box in (self.low, self.high):
            # Two buttons each would leave no room for the digits.
            box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            row.addWidget(box.native)
            box.changed.connect(self._emit)
        self._add_row("Percentiles", self._pair, info.help)

    def _add_row(self, text: str, field: QWidget, tip: str) -> None:
        label = QLabel(text)
        label.setToolTip(tip)
        label.setMinimumWidth(LABEL_WIDTH)
        self._layout.addRow(label, field)

    def _mode_changed(self) -> None:
        self._show_each()
        self._emit()

    def _show_each(self) -> None:
        """Show one row a source, with what was chosen for that name before."""
        for box in self._each:
            self._layout.removeRow(box.native)
        self._each = []
        if self.mode.value == PER_SOURCE:
            for name in self._names:
                self._add_source(name)

    def _add_source(self, name: str) -> None:
        box = ComboBox(choices=[*INTENSITY_MODES, CONTRAST_LIMITS])
        box.tooltip = _tooltip([CONTRAST_LIMITS])
        box.value = self._chosen.get(name, INTENSITY_MODES[0])
        box.changed.connect(lambda mode: self._choose(name, mode))
        self._each.append(box)
        label = name if len(name) <= 16 else f"{name[:14]}\N{HORIZONTAL ELLIPSIS}"
        self._add_row(label, box.native, name)

    def _choose(self, name: str, mode: str) -> None:
        self._chosen[name] = mode
        self._emit()

    def _emit(self) -> None:
        self.changed.emit()


def _tooltip(extra: Sequence[str]) -> str:
    more = "; ".join(f"{name}: {_TIPS[name]}" for name in extra)
    return f"{FusionConfig.describe('intensity').help}\nHere also: {more}."
