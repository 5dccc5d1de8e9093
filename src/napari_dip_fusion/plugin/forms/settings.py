"""The settings of a fusion as a form, built from FusionConfig's own description."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip_fusion.config import (
    GROUP_TITLES,
    PRESET_HELP,
    PRESETS,
    FusionConfig,
    Setting,
    Window,
)
from napari_dip_fusion.plugin.forms.intensity import IntensityForm
from napari_dip_fusion.plugin.forms.preferences import HIGHEST_PREVIEW_RATE, Preferences
from napari_dip_fusion.plugin.forms.rows import LABEL_WIDTH, show_number

# These belong to the data and the machine: choosing a preset leaves them alone.
_KEPT_GROUPS = ("intensity", "compute")
_INTENSITY_FIELDS = ("intensity", "percentiles")


class SettingsForm(QWidget):
    """Preset first, every other setting folded away under it.

    Emits ``changed`` when any value changes.

    Parameters
    ----------
    preferences : Preferences
        What the form starts with.
    """

    changed = Signal()

    def __init__(self, preferences: Preferences, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._quiet = False
        self.fields: dict[str, ValueWidget[Any]] = {}
        self.preset = ComboBox(choices=list(PRESETS), tooltip=_preset_tooltip())
        self.preview_rate = FloatSpinBox(
            min=0,
            max=HIGHEST_PREVIEW_RATE,
            step=0.5,
            value=preferences.preview_rate,
            tooltip="Largest number of preview images a second; 0 for none.",
        )
        self.intensity = IntensityForm()
        self.intensity.changed.connect(self._emit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(_form([("Preset", self.preset.native, self.preset.tooltip)]))
        self.folded = QCollapsible("Settings", collapsedIcon="▶", expandedIcon="▼")
        self.folded.setDuration(0)
        self.folded.layout().setContentsMargins(0, 0, 0, 0)
        for group, title in GROUP_TITLES.items():
            self.folded.addWidget(self._group(group, title))
        layout.addWidget(self.folded)
        self.show_config(preferences.config())
        self.preset.changed.connect(self._choose_preset)

    def config(self, contrast_limits: Sequence[Window]) -> FusionConfig:
        """Return the settings that the form shows.

        Parameters
        ----------
        contrast_limits : sequence of (low, high)
            Of the source layers, for where the intensity asks for them.

        Raises
        ------
        ValueError
            If the values do not go together; the message says what to do.
        """
        return FusionConfig(
            preset_name=str(self.preset.value),
            intensity=self.intensity.intensity(contrast_limits),
            percentiles=self.intensity.percentiles(),
            **{name: self._value(name) for name in self.fields},
        )

    def show_config(self, config: FusionConfig) -> None:
        """Show these settings."""
        with self._one_change():
            self.preset.value = config.preset_name
            self.intensity.show_config(config)
            leaves = config.leaves()
            for name in self.fields:
                self._show(name, leaves[name])

    def set_devices(self, names: Sequence[str]) -> None:
        """Offer these devices, beside ``auto``."""
        box = self.fields["device"]
        assert isinstance(box, ComboBox)
        current = box.value
        with self._one_change():
            box.choices = ["auto", *names]
            box.value = current if current in box.choices else "auto"

    def _choose_preset(self, name: str) -> None:
        preset = FusionConfig.preset(name).leaves()
        with self._one_change():
            for field in self.fields:
                if FusionConfig.describe(field).group not in _KEPT_GROUPS:
                    self._show(field, preset[field])

    def _group(self, group: str, title: str) -> QWidget:
        box = QWidget()
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 2, 0, 2)
        heading = QLabel(f"<b>{title}</b>")
        layout.addWidget(heading)
        if group == "intensity":
            layout.addWidget(self.intensity)
        rows = []
        for setting in FusionConfig.settings():
            if setting.group == group and setting.name not in _INTENSITY_FIELDS:
                widget = self._field(setting)
                rows.append((_label(setting.name), widget.native, widget.tooltip))
        if group == "compute":
            rows.append(("Preview rate", self.preview_rate.native, self.preview_rate.tooltip))
        layout.addLayout(_form(rows))
        return box

    def _field(self, f: Setting) -> ValueWidget[Any]:
        widget = _widget(f)
        widget.tooltip = _tooltip(f)
        widget.changed.connect(self._emit)
        self.fields[f.name] = widget
        return widget

    def _value(self, name: str) -> Any:
        widget = self.fields[name]
        if not isinstance(widget, LineEdit):
            return widget.value
        try:
            return float(widget.value)
        except ValueError:
            raise ValueError(f"{_label(name)} must be a number, got {widget.value!r}") from None

    def _show(self, name: str, value: Any) -> None:
        widget = self.fields[name]
        if isinstance(widget, ComboBox) and value not in widget.choices:
            widget.choices = [*widget.choices, value]
        if isinstance(widget, FloatSpinBox):
            show_number(widget, value)
        else:
            widget.value = f"{value:.12g}" if isinstance(widget, LineEdit) else value

    @contextmanager
    def _one_change(self) -> Iterator[None]:
        """Emit ``changed`` once, at the end, for all that happens inside."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
        self._emit()

    def _emit(self) -> None:
        if not self._quiet:
            self._mark_changes()
            self.changed.emit()

    def _mark_changes(self) -> None:
        """Say in the title how many settings differ from the preset."""
        preset = FusionConfig.preset(str(self.preset.value)).leaves()
        count = sum(self._differs(name, preset) for name in self.fields)
        differ = f" ({count} not as in the preset)" if count else ""
        self.folded.setText(f"Settings{differ}")

    def _differs(self, name: str, preset: dict[str, Any]) -> bool:
        if FusionConfig.describe(name).group in _KEPT_GROUPS:
            return False
        try:
            return bool(self._value(name) != preset[name])
        except ValueError:
            return True


def _widget(f: Setting) -> ValueWidget[Any]:
    """Return the magicgui widget for a setting, with its range and choices."""
    default, choices = f.default, f.choices
    low, high = f.minimum or 0, f.maximum or 0
    if choices is not None:
        return ComboBox(choices=list(choices))
    if isinstance(default, bool):
        return CheckBox(text="")
    if isinstance(default, int):
        return SpinBox(min=low, max=high)
    if isinstance(default, float):
        # A spin box has fixed decimals: a range of many decades is typed instead.
        if low > 0 and high / low > 1e4:
            return LineEdit()
        return FloatSpinBox(min=low, max=high, step=0.1 if high > 1 else 0.01)
    return ComboBox(choices=[default, "cpu"])


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _tooltip(f: Setting) -> str:
    low, high = f.minimum, f.maximum
    allowed = "" if low is None else f"\n{low:g} to {high:,g}."
    return f"{f.help}{allowed} Default: {f.default}."


def _preset_tooltip() -> str:
    return "\n".join(f"{name}: {PRESET_HELP[name]}" for name in PRESETS)


def _form(rows: Sequence[tuple[str, QWidget, str | None]]) -> QFormLayout:
    """Return a form of (label, field, tooltip) rows."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, field, tip in rows:
        label = QLabel(text)
        label.setToolTip(tip)
        label.setMinimumWidth(LABEL_WIDTH)
        form.addRow(label, field)
    return form
