"""Where an image lies by its OME-XML: sizes of pixels, times, and positions of the stage."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_dip_fusion.io.tiff.ome_xml import ImageElement
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import STAGE_POSITION
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["place_image"]

# Steps that differ by less are the rounding of a stage or a clock.
_TOLERANCE = 0.01


def place_image(image: Source, element: ImageElement, *, positions: bool = True) -> Source:
    """Return an image with the spacing, and in the place, that its element gives.

    ``PhysicalSizeX``, ``Y`` and ``Z`` and ``TimeIncrement`` each have their own unit, by
    default micrometers and seconds. Where ``PhysicalSizeZ`` or ``TimeIncrement`` is missing
    the planes' ``PositionZ`` or ``DeltaT`` say the step, if they are even. The first pixel
    lies where the stage was for the first plane (``PositionX``, ``Y``, ``Z``), so that the
    tiles of a scan lie side by side; the schema does not say which pixel is meant, nor that
    the stage moves along the image. A position in no unit of length, such as the default
    "reference frame", is kept in the metadata only. tifffile reads none of these;
    Bio-Formats reads the same.

    Parameters
    ----------
    image : Source
        The image.
    element : ImageElement
        What the file says of it.
    positions : bool
        Whether to follow the positions and times of planes, which this program's own
        description says better.

    Returns
    -------
    Source
        Axes of which nothing is said count pixels.
    """
    element = element if positions else replace(element, planes=[])
    found = [_find_step(image, axis, element) for axis in image.axes]
    units = tuple(unit for _, unit, _ in found)
    affine = np.diag([*(step for step, _, _ in found), 1.0])
    metadata = dict(image.metadata)
    uneven = {axis: values for axis, (*_, values) in zip(image.axes, found, strict=True) if values}
    if uneven:
        metadata["axis_values"] = uneven
    stage = _find_stage(element)
    for number, axis in enumerate(image.axes):
        value, unit = stage.get(axis, (0.0, ""))
        if unit in LENGTHS and units[number] in LENGTHS:
            affine[number, -1] = value * LENGTHS[unit] / LENGTHS[units[number]]
    if stage:
        metadata[STAGE_POSITION] = {a: f"{v:g} {unit}" for a, (v, unit) in stage.items()}
    return image.replace(affine=affine, units=units, metadata=metadata)


def _find_step(image: Source, axis: str, element: ImageElement) -> tuple[float, str, list[float]]:
    """Return the step along an axis, its unit, and the values of an axis of uneven steps."""
    key, default = ("TimeIncrement", "s") if axis == "t" else (f"PhysicalSize{axis.upper()}", "um")
    said = element.pixels.get(key)
    step = _read_number(said)
    unit = abbreviate_unit(element.pixels.get(f"{key}Unit", default))
    values, its_unit = _list_values(axis, image.shape[image.axes.index(axis)], element)
    if step is not None and step > 0:
        _compare(image, axis, step, unit, values, its_unit)
        return step, unit, []
    if said is not None:
        instead = "is taken from its planes" if values else "counts pixels"
        warnings.warn(
            f"{image.name}: {key} is {said}, which is no size; the axis {axis} {instead}",
            stacklevel=4,
        )
    if not values:
        return 1.0, "pixel", []
    mean = (values[-1] - values[0]) / (len(values) - 1)
    return mean, its_unit, [] if _is_even(values, mean) else values


def _list_values(axis: str, size: int, element: ImageElement) -> tuple[list[float], str]:
    """Return where each plane along an axis was taken, and the unit; nothing where unknown."""
    if axis not in ("t", "z") or size < 2:
        return [], ""
    key, known = ("DeltaT", TIMES) if axis == "t" else ("PositionZ", LENGTHS)
    first: dict[str, Mapping[str, str]] = {}
    for plane in element.planes:
        first.setdefault(plane.get(f"The{axis.upper()}", ""), plane)
    planes = [first.get(str(n), {}) for n in range(size)]
    values = [_read_number(plane.get(key)) for plane in planes]
    # The units are those of the schema where none is given.
    default = "s" if axis == "t" else "reference frame"
    units = {abbreviate_unit(plane.get(f"{key}Unit", default)) for plane in planes}
    found = [value for value in values if value is not None]
    unit = units.pop() if len(units) == 1 else ""
    if len(found) < size or unit not in known or found[0] == found[-1]:
        return [], ""
    return found, unit


def _is_even(values: Sequence[float], step: float) -> bool:
    return bool(np.allclose(np.diff(values), step, rtol=_TOLERANCE, atol=0))


def _compare(
    image: Source, axis: str, step: float, unit: str, values: list[float], its_unit: str
) -> None:
    """Warn where the positions of slices are not as far apart as the size of a voxel says."""
    if axis != "z" or not values or unit not in LENGTHS:
        return
    steps = np.abs(np.diff(values)) * LENGTHS[its_unit] / LENGTHS[unit]
    if not np.allclose(steps, step, rtol=_TOLERANCE, atol=0):
        warnings.warn(
            f"{image.name}: PhysicalSizeZ is {step:g} {unit}, the stage moved by {steps.min():g} "
            f"to {steps.max():g} {unit} between planes; the former is followed",
            stacklevel=5,
        )


def _find_stage(element: ImageElement) -> dict[str, tuple[float, str]]:
    """Return where the stage was for the first plane, by axis, each with its unit."""
    order = sorted(
        element.planes, key=lambda plane: [plane.get(f"The{c}", "").zfill(9) for c in "TZC"]
    )
    plane: dict[str, Any] = order[0] if order else {}
    found = {}
    for axis in "zyx":
        value = _read_number(plane.get(f"Position{axis.upper()}"))
        unit = plane.get(f"Position{axis.upper()}Unit", "reference frame")
        if value is not None:
            found[axis] = (value, abbreviate_unit(unit))
    return found


def _read_number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None
