"""OME-TIFF is read with its physical sizes, and written with all that napari shows.

Rotation, shear, display and metadata, for which OME has no fields, are written as a
comment in the OME-XML (see :mod:`~napari_dip_fusion.io.description`).
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.streaming import is_streamed
from napari_dip_fusion.io.tiff.ome_fields import make_fields
from napari_dip_fusion.io.tiff.ome_reading import read_ome
from napari_dip_fusion.io.tiff.ome_set import study_set
from napari_dip_fusion.io.tiff.opening import open_tiff
from napari_dip_fusion.io.tiff.tiles import (
    BIGTIFF_BYTES,
    count_pyramid_bytes,
    is_tiled,
    write_pages,
    write_tiles,
)
from napari_dip_fusion.sources import Source

__all__ = ["check", "is_own", "read", "write", "write_all"]

_HELD_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def read(path: Path) -> list[Source]:
    """Read all images of an OME-TIFF file, or of the set of files that it belongs to.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Source
        Images that this program wrote, as they were; of others, one for every channel.

    Raises
    ------
    ImageFileError
        If the file is damaged, or holds what is not read.
    """
    return read_ome(path, demanded=True)


def is_own(path: Path) -> bool:
    """Tell whether a file was written by this program, without reading its pixels.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Whether an image in it has a description of this program.

    Raises
    ------
    ImageFileError
        If the file is damaged.
    """
    with open_tiff(path, quiet=True, is_ome=False) as tif:
        found = study_set(path, str(tif.pages.first.description))
    texts = [text for element in (found.elements if found else ()) for text in element.comments]
    return any(description.parse(text) is not None for text in texts)


def check(image: Source) -> None:
    """Refuse an image that OME-TIFF cannot hold, as :func:`.check_image` asks."""
    if not 2 <= image.ndim <= 5:
        raise ImageFileError(
            f"OME-TIFF holds two to five axes, got {', '.join(image.axes)}; choose a part"
        )
    # True and False are written as numbers.
    if image.dtype.kind != "b" and image.dtype.name not in _HELD_TYPES:
        raise ImageFileError(
            f"OME-TIFF holds {', '.join(_HELD_TYPES)}, got {image.dtype}; convert it, or write "
            "OME-Zarr"
        )


def write(path: Path, image: Source) -> None:
    """Write an image as OME-TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    image : Source
        Two to five axes.

    Raises
    ------
    ImageFileError
        If OME-TIFF cannot hold the image.
    """
    write_all(path, [image])


def write_all(path: Path, images: Sequence[Source]) -> None:
    """Write several images, of any sizes, into one OME-TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    images : sequence of Source
        The images, each of two to five axes.

    Raises
    ------
    ImageFileError
        If OME-TIFF cannot hold an image.
    """
    for image in images:
        check(image)
    images = list(map(_put_plane_last, images))
    nbytes = sum(map(count_pyramid_bytes, images))
    with tifffile.TiffWriter(path, ome=True, bigtiff=nbytes > BIGTIFF_BYTES) as writer:
        for image in images:
            # One at a time: lazy images may not fit into memory together.
            dtype, fields = _choose_dtype(image), make_fields(image)
            _write_one(writer, image, dtype, fields, path.parent)


def _write_one(
    writer: Any, image: Source, dtype: np.dtype[Any], fields: dict[str, Any], folder: Path
) -> None:
    """Write an image into an open file: as it is in memory, or part by part."""
    options = {
        "photometric": "rgb" if image.rgb else "minisblack",
        "planarconfig": "contig" if image.rgb else None,
        # Lossless, and read by nearly every program.
        "compression": "zlib",
        "metadata": fields,
    }
    if is_tiled(image):
        write_tiles(writer, image, dtype, options, folder)
    elif is_streamed(image.data):
        write_pages(writer, image, dtype, options)
    else:
        writer.write(image.to_numpy().astype(dtype, copy=False), **options)


def _put_plane_last(image: Source) -> Source:
    """Return an image whose last axes are y and x; the others can be written in any order."""
    if not {"y", "x"} <= set(image.axes):
        return image
    return image.transpose(sorted(range(image.ndim), key=lambda n: "yx".find(image.axes[n])))


def _choose_dtype(image: Source) -> np.dtype[Any]:
    """Return the type in which pixels are written, of those that OME-TIFF has."""
    if image.dtype.kind != "b":
        return image.dtype.newbyteorder("=")
    warnings.warn("OME-TIFF: True and False are written as 1 and 0 of uint8", stacklevel=5)
    return np.dtype(np.uint8)
