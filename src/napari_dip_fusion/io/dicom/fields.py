"""The fields of a DICOM header, wherever in it they stand.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fields", "parse_numbers"]


class Fields:
    """The fields that hold for one frame, wherever in the header they stand.

    Enhanced objects keep them in functional groups (C.7.6.16): those of each frame, and
    those that all frames share. Other objects keep them in the header itself.

    Parameters
    ----------
    header : pydicom.Dataset
        The header.
    index : int
        Index of the frame in the file.

    Attributes
    ----------
    places : list of pydicom.Dataset
        The functional groups of this frame, then the shared ones; empty where there are none.
    header : pydicom.Dataset
        The header.
    """

    def __init__(self, header: Any, index: int) -> None:
        own = header.get("PerFrameFunctionalGroupsSequence") or []
        shared = header.get("SharedFunctionalGroupsSequence") or []
        self.places = [*own[index : index + 1], *shared[:1]]
        self.header = header

    def find(self, group: str, keyword: str) -> Any:
        """Return the value of a field in a group or in the header, None if there is none."""
        for place in self.places:
            items = place.get(group)
            if items and keyword in items[0]:
                return items[0].get(keyword)
        return self.header.get(keyword)


def parse_numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    """Return a field of several numbers.

    Parameters
    ----------
    value : sequence, optional
        As pydicom has it.
    count : int
        How many there have to be.

    Returns
    -------
    ndarray of shape (count,) or None
        None if the field is missing or empty.

    Raises
    ------
    ValueError
        If they are others.
    """
    if value is None or value == "":
        return None
    numbers = np.asarray([float(number) for number in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers, got {value}")
    return numbers
