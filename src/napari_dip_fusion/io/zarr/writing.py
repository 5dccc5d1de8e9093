"""Sources are written as OME-Zarr folders."""

from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_private_rotation
from napari_dip_fusion.io.streaming import choose_part, iterate_parts, read
from napari_dip_fusion.io.zarr import ATTRIBUTE
from napari_dip_fusion.io.zarr.fields import (
    arrange,
    check,
    make_array_options,
    make_axes,
    make_ome,
    move_colors,
)
from napari_dip_fusion.sources import Source

__all__ = ["check", "write"]

# Rows and columns of a chunk. Other axes have chunks of one, so that a plane of a volume
# is read without its neighbors.
_CHUNK = 1024


def write(path: Path, image: Source, *, version: str = "0.5") -> None:
    """Write an image as OME-Zarr.

    Rotation and shear, for which OME-Zarr has no fields, and the display are kept
    in an attribute that only this program reads.

    Parameters
    ----------
    path : Path
        Folder to write.
    image : Source
        Its axes are put into the order of the standard: time, one other or colors, space.
    version : {"0.5", "0.4"}
        Version of OME-Zarr: on Zarr 3 or on Zarr 2.

    Raises
    ------
    ImageFileError
        If OME-Zarr cannot hold the image.
    """
    import zarr

    check(image)
    image = arrange(image)
    warn_of_private_rotation(image, "OME-Zarr", kept_in="an attribute", stacklevel=3)
    axes = make_axes(image)
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    options = make_array_options(axes, version)
    for number, data in enumerate((image.data, *image.pyramid)):
        _store(group, str(number), move_colors(image, data), options)
    attributes = {**make_ome(image, axes, version), ATTRIBUTE: description.describe(image)}
    group.attrs.update(attributes)


def _store(group: Any, name: str, data: Any, options: dict[str, Any]) -> None:
    """Write the pixels of one resolution, in chunks of one plane or less."""
    chunks = tuple(
        min(size, _CHUNK) if n >= data.ndim - 2 else 1 for n, size in enumerate(data.shape)
    )
    dtype = np.dtype(data.dtype).newbyteorder("=")
    array = group.create_array(name, shape=data.shape, dtype=dtype, chunks=chunks, **options)
    if isinstance(data, np.ndarray):
        array[...] = data
        return
    # No graph of the whole: it may have more chunks than there is memory for.
    for part in iterate_parts(data.shape, choose_part(data, chunks)):
        array[part] = read(data, part)
