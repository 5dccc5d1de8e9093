"""The attribute "omero" of an OME-Zarr image: names of its channels, and how they are shown."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["list_channels"]

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def list_channels(omero: Mapping[str, Any]) -> tuple[list[str | None], list[dict[str, Any]]]:
    """Return the name of each channel and how it is shown.

    The attribute is transitional in all versions: every part of it may be missing, or null.

    Parameters
    ----------
    omero : mapping
        The attribute.

    Returns
    -------
    names : list of str or None
        In the order of the channels.
    displays : list of dict
        Colormap and contrast limits, as far as they are given.
    """
    names: list[str | None] = []
    displays = []
    for entry in omero.get("channels") or []:
        channel: Mapping[str, Any] = entry or {}
        names.append(str(channel["label"]) if channel.get("label") else None)
        display: dict[str, Any] = {}
        color = str(channel.get("color") or "").removeprefix("#")
        if len(color) == 6 and _HEX_DIGITS.issuperset(color):
            display["colormap"] = f"#{color}"
        window = channel.get("window") or {}
        limits = [_read_number(window.get(key)) for key in ("start", "end")]
        if limits[0] < limits[1]:
            display["contrast_limits"] = limits
        displays.append(display)
    return names, displays


def _read_number(value: Any) -> float:
    """Return a finite number, NaN for anything else."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else math.nan
