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
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.tiff.ome_xml import (
    ImageElement,
    choose_letters,
    make_fields,
    parse_images,
    place_image,
)
from napari_dip_fusion.io.tiff.pages import open_tiff, read_series
from napari_dip_fusion.sources import Source

__all__ = ["check", "is_own", "read", "read_all_series", "write", "write_all"]

_HELD_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
# Offsets of plain TIFF have 32 bits; 128 MiB are left for all that is no pixel.
_BIGTIFF_BYTES = 2**32 - 2**27


def read(path: Path) -> list[Source]:
    """Read all images of an OME-TIFF file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Source
        From :func:`read_all_series`.

    Raises
    ------
    ImageFileError
        If the file is damaged, or no OME-TIFF.
    """
    with open_tiff(path) as tif:
        if not tif.is_ome:
            raise ImageFileError(
                f"{path} holds no whole OME-XML; it is damaged, or plain TIFF to be named .tif"
            )
        return read_all_series(path, tif)


def read_all_series(path: Path, tif: tifffile.TiffFile) -> list[Source]:
    """Read the images of an open OME-TIFF.

    Parameters
    ----------
    path : Path
        The file.
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    list of Source
        Images that this program wrote, as they were; of others, one for every channel.

    Raises
    ------
    ImageFileError
        If the OME-XML is damaged.
    """
    elements = parse_images(path, tif.ome_metadata or "")
    found = []
    for number in range(len(tif.series)):
        # A damaged OME-XML may speak of fewer images than there are.
        element = elements[number] if number < len(elements) else ImageElement()
        found += _restore(read_series(path, tif, number), element)
    return found


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
    with open_tiff(path) as tif:
        elements = parse_images(path, tif.ome_metadata or "")
        texts = [text for element in elements for text in element.comments]
        return any(description.parse(text) is not None for text in texts)


def _restore(image: Source, element: ImageElement) -> list[Source]:
    """Return an image as this program wrote it, or else the channels of an image."""
    # Other programs may have added comments of their own.
    for text in element.comments:
        found = description.parse(text)
        whole = None if found is None else _restore_axes(image, found)
        if whole is not None:
            placed = place_image(whole, element)
            return [description.restore(placed, found, reduce_affine=_keep_spacing)]
    named = place_image(image, element).replace(name=element.name or image.name)
    return split_channels(named, element.channels)


def _restore_axes(image: Source, found: dict[str, Any]) -> Source | None:
    """Return an image with its axes of size one, which tifffile drops.

    None is returned if the description is of another image.
    """
    shape, axes = found.get("shape"), found.get("axes")
    if not isinstance(shape, list) or not isinstance(axes, list) or len(axes) != len(shape):
        return None
    same = [size for size in shape if size != 1] == [size for size in image.shape if size != 1]
    if not same or not 2 <= len(shape) <= 5:
        return None
    colors = image.data.shape[image.ndim :]
    letters = tuple(choose_letters(tuple(str(axis) for axis in axes)).lower())
    data = image.data.reshape(*shape, *colors)
    return Source(data, letters, rgb=image.rgb, name=image.name, path=image.path)


def _keep_spacing(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME that are read."""
    return np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])


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
    pixels = [_make_pixels(image) for image in images]
    with tifffile.TiffWriter(
        path, ome=True, bigtiff=sum(p.nbytes for p in pixels) > _BIGTIFF_BYTES
    ) as writer:
        for image, values in zip(images, pixels, strict=True):
            writer.write(
                values,
                photometric="rgb" if image.rgb else "minisblack",
                planarconfig="contig" if image.rgb else None,
                # Lossless, and read by nearly every program.
                compression="zlib",
                metadata=make_fields(image),
            )


def _make_pixels(image: Source) -> NDArray[Any]:
    """Return the pixels in a type that OME-TIFF holds."""
    check(image)
    values = image.to_numpy()
    if values.dtype.kind == "b":
        warnings.warn("OME-TIFF: True and False are written as 1 and 0 of uint8", stacklevel=5)
        values = values.astype(np.uint8)
    return values
