"""What is written into the OME-XML of an image: the fields from which tifffile makes it.

Element and attribute names are those of the OME schema of June 2016,
https://www.openmicroscopy.org/Schemas/OME/2016-06.
"""

import json
from typing import Any

import numpy as np

from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["choose_letters", "make_fields"]

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
    letters = choose_letters(image.axes)
    warn_of_private_rotation(image, "OME-TIFF", kept_in="a comment", stacklevel=5)
    note = json.dumps(description.describe(image))
    fields: dict[str, Any] = {
        "axes": letters + ("S" if image.rgb else ""),
        "Name": image.name or "image",
        "CommentAnnotation": {"Namespace": description.NAMESPACE, "Value": note},
    }
    # Readers show the name of a channel; with an axis of channels there are several.
    if "C" not in letters:
        fields["Channel"] = {"Name": image.name or "image"}
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


def choose_letters(axes: tuple[str, ...]) -> str:
    """Return OME's letters of axes; an axis of another name takes one that is free.

    Parameters
    ----------
    axes : tuple of str
        Names of two to five axes.

    Returns
    -------
    str
        Of the letters Z, T, C, Y and X; the last two are always YX.
    """
    # The five axes of OME's DimensionOrder.
    names = axes[:-2]
    free = [letter for letter in "ZTC" if letter.lower() not in names]
    letters = [name.upper() if name in ("z", "t", "c") else free.pop(0) for name in names]
    return "".join(letters) + "YX"
