"""The place that the description of an ImageJ file gives its image.

ImageJ writes lines such as ``unit=micron`` and ``spacing=0.3`` into the tag ImageDescription,
and the pixels in one unit into XResolution and YResolution.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

from napari_dip_fusion.io.tiff.resolution import describe_resolution, is_habit, read_resolution
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import GUESSED_PLACE
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["count_declared", "is_measured", "place_imagej"]

# What ImageJ says of values and of time that is kept, but not applied to pixels or axes.
_KEPT = ("cf", "c0", "c1", "c2", "c3", "c4", "vunit", "fps")


def count_declared(described: Mapping[str, Any] | None) -> int:
    """Return how many planes ImageJ's description declares; 0 where it does not say.

    Parameters
    ----------
    described : mapping or None
        The description; None for files that ImageJ has not written.

    Returns
    -------
    int
        The product of channels, slices and frames.
    """
    sizes = [(described or {}).get(key) for key in ("channels", "slices", "frames")]
    known = [size for size in sizes if isinstance(size, int) and size > 0]
    return math.prod(known) if known else 0


def is_measured(described: Mapping[str, Any] | None) -> bool:
    """Tell whether the values of an ImageJ file are measured ones, and its palette a display.

    Parameters
    ----------
    described : mapping or None
        The description; None for files that ImageJ has not written.

    Returns
    -------
    bool
        False for other files, and for pictures of 8-bit color, which ImageJ marks.
    """
    return described is not None and described.get("8bitcolor") is not True


def place_imagej(image: Source, tif: tifffile.TiffFile) -> Source:
    """Return an image of ImageJ in its place, as ImageJ itself reads its files.

    Each axis has its own unit (``yunit`` and ``zunit``, by default ``unit``; ``tunit``, by
    default seconds), and the pixel at (``xorigin``, ``yorigin``, ``zorigin``) is the origin.
    The sign of ``spacing`` says nothing. A resolution in pixels a centimeter beside the unit
    um is converted, as Micro-Manager means it. What ImageJ fills in where a file says
    nothing, a step of 1 in the file's unit, is called a guess. Inches are read where they
    are no program's habit (72, 96, 150, 300, 600, 1200 dots an inch). ``fps`` is the speed
    at which ImageJ plays a stack, not the one at which it was taken; it and the calibration
    of values (``cf``, ``c0``, ...) are kept as metadata, and not applied.

    Parameters
    ----------
    image : Source
        The image.
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    Source
        The image with its affine and units.
    """
    described = tif.imagej_metadata or {}
    density, tag_unit = read_resolution(tif)
    unit = _find_unit(described.get("unit"), density, tag_unit)
    steps, units, guessed = [], [], []
    for axis in image.axes:
        step, its_unit, sure = _find_step(axis, described, density, unit, tag_unit)
        steps.append(step)
        units.append(its_unit)
        if not sure:
            guessed.append(f"no spacing along {axis} is given, for which ImageJ takes 1 {its_unit}")
    affine = np.diag([*steps, 1.0])
    _move_origin(affine, image, described)
    kept = {key: described[key] for key in _KEPT if key in described}
    metadata = {**image.metadata, **({"imagej": kept} if kept else {})}
    if unit == "pixel" and tag_unit:
        metadata |= describe_resolution(tif)
    if guessed:
        metadata[GUESSED_PLACE] = "; ".join(guessed)
    return image.replace(affine=affine, units=tuple(units), metadata=metadata)


def _find_unit(name: object, density: tuple[float, float], tag_unit: str) -> str:
    """Return the unit of x, and of the axes that have none of their own."""
    # Without a unit in the description ImageJ takes that of the tag ResolutionUnit.
    unit = abbreviate_unit(name if name not in (None, "") else tag_unit)
    return "pixel" if unit == "in" and is_habit(density) else unit


def _find_step(
    axis: str,
    described: Mapping[str, Any],
    density: tuple[float, float],
    unit: str,
    tag_unit: str,
) -> tuple[float, str, bool]:
    """Return the step along an axis, its unit, and whether the file says it."""
    if axis == "t":
        step = _read_number(described.get("finterval"))
        # Frames without an interval are counted.
        return (step, abbreviate_unit(described.get("tunit") or "s"), True) if step else _COUNTED
    if axis == "z":
        step, own = _read_number(described.get("spacing")), described.get("zunit")
    elif axis in ("y", "x"):
        pixels = density["xy".index(axis)]
        step = 1 / pixels if pixels else 0.0
        own = described.get("yunit") if axis == "y" else None
        # ImageJ reads Micro-Manager's files so, which speak of centimeters and of um.
        step *= 1e4 if unit == "um" and tag_unit == "cm" else 1
    else:
        return _COUNTED
    its_unit = abbreviate_unit(own) if own else unit
    if axis != "z" and its_unit == "pixel":
        return _COUNTED
    return (step, its_unit, True) if step else (1.0, its_unit, its_unit == "pixel")


_COUNTED = (1.0, "pixel", True)


def _read_number(value: Any) -> float:
    """Return the size of a number, 0 for what is none."""
    number = abs(float(value)) if isinstance(value, (int, float)) else 0.0
    return number if np.isfinite(number) else 0.0


def _move_origin(affine: Any, image: Source, described: Mapping[str, Any]) -> None:
    """Put the origin into the last column of an affine, and turn y where ImageJ shows it so."""
    origin = {axis: _read_signed(described.get(f"{axis}origin")) for axis in "xyz"}
    for number, axis in enumerate(image.axes):
        step, first = affine[number, number], origin.get(axis, 0.0)
        upward = axis == "y" and described.get("inverty") is True
        if upward:
            # ImageJ counts from the last row where no origin is given.
            affine[number, number], first = -step, -(first or image.shape[number] - 1)
        affine[number, -1] = -first * step if first else 0.0


def _read_signed(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else 0.0
