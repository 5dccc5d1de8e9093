"""The axes and units of a NIfTI file, and what its values are said to be."""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

__all__ = ["Units", "list_axes", "read_intent", "read_units"]

# Codes of xyzt_units in nifti1.h.
_LENGTHS = {1: "m", 2: "mm", 3: "um"}
# What the fourth dimension counts in each unit: it need not be time.
_FOURTH = {
    8: ("t", "s"),
    16: ("t", "ms"),
    24: ("t", "us"),
    32: ("frequency", "Hz"),
    40: ("chemical shift", "ppm"),
    48: ("angle", "rad"),
}
_LENGTH_BITS = 0x07
_TIME_BITS = 0x38
# Colors in a fifth dimension (NIFTI_INTENT_RGB_VECTOR and NIFTI_INTENT_RGBA_VECTOR), by the
# names that nibabel lacks.
_COLOR_INTENTS = {2003: "RGB vector", 2004: "RGBA vector"}


@dataclass(frozen=True)
class Units:
    """Units of a file, and the scale of its fourth dimension.

    Attributes
    ----------
    length : str
        Unit of x, y and z.
    fourth, time : str
        Name and unit of the fourth dimension.
    step, start : float
        Its distance between two indices, and its value at index 0. Where the file says no
        distance it counts pixels.
    assumed : str
        A line that says which unit was assumed where the file names none.
    guess : str
        Why the unit is only a guess: its code is unknown.
    """

    length: str
    fourth: str
    time: str
    step: float
    start: float
    assumed: str
    guess: str


def read_units(header: Any) -> Units:
    """Return the units of a header.

    Programs leave the unit of length out nearly always when they mean millimeters, nibabel
    among them, and all take it so; this is no guess, but it is said. A code that nifti1.h
    does not have is one.
    """
    code = int(header["xyzt_units"])
    length, time = code & _LENGTH_BITS, code & _TIME_BITS
    fourth, unit = _FOURTH.get(time, ("t", "pixel"))
    step, start = float(header["pixdim"][4]), float(header["toffset"])
    if not (np.isfinite(step) and step > 0):
        unit, step, start = "pixel", 1.0, 0.0
    return Units(
        length=_LENGTHS.get(length, "mm"),
        fourth=fourth,
        time=unit,
        step=step,
        start=start if np.isfinite(start) else 0.0,
        assumed="" if length else "xyzt_units names no unit of length; mm is assumed",
        guess=f"its unit of length has the unknown code {length}, mm is taken"
        if length and length not in _LENGTHS
        else "",
    )


def list_axes(header: Any, shape: tuple[int, ...]) -> list[tuple[int, str]]:
    """Return size and name of each dimension, in the order of NIfTI.

    Dimension 5 is for several values a pixel (nifti1.h); those before it are then of size 1
    where they mean nothing, and are left out.
    """
    names = ["x", "y", "z", read_units(header).fourth, "c", "dim 6", "dim 7"]
    pairs = list(zip(shape, names, strict=False))
    return pairs if len(pairs) <= 4 else [*pairs[:3], *(p for p in pairs[3:] if p[0] > 1)]


def read_intent(header: Any) -> dict[str, Any]:
    """Return what the values are said to be, as metadata; empty where nothing is said.

    Returns
    -------
    dict
        ``intent``, such as ``"label"`` or ``"t test"``, with ``intent_parameters`` and
        ``intent_name`` where there are such.
    """
    code = int(header["intent_code"])
    if code == 0:
        return {}
    codes: Any = nib.nifti1.intent_codes
    known = code in codes.label
    label = _COLOR_INTENTS.get(code) or (str(codes.label[code]) if known else f"code {code}")
    count = len(codes.parameters[code]) if known else 0
    parameters = [float(header[f"intent_p{n}"]) for n in range(1, count + 1)]
    name = bytes(header["intent_name"].item()).rstrip(b"\0").decode("latin1").strip()
    found = {"intent": label, "intent_parameters": parameters, "intent_name": name}
    return {key: value for key, value in found.items() if value}
