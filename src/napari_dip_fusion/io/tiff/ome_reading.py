"""The images of OME-TIFF files are read: whole, in their place, and each channel by its name."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError, summarize_error
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.tiff.dialects import order_axes, read_dialects
from napari_dip_fusion.io.tiff.missing import (
    MissingPlanes,
    list_missing_planes,
    say_missing_files,
)
from napari_dip_fusion.io.tiff.ome_fields import choose_letters
from napari_dip_fusion.io.tiff.ome_place import place_image
from napari_dip_fusion.io.tiff.ome_set import OmeSet, study_set
from napari_dip_fusion.io.tiff.ome_xml import ImageElement
from napari_dip_fusion.io.tiff.opening import check_named_files, open_tiff
from napari_dip_fusion.io.tiff.pages import FURTHER, OpenTiff, list_series, read_series
from napari_dip_fusion.sources import Source

__all__ = ["read_ome", "read_ome_set"]

# The names of types in OME-XML that are others in NumPy.
_TYPES = {
    "bit": "bool",
    "float": "float32",
    "double": "float64",
    "complex": "complex64",
    "double-complex": "complex128",
}


def read_ome(path: Path, *, demanded: bool) -> list[Source]:
    """Read the images of a TIFF file, by its OME-XML if it has one that can be used.

    Parameters
    ----------
    path : Path
        The file.
    demanded : bool
        Whether the name of the file promises an OME-XML.

    Returns
    -------
    list of Source
        Images that this program wrote, as they were; of others, one for every channel.
        What is missing is warned of: channels without any plane are left out, other
        planes are 0.

    Raises
    ------
    ImageFileError
        If the file is damaged, or holds what is not read.
    """
    # tifffile follows an OME-XML, and the names in it, only when it was looked at.
    with open_tiff(path, is_ome=False) as tif:
        found = study_set(path, str(tif.pages.first.description))
        if found is None and demanded:
            _warn(path, "holds no OME-XML, in spite of its name; it is read as plain TIFF")
        if found is None:
            return read_dialects(OpenTiff(path, tif))
        if not found.options and found.file == path:
            tif.is_ome = True
            check_named_files(path, tif)
        if found.problem or tif.is_ome:
            return _read_or_leave(OpenTiff(path, tif), found)
    return read_ome_set(path, found)


def read_ome_set(path: Path, found: OmeSet) -> list[Source]:
    """Read the images of a set of files.

    Parameters
    ----------
    path : Path
        The file that was named.
    found : OmeSet
        What was found out about the set.

    Returns
    -------
    list of Source
        As of :func:`read_ome`.

    Raises
    ------
    ImageFileError
        If a file is damaged, or holds what is not read.
    """
    with open_tiff(found.file, quiet=found.file == path, **found.options) as tif:
        return _read_or_leave(OpenTiff(path, tif), found)


def _read_or_leave(opened: OpenTiff, found: OmeSet) -> list[Source]:
    """Return the images that an OME-XML describes, or those of the pages if it fits none."""
    problem = found.problem or _find_problem(opened, found.missing)
    if not problem:
        return _read_images(opened, found)
    _warn(opened.path, f"{problem}; its own pages are read without it")
    if not opened.tif.is_ome:
        return read_dialects(opened)
    with open_tiff(opened.path, quiet=True, is_ome=False) as tif:
        images = read_dialects(OpenTiff(opened.path, tif))
    # Sizes of pixels hold for pages that are as large as declared, whatever their number.
    return [_place_page(image, found.elements) for image in images]


def _place_page(image: Source, elements: list[ImageElement]) -> Source:
    """Return an image in the place that the only element gives, if its planes are as large."""
    pixels = elements[0].pixels if len(elements) == 1 else {}
    same = [pixels.get("SizeY"), pixels.get("SizeX")] == [str(size) for size in image.shape[-2:]]
    return place_image(image, elements[0]) if same else image


def _find_problem(opened: OpenTiff, missing: list[str]) -> str:
    """Return why an OME-XML cannot be followed; empty where it can."""
    try:
        kinds = {series.kind for series in list_series(opened)}
    except (ImageFileError, OSError, MemoryError, Warning):
        raise
    # Whatever is wrong in it surfaces in tifffile as an error of any type.
    except Exception as error:
        return f"its OME-XML cannot be followed ({summarize_error(error)})"
    # A kind of its own is what tifffile makes of pages that the OME-XML does not fit.
    if kinds <= {"ome", "mmstack"}:
        return ""
    if missing:
        return f"{say_missing_files(missing)}, and its OME-XML fits no page"
    return "its OME-XML declares other images than its pages hold"


def _read_images(opened: OpenTiff, found: OmeSet) -> list[Source]:
    """Return the channels of all images, and say what is missing of them."""
    images, left = [], dict(enumerate(found.elements))
    for n, series in enumerate(list_series(opened)):
        named = series.kind == "ome" and len(found.elements) > 1
        element = left.pop(int(series.name) if named else n, ImageElement())
        missing = list_missing_planes(series)
        declared = element.pixels.get("Type", "")
        if _TYPES.get(declared, declared or series.dtype.name) != series.dtype.name:
            _warn(
                opened.path,
                f"its OME-XML declares {declared}, its pages hold {series.dtype}; the pages are "
                "followed",
            )
        parts = read_series(opened, n)
        images += _restore(parts, element) or _list_channels(parts, element, missing)
        if missing.planes:
            said = missing.describe(
                [_name_channel(element, c) for c in range(len(element.channels))]
            )
            cause = "planes are missing that it declares"
            cause = say_missing_files(found.missing) if found.missing else cause
            _warn(opened.path, f"{cause}: {said}; put the whole set into one folder")
    for element in left.values():
        _warn(
            opened.path,
            f"the image {element.name!r} is left out: its pages are missing"
            + (f" with {', '.join(found.missing)}" if found.missing else ", or of other sizes"),
        )
    return images


def _name_channel(element: ImageElement, number: int) -> str | None:
    known = element.channels[number : number + 1]
    return (known[0].get("Name") if known else None) or None


def _list_channels(
    parts: list[Source], element: ImageElement, missing: MissingPlanes
) -> list[Source]:
    """Return the channels of an image, without those that are missing."""
    count = missing.sizes.get("C", 1)
    images = []
    for number, part in enumerate(parts):
        placed = order_axes(place_image(part, element))
        if element.name:
            placed = placed.replace(name=element.name + FURTHER * bool(number))
        # A channel may have several samples, which are channels themselves.
        each = placed.shape[placed.axes.index("c")] // count if "c" in placed.axes else 1
        names = [_number(_name_channel(element, n // each), n, each) for n in range(count * each)]
        shown = [_read_display(element, n // each) or part.display for n in range(count * each)]
        # What is one image, or lies beside its colors, is named after the image.
        found = split_channels(placed, [] if number else names, [] if placed.rgb else shown)
        if "c" not in placed.axes and not placed.rgb:
            found = [placed.replace(display=shown[0])]
        images += [one for n, one in enumerate(found) if n // each not in missing.channels]
    return images


def _number(name: str | None, index: int, each: int) -> str | None:
    return f"{name} {index % each}" if name and each > 1 else name


def _read_display(element: ImageElement, number: int) -> dict[str, Any]:
    """Return the color in which a channel is shown, unless it is white."""
    known = element.channels[number : number + 1]
    try:
        color = int(known[0]["Color"]) & 0xFFFFFFFF if known else 0
    except (KeyError, ValueError):
        return {}
    rgb = color >> 8
    return {"colormap": f"#{rgb:06x}"} if rgb not in (0, 0xFFFFFF) else {}


def _restore(parts: list[Source], element: ImageElement) -> list[Source]:
    """Return an image as this program wrote it; nothing for one of another program."""
    # Other programs may have added comments of their own.
    for text in element.comments:
        found = description.parse(text)
        whole = None if found is None or len(parts) > 1 else _restore_axes(parts[0], found)
        if whole is not None:
            # The description holds the position, too.
            placed = place_image(whole, element, positions=False)
            return [description.restore(placed, found, reduce_affine=_keep_spacing)]
    return []


def _restore_axes(image: Source, found: dict[str, Any]) -> Source | None:
    """Return an image with its axes of size one, which tifffile drops.

    None is returned if the description is of another image.
    """
    shape, axes, units = (found.get(key) for key in ("shape", "axes", "units"))
    if not (isinstance(shape, list) and isinstance(axes, list) and isinstance(units, list)):
        return None
    if not len(shape) == len(axes) == len(units):
        return None
    same = [size for size in shape if size != 1] == [size for size in image.shape if size != 1]
    if not same or not 2 <= len(shape) <= 5:
        return None
    colors = image.data.shape[image.ndim :]
    letters = tuple(choose_letters(list(map(str, axes)), list(map(str, units))).lower())
    plane = image.ndim - 2
    return Source(
        image.data.reshape(*shape, *colors),
        letters,
        rgb=image.rgb,
        name=image.name,
        path=image.path,
        # Coarser resolutions have as many planes.
        pyramid=tuple(p.reshape(*shape[:-2], *p.shape[plane:]) for p in image.pyramid),
    )


def _keep_spacing(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME that are read."""
    return np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])


def _warn(path: Path, text: str) -> None:
    warnings.warn(f"{path.name}: {text}", stacklevel=3)
