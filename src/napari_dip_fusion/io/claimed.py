"""Which files and folders this program opens in napari, in place of napari's own reader.

The libraries of the formats are imported when such a path is met: the widget asks too.
"""

from pathlib import Path

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.recorded import ENDING

__all__ = ["is_claimed"]

_ENDINGS = (".nii", ".nii.gz", ".dcm", ".dicom", ENDING)
_ZARR_FILES = ("zarr.json", ".zattrs")


def is_claimed(path: Path) -> bool:
    """Tell whether a path is a medical image, an OME-Zarr or something this program wrote.

    Foreign OME-TIFF and folders of anything else belong to other readers.

    Parameters
    ----------
    path : Path
        File or folder.
    """
    name = path.name.lower()
    if name.endswith((".ome.tif", ".ome.tiff")):
        from napari_dip_fusion.io.tiff import bundle

        return bundle.is_own(path)
    if path.is_dir():
        return _is_image_folder(path)
    return name.endswith(_ENDINGS)


def _is_image_folder(path: Path) -> bool:
    if path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _ZARR_FILES):
        return True
    from napari_dip_fusion.io.dicom.series import holds_dicom

    try:
        return holds_dicom(path)
    except ImageFileError:
        return False
