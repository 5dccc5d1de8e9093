"""The settings as a form that magicgui builds from their annotations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    LineEdit,
    create_widget,
)
from magicgui.widgets.bases import ValueWidget, Widget
from psygnal import Signal

from napari_dip_fusion.config import (
    GROUP_TITLES,
    PRESET_HELP,
    PRESETS,
    FusionConfig,
    Setting,
    Window,
)
from napari_dip_fusion.plugin.forms.intensity import IntensityForm
from napari_dip_fusion.plugin.forms.layout import (
    Text,
    align_labels,
    make_row,
    set_range,
    show_number,
)
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget, make_collapsible
from napari_dip_fusion.plugin.forms.preferences import HIGHEST_PREVIEW_RATE, Preferences

# These belong to the data and the machine: choosing a preset leaves them alone.
_KEPT_GROUPS = ("intensity", "compute")


class SettingsForm(Container[Widget]):
    """Preset first, every other setting folded away under it.

    Emits ``config_changed`` when any value changes, once for values that are
    changed together.

    Parameters
    ----------
    preferences : Preferences
        What the form starts with.

    Attributes
    ----------
    fields : dict of str to ValueWidget
        The field of each setting, by the setting's name.
    """

    config_changed = Signal()

    def __init__(self, preferences: Preferences) -> None:
        super().__init__(labels=False)
        self._quiet = False
        # Until torch is imported, and says what else there is.
        self._devices = ["cpu"]
        self.fields: dict[str, ValueWidget[Any]] = {}
        self.preset = ComboBox(
            choices=list(PRESETS),
            label="Preset",
            tooltip="\n".join(f"{name}: {PRESET_HELP[name]}" for name in PRESETS),
        )
        # No setting of a fusion, but of those who watch one.
        self.preview_rate = FloatSpinBox(
            min=0,
            max=HIGHEST_PREVIEW_RATE,
            step=0.5,
            value=preferences.preview_rate,
            label="Preview rate",
            tooltip="Largest number of preview images a second; 0 for none.",
        )
        self.intensity = IntensityForm()
        self.intensity.changed.connect(self._respond)
        groups = Container[Widget](labels=False)
        groups.margins = (0, 2, 0, 2)
        for group, title in GROUP_TITLES.items():
            heading = Text(f"<b>{title}</b>")
            # Farther from the group above than from its own.
            heading.native.setContentsMargins(0, 6, 0, 0)
            groups.extend([heading, self._make_group(group)])
        self.folded = make_collapsible("Settings", groups)
        self.margins = (0, 0, 0, 0)
        self.extend([_make_form([self.preset]), NativeWidget(self.folded)])
        self.show_config(preferences.make_config())
        # Last: what the preferences say is no choice of the user.
        self.preset.changed.connect(self._choose_preset)

    def take_config(self, contrast_limits: Sequence[Window]) -> FusionConfig:
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
            intensity=self.intensity.get_intensity(contrast_limits),
            percentiles=self.intensity.get_percentiles(),
            **{name: self._read(name) for name in self.fields},
        )

    def show_config(self, config: FusionConfig) -> None:
        """Show these settings."""
        with self._bundle_changes():
            self.preset.value = config.preset_name
            self.intensity.show_config(config)
            # A device that is not there stays chosen: the run will explain it.
            if config.compute.device not in ("auto", *self._devices):
                self._offer_devices([*self._devices, config.compute.device])
            leaves = config.leaves()
            for name in self.fields:
                self._show(name, leaves[name])

    def set_devices(self, names: Sequence[str]) -> None:
        """Offer these devices, beside ``auto``."""
        with self._bundle_changes():
            self._offer_devices(names)

    # -- building -----------------------------------------------------------

    def _make_group(self, group: str) -> Container[Widget]:
        """Return the labeled fields of a group of settings."""
        if group == "intensity":
            return self.intensity
        settings = [s for s in FusionConfig.settings() if s.group == group]
        fields: list[Widget] = [self._make_field(setting) for setting in settings]
        # Where people look for it: beside what else says how to compute, and not what.
        if group == "compute":
            fields.append(self.preview_rate)
        return _make_form(fields)

    def _make_field(self, setting: Setting) -> ValueWidget[Any]:
        """Return magicgui's widget for a setting: its annotation says which."""
        options: dict[str, Any] = {"tooltip": _describe(setting)}
        if setting.name == "device":
            # What devices there are is known later, when torch is imported.
            options |= {"choices": self._list_devices}
        elif _spans_decades(setting):
            # A spin box has fixed decimals, so that such numbers are typed.
            options |= {"widget_type": LineEdit}
        elif setting.minimum is not None and setting.maximum is not None:
            # magicgui reads no ranges of pydantic's: it takes them as options.
            options |= {"min": setting.minimum, "max": setting.maximum}
            if isinstance(setting.default, float):
                options["step"] = 0.1 if setting.maximum > 1 else 0.01
        field = create_widget(
            value=setting.default,
            annotation=setting.annotation,
            name=setting.name,
            label=setting.title,
            options=options,
        )
        assert isinstance(field, ValueWidget)
        if isinstance(field, FloatSpinBox):
            # Qt has rounded the ends of the range to two decimals.
            set_range(field, setting.minimum or 0, setting.maximum or 0)
        field.changed.connect(self._respond)
        self.fields[setting.name] = field
        return field

    def _offer_devices(self, names: Sequence[str]) -> None:
        self._devices = list(names)
        cast(ComboBox, self.fields["device"]).reset_choices()

    def _list_devices(self, _box: Any) -> list[str]:
        return ["auto", *self._devices]

    # -- values -------------------------------------------------------------

    def _choose_preset(self, name: str) -> None:
        preset = FusionConfig.preset(name).leaves()
        with self._bundle_changes():
            for field in self.fields:
                if FusionConfig.describe(field).group not in _KEPT_GROUPS:
                    self._show(field, preset[field])

    def _read(self, name: str) -> Any:
        field = self.fields[name]
        if not isinstance(field, LineEdit):
            return field.value
        try:
            return float(field.value)
        except ValueError:
            title = FusionConfig.describe(name).title
            raise ValueError(f"{title} must be a number, got {field.value!r}") from None

    def _show(self, name: str, value: Any) -> None:
        field = self.fields[name]
        if isinstance(field, FloatSpinBox):
            show_number(field, value)
        else:
            # Twelve digits: none of the noise that binary fractions have at the end.
            field.value = f"{value:.12g}" if isinstance(field, LineEdit) else value

    @contextmanager
    def _bundle_changes(self) -> Iterator[None]:
        """Emit ``config_changed`` once, at the end, for all that happens inside."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
        self._respond()

    def _respond(self) -> None:
        if not self._quiet:
            self._show_differences()
            self.config_changed.emit()

    def _show_differences(self) -> None:
        """Say in the title how many settings differ from the preset."""
        preset = FusionConfig.preset(str(self.preset.value)).leaves()
        # Folded away, a changed setting would otherwise be forgotten there.
        count = sum(self._differs(name, preset) for name in self.fields)
        differ = f" ({count} not as in the preset)" if count else ""
        self.folded.setText(f"Settings{differ}")

    def _differs(self, name: str, preset: dict[str, Any]) -> bool:
        if FusionConfig.describe(name).group in _KEPT_GROUPS:
            return False
        try:
            return bool(self._read(name) != preset[name])
        except ValueError:
            return True


def _make_form(fields: Sequence[Widget]) -> Container[Widget]:
    """Return fields under one another, with labels as wide as all others."""
    form = Container[Widget]()
    form.margins = (0, 0, 0, 0)
    form.extend(_label_box(field) if isinstance(field, CheckBox) else field for field in fields)
    align_labels(form)
    return form


def _label_box(box: CheckBox) -> Container[Widget]:
    """Return a row with a check box, whose label is shown like those of other fields."""
    # magicgui shows the text of a check box behind it, where no other field has its label.
    row = make_row(box)
    row.label, row.tooltip, box.text = box.label, box.tooltip, ""
    return row


def _spans_decades(setting: Setting) -> bool:
    low, high = setting.minimum, setting.maximum
    is_float = isinstance(setting.default, float)
    return is_float and low is not None and high is not None and low > 0 and high / low > 1e4


def _describe(setting: Setting) -> str:
    """Return the tooltip of a setting: its help, range and default."""
    low, high = setting.minimum, setting.maximum
    allowed = "" if low is None else f"\n{low:g} to {high:.12g}."
    return f"{setting.help}{allowed} Default: {setting.default}."
