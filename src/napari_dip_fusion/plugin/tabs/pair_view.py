"""Two of the images looked at together: in turn, or one less the other."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QVBoxLayout, QWidget

from napari_dip_fusion.plugin.forms.rows import button, label, narrow_box, row
from napari_dip_fusion.plugin.layers.difference import (
    Difference,
    add_difference_layer,
    describe_difference,
    take_difference,
)
from napari_dip_fusion.plugin.layers.flicker import Flicker
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks

Intensities = Callable[[], dict[Image, dict[str, Any]]]


class PairView(QWidget):
    """Choose two image layers, and flicker between them or subtract them.

    Parameters
    ----------
    viewer : napari.Viewer
    intensities : callable
        Returns how the present sources become [0, 1].
    """

    def __init__(
        self, viewer: Viewer, intensities: Intensities, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._intensities = intensities
        self._layers: list[Image] = []
        self._chosen_by_hand = False
        self._tasks = Tasks(self)
        self._events = Subscriptions()
        self._names: dict[Image, Subscriptions] = {}
        self.flicker = Flicker(viewer, self)
        self._build()
        layers = viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.reordered):
            self._events.connect(event, self._refresh)
        self.flicker.turned.connect(self._show_turn)
        self.flicker.stopped.connect(self._show_state)
        self._refresh()

    def pair(self) -> tuple[Image | None, Image | None]:
        """Return the two layers, None where there is none to choose."""
        return self._layer(self.first_box), self._layer(self.second_box)

    def set_pair(self, first: Image, second: Image) -> None:
        """Choose two layers."""
        for box, layer in ((self.first_box, first), (self.second_box, second)):
            if layer in self._layers:
                box.setCurrentIndex(self._layers.index(layer))
        self._show_state()

    def suggest_pair(self, first: Image, second: Image) -> None:
        """Choose two layers, unless the user has chosen some."""
        if not self._chosen_by_hand and not self.flicker.running:
            self.set_pair(first, second)

    def toggle_flicker(self) -> None:
        """Start to alternate the two layers, or stop it."""
        if self.flicker.running:
            self.flicker.stop()
            return
        first, second = self.pair()
        try:
            if first is None or second is None:
                raise ValueError("choose two images")
            self.flicker.start(first, second, self.rate.value())
            self._say("")
        except ValueError as error:
            self._say(str(error))
        self._show_state()

    def add_difference(self) -> None:
        """Add a layer with the first image less the second."""
        first, second = self.pair()
        try:
            if first is None or second is None:
                raise ValueError("choose two images")
            difference = take_difference(
                first, second, self._viewer.dims, intensities=self._intensities()
            )
        except ValueError as error:
            self._say(str(error))
            return
        self._say("subtracting")
        self._tasks.start(difference.read, PairView._show_difference, difference)

    def close_subscriptions(self) -> None:
        """Stop the flicker and follow the viewer no more; the Qt part may be gone already."""
        self._tasks.close()
        self._events.close()
        for followed in self._names.values():
            followed.close()
        self._names.clear()
        self.flicker.close()

    # -- building -----------------------------------------------------------

    def _build(self) -> None:
        tip = "Any image in the viewer: a result or a source."
        self.first_box, self.second_box = narrow_box(tip), narrow_box(tip)
        for box in (self.first_box, self.second_box):
            box.activated.connect(self._choose)
        self.flicker_button = button(
            "Flicker",
            "Show the two images in turn; all others are hidden meanwhile, and come back.",
        )
        self.flicker_button.setCheckable(True)
        self.flicker_button.clicked.connect(self.toggle_flicker)
        self.rate = QDoubleSpinBox()
        self.rate.setRange(0.2, 10.0)
        self.rate.setSingleStep(0.5)
        self.rate.setDecimals(1)
        self.rate.setValue(2.0)
        self.rate.setSuffix(" Hz")
        self.rate.setToolTip("Changes from one image to the other a second.")
        self.rate.valueChanged.connect(self.flicker.set_rate)
        self.difference_button = button(
            "Difference",
            "Add a layer with A - B, white where they are equal. Sources count as the fusion "
            "takes them; floats in [0, 1] and 8-bit values as they are, others by their own "
            "minimum and maximum; color by its luma.",
        )
        self.difference_button.clicked.connect(self.add_difference)
        self.message = label()
        self.message.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<b>Two images</b>"))
        self.labels = (QLabel("A"), QLabel("B"))
        for letter, box in zip(self.labels, (self.first_box, self.second_box), strict=True):
            letter.setFixedWidth(20)
            layout.addWidget(row(letter, box, stretch=1))
        layout.addWidget(row(self.flicker_button, self.rate, self.difference_button))
        layout.addWidget(self.message)

    # -- following ----------------------------------------------------------

    def _refresh(self) -> None:
        """Bring the choices in line with the viewer's layers, keeping what is chosen."""
        before = self.pair()
        self._layers = [x for x in reversed(self._viewer.layers) if isinstance(x, Image)]
        self._follow_names()
        for i, (box, layer) in enumerate(
            zip((self.first_box, self.second_box), before, strict=True)
        ):
            box.clear()
            box.addItems([x.name for x in self._layers])
            index = self._layers.index(layer) if layer in self._layers else i
            box.setCurrentIndex(min(index, len(self._layers) - 1))
        self._show_state()

    def _follow_names(self) -> None:
        for layer in [x for x in self._names if x not in self._layers]:
            self._names.pop(layer).close()
        for layer in self._layers:
            if layer not in self._names:
                self._names[layer] = Subscriptions()
                self._names[layer].connect(layer.events.name, self._rename)

    def _rename(self) -> None:
        for box in (self.first_box, self.second_box):
            for i, layer in enumerate(self._layers):
                box.setItemText(i, layer.name)

    def _choose(self) -> None:
        self._chosen_by_hand = True
        if self.flicker.running:
            self.flicker.stop()
            self.toggle_flicker()
        self._show_state()

    def _layer(self, box: QComboBox) -> Image | None:
        index = box.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    # -- showing ------------------------------------------------------------

    def _show_state(self) -> None:
        running, enough = self.flicker.running, len(self._layers) > 1
        self.flicker_button.setChecked(running)
        self.flicker_button.setText("Stop flicker" if running else "Flicker")
        self.flicker_button.setEnabled(running or enough)
        self.difference_button.setEnabled(enough)
        if not running:
            self._mark(None)

    def _show_turn(self, first: bool) -> None:
        self._mark(self.labels[0] if first else self.labels[1])

    def _mark(self, shown: QLabel | None) -> None:
        """Point at the letter of the image that the flicker shows."""
        for letter, text in zip(self.labels, "AB", strict=True):
            letter.setText(f"<b><u>{text}</u></b>" if letter is shown else text)

    def _show_difference(
        self, difference: Difference, values: NDArray[np.float32] | Failed
    ) -> None:
        if isinstance(values, Failed):
            self._say(values.message)
            return
        add_difference_layer(self._viewer, difference, values)
        self._say(describe_difference(difference, values))

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))
