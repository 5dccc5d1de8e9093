"""When a DICOM frame was made, in the many fields that may say it.

Sections such as C.7.6.16 are those of DICOM PS3.3, which defines the fields.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Any

from napari_dip_fusion.io.dicom.elements import list_values
from napari_dip_fusion.io.dicom.fields import Fields

__all__ = ["CLOCKS", "COUNTS", "MOMENTS", "SAME_MOMENT", "find_moments"]

MOMENTS = (
    "TemporalPositionTimeOffset",
    "TriggerTime",
    "FrameReferenceTime",
    "FrameReferenceDateTime",
    "FrameAcquisitionDateTime",
    "ImageIndex",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
)
"""The fields that :func:`find_moments` looks for, the most telling first."""

COUNTS = frozenset(("ImageIndex", "AcquisitionNumber"))
"""Those that are no times, but count volumes."""

CLOCKS = frozenset(
    (
        "FrameReferenceDateTime",
        "FrameAcquisitionDateTime",
        "AcquisitionDateTime",
        "AcquisitionTime",
        "ContentTime",
    )
)
"""Those that are the time of day: the same for all frames at one time, or for none."""

SAME_MOMENT = 0.5
"""Moments that differ by no more, in milliseconds or counts, are one."""

_TIME = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(\.\d{1,6})?)?)?")
_DAY = 86_400_000.0


def find_moments(fields: Fields) -> dict[str, float]:
    """Return when a frame was made.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.

    Returns
    -------
    dict of float
        By the names in :data:`MOMENTS`: milliseconds from some beginning, but a count of
        volumes for those in :data:`COUNTS`. What is not known is left out.
    """
    content = "FrameContentSequence"
    offset = fields.find_number("TemporalPositionSequence", "TemporalPositionTimeOffset")
    number = fields.find_number(content, "FrameAcquisitionNumber")
    if number is None:
        number = fields.find_number("", "AcquisitionNumber")
    found = {
        "TemporalPositionTimeOffset": None if offset is None else 1000 * offset,  # seconds
        "TriggerTime": fields.find_number("", "TriggerTime"),
        "FrameReferenceTime": fields.find_number("", "FrameReferenceTime"),
        "FrameReferenceDateTime": _read_clock(fields.find(content, "FrameReferenceDateTime")),
        "FrameAcquisitionDateTime": _read_clock(fields.find(content, "FrameAcquisitionDateTime")),
        "ImageIndex": _count_volumes(fields),
        "AcquisitionNumber": number,
        "AcquisitionDateTime": _read_clock(fields.get("AcquisitionDateTime")),
        "AcquisitionTime": _read_clock(
            fields.get("AcquisitionTime"), fields.get("AcquisitionDate")
        ),
        "ContentTime": _read_clock(fields.get("ContentTime"), fields.get("ContentDate")),
    }
    return {name: moment for name, moment in found.items() if moment is not None}


def _count_volumes(fields: Fields) -> float | None:
    """Return the volume of a PET image, which counts slices within times (C.8.9.4.1.9)."""
    index = fields.find_number("", "ImageIndex")
    slices = None if index is None else fields.find_number("", "NumberOfSlices")
    return None if index is None or not slices else (index - 1) // slices


def _read_clock(value: Any, day: Any = None) -> float | None:
    """Return the milliseconds of a date and time (DT), or of a time of day (TM)."""
    text = "".join(map(str, list_values(value)[:1])).replace(":", "").strip()
    return _parse_clock(text, str(day or "")) if text else None


# The frames of a file share most of them.
@lru_cache(maxsize=256)
def _parse_clock(text: str, day: str) -> float | None:
    # A date and time begins with its eight digits of the date; a time has at most six.
    if re.match(r"\d{8}", text):
        day, text = text[:8], text[8:]
    found = _TIME.match(text)
    if not found:
        return None
    hours, minutes, seconds, fraction = (float(part or 0) for part in found.groups())
    clock = 1000 * (3600 * hours + 60 * minutes + seconds + fraction)
    return clock + _count_days(day) * _DAY


def _count_days(text: str) -> int:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal()
    except ValueError:
        return 0
