"""The values of the elements of a DICOM data set, as lists and numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword

__all__ = [
    "LARGEST",
    "find_number",
    "find_private",
    "get_value",
    "list_values",
    "parse_number",
    "parse_numbers",
    "read_number",
]

LARGEST = 1e30
"""Products and sums of smaller numbers are finite, and no field of a header counts so far."""


def get_value(dataset: Any, keyword: str) -> Any:
    """Return the value of an element, None if there is none.

    Headers lack most of the elements that are looked for, which this sees ten times as fast
    as pydicom does.
    """
    return dataset.get(keyword) if tag_for_keyword(keyword) in dataset.keys() else None  # noqa: SIM118


def find_private(dataset: Any, owner: str, group: int, element: int) -> Any:
    """Return the value of a private element, None if there is none (PS3.5 7.8.1).

    Parameters
    ----------
    dataset : pydicom.Dataset
        The data set.
    owner : str
        Who defines the element, as the first element of its block says.
    group : int
        Its group, which is odd.
    element : int
        Its number in the block, which may be any of the group: archives move them.

    Returns
    -------
    object
        As pydicom has it.
    """
    first, tags = group << 16, dataset.keys()
    for block in range(0x10, 0x100):
        if first + block in tags and str(dataset[first + block].value).strip() == owner:
            found = dataset.get(first + (block << 8) + element)
            if found is not None:
                return found.value
    return None


def list_values(value: Any) -> list[Any]:
    """Return the values of an element as a list, whether it holds none, one or several."""
    if value is None or isinstance(value, str | bytes):
        return [value] if value else []
    return list(value) if hasattr(value, "__iter__") else [value]


def read_number(value: Any) -> float | None:
    """Return the number in an element.

    Parameters
    ----------
    value : float, str or sequence, optional
        As pydicom has it; of several numbers the first one counts.

    Returns
    -------
    float or None
        None if the element is missing or empty.

    Raises
    ------
    ValueError
        If it is no number.
    """
    first = next(iter(list_values(value)), None)
    return None if first is None or str(first).strip() == "" else float(first)


def parse_number(value: Any) -> float | None:
    """Return the number in an element, None if it is missing, or nothing that can be counted."""
    try:
        number = read_number(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and abs(number) < LARGEST else None


def find_number(dataset: Any, keyword: str) -> float | None:
    """Return the number in an element of a data set, None if there is none that counts."""
    return parse_number(get_value(dataset, keyword))


def parse_numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    """Return the numbers in an element.

    Parameters
    ----------
    value : sequence, optional
        As pydicom has it.
    count : int
        How many there have to be.

    Returns
    -------
    ndarray of shape (count,) or None
        None if the element is missing or empty.

    Raises
    ------
    ValueError
        If they are others.
    """
    if value is None or value == "":
        return None
    numbers = np.asarray([float(number) for number in list_values(value)])
    if numbers.shape != (count,) or not (np.abs(numbers) < LARGEST).all():
        raise ValueError(f"expected {count} numbers, got {value}")
    return numbers
