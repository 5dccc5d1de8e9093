"""Sources are written as OME-Zarr folders."""

from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.io.zarr import ATTRIBUTE
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit, spell_out_unit

__all__ = ["check", "write"]

# Rows and columns of a chunk. Other axes have chunks of one, so that a plane of a volume
# is read without its neighbors.
_CHUNK = 1024


def check(image: Source) -> None:
    """Refuse an image that OME-Zarr cannot hold, as :func:`.check_image` asks."""
    if not 2 <= image.ndim <= 4:
        raise ImageFileError(
            f"OME-Zarr is written with two to four axes, got {', '.join(image.axes)}; choose a part"
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
        Two to four axes besides colors.
    version : {"0.5", "0.4"}
        Version of OME-Zarr: on Zarr 3 or on Zarr 2.

    Raises
    ------
    ImageFileError
        If OME-Zarr cannot hold the image.
    """
    import zarr

    check(image)
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


def _make_axes(image: Source) -> list[dict[str, str]]:
    """Return OME's axes; an axis of another name takes the name of its place."""
    spatial = image.ndim - _count_times(image)
    names = ("t",) * _count_times(image) + ("z", "y", "x")[-spatial:]
    axes = []
    for name, unit in zip(names, image.units, strict=True):
        axis = {"name": name, "type": "time" if name == "t" else "space"}
        short = abbreviate_unit(unit)
        if short in (TIMES if name == "t" else LENGTHS):
            axis["unit"] = str(spell_out_unit(short))
        elif short != "pixel":
            warn_of_lost_unit(unit, name, "OME-Zarr", stacklevel=4)
        axes.append(axis)
    warn_of_private_rotation(image, "OME-Zarr", kept_in="an attribute", stacklevel=4)
    if image.rgb:
        axes.insert(_count_times(image), {"name": "c", "type": "channel"})
    return axes


def _count_times(image: Source) -> int:
    """Return the number of axes of time, 0 or 1.

    The order of axes is time, channels, space (section "axes" of the specification), so
    channels are put behind as many.
    """
    return int(image.ndim == 4 or (image.ndim == 3 and image.axes[0] == "t"))


def _move_colors(image: Source, data: Any) -> Any:
    return np.moveaxis(data, -1, _count_times(image)) if image.rgb else data


def _make_dataset(image: Source, level: int) -> dict[str, Any]:
    """Return what is said of one resolution: its folder, scale and translation."""
    place = image.find_level_affine(level)
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
