"""The choice to fuse block by block: into which file, in what blocks, with how many processes."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, Container, FileEdit, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Layer
from psygnal import Signal
from qtpy.QtWidgets import QSpinBox

from napari_dip_fusion.plugin.forms.layout import Text, align_labels
from napari_dip_fusion.plugin.forms.native_widget import NativeWidget
from napari_dip_fusion.plugin.running.active_runs import has_active_run
from napari_dip_fusion.plugin.running.block_choice import (
    ENDINGS,
    BlockChoice,
    number_output,
    suggest_output,
)

_TIP = (
    "Read, fuse and write one block after the other: images that are larger than the memory, into "
    "a file that the fused layer shows while it grows."
)
_LARGEST_BLOCK, _MOST_WORKERS = 8192, 64


class BlocksForm(Container[Widget]):
    """A box to tick, and what else there is to choose once it is ticked.

    Until somebody ticks or unticks it, it is ticked where images do not fit into memory. Until
    somebody names a file, it has the name of the layers.

    Emits ``choice_changed`` when anything is chosen, and ``anew_wanted`` when what is left of an
    unfinished run is to be thrown away.
    """

    choice_changed = Signal()
    anew_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(labels=False)
        self._layers: list[Layer] = []
        self._where = ""
        self._is_chosen = self._is_named = False
        self._build()
        self._show()

    def is_ticked(self) -> bool:
        """Tell whether runs go block by block."""
        return bool(self.box.value)

    def take(self) -> BlockChoice:
        """Return what is chosen."""
        return BlockChoice(self._get_path(), self.size.value(), self.workers.value())

    def suggest(self, wanted: bool) -> None:
        """Tick the box, or not, unless somebody has chosen."""
        if not self._is_chosen and wanted != self.box.value:
            with self.box.changed.blocked():
                self.box.value = wanted
            self._show()

    def set_layers(self, layers: Sequence[Layer], where: str) -> None:
        """Take note of the layers that are fused, and of the plane, such as ``z=42``."""
        self._where = where
        if list(layers) != self._layers:
            self._layers, self._is_named = list(layers), False
        self.refresh()

    def refresh(self) -> None:
        """Look at the files anew, and name another one if nobody has."""
        if not self._is_named:
            with self.file.changed.blocked():
                self.file.value = suggest_output(self._layers, self._where)
        self._show()

    def offer_next(self) -> None:
        """Offer another name in the same folder, since the file that was named is written."""
        with self.file.changed.blocked():
            self.file.value = number_output(self._get_path())
        self._show()

    def say(self, text: str) -> None:
        """Say why, or what there is of an unfinished run."""
        self.status.say(text if self.is_ticked() else "")
        self._show()

    def _get_path(self) -> Path:
        # As it was typed: of an empty line, the file's own value is none.
        return Path(str(self.file.line_edit.value)).expanduser().absolute()

    # -- building -------------------------------------------------------------

    def _build(self) -> None:
        self.box = CheckBox(text="Block by block, into a file", tooltip=_TIP)
        self.file = FileEdit(
            mode=FileDialogMode.OPTIONAL_FILE,
            label="File",
            filter=f"OME-Zarr or bundle ({' '.join(f'*{ending}' for ending in ENDINGS)})",
            tooltip=f"The OME-Zarr folder that is written, whose name ends in {ENDINGS[0]}, or\n"
            f"the bundle, {ENDINGS[1]}: one file with the sources and the fused image.",
        )
        self.file.choose_btn.text = "…"
        self.size = _make_spin_box(_LARGEST_BLOCK, "auto", " pixels")
        self.size.setSingleStep(256)
        self.size.setToolTip(
            "Rows and columns of a block, a multiple of 64; auto: 1536, and 256 of volumes."
        )
        self.workers = _make_spin_box(_MOST_WORKERS, "none", " processes")
        self._explain_workers()
        rows: list[Widget] = [self.file, NativeWidget(self.size), NativeWidget(self.workers)]
        for row, label in zip(rows[1:], ("Block size", "Workers"), strict=True):
            row.label = label
        self.choices = Container[Widget](widgets=rows)
        self.choices.margins = (0, 0, 0, 0)
        align_labels(self.choices)
        self.status = Text()
        self.anew_button = PushButton(
            text="Remove the unfinished run",
            tooltip="Remove what is done of it from the disk, to start anew.",
        )
        self.margins = (0, 0, 0, 0)
        self.extend([self.box, self.choices, self.status, self.anew_button])
        self.box.changed.connect(self._take_tick)
        self.file.changed.connect(self._take_name)
        self.size.valueChanged.connect(self._respond)
        self.workers.valueChanged.connect(self._respond)
        self.anew_button.changed.connect(self._want_anew)

    def _explain_workers(self) -> None:
        known = find_spec("distributed") is not None
        self.workers.setEnabled(known)
        missing = "\nThey need the package distributed: install napari-dip-fusion[distributed]."
        self.workers.setToolTip(
            "Processes of this machine that fuse blocks at the same time; without any, napari's "
            f"own does.{'' if known else missing}"
        )

    # -- showing --------------------------------------------------------------

    def _show(self) -> None:
        ticked = self.is_ticked()
        self.choices.visible = ticked
        self.status.visible = ticked and bool(self.status.value)
        # What is on its way there now is no unfinished run.
        self.anew_button.visible = ticked and self.take().resumes and not has_active_run()

    def _take_tick(self) -> None:
        self._is_chosen = True
        self._respond()

    def _take_name(self) -> None:
        self._is_named = True
        self._respond()

    def _respond(self) -> None:
        self._show()
        self.choice_changed.emit()

    def _want_anew(self) -> None:
        self.anew_wanted.emit()


def _make_spin_box(most: int, none: str, suffix: str) -> QSpinBox:
    """Return a box of whole numbers that says something else in place of 0."""
    # Not magicgui's, which has neither a suffix nor a text for one of its values.
    box = QSpinBox()
    box.setRange(0, most)
    box.setSpecialValueText(none)
    box.setSuffix(suffix)
    return box
