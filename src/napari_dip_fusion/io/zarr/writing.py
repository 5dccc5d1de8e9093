"""Sources are written as OME-Zarr folders."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.io.zarr import ATTRIBUTE
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import arrange_axes, is_nameless, limit_axes, list_kinds
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit, spell_out_unit

__all__ = ["check", "write"]

# Rows and columns of a chunk. Other axes have chunks of one, so that a plane of a volume
# is read without its neighbors.
_CHUNK = 1024
# The types of axes in the standard, by the kinds of axes of sources.
_TYPES = {"time": "time", "space": "space", "c": "channel"}


def check(image: Source) -> None:
    """Refuse an image that OME-Zarr cannot hold, as :func:`.check_image` asks."""
    arranged = _arrange(image)
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
    image = _arrange(image)
    warn_of_private_rotation(image, "OME-Zarr", kept_in="an attribute", stacklevel=3)
    axes = _make_axes(image)
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for number, data in enumerate((image.data, *image.pyramid)):
        _store(group, str(number), _move_colors(image, data), axes, version)
        datasets.append(_make_dataset(image, number))
    scales = {"name": image.name or "image", "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"multiscales": [scales]}
    # The version stands beside the images in 0.5, in each of them in 0.4.
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **ome}
    else:
        ome["multiscales"][0]["version"] = version
        group.attrs["multiscales"] = ome["multiscales"]
    group.attrs[ATTRIBUTE] = description.describe(image)


def _arrange(image: Source) -> Source:
    """Return an image with its axes in the standard's order, without surplus ones of one pixel."""
    return limit_axes(arrange_axes(image), 1 - image.rgb, beside=("space", "time"))


def _make_axes(image: Source) -> list[dict[str, str]]:
    """Return OME's axes: those of space are z, y and x, the others have their own names."""
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


def _count_times(image: Source) -> int:
    """Return the number of axes of time, 0 or 1, behind which colors are put."""
    return list_kinds(image.axes, image.units).count("time")


def _move_colors(image: Source, data: Any) -> Any:
    return np.moveaxis(data, -1, _count_times(image)) if image.rgb else data


def _make_dataset(image: Source, level: int) -> dict[str, Any]:
    """Return what is said of one resolution: its folder, scale and translation."""
    place = image.find_level_affine(level)
    if np.count_nonzero(place[:-1, :-1] - np.diag(np.diag(place)[:-1])):
        warnings.warn(
            f"{image.name or 'image'}: OME-Zarr is written with scale and translation only; level "
            f"{level} loses the rotation and shear that it has to the first",
            stacklevel=4,
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


def _store(group: Any, name: str, data: Any, axes: list[dict[str, str]], version: str) -> None:
    """Write the pixels of one resolution, in chunks of one plane or less."""
    chunks = tuple(
        min(size, _CHUNK) if n >= data.ndim - 2 else 1 for n, size in enumerate(data.shape)
    )
    # Version 0.4 wants the chunks of Zarr 2 in nested folders.
    options: dict[str, Any] = (
        {"dimension_names": [axis["name"] for axis in axes]}
        if version == "0.5"
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    dtype = np.dtype(data.dtype).newbyteorder("=")
    # Empty chunks, too: a reader can then tell a folder that was copied in part.
    options["config"] = {"write_empty_chunks": True}
    array = group.create_array(name, shape=data.shape, dtype=dtype, chunks=chunks, **options)
    if isinstance(data, np.ndarray):
        array[...] = data
    else:
        import dask.array as da

        lazy: Any = da  # dask has no types
        # The lock: two chunks of dask may share one of the file.
        lazy.store(lazy.asarray(data), array, lock=True)
