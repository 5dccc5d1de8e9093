"""The fields that say how each source was taken: its resolution, and a mask of what it saw."""

from collections.abc import Hashable, Sequence
from functools import partial
from math import floor, log10
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FloatSpinBox
from magicgui.widgets.bases import Widget
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

from napari_dip_fusion.plugin.forms.layout import Text, align_labels, make_row
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget, make_collapsible
from napari_dip_fusion.plugin.forms.shortening import MiddleCutter, cut_middle
from napari_dip_fusion.plugin.layers.acquisition import (
    Acquisition,
    Fwhm,
    can_mask,
    get_declared_fwhm,
)
from napari_dip_fusion.plugin.layers.planes import get_physical_affine
from napari_dip_fusion.sources.units import abbreviate_unit

TITLE = "Resolution and masks"
ITS_PIXELS = "its pixels"
NO_MASK = "none"
GONE = "removed"

_WIDEST = 1e6
_LEAST_WIDTH = 76
"""Of a field in pixels: two of them and a label have room in the narrowest widget."""
# Longer ones would not fit the column of labels, and the line of the title.
_NAME_LETTERS, _TITLE_LETTERS = 16, 18
_RESOLUTION_TIP = (
    "Resolution: how wide the scanner or objective blurs a point, as its full width at half "
    "maximum (FWHM) in the units of the layer. A blur that is known is taken back before the "
    "layers are fused. 0: no blur but that of its pixels, whose size is known without it."
)
_MASK_TIP = (
    "Mask: a labels or image layer that is not 0 where this source saw something. Elsewhere it has "
    "no weight in the fusion."
)


