"""The weighting of a diffusion image, in the standard's fields and in those of manufacturers.

Sections such as C.8.13.5.9 are those of DICOM PS3.3, which defines the fields.
"""

from typing import Any

import numpy as np

from napari_dip_fusion.io.dicom.elements import (
    find_number,
    find_private,
    get_value,
    list_values,
    parse_number,
)
from napari_dip_fusion.io.dicom.fields import Fields

__all__ = ["find_diffusion"]

# The owner of a block of private elements, its group, and the element in the block: they are
# named in the conformance statements of the scanners.
_PRIVATE_VALUES = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C),
    ("GEMS_PARM_01", 0x0043, 0x39),
    ("Philips Imaging DD 001", 0x2001, 0x03),
)
_PRIVATE_DIRECTIONS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("SIEMENS MR HEADER", 0x0019, (0x0E,)),
    ("GEMS_ACQU_01", 0x0019, (0xBB, 0xBC, 0xBD)),
    ("Philips MR Imaging DD 001", 0x2005, (0xB0, 0xB1, 0xB2)),
)
_DIRECTION = "DiffusionGradientOrientation"
_IN_IMAGE = "DiffusionGradientInImage"
# GE adds this number to the b-value in some versions.
_GE_OFFSET = 1e9


def find_diffusion(fields: Fields) -> dict[str, tuple[float, ...]]:
    """Return b-value and direction of a frame, as far as its header has them (C.8.13.5.9).

    Parameters
    ----------
    fields : Fields
        The fields of the frame.

    Returns
    -------
    dict of tuple of float
        ``"DiffusionBValue"`` in s/mm², and ``"DiffusionGradientOrientation"``, a unit vector
        in (left, back, head), zeros where there is none; or, as GE has it,
        ``"DiffusionGradientInImage"``, one along (readout, phase, slice), which tells volumes
        apart as well, but is no direction in the body. Empty for other images.
    """
    group = fields.find_item("MRDiffusionSequence")
    header = fields.header if group is None else group
    strength = find_number(header, "DiffusionBValue")
    directions = get_value(header, "DiffusionGradientDirectionSequence")
    vector = _read_vector((directions[0] if directions else header).get(_DIRECTION))
    found = {_DIRECTION: vector} if vector else {}
    if fields.get("Modality") == "MR" and not fields.places:
        strength = _find_private_value(header) if strength is None else strength
        found = found or (_find_private_direction(header) if strength else {})
    if strength is None and not found:
        return {}
    weight = {} if strength is None else {"DiffusionBValue": (strength,)}
    return {**weight, **(found or {_DIRECTION: (0.0, 0.0, 0.0)})}


def _read_vector(value: Any) -> tuple[float, ...]:
    numbers = [parse_number(number) for number in list_values(value)]
    vector = np.array([number for number in numbers if number is not None])
    if vector.shape != (3,) or not np.any(vector):
        return ()
    return tuple(float(number) for number in vector / np.linalg.norm(vector))


def _find_private_value(header: Any) -> float | None:
    for owner, group, element in _PRIVATE_VALUES:
        number = parse_number(find_private(header, owner, group, element))
        if number is not None:
            return number % _GE_OFFSET if owner.startswith("GEMS") else number
    return None


def _find_private_direction(header: Any) -> dict[str, tuple[float, ...]]:
    for owner, group, elements in _PRIVATE_DIRECTIONS:
        values = [find_private(header, owner, group, element) for element in elements]
        vector = _read_vector(values[0] if len(values) == 1 else values)
        if vector:
            return {_IN_IMAGE if owner.startswith("GEMS") else _DIRECTION: vector}
    return {}
