"""The list of methods to compare: what each is, and which cannot run here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_dip_fusion.comparison.labels import PRESET_PREFIX, label_methods
from napari_dip_fusion.config import CONSENSUS, PRESET_HELP, PRESETS, FusionConfig
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.plugin.forms.check_list import CheckList
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.running.comparison_run import (
    Entry,
    get_comparable_settings,
    get_compute_settings,
)

OWN = "dip-own"
"""The Deep Image Prior with the settings of the form."""

NO_WEIGHTS = "weights missing"

# The published settings take minutes, and those of the form are for experiments.
_LEFT_OUT_AT_FIRST = ("dip-paper", OWN)
# What a tooltip says: enough to choose by, though every machine has its own times.
_TIMES = {
    "average": "none",
    "maximum": "none",
    "consensus": "0.05 s",
    "wavelet": "0.01 s",
    "laplacian": "0.05 s",
    "gmc": "0.2 s",
    "l1": "0.2 s",
    "base-detail": "2 s",
    "densefuse": "0.5 s",
    "dip-fast": "0.1 s, with noise 18 s",
}
"""Measured with two images of 256 x 256 on two processor cores."""


@dataclass(frozen=True)
class ListedMethod:
    """A method as the list offers it.

    Attributes
    ----------
    key : str
        Name in tables and files.
    label, tip : str
        As they are shown.
    needs_torch, needs_weights : bool
        What it cannot run without.
    """

    key: str
    label: str
    tip: str
    needs_torch: bool
    needs_weights: bool = False


def list_methods() -> list[ListedMethod]:
    """Return what can be compared: the methods, the presets, and the form's own settings."""
    own = ListedMethod(
        OWN,
        "Deep Image Prior, own settings",
        "All settings of the Fuse tab, its seed among them.",
        needs_torch=True,
    )
    return [_describe_method(name, label) for name, label in label_methods().items()] + [own]


def _describe_method(name: str, label: str) -> ListedMethod:
    if name in METHODS:
        method = METHODS[name]
        tip = _add_time(name, f"{method.description}\n{method.citation}".strip())
        return ListedMethod(name, label, tip, method.needs_torch, method.needs_weights)
    tip = _add_time(name, PRESET_HELP[name.removeprefix(PRESET_PREFIX)])
    return ListedMethod(name, label, tip, needs_torch=True)


def _add_time(name: str, tip: str) -> str:
    if name not in _TIMES:
        return tip
    return f"{tip}\nTime for two images of 256 x 256 on two processor cores: {_TIMES[name]}."


