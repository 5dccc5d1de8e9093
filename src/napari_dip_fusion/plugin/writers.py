"""Turns napari layers into image files; the writing itself is that of ``io``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS
from napari.utils.transforms import Affine

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import write_image as write_file
from napari_dip_fusion.io import write_images
from napari_dip_fusion.plugin.layers.levels import LEVEL_AFFINES, parse_level_affines
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["make_source", "write_bundle", "write_image"]

# What a file says of how a layer is shown; ``readers`` takes the same from it.
_DISPLAY = ("contrast_limits", "gamma", "opacity", "blending", "visible", "interpolation2d")


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write one image layer; the ending of the path says the format.

    napari has asked before about a file that exists.

    Parameters
    ----------
    path : str
        ``.ome.tif``, ``.nii``, ``.nii.gz``, ``.ome.zarr`` or ``.png``.
    data : array-like or list of array-like
        The pixels, or those of all resolutions.
    meta : mapping
        Attributes of the layer.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    OSError
        If it cannot be written; the message says why, and what to do.
    """
    with _tell_napari():
        return [str(write_file(path, make_source(data, meta), overwrite=True))]


def write_bundle(path: str, layers: Sequence[tuple[Any, Mapping[str, Any], str]]) -> list[str]:
    """Write image layers together as a fusion bundle.

    Parameters
    ----------
    path : str
        Name that ends in ``.fusion.ome.tif``.
    layers : sequence of (data, meta, type)
        Image layers, from the lowest to the highest.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    OSError
        As of :func:`write_image`.
    """
    with _tell_napari():
        images = [make_source(data, meta) for data, meta, _ in layers]
        return [str(write_images(path, images, overwrite=True))]


@contextmanager
def _tell_napari() -> Iterator[None]:
    """Turn an error of the files into one that napari shows.

    For a ValueError, napari says that this plugin is no writer of such files.
    """
    try:
        yield
    except ImageFileError as error:
        raise OSError(str(error)) from error


def make_source(data: Any, meta: Mapping[str, Any]) -> Source:
    """Return the source that holds what a layer shows.

    Parameters
    ----------
    data : array-like or list of array-like
        As in ``layer.as_layer_data_tuple()``.
    meta : mapping
        Attributes of the layer, as in the same tuple.

    Returns
    -------
    Source
        With the whole transform of the layer as its affine, and its parts kept.
    """
    # Levels may be dask arrays, of which nothing is read here.
    levels = list(data) if meta.get("multiscale") else [data]
    rgb = bool(meta.get("rgb"))
    first = levels[0] if hasattr(levels[0], "shape") else np.asarray(levels[0])
    ndim = len(first.shape) - rgb
    metadata = dict(meta.get("metadata") or {})
    places = parse_level_affines(metadata.pop(LEVEL_AFFINES, None), ndim, len(levels) - 1)
    transform = _read_transform(meta, ndim)
    return Source(
        first,
        tuple(str(label) for label in meta.get("axis_labels") or ()),
        affine=_compose_affine(transform),
        units=tuple(_get_symbol(unit) for unit in meta.get("units") or ()),
        name=str(meta.get("name") or ""),
        rgb=rgb,
        metadata=metadata,
        display=_read_display(meta, transform),
        pyramid=tuple(levels[1:]),
        level_affines=places,
    )


def _read_transform(meta: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Return the parts of the transform, with what a layer has by default."""
    default = {
        "scale": np.ones(ndim),
        "translate": np.zeros(ndim),
        "rotate": np.eye(ndim),
        "shear": np.zeros(ndim * (ndim - 1) // 2),
        "affine": np.eye(ndim + 1),
    }
    given = {key: meta[key] for key in default if meta.get(key) is not None}
    return {key: np.asarray(value, np.float64) for key, value in {**default, **given}.items()}


def _compose_affine(transform: Mapping[str, Any]) -> Any:
    # The order in which napari applies them: the affine comes after all others.
    inner = Affine(**{key: value for key, value in transform.items() if key != "affine"})
    return transform["affine"] @ inner.affine_matrix


def _get_symbol(unit: Any) -> str:
    """Return the short symbol of a ``pint.Unit`` or of its name."""
    return abbreviate_unit(unit if isinstance(unit, str) else f"{unit:~}")


def _read_display(meta: Mapping[str, Any], transform: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: meta[key] for key in _DISPLAY if meta.get(key) is not None}
    colormap = meta.get("colormap")
    if colormap is not None and not meta.get("rgb"):
        shown["colormap"] = _name_colormap(colormap)
    return {**shown, "transform": dict(transform)}


def _name_colormap(colormap: Any) -> Any:
    """Return a colormap's name, if napari knows it, otherwise its colors."""
    if isinstance(colormap, str):
        return colormap
    # Layer data tuples hold colormaps as models or as dictionaries.
    parts = colormap if isinstance(colormap, Mapping) else dict(colormap)
    if parts.get("name") in AVAILABLE_COLORMAPS:
        return parts["name"]
    return {key: parts[key] for key in ("name", "colors", "controls")}
