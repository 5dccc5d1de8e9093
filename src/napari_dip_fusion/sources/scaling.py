"""Values of any real type to [0, 1] by an intensity window, and back, a part at a time."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import INTENSITY_MODES, Intensity, Window, check_intensity
from napari_dip_fusion.interruption import checkpoint

Floats = NDArray[np.float32]
Part = tuple[slice, ...]

PART_PIXELS = 2**20
"""Pixels brought to [0, 1] at once: float64 of a whole volume would be twice its float32."""


def cut_parts(image: NDArray[Any]) -> Iterator[Part]:
    """Yield slices of the first axis of an image, each of about a million pixels at most."""
    rows = max(PART_PIXELS // max(math.prod(image.shape[1:]), 1), 1)
    for start in range(0, len(image), rows):
        checkpoint()
        yield (slice(start, start + rows),)


def spread_intensity(intensity: Intensity, count: int) -> tuple[str | Window, ...]:
    """Return the intensity mode, or window, of each source.

    Raises
    ------
    ValueError
        If there are not as many as sources.
    """
    check_intensity(intensity)
    if isinstance(intensity, str):
        return (intensity,) * count
    if len(intensity) != count:
        raise ValueError(
            f"intensity must have one entry for each of the {count} sources, got {len(intensity)}"
        )
    return intensity


def find_window(
    array: NDArray[Any],
    mode: str | Window,
    percentiles: Window,
    name: str,
    seen: NDArray[np.bool_] | None = None,
) -> Window:
    """Return the values of a source that become 0 and 1.

    Parameters
    ----------
    array : ndarray
    mode : str or (low, high)
        As the intensity of :func:`.prepare_sources`, of one source.
    percentiles : (float, float)
        For the mode ``percentiles``.
    name : str
        For the message of an error.
    seen : ndarray of the shape of array, with or without its colors, bool, optional
        Which pixels are looked at; by default all.

    Raises
    ------
    ValueError
        If there is no such mode, the window is empty, or there is nothing to find it in.
    """
    if not isinstance(mode, str):
        return float(mode[0]), float(mode[1])
    if mode == "auto":
        mode = "dtype" if array.dtype == np.uint8 else "minmax"
    if mode == "dtype":
        if array.dtype.kind == "f":
            return 0.0, 1.0
        limits = np.iinfo(array.dtype)
        return float(limits.min), float(limits.max)
    if mode == "minmax":
        low, high = find_limits(array, seen)
    elif mode == "percentiles":
        values = array if seen is None else array[seen]
        if values.size == 0:
            raise ValueError(
                f"{name} shows nothing in the pixels whose percentiles were asked for; take "
                "minmax, or give an explicit window (low, high)"
            )
        low, high = map(float, np.percentile(values, percentiles))
    else:
        raise ValueError(f"intensity must be one of {', '.join(INTENSITY_MODES)}, got {mode!r}")
    if not low < high:
        what = "has its percentiles at one value" if mode == "percentiles" else "is constant"
        raise ValueError(
            f"{name} {what} ({low:g}), so its {mode} intensity window is empty; "
            "leave it out or give an explicit window (low, high)"
        )
    return low, high


def find_limits(array: NDArray[Any], seen: NDArray[np.bool_] | None) -> Window:
    """Return the smallest and the largest of the values that were seen.

    Parameters
    ----------
    array : ndarray
    seen : ndarray of the shape of array, with or without its colors, bool, or None
        True somewhere; None for everywhere.
    """
    if seen is None:
        return float(array.min()), float(array.max())
    where = seen.reshape(seen.shape + (1,) * (array.ndim - seen.ndim))
    limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
    return (
        float(array.min(where=where, initial=limits.max)),
        float(array.max(where=where, initial=limits.min)),
    )


def scale_values(array: NDArray[Any], window: Window) -> Floats:
    """Return values in [0, 1], of which the window's ends become 0 and 1, and beyond them, too."""
    low, high = window
    # float64 keeps 32-bit integers and large offsets exact before the subtraction.
    scaled = (array.astype(np.float64) - low) / (high - low)
    return np.clip(scaled, 0, 1).astype(np.float32)


def rescale_values(image: NDArray[Any], window: Window, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return values in [0, 1] in the units of a window; integers are rounded and clipped."""
    low, high = window
    values = low + image.astype(np.float64) * (high - low)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        # The float64 nearest to the limit of a 64-bit integer lies beyond it.
        top = np.nextafter(float(limits.max), 0) if kind.itemsize == 8 else limits.max
        values = np.clip(np.rint(values), limits.min, top)
    return values.astype(kind)