class MethodList(Container[Widget]):
    """Tick the methods to compare.

    Emits ``choice_changed`` when the choice changes.
    """

    choice_changed = Signal()

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.methods = list_methods()
        self._torch_problem = ""
        self._without_weights: set[str] = set()
        self._weights: dict[str, str] = {}
        self._build()
        self.set_chosen(m.key for m in self.methods if m.key not in _LEFT_OUT_AT_FIRST)

    def get_chosen(self) -> list[str]:
        """Return the keys of the methods that are ticked and can run."""
        return [
            method.key
            for i, method in enumerate(self.methods)
            if not self.find_problem(method) and self.list.is_ticked(i)
        ]

    def set_chosen(self, keys: Iterable[str]) -> None:
        """Tick these methods and no others."""
        wanted = set(keys)
        with self.list.mute():
            for i, method in enumerate(self.methods):
                self.list.tick(i, method.key in wanted and not self.find_problem(method))
        self.choice_changed.emit()

    def set_torch_problem(self, problem: str) -> None:
        """Say why methods with a network cannot run; empty if they can."""
        self._torch_problem = problem
        self._show()

    def set_without_weights(self, keys: Iterable[str]) -> None:
        """Say which methods lack their weights."""
        self._without_weights = set(keys)
        self._show()

    def set_weights(self, key: str, path: Path) -> None:
        """Give a method the file of its weights."""
        self._weights[key] = str(path)
        self._show()
        # Whoever looks for the weights of a method wants to run it.
        self.set_chosen([*self.get_chosen(), key])

    def find_problem(self, method: ListedMethod) -> str:
        """Return why a method cannot run; empty if it can."""
        if method.needs_torch and self._torch_problem:
            return self._torch_problem
        if method.key in self._without_weights and method.key not in self._weights:
            return NO_WEIGHTS
        return ""

    def make_entries(self, config: FusionConfig) -> list[Entry]:
        """Return what the chosen methods run with.

        Parameters
        ----------
        config : FusionConfig
            Of the form.
        """
        chosen = self.get_chosen()
        return [self._make_entry(m, config) for m in self.methods if m.key in chosen]

    def _make_entry(self, method: ListedMethod, config: FusionConfig) -> Entry:
        if method.key == OWN:
            # The core compares presets; all that the user has changed goes along as settings.
            name = f"{PRESET_PREFIX}{config.preset_name}"
            settings = get_comparable_settings(config)
            return Entry(OWN, method.label, name, settings, seed=config.fit.seed)
        if method.key.removeprefix(PRESET_PREFIX) in PRESETS:
            # What is computed is the preset's; on what machine, the user's.
            return Entry(method.key, method.label, method.key, get_compute_settings(config))
        if method.key == CONSENSUS:
            # The closed form of the form's settings, as the metrics table of a fusion has it.
            settings = get_comparable_settings(config)
            return Entry(method.key, method.label, method.key, settings)
        # Without a file, the method looks where torch keeps what it downloads.
        weights: Mapping[str, str] = (
            {"weights": self._weights[method.key]} if method.key in self._weights else {}
        )
        return Entry(method.key, method.label, method.key, options=weights)

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        self.list = CheckList()
        for method in self.methods:
            self.list.add_row(method.label)
        self.list.show_rows(len(self.methods))
        self.list.itemChanged.connect(self._respond)
        self.all_button = PushButton(text="All", tooltip="Tick all methods.")
        self.none_button = PushButton(text="None", tooltip="Tick no method.")
        self.all_button.changed.connect(self._tick_all)
        self.none_button.changed.connect(self._tick_none)
        self.weights_button = PushButton(
            text="Choose the weights of VGG-19",
            tooltip="The file of torchvision's ImageNet weights, vgg19-dcbb9e9d.pth (548 MB). It "
            "is found by itself in the folder where torch keeps what it downloads.",
        )
        self.weights_button.changed.connect(self._choose_weights)
        heading = make_row(Text("<b>Methods</b>"), self.all_button, self.none_button, stretch=0)
        self.margins = (0, 0, 0, 0)
        self.extend([heading, NativeWidget(self.list), self.weights_button])
        self._show()

    def _show(self) -> None:
        """Gray out the methods that cannot run, and say why."""
        enabled = Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled
        problems = [self.find_problem(method) for method in self.methods]
        with self.list.mute():
            for i, (method, problem) in enumerate(zip(self.methods, problems, strict=True)):
                item = self.list.item(i)
                # Grayed out and not hidden: a method may be what the user has come for.
                item.setFlags(Qt.ItemFlag.ItemIsUserCheckable if problem else enabled)
                item.setText(f"{method.label}: {_shorten(problem)}" if problem else method.label)
                tip = f"{method.tip}\nCannot run: {problem}." if problem else method.tip
                item.setToolTip(tip)
                if problem:
                    self.list.tick(i, False)
        self.weights_button.visible = NO_WEIGHTS in problems
        self.choice_changed.emit()

    def _respond(self) -> None:
        self.choice_changed.emit()

    def _tick_all(self) -> None:
        self.set_chosen(method.key for method in self.methods)

    def _tick_none(self) -> None:
        self.set_chosen([])

    def _choose_weights(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self.native, "Weights of VGG-19", "", "Weights of PyTorch (*.pth *.pt);;All files (*)"
        )
        for method in self.methods:
            if name and self.find_problem(method) == NO_WEIGHTS:
                self.set_weights(method.key, Path(name))


def _shorten(problem: str) -> str:
    return problem if problem == NO_WEIGHTS else "needs PyTorch"


def list_lacking_weights() -> list[str]:
    """Return the methods whose weights are missing; imports torch."""
    from napari_dip_fusion.methods.vgg import find_cached_weights

    try:
        find_cached_weights()
    except ValueError:
        return [name for name, method in METHODS.items() if method.needs_weights]
    return []
