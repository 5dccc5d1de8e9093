"""What a format has no field for, as JSON: written beside the pixels, restored from there.

Other programs ignore the description. It holds only plain values, and where it
contradicts the format's own fields, the fields win: another program may have
changed them.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources import Source

__all__ = ["NAMESPACE", "describe", "parse", "restore"]

NAMESPACE = "napari-dip-fusion/image/1"


def describe(image: Source) -> dict[str, Any]:
    """Return all of an image but its pixels and path, as values that JSON holds.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    dict
        To be written beside the pixels.
    """
    return {
        "namespace": NAMESPACE,
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "axes": list(image.axes),
        "units": list(image.units),
        "affine": image.affine.tolist(),
        "name": image.name,
        "rgb": image.rgb,
        "display": _plain(image.display),
        "metadata": _plain(image.metadata),
    }


def parse(text: str | bytes | None) -> dict[str, Any] | None:
    """Read a description that this program wrote.

    Parameters
    ----------
    text : str or bytes, optional
        JSON, or something else.

    Returns
    -------
    dict or None
        None if it is no such description.
    """
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("namespace") == NAMESPACE else None


def restore(
    image: Source,
    found: Mapping[str, Any] | None,
    *,
    stored: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.asarray,
) -> Source:
    """Give an image back what its description says.

    Parameters
    ----------
    image : Source
        As the format's own fields have it.
    found : mapping, optional
        From :func:`parse`.
    stored : callable
        From an affine to the part of it that the format's own fields hold.

    Returns
    -------
    Source
        The image as it was written; unchanged where the description is
        damaged or of another image.
    """
    if found is None or not _fits(image, found):
        return image
    affine = np.asarray(found["affine"], dtype=np.float64)
    same_place = affine.shape == image.affine.shape and _same(stored(affine), image.affine)
    try:
        return image.replace(
            axes=tuple(str(axis) for axis in found["axes"]),
            units=tuple(str(unit) for unit in found["units"]) if same_place else image.units,
            affine=affine if same_place else image.affine,
            name=str(found["name"]),
            display=dict(found["display"]),
            metadata={**image.metadata, **dict(found["metadata"])},
        )
    except (KeyError, TypeError, ValueError):
        return image


def _fits(image: Source, found: Mapping[str, Any]) -> bool:
    try:
        affine = np.asarray(found["affine"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        return False
    return bool(found.get("shape") == list(image.shape) and np.isfinite(affine).all())


def _same(described: NDArray[np.float64], read: NDArray[np.float64]) -> bool:
    """Compare two places, one of which went through the format's own fields."""
    return bool(np.allclose(described, read, rtol=1e-5, atol=1e-6 * np.abs(read).max()))


def _plain(value: Any) -> Any:
    """Turn a value into one that JSON holds; what it cannot hold is left out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if _is_plain(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value if _is_plain(item)]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no name for it
    return value


def _is_plain(value: Any) -> bool:
    kinds = (Mapping, list, tuple, str, int, float, bool, np.ndarray, np.generic)
    return value is None or isinstance(value, kinds)
