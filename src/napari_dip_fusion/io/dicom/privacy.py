"""Only technical fields of a DICOM header leave the file.

Names, numbers and dates of patients are left in the file unless they are asked for. The
fields to keep are named, and not those to drop, because nobody knows all fields that a
scanner writes; PS3.15 annex E names those that are known to tell who a patient is.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pydicom.multival import MultiValue

__all__ = ["keep_fields"]

# They describe the scan; none of them says who was scanned, when or where.
_TECHNICAL = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "SliceThickness",
    "SpacingBetweenSlices",
    "KVP",
    "ConvolutionKernel",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "RescaleType",
    "Units",
    # What the values are, and which of them are none.
    "PhotometricInterpretation",
    "BitsStored",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "FloatPixelPaddingValue",
    "DoubleFloatPixelPaddingValue",
    "PresentationLUTShape",
    # These two are the contrast limits that napari starts with.
    "WindowCenter",
    "WindowWidth",
)
_PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyDescription",
    "SeriesDescription",
)


def keep_fields(header: Any, *, patient: bool = False) -> dict[str, Any]:
    """Return those fields of a header that metadata may hold.

    Parameters
    ----------
    header : pydicom.Dataset
        The header.
    patient : bool
        Whether to keep who was scanned and when.

    Returns
    -------
    dict
        ``"dicom"`` with technical fields, and ``"patient"`` if asked for.
    """
    metadata: dict[str, Any] = {"dicom": _keep(header, _TECHNICAL, _to_plain)}
    if patient:
        metadata["patient"] = _keep(header, _PATIENT, str)
    return metadata


def _keep(header: Any, keys: Iterable[str], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Return those of some fields that a header has and that can be read."""
    kept = {}
    for key in keys:
        # An image can do without them.
        with suppress(TypeError, ValueError):
            value = header.get(key)
            if value is not None:
                kept[key] = convert(value)
    return kept


def _to_plain(value: Any) -> Any:
    """Return a value of pydicom as JSON holds it."""
    if isinstance(value, MultiValue):
        return [_to_plain(item) for item in value]
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return str(value)
