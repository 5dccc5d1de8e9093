"""Fields of a DICOM header that hold one number."""

import math
from typing import Any

from pydicom.multival import MultiValue

__all__ = ["find_number", "read_number"]


def read_number(value: Any) -> float | None:
    """Return a field that holds one number.

    Parameters
    ----------
    value : float, str or sequence, optional
        As pydicom has it; of several numbers the first one counts.

    Returns
    -------
    float or None
        None if the field is missing or empty.

    Raises
    ------
    ValueError
        If it is no number.
    """
    if isinstance(value, (list, MultiValue)):
        value = value[0] if value else None
    if value is None or str(value).strip() == "":
        return None
    return float(value)


def find_number(header: Any, keyword: str) -> float | None:
    """Return a number of a header that an image can do without.

    Parameters
    ----------
    header : pydicom.Dataset
        The header.
    keyword : str
        Name of the field.

    Returns
    -------
    float or None
        None if the field is missing, empty or no finite number.
    """
    try:
        number = read_number(header.get(keyword))
    except (TypeError, ValueError):
        return None
    return number if number is not None and math.isfinite(number) else None