class AcquisitionForm(Container[Widget]):
    """Say of each source how wide its sensor blurs, and which of its pixels saw something.

    It is folded away under its title, which tells what is said.

    Emits ``acquisitions_changed`` when something else is said.
    """

    acquisitions_changed = Signal()

    def __init__(self) -> None:
        super().__init__(labels=False)
        # By the layer and not by its name, which may change or go to another one. A source that
        # is ticked again finds what was said of it.
        self._fwhm: dict[Hashable, Fwhm] = {}
        self._masks: dict[Hashable, Hashable] = {}
        self._sources: list[Image] = []
        self._others: list[Layer] = []
        self._shown: list[Any] = []
        self._form = Container[Widget]()
        self._form.margins = (0, 2, 0, 2)
        self.folded = make_collapsible(TITLE, self._form)
        self.margins = (0, 0, 0, 0)
        self.append(NativeWidget(self.folded))

    def set_layers(self, sources: Sequence[Image], others: Sequence[Layer]) -> None:
        """Offer fields for these sources, and these layers as far as they can be masks of them."""
        self._sources, self._others = list(sources), list(others)
        # Rows are made anew only where they would be others: somebody may be typing in one.
        wanted = [self._describe_row(layer) for layer in sources]
        if wanted != self._shown:
            self._shown = wanted
            self._clear_rows()
            self._form.extend([_make_heading(), *map(self._make_row, sources)])
            align_labels(self._form)
        self._show_title()

    def get_acquisition(self, layer: Image) -> Acquisition:
        """Return what is said of a layer."""
        chosen = self._masks.get(layer.unique_id, "")
        mask = next((x for x in self._list_masks(layer) if x.unique_id == chosen), None)
        # A result without the mask that somebody has chosen is not what they want.
        return Acquisition(self._get_fwhm(layer), mask, bool(chosen) and mask is None)

    def set_acquisition(self, layer: Image, acquisition: Acquisition) -> None:
        """Say how a layer was taken."""
        mask, gone = acquisition.mask, GONE if acquisition.mask_is_gone else ""
        self._fwhm[layer.unique_id] = acquisition.fwhm
        self._masks[layer.unique_id] = gone if mask is None else mask.unique_id
        self._shown = []
        self.set_layers(self._sources, self._others)
        self.acquisitions_changed.emit()

    def _get_fwhm(self, layer: Image) -> Fwhm:
        return self._fwhm.get(layer.unique_id, get_declared_fwhm(layer))

    def _list_masks(self, layer: Image) -> list[Layer]:
        return [other for other in self._others if can_mask(other, layer)]

    # -- rows ---------------------------------------------------------------

    def _clear_rows(self) -> None:
        rows = list(self._form)
        self._form.clear()
        # They would stay, without a parent, until Python's garbage is collected, in whatever thread
        # that is, or until the program exits, when PyQt must not hear of their event filters.
        for row in rows:
            row.native.deleteLater()

    def _describe_row(self, layer: Image) -> Any:
        """Return all that a row shows, in values that can be compared."""
        masks = [(other.unique_id, other.name) for other in self._list_masks(layer)]
        gone = self.get_acquisition(layer).mask_is_gone
        # What is typed is in the field already.
        return layer.unique_id, layer.name, layer.units, masks, gone

    def _make_row(self, layer: Image) -> Container[Widget]:
        layer_id = layer.unique_id
        resolution = _make_resolution_box(layer, self._get_fwhm(layer))
        resolution.changed.connect(partial(self._take_fwhm, layer_id))
        mask = self._make_mask_box(layer)
        mask.changed.connect(partial(self._take_mask, layer_id))
        row = make_row(resolution, mask)
        row.label = cut_middle(layer.name, _NAME_LETTERS)
        row.tooltip = layer.name
        return row

    def _make_mask_box(self, layer: Image) -> ComboBox:
        chosen = self._masks.get(layer.unique_id, "")
        # Not None, which magicgui shows as a line.
        choices: list[tuple[str, Hashable]] = [(NO_MASK, "")]
        choices += [(mask.name, mask.unique_id) for mask in self._list_masks(layer)]
        if self.get_acquisition(layer).mask_is_gone:
            choices.append((GONE, chosen))
        box = ComboBox(choices=choices, value=chosen, tooltip=_MASK_TIP)
        box.native.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        box.native.setMinimumWidth(_LEAST_WIDTH)
        MiddleCutter(box.native)
        return box

    def _take_fwhm(self, layer_id: Hashable, width: float) -> None:
        self._fwhm[layer_id] = width
        self._respond()

    def _take_mask(self, layer_id: Hashable, mask_id: Hashable) -> None:
        self._masks[layer_id] = mask_id
        self._respond()

    def _respond(self) -> None:
        self._show_title()
        self.acquisitions_changed.emit()

    def _show_title(self) -> None:
        """Say in the title what is said of the sources, which would be forgotten in the fold."""
        said = [part for layer in self._sources if (part := self._describe(layer))]
        told = f" ({cut_middle('; '.join(said), _TITLE_LETTERS)})" if said else ""
        self.folded.setText(f"{TITLE}{told}")
        self.folded.toggleButton().setToolTip("\n".join(said))

    def _describe(self, layer: Image) -> str:
        """Return what is said of a layer, empty where that is nothing."""
        known = self.get_acquisition(layer)
        parts = [describe_fwhm(known.fwhm, layer)] if np.any(known.fwhm) else []
        parts += ["mask"] if known.mask is not None or known.mask_is_gone else []
        return f"{layer.name}: {', '.join(parts)}" if parts else ""


def describe_fwhm(fwhm: Fwhm, layer: Image) -> str:
    """Return a width, or those along each axis, with its unit."""
    widths = " x ".join(f"{width:g}" for width in np.atleast_1d(fwhm))
    return f"{widths} {abbreviate_unit(layer.units[-1])}"


def _make_heading() -> Container[Widget]:
    heading = make_row(Text("Resolution", _RESOLUTION_TIP), Text("Mask", _MASK_TIP))
    heading.label = "Source"
    return heading


def _make_resolution_box(layer: Image, fwhm: Fwhm) -> FloatSpinBox:
    spacing = min(np.linalg.norm(get_physical_affine(layer).linear_matrix[:, -2:], axis=0))
    magnitude = floor(log10(spacing))
    box = FloatSpinBox(min=0, max=_WIDEST, step=0.5 * 10.0**magnitude)
    box.native.setDecimals(max(2, 2 - magnitude))
    # One number has one field, which does not show what it would round.
    box.value = float(np.atleast_1d(fwhm)[-1])
    box.native.setSpecialValueText(ITS_PIXELS)
    box.native.setSuffix(f" {abbreviate_unit(layer.units[-1])}")
    # Two buttons each would leave no room for the digits.
    box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    # Qt would leave room for the widest number that can be typed.
    box.native.setMinimumWidth(_LEAST_WIDTH)
    box.tooltip = _RESOLUTION_TIP
    return box
