"""Two of the images looked at together: in turn, or one less the other."""

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Container, FloatSpinBox, Label, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from napari.layers import Image

from napari_dip_fusion.plugin.forms.layer_box import LayerBox
from napari_dip_fusion.plugin.forms.layout import Text, make_row
from napari_dip_fusion.plugin.layers.difference import (
    Difference,
    Subtracted,
    add_difference_layer,
    describe_difference,
    take_difference,
)
from napari_dip_fusion.plugin.layers.flicker import Flicker
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks

Intensities = Callable[[], dict[Image, dict[str, Any]]]


class PairView(Container[Widget]):
    """Choose two image layers, and flicker between them or subtract them.

    Parameters
    ----------
    viewer : napari.Viewer
    intensities : callable
        Returns how the present sources become [0, 1].
    whole : callable
        Returns whether whole stacks are wanted, and not only the plane that is shown.
    """

    def __init__(self, viewer: Viewer, intensities: Intensities, whole: Callable[[], bool]) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._intensities = intensities
        self._whole = whole
        self._layers: list[Image] = []
        self._chosen_by_hand = False
        self._tasks = Tasks(self)
        self._events = Subscriptions()
        self._names: dict[Image, Subscriptions] = {}
        self.flicker = Flicker(viewer, self.native)
        self._build()
        layers = viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.reordered):
            self._events.connect(event, self._refresh)
        self.flicker.turned.connect(self._show_turn)
        self.flicker.stopped.connect(self._show_running)
        self._refresh()

    def get_pair(self) -> tuple[Image | None, Image | None]:
        """Return the two layers, None where there is none to choose."""
        return self.first_box.value, self.second_box.value

    def set_pair(self, first: Image, second: Image) -> None:
        """Choose two layers."""
        for box, layer in ((self.first_box, first), (self.second_box, second)):
            if layer in self._layers:
                box.value = layer
        self._show_running()

    def suggest_pair(self, first: Image, second: Image) -> None:
        """Choose two layers, unless the user has chosen some."""
        # What the user has chosen stays, and what is being looked at.
        if not self._chosen_by_hand and not self.flicker.running:
            self.set_pair(first, second)

    def toggle_flicker(self) -> None:
        """Start to alternate the two layers, or stop it."""
        if self.flicker.running:
            self.flicker.stop()
            return
        try:
            first, second = self._require_pair()
            self.flicker.start(first, second, self.rate.value)
            self.message.say("")
        except ValueError as error:
            self.message.say(str(error))
        self._show_running()

    def add_difference(self) -> None:
        """Add a layer with the first image less the second."""
        try:
            first, second = self._require_pair()
            difference = take_difference(
                first,
                second,
                self._viewer.dims,
                intensities=self._intensities(),
                whole=self._whole(),
            )
        except ValueError as error:
            self.message.say(str(error))
            return
        self.message.say("subtracting")
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
        self.first_box, self.second_box = LayerBox(tip), LayerBox(tip)
        for box in (self.first_box, self.second_box):
            # Only by the user: "changed" comes from suggestions, too.
            box.native.activated.connect(self._choose)
        self.letters = (Label(value="A"), Label(value="B"))
        # So wide that the boxes do not move when the flicker underlines a letter.
        for letter in self.letters:
            letter.native.setFixedWidth(20)
        self.flicker_button = PushButton(
            text="Flicker",
            tooltip="Show the two images in turn; all others are hidden meanwhile, and come back.",
        )
        # It looks pressed as long as the flicker runs.
        self.flicker_button.native.setCheckable(True)
        self.flicker_button.changed.connect(self.toggle_flicker)
        self.rate = FloatSpinBox(
            min=0.2,
            max=10.0,
            step=0.5,
            value=2.0,
            tooltip="Changes from one image to the other a second.",
        )
        self.rate.native.setDecimals(1)
        self.rate.native.setSuffix(" Hz")
        self.rate.changed.connect(self.flicker.set_rate)
        self.difference_button = PushButton(
            text="Difference",
            tooltip="Add a layer with A - B, white where they are equal. Sources count as the "
            "fusion takes them; floats in [0, 1] and 8-bit values as they are, others by their "
            "own minimum and maximum; color by its luma.",
        )
        self.difference_button.changed.connect(self.add_difference)
        self.message = Text()
        self.message.hide()
        self.margins = (0, 0, 0, 0)
        self.extend(
            [
                Text("<b>Two images</b>"),
                make_row(self.letters[0], self.first_box, stretch=1),
                make_row(self.letters[1], self.second_box, stretch=1),
                make_row(self.flicker_button, self.rate, self.difference_button),
                self.message,
            ]
        )

    # -- following ----------------------------------------------------------

    def _refresh(self) -> None:
        """Bring the choices in line with the viewer's layers, keeping what is chosen."""
        self._layers = [x for x in reversed(self._viewer.layers) if isinstance(x, Image)]
        self._follow_names()
        self._show_layers()
        self._show_running()

    def _show_layers(self) -> None:
        boxes = (self.first_box, self.second_box)
        for box, other in zip(boxes, boxes[::-1], strict=True):
            # A layer with itself is no pair, at first and when the layer of a box is removed.
            free = [i for i, layer in enumerate(self._layers) if layer != other.value]
            box.set_layers(self._layers, default=free[0] if free else 0)

    def _follow_names(self) -> None:
        for layer in [x for x in self._names if x not in self._layers]:
            self._names.pop(layer).close()
        for layer in self._layers:
            if layer not in self._names:
                self._names[layer] = Subscriptions()
                self._names[layer].connect(layer.events.name, self._show_layers)

    def _choose(self) -> None:
        self._chosen_by_hand = True
        # It goes on with the new pair; the first one is put back before.
        if self.flicker.running:
            self.flicker.stop()
            self.toggle_flicker()
        self._show_running()

    def _require_pair(self) -> tuple[Image, Image]:
        first, second = self.get_pair()
        if first is None or second is None:
            raise ValueError("choose two images")
        return first, second

    # -- showing ------------------------------------------------------------

    def _show_running(self) -> None:
        """Show on the buttons whether the flicker runs, and what can be pressed."""
        running, enough = self.flicker.running, len(self._layers) > 1
        self.flicker_button.native.setChecked(running)
        self.flicker_button.text = "Stop flicker" if running else "Flicker"
        self.flicker_button.enabled = running or enough
        self.difference_button.enabled = enough
        if not running:
            self._mark_letter(None)

    def _show_turn(self, first: bool) -> None:
        self._mark_letter(self.letters[0] if first else self.letters[1])

    def _mark_letter(self, shown: Label | None) -> None:
        """Point at the letter of the image that the flicker shows."""
        for letter, text in zip(self.letters, "AB", strict=True):
            letter.value = f"<b><u>{text}</u></b>" if letter is shown else text

    def _show_difference(self, difference: Difference, found: Subtracted | Failed) -> None:
        if isinstance(found, Failed):
            self.message.say(found.message)
            return
        add_difference_layer(self._viewer, difference, found)
        self.message.say(describe_difference(difference, found))
