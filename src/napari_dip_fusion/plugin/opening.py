"""What napari's File menu calls to open files that its own readers open without their place.

napari asks which plugin to take wherever two declare one kind of file. TIFF is left to
napari, which keeps its pixels only; here it is opened with its spacing, units and channels.
"""

from collections.abc import Sequence
from pathlib import Path

from napari.layers._source import layer_source
from napari.utils.history import get_open_history, update_open_history
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.files import is_dicom
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.plugin.readers import read_layers, read_series_layers
from napari_dip_fusion.plugin.running.origin_files import OWN_PLUGIN


def open_in_place(viewer: Viewer) -> None:
    """Ask for image files of any format, and open them where they lie in the world."""
    patterns = " ".join(f"*{ending}" for ending in list_endings())
    names, _ = QFileDialog.getOpenFileNames(
        QApplication.activeWindow(),
        "Open images in their place",
        get_open_history()[0],
        f"Images ({patterns});;All files (*)",
    )
    if names:
        update_open_history(names[0])
        add_files(viewer, [Path(name) for name in names])


def add_files(viewer: Viewer, paths: Sequence[Path]) -> None:
    """Add the images of files as layers; what cannot be read is said, and the rest added.

    Parameters
    ----------
    viewer : Viewer
    paths : sequence of Path
        Several files that are all DICOM are taken as one series.
    """
    if len(paths) > 1 and all(map(is_dicom, paths)):
        groups = [list(paths)]
    else:
        groups = [[path] for path in paths]
    for group in groups:
        try:
            _add_group(viewer, group)
        except ImageFileError as error:
            show_error(str(error))


def _add_group(viewer: Viewer, paths: Sequence[Path]) -> None:
    names = [str(path) for path in paths]
    layers = read_layers(names[0]) if len(names) == 1 else read_series_layers(names)
    # As napari does for its own readers, so that a run can be repeated from the file.
    with layer_source(path=names[0], reader_plugin=OWN_PLUGIN):
        for data, arguments, _ in layers:
            viewer.add_image(data, **arguments)
