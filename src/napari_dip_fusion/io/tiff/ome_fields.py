"""What is written into the OME-XML of an image: the fields from which tifffile makes it.

Element and attribute names are those of the OME schema of June 2016,
https://www.openmicroscopy.org/Schemas/OME/2016-06.
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.io.tiff.ome_xml import remove_illegal
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import list_kinds
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["choose_letters", "make_fields"]

# Letters of axes by their kind.
_LETTERS = {"space": "Z", "time": "T", "c": "C"}
# Beyond, the text would outgrow what readers of OME-XML take.
_MOST_PLANES = 10_000


def make_fields(image: Source) -> dict[str, Any]:
    """Return the fields of an image from which tifffile makes its element.

    Parameters
    ----------
    image : Source
        The image, of two to five axes.

    Returns
    -------
    dict
        The argument ``metadata`` of :meth:`tifffile.TiffWriter.write`.
    """
    letters = choose_letters(image.axes, image.units)
    warn_of_private_rotation(image, "OME-TIFF", kept_in="a comment", stacklevel=5)
    _warn_of_other_axes(image, letters)
    # The description has the whole name.
    name = remove_illegal(image.name) or "image"
    note = json.dumps(description.describe(image))
    fields: dict[str, Any] = {
        "axes": letters + ("S" if image.rgb else ""),
        "Name": name,
        "CommentAnnotation": {"Namespace": description.NAMESPACE, "Value": note},
    }
    names = _name_channels(image, letters) if "C" in letters else name
    if names:
        fields["Channel"] = {"Name": names}
    for letter, step, unit in zip(letters, image.spacing, image.units, strict=True):
        fields.update(_make_size_fields(letter, float(step), abbreviate_unit(unit)))
    planes = _list_positions(image, letters)
    return {**fields, "Plane": planes} if planes else fields


def _list_positions(image: Source, letters: str) -> dict[str, list[Any]]:
    """Return where each plane lies, unless all lie at the origin."""
    sizes = image.shape[:-2]
    count = int(np.prod(sizes))
    if not image.affine[:-1, -1].any() or count > _MOST_PLANES:
        return {}
    # The first pixel of each plane, in homogeneous coordinates.
    indices = np.zeros((count, image.ndim + 1))
    indices[:, : len(sizes)] = np.indices(sizes).reshape(len(sizes), count).T
    indices[:, -1] = 1
    world = indices @ image.affine.T
    planes: dict[str, list[Any]] = {}
    for axis, (letter, unit) in enumerate(zip(letters, image.units, strict=True)):
        if letter in "XYZ" and abbreviate_unit(unit) in LENGTHS:
            planes[f"Position{letter}"] = world[:, axis].tolist()
            planes[f"Position{letter}Unit"] = [_name_unit(unit)] * count
    return planes


def _name_unit(unit: str) -> str:
    """Return the schema's symbol of a unit, which has the micro sign."""
    return abbreviate_unit(unit).replace("um", "µm").replace("us", "µs")


def _make_size_fields(letter: str, step: float, unit: str) -> dict[str, Any]:
    """Return the fields for the spacing along one axis, none where it has none."""
    known = TIMES if letter == "T" else LENGTHS
    # A step of one pixel is what readers take where nothing is said.
    if letter == "C" or (unit == "pixel" and step == 1) or step <= 0:
        return {}
    if unit not in known and unit != "pixel":
        warn_of_lost_unit(unit, letter, "OME-TIFF", stacklevel=6)
        return {}
    if letter == "T" and unit == "pixel":
        return {}
    key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
    return {key: step, f"{key}Unit": _name_unit(unit)}


def choose_letters(axes: Sequence[str], units: Sequence[str]) -> str:
    """Return OME's letters of axes.

    An axis of another name takes the letter of its kind: Z in space, T in time, and otherwise
    C, for channels are what OME calls all that is neither. Where that is taken it is another
    one.

    Parameters
    ----------
    axes, units : sequence of str
        Names and units of two to five axes.

    Returns
    -------
    str
        Of the letters Z, T, C, Y and X; the last two are always YX.
    """
    # The five axes of OME's DimensionOrder.
    letters = [name.upper() if name in ("z", "t", "c") else "" for name in axes[:-2]]
    kinds = list_kinds(axes, units)
    for n, letter in enumerate(letters):
        wanted = _LETTERS.get(kinds[n], "C")
        letters[n] = letter or next(free for free in (wanted, *"CTZ") if free not in letters)
    return "".join(letters) + "YX"


def _name_channels(image: Source, letters: str) -> list[str]:
    """Return the names of channels, which readers show; empty where none are known."""
    number = letters.index("C")
    axis, size = image.axes[number], image.shape[number]
    known = image.metadata.get("axis_values")
    values = known.get(axis) if isinstance(known, dict) else None
    if not isinstance(values, list) or len(values) != size:
        values = list(range(size))
    return [] if axis == "c" else [remove_illegal(f"{axis} {value}") for value in values]


def _warn_of_other_axes(image: Source, letters: str) -> None:
    """Warn of axes that other programs will take for time or height."""
    kinds = list_kinds(image.axes, image.units)
    for letter, name, kind in zip(letters[:-2], image.axes, kinds, strict=False):
        if letter != "C" and _LETTERS.get(kind) != letter:
            warnings.warn(
                f"OME-TIFF has no axis {name}; other programs take it for {letter.lower()}",
                stacklevel=6,
            )
