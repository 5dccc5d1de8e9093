"""NIfTI files are read to sources, large ones lazily."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.formats import strip_ending
from napari_dip_fusion.io.nifti.fields import list_axes, read_intent, read_units
from napari_dip_fusion.io.nifti.header import read_checked_header
from napari_dip_fusion.io.nifti.pixels import count_colors, read_pixels
from napari_dip_fusion.io.nifti.place import find_place
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import GUESSED_PLACE

__all__ = ["read"]

_VECTOR_COLORS = {"RGB vector": 3, "RGBA vector": 4}


def read(path: Path) -> list[Source]:
    """Read a NIfTI file; volumes over time and large volumes stay lazy.

    The world is that of :mod:`~napari_dip_fusion.io.anatomy`, in millimeters
    unless the file says otherwise. Where the place is only a guess, or the unit of
    length is assumed, the metadata say so.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz`` file, NIfTI-1 or 2, packed by gzip or not whatever its
        name says; or the header ``.hdr`` of a pair, the pixels of which lie beside it.

    Returns
    -------
    list of Source
        One, or one for each index of a fifth dimension.

    Raises
    ------
    ImageFileError
        If the file is damaged, declares more than it holds, or holds no image.
    """
    header, comments = read_checked_header(path)
    image = _make_source(path, header)
    found = next(filter(None, map(description.parse, comments)), None)
    images = split_channels(image)
    # dim[0] is the number of dimensions in the file; a plane was given its third one above.
    if int(header["dim"][0]) == 2 or _has_added_height(image, found):
        images = [_flatten(one) for one in images]
    assumed = read_units(header).assumed
    if found is not None:
        # What this program wrote has its true unit in the description.
        return [description.restore(one, found, units_said=not assumed) for one in images]
    known = {"assumed_unit": assumed} if assumed else {}
    return [one.replace(metadata={**one.metadata, **known}) for one in images]


def _make_source(path: Path, header: Any) -> Source:
    """Return what a file holds, with its fifth dimension as an axis of channels."""
    shape = tuple(int(size) for size in header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    names = list_axes(header, shape)
    data = read_pixels(path, header, tuple(size for size, _ in names))
    axes = tuple(name for _, name in reversed(names))
    place, units = find_place(path, header, shape), read_units(header)
    affine = np.eye(len(axes) + 1)
    spatial = [*range(len(axes) - 3, len(axes)), -1]
    affine[np.ix_(spatial, spatial)] = place.affine
    labels = dict.fromkeys(axes, "pixel") | dict.fromkeys("zyx", units.length)
    if units.fourth in axes:
        number = axes.index(units.fourth)
        affine[number, number], affine[number, -1] = units.step, units.start
        labels[units.fourth] = units.time
    intent = read_intent(header)
    guess = "; ".join(filter(None, [place.guess, units.guess]))
    image = Source(
        data,
        axes,
        affine=affine,
        units=tuple(labels[axis] for axis in axes),
        name=strip_ending(path),
        rgb=count_colors(header) > 0,
        metadata={**intent, **({GUESSED_PLACE: guess} if guess else {})},
        path=path,
    )
    return _join_colors(image, str(intent.get("intent", "")))


def _join_colors(image: Source, intent: str) -> Source:
    """Return an image whose fifth dimension is said to hold colors as one of colors."""
    if intent not in _VECTOR_COLORS or "c" not in image.axes:
        return image
    axis = image.axes.index("c")
    if image.shape[axis] != _VECTOR_COLORS[intent]:
        return image
    # Taking one channel drops the axis from the names, units and affine.
    return image.take("c", 0).replace(data=np.moveaxis(image.data, axis, -1), rgb=True)


def _has_added_height(image: Source, found: Mapping[str, Any] | None) -> bool:
    """Tell whether this program wrote planes over time, which NIfTI wants to have a height."""
    number = image.axes.index("z")
    planes = [*image.shape[:number], *image.shape[number + 1 :]]
    return image.shape[number] == 1 and found is not None and found.get("shape") == planes


def _flatten(image: Source) -> Source:
    """Return a plane without its third axis, unless it lies oblique to the world's axes."""
    number = image.axes.index("z")
    coupled: NDArray[Any] = np.delete(image.affine[number, :-1], number)
    return image if coupled.any() else image.take("z", 0)
