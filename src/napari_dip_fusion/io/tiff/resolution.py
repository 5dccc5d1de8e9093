"""The tags XResolution, YResolution and ResolutionUnit of a TIFF file."""

from typing import Any

import numpy as np
import tifffile

__all__ = ["describe_resolution", "is_habit", "read_resolution"]

# Dots an inch that programs write into any file.
_HABITS = (72.0, 96.0, 150.0, 300.0, 600.0, 1200.0)
# Values of the tag ResolutionUnit (296), whose default is the inch.
_UNITS = {1: "", 2: "in", 3: "cm"}


def read_resolution(tif: tifffile.TiffFile) -> tuple[tuple[float, float], str]:
    """Return the density of pixels that a file gives, and its unit.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    density : tuple of float
        Pixels in one unit along x and y; 0 where nothing, or nothing sensible, is said.
    unit : str
        ``"in"`` or ``"cm"``, and empty where the unit is another one, or not said.
    """
    tags = tif.pages.first.tags
    density = (_divide(tags.valueof(282)), _divide(tags.valueof(283)))
    unit = tags.valueof(296)
    return density, _UNITS.get(int(unit), "") if isinstance(unit, int) else ""


def is_habit(density: tuple[float, float]) -> bool:
    """Tell whether a density in dots an inch is one that programs write into any file.

    Parameters
    ----------
    density : tuple of float
        From :func:`read_resolution`.

    Returns
    -------
    bool
        Whether it says nothing of the size of things.
    """
    return density[0] == density[1] and round(density[0], 1) in _HABITS


def describe_resolution(tif: tifffile.TiffFile) -> dict[str, str]:
    """Return what is kept in an image's metadata of a resolution that gives no size.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    dict
        One entry; none where the file gives no resolution.
    """
    (x, y), unit = read_resolution(tif)
    if not x or not y or not unit:
        return {}
    return {"resolution": f"{x:g} x {y:g} pixels/{unit} (not taken for a size)"}


def _divide(fraction: Any) -> float:
    """Return the value of a fraction, 0 where it has none."""
    if not isinstance(fraction, tuple) or len(fraction) != 2 or not fraction[1]:
        return 0.0
    value = fraction[0] / fraction[1]
    return float(value) if np.isfinite(value) and value > 0 else 0.0
