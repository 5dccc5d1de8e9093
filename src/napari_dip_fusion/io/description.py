"""A description in JSON keeps what the fields of a format cannot hold of a source.

It is written beside the pixels: in an attribute, a comment or an extension that other
programs ignore. Where it contradicts the format's own fields the fields win, because
another program may have changed them.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import GUESSED_PLACE
from napari_dip_fusion.sources.units import abbreviate_unit, find_factor

__all__ = ["NAMESPACE", "describe", "parse", "restore"]

NAMESPACE = "napari-dip-fusion/image/1"
"""Value by which a description is known; the number counts versions of its fields."""


def describe(image: Source) -> dict[str, Any]:
    """Return all fields of a source but its pixels and path, in values that JSON holds.

    Parameters
    ----------
    image : Source
        The image that is written.

    Returns
    -------
    dict
        The description.
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
        "display": _to_plain(image.display),
        "metadata": _to_plain(image.metadata),
    }


def parse(text: str | bytes | None) -> dict[str, Any] | None:
    """Return the description that a text holds.

    Parameters
    ----------
    text : str or bytes, optional
        What stands where this program writes descriptions.

    Returns
    -------
    dict or None
        None if it is something else.
    """
    if not text:
        return None
    # Deeply nested brackets end in RecursionError.
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("namespace") == NAMESPACE else None


def restore(
    image: Source,
    found: Mapping[str, Any] | None,
    *,
    reduce_affine: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.asarray,
    units_said: bool = True,
) -> Source:
    """Return an image with the fields that its description holds.

    Parameters
    ----------
    image : Source
        The image as the format's own fields have it.
    found : mapping, optional
        The description, from :func:`parse`.
    reduce_affine : callable
        Function from an affine to what is left of it in the format's own fields. If
        that is not what the fields say, another program has moved the image since.
    units_said : bool
        Whether the format's fields name the units that `image` has.

    Returns
    -------
    Source
        The image as it was written; unchanged where the description is damaged or of
        another image.
    """
    if found is None or not _fits(image, found):
        return image
    affine = np.asarray(found["affine"], dtype=np.float64)
    try:
        units = tuple(str(unit) for unit in found["units"])
        # The fields of a format may hold less than the affine, but what they hold is compared.
        said = image.units if units_said else units
        same_place = _is_same_place(reduce_affine(affine), units, image.replace(units=said))
        metadata = dict(found["metadata"])
        # Whoever moved the image since knows where it lies.
        if not same_place:
            metadata.pop(GUESSED_PLACE, None)
        return image.replace(
            axes=tuple(str(axis) for axis in found["axes"]),
            units=units if same_place else image.units,
            affine=affine if same_place else image.affine,
            name=str(found["name"]),
            display=dict(found["display"]),
            # A reader may have found metadata in the fields, too.
            metadata={**image.metadata, **metadata},
        )
    except (KeyError, TypeError, ValueError):
        return image


def _fits(image: Source, found: Mapping[str, Any]) -> bool:
    """Tell whether a description is of an image of this shape, and can be read."""
    try:
        affine = np.asarray(found["affine"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        return False
    axes = found.get("axes")
    if not isinstance(axes, list) or len(set(map(str, axes))) < len(axes):
        return False
    same_shape = found.get("shape") == list(image.shape) and affine.shape == image.affine.shape
    return bool(same_shape and np.isfinite(affine).all())


def _is_same_place(described: NDArray[np.float64], units: Sequence[str], image: Source) -> bool:
    """Tell whether a format's fields say of a place what a description says, or nothing."""
    # A format may have held the same lengths in another unit.
    factors = [
        find_factor(unit, abbreviate_unit(own)) or 1.0
        for unit, own in zip(image.units, units, strict=True)
    ]
    read = np.diag([*factors, 1.0]) @ image.affine
    lengths = np.linalg.norm(read[:-1, :-1], axis=0)
    # NIfTI stores its affine in float32, to about seven digits. Each number has its own size:
    # a position may be a million pixels.
    rounding = 1e-5 * np.tile([*lengths, lengths.min()], (image.ndim, 1))
    rounding[:, -1] += 2e-7 * np.abs(read[:-1, -1])
    differs = np.abs(described - read)[:-1] > rounding
    for n, unit in enumerate(image.units):
        # Where a format has no field for an axis, its reader counts the pixels.
        if unit == "pixel" and _is_counted(image.affine, n):
            differs[n], differs[:, n] = False, False
    return not differs.any()


def _is_counted(affine: NDArray[np.float64], axis: int) -> bool:
    """Tell whether an affine only counts the pixels of an axis."""
    one = np.eye(len(affine))[axis]
    return np.array_equal(affine[axis], one) and np.array_equal(affine[:, axis], one)


def _to_plain(value: Any) -> Any:
    """Return a value as JSON holds it, without what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items() if _is_representable(item)}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value if _is_representable(item)]
    if isinstance(value, np.ndarray):
        return _to_plain(value.tolist())
    if isinstance(value, np.generic):
        return _to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no name for infinity and NaN
    return value


def _is_representable(value: Any) -> bool:
    """Tell whether a value can be turned into one that JSON holds."""
    kinds = (Mapping, list, tuple, str, int, float, bool, np.ndarray, np.generic)
    return value is None or isinstance(value, kinds)
