"""What of a DICOM header may leave the file.

Only technical fields are kept. Names, numbers and dates of patients stay in the
file unless they are asked for.
"""

from typing import Any

from pydicom.multival import MultiValue

__all__ = ["kept_fields"]

# Values that describe the scan, none of which says who was scanned, when or where.
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


def kept_fields(header: Any, *, patient: bool = False) -> dict[str, Any]:
    """Return the fields of a header that metadata may hold.

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
    kept = {key: _plain(header.get(key)) for key in _TECHNICAL if header.get(key) is not None}
    metadata: dict[str, Any] = {"dicom": kept}
    if patient:
        known = {key: str(header.get(key)) for key in _PATIENT if header.get(key) is not None}
        metadata["patient"] = known
    return metadata


def _plain(value: Any) -> Any:
    if isinstance(value, MultiValue):
        return [_plain(item) for item in value]
    if isinstance(value, (int, float)):
        return float(value)
    return str(value)
