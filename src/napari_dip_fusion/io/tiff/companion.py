"""The OME-XML of a set of TIFF files may lie in a companion file, which is read as the set."""

from pathlib import Path

from napari_dip_fusion.io.tiff.ome_reading import read_ome_set
from napari_dip_fusion.io.tiff.ome_set import read_companion
from napari_dip_fusion.sources import Source

__all__ = ["read"]


def read(path: Path) -> list[Source]:
    """Read the images that a companion file describes.

    Parameters
    ----------
    path : Path
        A file that ends in ``.companion.ome``.

    Returns
    -------
    list of Source
        One for every channel of every image.

    Raises
    ------
    ImageFileError
        If it is no OME-XML, or the files that it describes are missing or damaged.
    """
    return read_ome_set(path, read_companion(path))
