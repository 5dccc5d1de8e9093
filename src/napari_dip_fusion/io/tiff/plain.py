"""TIFF of any dialect is read, and plain TIFF is written.

Every series becomes images without an axis of channels. Where they lie is said by the
dialect: by the fields of OME (:mod:`~napari_dip_fusion.io.tiff.ome_reading`), or by those of
others (:mod:`~napari_dip_fusion.io.tiff.dialects`).
"""

from pathlib import Path

import numpy as np
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.losses import warn_of_lost_place
from napari_dip_fusion.io.streaming import count_bytes, is_streamed
from napari_dip_fusion.io.tiff.ome_reading import read_ome
from napari_dip_fusion.io.tiff.tiles import BIGTIFF_BYTES, TILE, iterate_tiles
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import drop_single_axes

__all__ = ["check", "read", "write"]

# Types that programs without an interest in science read as well.
_WRITTEN_TYPES = tuple(np.dtype(t) for t in (np.uint8, np.uint16, np.float32))


def read(path: Path) -> list[Source]:
    """Read all images of a TIFF file, large ones lazily.

    Parameters
    ----------
    path : Path
        TIFF, BigTIFF, ImageJ or OME-TIFF file.

    Returns
    -------
    list of Source
        One for every series and channel.

    Raises
    ------
    ImageFileError
        If the file is damaged or holds what is no image.
    """
    return read_ome(path, demanded=False)


def check(image: Source) -> None:
    """Refuse an image that plain TIFF cannot hold, as :func:`.check_image` asks."""
    plane = drop_single_axes(image)
    if plane.ndim != 2:
        raise ImageFileError(
            f"plain TIFF is written as one plane, got axes {', '.join(plane.axes)} of sizes "
            f"{plane.shape}; choose a plane, or write .nii.gz, .ome.tif or .ome.zarr"
        )
    if plane.dtype not in _WRITTEN_TYPES:
        raise ImageFileError(
            f"plain TIFF is written as uint8, uint16 or float32, got {plane.dtype}; "
            "convert it, or write OME-TIFF (.ome.tif)"
        )


def write(path: Path, image: Source) -> None:
    """Write a plane as plain TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    image : Source
        Plane of uint8, uint16 or float32, gray, RGB or RGBA.

    Raises
    ------
    ImageFileError
        If the image is no plane or of another type.
    """
    check(image)
    image = drop_single_axes(image)
    warn_of_lost_place(image, "plain TIFF", stacklevel=3)
    photometric = "rgb" if image.rgb else "minisblack"
    if not is_streamed(image.data):
        tifffile.imwrite(path, image.to_numpy(), photometric=photometric, metadata=None)
        return
    tiles = iterate_tiles(image.data, image.rgb, image.dtype)
    options = {"tile": (TILE, TILE), "shape": image.data.shape, "dtype": image.dtype}
    big = count_bytes(image.data) > BIGTIFF_BYTES
    tifffile.imwrite(path, tiles, bigtiff=big, photometric=photometric, metadata=None, **options)
