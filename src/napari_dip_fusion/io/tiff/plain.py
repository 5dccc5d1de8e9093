"""TIFF of any dialect is read, and plain TIFF is written.

Every series becomes images without an axis of channels. Where they lie is said by the
dialect: by ImageJ's fields, which are read here, or by those of OME
(:mod:`~napari_dip_fusion.io.tiff.ome`).
"""

from pathlib import Path

import numpy as np
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.losses import warn_of_lost_place
from napari_dip_fusion.io.tiff import ome
from napari_dip_fusion.io.tiff.pages import open_tiff, read_series
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
    with open_tiff(path) as tif:
        if tif.is_ome:
            return ome.read_all_series(path, tif)
        series = [_place(read_series(path, tif, n), tif) for n in range(len(tif.series))]
        return [image for one in series for image in split_channels(one)]


def check(image: Source) -> None:
    """Refuse an image that plain TIFF cannot hold, as :func:`.check_image` asks."""
    plane = drop_single_axes(image)
    if plane.ndim != 2:
        raise ImageFileError(
            f"plain TIFF is written as one plane, got axes {', '.join(plane.axes)} of sizes "
            f"{plane.shape}; choose a plane, or write OME-TIFF (.ome.tif)"
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
    tifffile.imwrite(path, image.to_numpy(), photometric=photometric, metadata=None)


def _place(image: Source, tif: tifffile.TiffFile) -> Source:
    """Return an ImageJ image with its spacing; plain TIFF has none that can be trusted.

    A resolution in dots an inch is a program's habit (72, 96, 300), not a size.
    """
    described = tif.imagej_metadata
    # ImageJ writes "µm" in its ASCII description as an escape of Java.
    unit = str((described or {}).get("unit", "")).replace("\\u00B5", "µ")
    if not described or unit.lower() in ("", "pixel", "pixels", "inch", "in"):
        return image
    tags = tif.pages.first.tags
    steps = dict.fromkeys(image.axes, 1.0)
    for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
        # A fraction of pixels in one unit: its inverse is the size of a pixel.
        over, under = tags[tag].value if tag in tags else (1, 1)
        steps[axis] = under / over if over and under else 1.0
    steps["z"] = float(described.get("spacing", 1.0)) or 1.0
    units = tuple(unit if axis in "zyx" else "pixel" for axis in image.axes)
    diagonal = [steps[axis] for axis in image.axes]
    return image.replace(affine=np.diag([*diagonal, 1.0]), units=units)
