"""The list of methods to compare: what each is, and which cannot run here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dip_fusion.comparison.labels import label_methods
from napari_dip_fusion.config import PRESET_HELP, PRESETS, FusionConfig
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.plugin.forms.rows import button, row
from napari_dip_fusion.plugin.running.comparison_run import (
    DIP,
    Entry,
    machine_settings,
    own_settings,
)

OWN = "dip-own"
"""The Deep Image Prior with the settings of the form."""

NO_WEIGHTS = "weights missing"

_ROW_HEIGHT = 22
_LEFT_OUT_AT_FIRST = ("dip-quality", "dip-paper", OWN)
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
    "dip-fast": "5 s, with noise 16 s",
}
"""Measured with two images of 256 x 256 on two processor cores."""


@dataclass(frozen=True)
class Choice:
    """A method as the list offers it."""

    key: str
    label: str
    tip: str
    needs_torch: bool
    needs_weights: bool = False


def choices() -> list[Choice]:
    """Return what can be compared: the methods, the presets, and the form's own settings."""
    labels = label_methods()
    own = Choice(
        OWN,
        "Deep Image Prior, own settings",
        "All settings of the Fuse tab, its seed among them.",
        needs_torch=True,
    )
    return [_method(name, label) for name, label in labels.items()] + [own]


def _method(name: str, label: str) -> Choice:
    if name in METHODS:
        method = METHODS[name]
        tip = f"{method.description}\n{method.citation}".strip()
        return Choice(name, label, _timed(name, tip), method.needs_torch, method.needs_weights)
    preset = name.removeprefix(DIP)
    return Choice(name, label, _timed(name, PRESET_HELP[preset]), needs_torch=True)


def _timed(name: str, tip: str) -> str:
    if name not in _TIMES:
        return tip
    return f"{tip}\nTime for two images of 256 x 256 on two processor cores: {_TIMES[name]}."


class MethodList(QWidget):
    """Tick the methods to compare.

    Emits ``changed`` when the choice changes.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choices = choices()
        self._torch_problem = ""
        self._without_weights: set[str] = set()
        self._weights: dict[str, str] = {}
        self._build()
        self.set_chosen(c.key for c in self.choices if c.key not in _LEFT_OUT_AT_FIRST)

    def chosen(self) -> list[str]:
        """Return the keys of the methods that are ticked and can run."""
        return [
            choice.key
            for i, choice in enumerate(self.choices)
            if not self.problem(choice) and self.list.item(i).checkState() == Qt.CheckState.Checked
        ]

    def set_chosen(self, keys: Iterable[str]) -> None:
        """Tick these methods and no others."""
        wanted = set(keys)
        self.list.blockSignals(True)
        for i, choice in enumerate(self.choices):
            ticked = choice.key in wanted and not self.problem(choice)
            self.list.item(i).setCheckState(
                Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
            )
        self.list.blockSignals(False)
        self.changed.emit()

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
        self.set_chosen([*self.chosen(), key])

    def problem(self, choice: Choice) -> str:
        """Return why a method cannot run; empty if it can."""
        if choice.needs_torch and self._torch_problem:
            return self._torch_problem
        if choice.key in self._without_weights and choice.key not in self._weights:
            return NO_WEIGHTS
        return ""

    def entries(self, config: FusionConfig) -> list[Entry]:
        """Return what the chosen methods run with.

        Parameters
        ----------
        config : FusionConfig
            Of the form.
        """
        return [self._entry(c, config) for c in self.choices if c.key in self.chosen()]

    def _entry(self, choice: Choice, config: FusionConfig) -> Entry:
        if choice.key == OWN:
            method = f"{DIP}{config.preset_name}"
            return Entry(OWN, choice.label, method, own_settings(config), seed=config.fit.seed)
        if choice.key.removeprefix(DIP) in PRESETS:
            return Entry(choice.key, choice.label, choice.key, machine_settings(config))
        weights: Mapping[str, str] = (
            {"weights": self._weights[choice.key]} if choice.key in self._weights else {}
        )
        return Entry(choice.key, choice.label, choice.key, options=weights)

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        self.list = QListWidget()
        self.list.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.list.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        for choice in self.choices:
            item = QListWidgetItem(choice.label)
            item.setSizeHint(QSize(0, _ROW_HEIGHT))
            self.list.addItem(item)
        self.list.setFixedHeight(len(self.choices) * _ROW_HEIGHT + 2 * self.list.frameWidth() + 4)
        self.list.itemChanged.connect(self.changed)
        self.all_button = button("All", "Tick all methods.")
        self.none_button = button("None", "Tick no method.")
        self.all_button.clicked.connect(self._tick_all)
        self.none_button.clicked.connect(self._tick_none)
        self.weights_button = button(
            "Choose the weights of VGG-19",
            "The file of torchvision's ImageNet weights, vgg19-dcbb9e9d.pth (548 MB). It is "
            "found by itself in the folder where torch keeps what it downloads.",
        )
        self.weights_button.clicked.connect(self._choose_weights)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        heading = QLabel("<b>Methods</b>")
        layout.addWidget(row(heading, self.all_button, self.none_button, stretch=0))
        layout.addWidget(self.list)
        layout.addWidget(self.weights_button)
        self._show()

    def _show(self) -> None:
        """Gray out the methods that cannot run, and say why."""
        self.list.blockSignals(True)
        for i, choice in enumerate(self.choices):
            item, problem = self.list.item(i), self.problem(choice)
            flags = Qt.ItemFlag.ItemIsUserCheckable
            item.setFlags(flags if problem else flags | Qt.ItemFlag.ItemIsEnabled)
            item.setText(f"{choice.label}: {_short(problem)}" if problem else choice.label)
            if problem:
                item.setCheckState(Qt.CheckState.Unchecked)
            item.setToolTip(f"{choice.tip}\nCannot run: {problem}." if problem else choice.tip)
        self.list.blockSignals(False)
        lacking = [c for c in self.choices if self.problem(c) == NO_WEIGHTS]
        self.weights_button.setVisible(bool(lacking))
        self.changed.emit()

    def _tick_all(self) -> None:
        self.set_chosen(choice.key for choice in self.choices)

    def _tick_none(self) -> None:
        self.set_chosen([])

    def _choose_weights(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Weights of VGG-19", "", "Weights of PyTorch (*.pth *.pt);;All files (*)"
        )
        for choice in self.choices:
            if name and self.problem(choice) == NO_WEIGHTS:
                self.set_weights(choice.key, Path(name))


def _short(problem: str) -> str:
    return problem if problem == NO_WEIGHTS else "needs PyTorch"


def lacking_weights() -> list[str]:
    """Return the methods whose weights are missing; imports torch."""
    from napari_dip_fusion.methods.vgg import cached_weights

    try:
        cached_weights()
    except ValueError:
        return [name for name, method in METHODS.items() if method.needs_weights]
    return []
