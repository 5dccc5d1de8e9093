"""The images of TIFF files without OME-XML, in the place that their dialect gives them.

ImageJ's files have one. That of other programs is not read: neither the resolution of plain
TIFF, which is mostly a program's habit, nor the fields of LSM, STK, SVS, SCN and ScanImage
files, nor those of GeoTIFF. Their pixels are, and a resolution is kept in the metadata.
"""

import warnings
from typing import Any

import numpy as np

from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.tiff.imagej import count_declared, is_measured, place_imagej
from napari_dip_fusion.io.tiff.missing import list_missing_planes
from napari_dip_fusion.io.tiff.pages import OpenTiff, list_series, read_series
from napari_dip_fusion.io.tiff.resolution import describe_resolution
from napari_dip_fusion.sources import Source

__all__ = ["order_axes", "read_dialects"]

# The axes as napari aligns them, from the last one on.
_ORDER = "tzcyx"


def read_dialects(opened: OpenTiff) -> list[Source]:
    """Read the images of an open TIFF file without regard to an OME-XML.

    The tag Orientation (274) is followed where the file is not one of ImageJ's, which
    ignores it: rows and columns are turned as Pillow and SimpleITK turn them. tifffile
    returns them as they are stored.

    Parameters
    ----------
    opened : OpenTiff
        The open file.

    Returns
    -------
    list of Source
        One for every series and channel.

    Raises
    ------
    ImageFileError
        If the file is damaged, or holds what is not read.
    """
    described = opened.tif.imagej_metadata
    found, declared = [], count_declared(described)
    for n, series in enumerate(list_series(opened)):
        if series.kind != "imagej" and declared > len(series):
            warnings.warn(
                f"{opened.path.name}: ImageJ's description declares {declared} images, "
                f"{len(series)} found; the file is cut short, or a part of another one",
                stacklevel=2,
            )
        # Files of Micro-Manager, in which planes may not have been taken.
        said = list_missing_planes(series).describe([])
        if said:
            warnings.warn(f"{opened.path.name}: planes are missing: {said}", stacklevel=2)
        for image in read_series(opened, n, painted=not is_measured(described)):
            if described is None:
                turned = _turn(image, series.keyframe.tags.valueof(274))
                known = {**turned.metadata, **describe_resolution(opened.tif)}
                placed = turned.replace(metadata=known)
            else:
                placed = order_axes(place_imagej(image, opened.tif))
            found += split_channels(placed)
    return found


def order_axes(image: Source) -> Source:
    """Return an image whose axes are in the order in which napari aligns them.

    Parameters
    ----------
    image : Source
        The image, of any order of its axes.

    Returns
    -------
    Source
        The same image; its axes are t, z, c, y and x, after any other ones.
    """
    return image.transpose(sorted(range(image.ndim), key=lambda n: _ORDER.find(image.axes[n])))


def _turn(image: Source, orientation: Any) -> Source:
    """Return an image whose first row and column are at the top and the left."""
    if orientation not in range(2, 9) or image.axes[-2:] != ("y", "x"):
        return image
    levels = [
        _turn_pixels(level, image.ndim - 2, orientation) for level in (image.data, *image.pyramid)
    ]
    return image.replace(data=levels[0], pyramid=tuple(levels[1:]))


def _turn_pixels(data: Any, y: int, orientation: int) -> Any:
    """Return pixels whose rows and columns are turned, given the number of the axis y."""
    # From 5 on, rows are columns; (row begins at the bottom, column at the right) otherwise.
    data = np.swapaxes(data, y, y + 1) if orientation > 4 else data
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    step = (slice(None, None, -1 if rows else 1), slice(None, None, -1 if columns else 1))
    return data[(slice(None),) * y + step]
