"""A choice of one layer among several, by name."""

from collections.abc import Sequence
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_dip_fusion.plugin.forms.shortening import MiddleCutter


class LayerBox(ComboBox):
    """A choice among layers that cuts long names in the middle, and has them whole in its tooltips.

    Its value is a layer, or None while there are none to choose from.

    Parameters
    ----------
    tooltip : str
    **kwargs
        As for magicgui's ComboBox.
    """

    def __init__(self, tooltip: str, **kwargs: Any) -> None:
        self._layers: list[Image] = []
        # A function: magicgui goes back to fixed choices whenever the widget moves.
        super().__init__(choices=self._list_choices, tooltip=tooltip, **kwargs)
        self.native.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.native.setMinimumContentsLength(8)
        self._tip = tooltip
        self._cutter = MiddleCutter(self.native)
        self.native.currentIndexChanged.connect(self._show_tips)

    def set_layers(self, layers: Sequence[Image], default: int = 0) -> None:
        """Offer these layers, in this order, and keep the chosen one where it is among them.

        No signal is emitted.

        Parameters
        ----------
        layers : sequence of Image
        default : int
            Index of the layer to choose where the chosen one is gone.
        """
        # By the layer and not by its name, which may be the reason for the call.
        chosen = self.value
        self._layers = list(layers)
        with self.changed.blocked():
            # magicgui would leave old choices where they are, and append the new ones.
            self.choices = ()
            self.reset_choices()
            if chosen in self._layers:
                self.value = chosen
            elif self._layers:
                self.value = self._layers[min(default, len(self._layers) - 1)]
        self._show_tips()

    def _show_tips(self) -> None:
        """Say the whole names where they may be cut."""
        box = self.native
        for i in range(box.count()):
            box.setItemData(i, box.itemText(i), Qt.ItemDataRole.ToolTipRole)
        name = box.currentText()
        self.tooltip = f"{name}\n{self._tip}" if name else self._tip

    def _list_choices(self, _box: Any) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._layers]
