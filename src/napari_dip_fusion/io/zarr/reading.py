"""OME-Zarr folders are read to sources, lazily and with all resolutions."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.zarr import ATTRIBUTE
from napari_dip_fusion.io.zarr.arrays import load_json, open_array, report_zarr_damage
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["read"]

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def read(path: Path) -> list[Source]:
    """Read an OME-Zarr folder, its pixels lazily.

    Parameters
    ----------
    path : Path
        The folder, or one within that holds an image.

    Returns
    -------
    list of Source
        One for every channel; what this program wrote comes as it was.

    Raises
    ------
    ImageFileError
        If the folder holds no image, or is damaged.
    """
    with report_zarr_damage(path):
        attributes = _load_attributes(path, path)
        if "multiscales" in attributes:
            return _read_image(path, path, attributes)
        # Converted files keep their series in folders named by numbers, and say so.
        inner = sorted(p for p in path.iterdir() if p.name.isdigit() and p.is_dir())
        if "bioformats2raw.layout" in attributes and inner:
            return [
                image for p in inner for image in _read_image(p, path, _load_attributes(p, path))
            ]
    held = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())[:10]) or "nothing"
    raise ImageFileError(f"{path} is no OME-Zarr image; choose one of the folders in it: {held}")


def _load_attributes(path: Path, root: Path) -> dict[str, Any]:
    """Return the attributes of a group in or at `root`, with those of OME beside the others."""
    # Version 0.5 keeps the attributes of OME under a key of their own, 0.4 does not.
    if (path / "zarr.json").is_file():
        attributes = dict(load_json(path / "zarr.json", root).get("attributes") or {})
        return {**attributes, **dict(attributes.get("ome") or {})}
    if (path / ".zattrs").is_file():
        return load_json(path / ".zattrs", root)
    raise ImageFileError(f"{path} holds neither zarr.json nor .zattrs; it is no OME-Zarr")


def _read_image(path: Path, root: Path, attributes: Mapping[str, Any]) -> list[Source]:
    """Return the channels of one image, or the image as this program wrote it."""
    scales = attributes["multiscales"][0]
    axes = _list_axes(path, scales)
    datasets = [path / _check_inner(path, part["path"]) for part in scales["datasets"]]
    data, *pyramid = [open_array(dataset, root) for dataset in datasets]
    if data.ndim != len(axes):
        raise ImageFileError(f"{path} names {len(axes)} axes of {data.ndim}; it is damaged")
    # Some writers give a path as the name.
    image = Source(
        data,
        tuple(name for name, _ in axes),
        affine=_find_affine(scales, len(axes)),
        units=tuple(unit for _, unit in axes),
        name=str(scales.get("name") or "").strip("/") or path.name.split(".")[0],
        path=path,
        pyramid=tuple(pyramid),
    )
    found = description.parse(json.dumps(attributes.get(ATTRIBUTE)))
    if found is not None:
        if found.get("rgb") and "c" in image.axes:
            image = _turn_channels_into_colors(image)
        return [description.restore(image, found, reduce_affine=_keep_scale_and_shift)]
    names, displays = _list_channels(attributes.get("omero") or {})
    return split_channels(image, names, displays)


def _list_axes(path: Path, scales: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the name and unit of each axis."""
    axes = scales.get("axes")
    if not axes:
        raise ImageFileError(f"{path} names no axes (OME-Zarr before 0.4); convert it first")
    return [(str(axis["name"]), abbreviate_unit(axis.get("unit", "pixel"))) for axis in axes]


def _check_inner(path: Path, name: str) -> str:
    """Refuse the path of an array that leads out of its folder."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise ImageFileError(f"{path} points outside of itself ({name!r}); it is not read")
    return name


def _find_affine(scales: Mapping[str, Any], ndim: int) -> NDArray[np.float64]:
    """Return the affine of the finest resolution."""
    affine = np.eye(ndim + 1)
    # The steps of one resolution come first, then those that hold for all of them.
    own = scales["datasets"][0].get("coordinateTransformations") or []
    for step in [*own, *(scales.get("coordinateTransformations") or [])]:
        change = np.eye(ndim + 1)
        if step["type"] == "scale":
            change[:-1, :-1] = np.diag(np.asarray(step["scale"], dtype=np.float64))
        elif step["type"] == "translation":
            change[:-1, -1] = np.asarray(step["translation"], dtype=np.float64)
        affine = change @ affine
    return affine


def _keep_scale_and_shift(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME-Zarr."""
    kept = np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])
    kept[:-1, -1] = affine[:-1, -1]
    return kept


def _turn_channels_into_colors(image: Source) -> Source:
    """Return an image whose channels are red, green and blue as one of colors."""
    axis = image.axes.index("c")
    # Taking one channel drops the axis from the names, units and affine.
    flat = image.replace(data=image.data[(slice(None),) * axis + (slice(0, 1),)], pyramid=())
    flat = flat.take("c", 0)
    levels = [np.moveaxis(level, axis, -1) for level in (image.data, *image.pyramid)]
    return flat.replace(data=levels[0], pyramid=tuple(levels[1:]), rgb=True)


def _list_channels(omero: Mapping[str, Any]) -> tuple[list[str | None], list[dict[str, Any]]]:
    """Return the name of each channel and how it is shown, from the attribute "omero"."""
    names: list[str | None] = []
    displays = []
    # The attribute is transitional in all versions: every part of it may be missing.
    for channel in omero.get("channels") or []:
        names.append(str(channel["label"]) if channel.get("label") else None)
        display: dict[str, Any] = {}
        color = str(channel.get("color", ""))
        if len(color) == 6 and _HEX_DIGITS.issuperset(color):
            display["colormap"] = f"#{color}"
        window = channel.get("window") or {}
        if {"start", "end"} <= set(window) and window["start"] < window["end"]:
            display["contrast_limits"] = [float(window["start"]), float(window["end"])]
        displays.append(display)
    return names, displays
