"""Turns image files into napari layers; the reading itself is that of ``io``.

Only files that napari's own reader cannot place are taken: medical images,
OME-Zarr, and what this plugin wrote.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pint
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap
from napari.utils.transforms import Affine

from napari_dip_fusion.io import read_images, record_images
from napari_dip_fusion.io.claimed import is_claimed
from napari_dip_fusion.plugin.layers.drawable import make_drawable
from napari_dip_fusion.plugin.layers.levels import LEVEL_AFFINES
from napari_dip_fusion.sources import Source

__all__ = ["get_reader", "make_layer_arguments", "read_layers", "read_series_layers"]

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, arguments of ``viewer.add_image``, and the type of the layer, as napari takes them."""

ReadFunction = Callable[[str | Sequence[str]], list[LayerData]]

# What a file may say of how a layer is shown; ``writers`` writes the same into it.
_DISPLAY = ("contrast_limits", "gamma", "opacity", "blending", "visible", "interpolation2d")
_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine")


def get_reader(path: str | Sequence[str]) -> ReadFunction | None:
    """Return a reader for files of this plugin's formats.

    Parameters
    ----------
    path : str or list of str
        A file or folder, or the files of a DICOM series.

    Returns
    -------
    callable or None
        None for what belongs to another reader: foreign OME-TIFF, folders of
        something else, lists of other files.
    """
    # napari asks every plugin about every file: pydicom is loaded where it is needed only.
    from napari_dip_fusion.io.dicom.files import is_dicom

    if not isinstance(path, str):
        return read_series_layers if path and all(is_dicom(Path(p)) for p in path) else None
    return read_layers if is_claimed(Path(path)) else None


def make_layer_arguments(image: Source) -> dict[str, Any]:
    """Return arguments of ``viewer.add_image`` besides the data.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    dict
        Name, place, units, axis labels, metadata, and how it was shown.
    """
    arguments = {key: image.display[key] for key in _DISPLAY if key in image.display}
    units = {unit: _read_unit(image, unit) for unit in dict.fromkeys(image.units)}
    colormap = _read_colormap(image.display.get("colormap"))
    if colormap is not None and not image.rgb:
        arguments["colormap"] = colormap
    return {
        **arguments,
        **_make_transform(image),
        "name": image.name,
        "rgb": image.rgb,
        "units": tuple(units[unit] for unit in image.units),
        "axis_labels": image.axes,
        "metadata": dict(image.metadata),
    }


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the images of a file or folder of any format as layers.

    Parameters
    ----------
    path : str or list of str
        The file or folder; of a list, the first one.

    Raises
    ------
    ImageFileError
        If it cannot be read.
    """
    file = Path(path if isinstance(path, str) else path[0])
    is_record = file.name.lower().endswith(record_images.ENDING)
    images = record_images.read(file) if is_record else read_images(file)
    return [_make_layer(image) for image in images]


def read_series_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the images of the files of a DICOM series as layers.

    Parameters
    ----------
    path : str or list of str
        The files.

    Raises
    ------
    ImageFileError
        If none can be read.
    """
    from napari_dip_fusion.io.dicom.series import read_files

    paths = [path] if isinstance(path, str) else path
    return [_make_layer(image) for image in read_files([Path(p) for p in paths])]


def _make_layer(image: Source) -> LayerData:
    image = make_drawable(image)
    arguments = make_layer_arguments(image)
    if not image.pyramid:
        return image.data, arguments, "image"
    if image.level_affines:
        places = [matrix.tolist() for matrix in image.level_affines]
        arguments["metadata"][LEVEL_AFFINES] = places
    return [image.data, *image.pyramid], {**arguments, "multiscale": True}, "image"


def _make_transform(image: Source) -> dict[str, Any]:
    """Return the transform as it was set, or in the simplest form there is."""
    # Layers that this plugin wrote have the parts of their transform beside its product.
    known = image.display.get("transform")
    if isinstance(known, Mapping) and set(known) == set(_TRANSFORM):
        parts = {key: np.asarray(known[key], dtype=np.float64) for key in _TRANSFORM}
        if _makes_up(parts, image.affine):
            return parts
    # Scale and translate can be changed by hand in napari's own controls, an affine cannot.
    steps = image.affine[:-1, :-1]
    if np.array_equal(steps, np.diag(np.diag(steps))) and (np.diag(steps) > 0).all():
        return {"scale": np.diag(steps), "translate": image.affine[:-1, -1]}
    return {"affine": image.affine}


def _makes_up(parts: Mapping[str, Any], affine: Any) -> bool:
    """Tell whether the parts of a transform, as a file has them, make up its affine."""
    try:
        inner = Affine(**{key: parts[key] for key in _TRANSFORM[:-1]})
        whole = parts["affine"] @ inner.affine_matrix
    except (ValueError, TypeError, np.linalg.LinAlgError):
        return False
    return whole.shape == affine.shape and bool(np.allclose(whole, affine, rtol=1e-9, atol=1e-9))


def _read_unit(image: Source, unit: str) -> str:
    """Return a unit that napari takes; one that it does not know becomes pixels, and is said."""
    try:
        registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
        return str(registry.Unit(unit))
    except (pint.PintError, ValueError, AttributeError, TypeError):
        warnings.warn(
            f"{image.name or 'an image'}: napari knows no unit {unit!r}, so the layer counts "
            "pixels; give it its units and scale to fuse it with others",
            stacklevel=2,
        )
        return "pixel"


def _read_colormap(known: Any) -> Any:
    """Return a colormap by name, as ``#rrggbb``, or from its colors."""
    if isinstance(known, str):
        is_hex = len(known) == 7 and known.startswith("#")
        return known if is_hex or known in AVAILABLE_COLORMAPS else None
    if not isinstance(known, Mapping):
        return None
    try:
        return Colormap(
            colors=np.asarray(known["colors"], dtype=np.float32),
            name=str(known["name"]),
            controls=np.asarray(known["controls"], dtype=np.float32),
        )
    except (KeyError, TypeError, ValueError):
        return None
