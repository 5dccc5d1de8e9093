"""The choice of the reference among the sources: the finest of them, until one is chosen."""

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Image

from napari_dip_fusion.plugin.forms.layer_box import LayerBox

FINEST = "finest"
"""The value of the box while it follows the finest of the layers."""


class ReferenceBox(LayerBox):
    """A choice of a layer whose first entry is the finest of them, whichever that is.

    Its value is a layer, or :data:`FINEST`, or None while there are none to choose from.

    Parameters
    ----------
    find_finest : callable
        Returns the finest of one or more layers.
    tooltip : str
    **kwargs
        As for magicgui's ComboBox.
    """

    def __init__(
        self, find_finest: Callable[[Sequence[Image]], Image], tooltip: str, **kwargs: Any
    ) -> None:
        self._find_finest = find_finest
        self._finest: Image | None = None
        super().__init__(tooltip, **kwargs)

    def set_layers(self, layers: Sequence[Image], default: int = 0) -> None:
        """Offer these layers, and keep the chosen one where it is among them.

        No signal is emitted.

        Parameters
        ----------
        layers : sequence of Image
        default : int
            Not asked for: where the chosen one is gone, the box follows the finest.
        """
        chosen = self.value
        self._finest = self._find_finest(layers) if layers else None
        super().set_layers(layers, default)
        if layers and chosen not in layers:
            with self.changed.blocked():
                self.value = FINEST

    def get_layer(self) -> Image | None:
        """Return the layer that is chosen, by itself or as the finest."""
        layer: Image | None = self._finest if self.value == FINEST else self.value
        return layer

    def _list_choices(self, _box: Any) -> list[tuple[str, Any]]:
        if self._finest is None:
            return []
        return [(f"finest: {self._finest.name}", FINEST), *super()._list_choices(_box)]
