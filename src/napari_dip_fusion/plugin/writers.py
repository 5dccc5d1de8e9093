"""napari layers to image files: translates, and leaves the writing to ``io``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS
from napari.utils.transforms import Affine

from napari_dip_fusion.io import write_image as write_file
from napari_dip_fusion.io import write_images
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["layer_source", "write_bundle", "write_image"]

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
    """
    return [str(write_file(path, layer_source(data, meta), overwrite=True))]


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
    """
    images = [layer_source(data, meta) for data, meta, _ in layers]
    return [str(write_images(path, images, overwrite=True))]


def layer_source(data: Any, meta: Mapping[str, Any]) -> Source:
    """Return what a layer shows as an image of ``io``.

    Parameters
    ----------
    data : array-like or list of array-like
        As in ``layer.as_layer_data_tuple()``.
    meta : mapping
        As there.

    Returns
    -------
    Source
        With the whole transform of the layer as its affine, and its parts kept.
    """
    levels = list(data) if meta.get("multiscale") else [data]
    rgb = bool(meta.get("rgb"))
    first = levels[0] if hasattr(levels[0], "shape") else np.asarray(levels[0])
    ndim = len(first.shape) - rgb
    transform = _transform(meta, ndim)
    return Source(
        first,
        tuple(str(label) for label in meta.get("axis_labels") or ()),
        affine=_whole(transform),
        units=tuple(_symbol(unit) for unit in meta.get("units") or ()),
        name=str(meta.get("name") or ""),
        rgb=rgb,
        metadata=dict(meta.get("metadata") or {}),
        display=_display(meta, transform),
        pyramid=tuple(levels[1:]),
    )


def _transform(meta: Mapping[str, Any], ndim: int) -> dict[str, Any]:
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


def _whole(transform: Mapping[str, Any]) -> Any:
    inner = Affine(**{key: value for key, value in transform.items() if key != "affine"})
    return transform["affine"] @ inner.affine_matrix


def _symbol(unit: Any) -> str:
    """Return the short symbol of a ``pint.Unit`` or of its name."""
    return abbreviate_unit(unit if isinstance(unit, str) else f"{unit:~}")


def _display(meta: Mapping[str, Any], transform: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: meta[key] for key in _DISPLAY if meta.get(key) is not None}
    colormap = meta.get("colormap")
    if colormap is not None and not meta.get("rgb"):
        shown["colormap"] = _colormap(colormap)
    return {**shown, "transform": dict(transform)}


def _colormap(colormap: Any) -> Any:
    """Return a colormap's name, if napari knows it, otherwise its colours."""
    if isinstance(colormap, str):
        return colormap
    parts = colormap if isinstance(colormap, Mapping) else dict(colormap)
    if parts.get("name") in AVAILABLE_COLORMAPS:
        return parts["name"]
    return {key: parts[key] for key in ("name", "colors", "controls")}
