"""Which files and folders this program opens in napari, rather than napari's own reader.

The modules of the formats are imported only when a path may be of that format, because
napari asks for every file that is opened.
"""

from pathlib import Path

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.record_images import ENDING

__all__ = ["is_claimed"]

# napari's own reader opens TIFF and plain pictures as well as this program does.
_ENDINGS = (".nii", ".nii.gz", ".dcm", ".dicom", ".companion.ome", ENDING)
# Attributes of Zarr 3 and of Zarr 2: what OME-Zarr says of an image stands there.
_ZARR_ATTRIBUTES = ("zarr.json", ".zattrs")


def is_claimed(path: Path) -> bool:
    """Tell whether a path is a medical image, an OME-Zarr or something this program wrote.

    Foreign OME-TIFF and folders of anything else belong to other readers.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    bool
        False also for what cannot be read.
    """
    name = path.name.lower()
    if name.endswith((".ome.tif", ".ome.tiff")):
        from napari_dip_fusion.io.tiff import bundle

        return bundle.is_own(path)
    if path.is_dir():
        return _is_image_folder(path)
    return name.endswith(_ENDINGS)


def _is_image_folder(path: Path) -> bool:
    if path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _ZARR_ATTRIBUTES):
        return True
    from napari_dip_fusion.io.dicom.files import holds_dicom

    try:
        return holds_dicom(path)
    except ImageFileError:
        return False
