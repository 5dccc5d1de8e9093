"""What the attributes of an OME-Zarr folder say of an image: its axes and its resolutions."""

import warnings
from typing import Any

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.losses import warn_of_lost_unit
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import arrange_axes, is_nameless, limit_axes, list_kinds
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit, spell_out_unit

__all__ = ["arrange", "check", "make_array_options", "make_axes", "make_ome", "move_colors"]

# The types of axes in the standard, by the kinds of axes of sources.
_TYPES = {"time": "time", "space": "space", "c": "channel"}


def check(image: Source) -> None:
    """Refuse an image that OME-Zarr cannot hold, as :func:`.check_image` asks."""
    arranged = arrange(image)
    kinds = list_kinds(arranged.axes, arranged.units)
    others = len(kinds) - kinds.count("space") - kinds.count("time") + image.rgb
    if not 2 <= kinds.count("space") <= 3 or kinds.count("time") > 1 or others > 1:
        colors = " and colors" if image.rgb else ""
        raise ImageFileError(
            "OME-Zarr holds two or three axes of space, one of time, and one of another kind or "
            f"of colors, got {', '.join(image.axes)}{colors}; choose a part, or write OME-TIFF"
        )
    if image.dtype.kind not in "iufb":
        raise ImageFileError(f"OME-Zarr is written of numbers, got {image.dtype}; convert them")


def arrange(image: Source) -> Source:
    """Return an image with its axes in the standard's order, without surplus ones of one pixel."""
    return limit_axes(arrange_axes(image), 1 - image.rgb, beside=("space", "time"))


def make_axes(image: Source) -> list[dict[str, str]]:
    """Return OME's axes of an arranged image: those of space are z, y and x.

    Parameters
    ----------
    image : Source
        From :func:`arrange`. Its other axes have their own names.

    Returns
    -------
    list of dict
        The attribute "axes", with one of colors behind time.
    """
    kinds = list_kinds(image.axes, image.units)
    spatial = "zyx"[-kinds.count("space") :]
    names = [*image.axes[: -len(spatial)], *spatial]
    axes = []
    for name, kind, unit in zip(names, kinds, map(abbreviate_unit, image.units), strict=True):
        axis = {"name": "t" if kind == "time" and is_nameless(name, unit) else name}
        # The standard has no type for an echo or a b-value, and wants none then.
        if kind in _TYPES:
            axis["type"] = _TYPES[kind]
        known = {"time": TIMES, "space": LENGTHS}.get(kind)
        if unit != "pixel" and (known is None or unit in known):
            axis["unit"] = spell_out_unit(unit) or unit
        elif unit != "pixel":
            warn_of_lost_unit(unit, name, "OME-Zarr", stacklevel=4)
        axes.append(axis)
    if image.rgb:
        axes.insert(_count_times(image), {"name": "c", "type": "channel"})
    return axes


def move_colors(image: Source, data: Any) -> Any:
    """Return the pixels of an arranged image with its colors where the standard wants them."""
    return np.moveaxis(data, -1, _count_times(image)) if image.rgb else data


def make_ome(image: Source, axes: list[dict[str, str]], version: str) -> dict[str, Any]:
    """Return the attributes that OME-Zarr has for an arranged image.

    Parameters
    ----------
    image : Source
        From :func:`arrange`, with its pyramid.
    axes : list of dict
        From :func:`make_axes`.
    version : {"0.5", "0.4"}
        Version of OME-Zarr.

    Returns
    -------
    dict
        By the name of the attribute.
    """
    datasets = []
    for number in range(1 + len(image.pyramid)):
        datasets.append(_make_dataset(image, number))
    scales = {"name": image.name or "image", "axes": axes, "datasets": datasets}
    # The version stands beside the images in 0.5, in each of them in 0.4.
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [scales]}}
    return {"multiscales": [{**scales, "version": version}]}


def make_array_options(axes: list[dict[str, str]], version: str) -> dict[str, Any]:
    """Return options of :meth:`zarr.Group.create_array` that a version of OME-Zarr wants."""
    # Version 0.4 wants the chunks of Zarr 2 in nested folders.
    options: dict[str, Any] = (
        {"dimension_names": [axis["name"] for axis in axes]}
        if version == "0.5"
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    # Empty chunks, too: a reader can then tell a folder that was copied in part.
    return options | {"config": {"write_empty_chunks": True}}


def _count_times(image: Source) -> int:
    """Return the number of axes of time, 0 or 1, behind which colors are put."""
    return list_kinds(image.axes, image.units).count("time")


def _make_dataset(image: Source, level: int) -> dict[str, Any]:
    """Return what is said of one resolution: its folder, scale and translation."""
    place = image.find_level_affine(level)
    if np.count_nonzero(place[:-1, :-1] - np.diag(np.diag(place)[:-1])):
        warnings.warn(
            f"{image.name or 'image'}: OME-Zarr is written with scale and translation only; level "
            f"{level} loses the rotation and shear that it has to the first",
            stacklevel=5,
        )
    scale = list(image.spacing * np.diag(place)[:-1])
    shift = list(image.affine[:-1, -1] + image.spacing * place[:-1, -1])
    if image.rgb:
        scale.insert(_count_times(image), 1.0)
        shift.insert(_count_times(image), 0.0)
    steps = [
        {"type": "scale", "scale": [float(n) for n in scale]},
        {"type": "translation", "translation": [float(n) for n in shift]},
    ]
    return {"path": str(level), "coordinateTransformations": steps}
