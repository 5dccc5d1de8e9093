"""World coordinates of scanners, and the change from stored to physical values.

All medical formats meet in one world with the axes of napari: z towards the head,
y towards the back, x towards the left of the patient. These are the directions of
DICOM, in which an axial plane is shown as radiologists look at it, from the feet.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DICOM_TO_WORLD", "NIFTI_TO_WORLD", "choose_rescaled_dtype", "rescale"]

DICOM_TO_WORLD = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Matrix from DICOM's (left, back, head) to (z, y, x); see PS3.3 C.7.6.2.1.1."""

NIFTI_TO_WORLD = np.array([[0.0, 0, 1], [0, -1, 0], [-1, 0, 0]])
"""Matrix from NIfTI's (right, front, head) to (z, y, x); see "ORIENTATION" in nifti1.h."""


def choose_rescaled_dtype(
    stored: np.dtype[Any], factors: Iterable[tuple[float, float]]
) -> np.dtype[Any]:
    """Return the smallest type that holds all rescaled values.

    Parameters
    ----------
    stored : dtype
        Type in the file.
    factors : iterable of (slope, intercept)
        The factors of every plane; they may differ from plane to plane.

    Returns
    -------
    dtype
        The stored type if nothing changes; an integer for integer factors;
        float32 for types of up to 16 bits, otherwise float64.
    """
    pairs = set(factors)
    if pairs <= {(1.0, 0.0)}:
        return stored.newbyteorder("=")
    if stored.kind in "iu" and all(float(n).is_integer() for pair in pairs for n in pair):
        info = np.iinfo(stored)
        ends = [int(end) * int(a) + int(b) for a, b in pairs for end in (info.min, info.max)]
        low, high = min(ends), max(ends)
        # rescale() computes in int64.
        if low >= -(2**63) and high < 2**63:
            # A type with a sign holds -1 - v where it holds v; uint32 and int16 would be int64.
            return np.result_type(
                np.min_scalar_type(low), np.min_scalar_type(-1 - high if low < 0 <= high else high)
            )
    return np.dtype(np.float32 if stored.itemsize <= 2 else np.float64)


def rescale(
    stored: NDArray[Any], slope: float, intercept: float, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return slope times stored value plus intercept.

    Parameters
    ----------
    stored : ndarray
        Values as in the file.
    slope, intercept : float
        The factors.
    dtype : dtype
        Type of the result, from :func:`choose_rescaled_dtype`.

    Returns
    -------
    ndarray
        Physical values.
    """
    if (slope, intercept) == (1.0, 0.0):
        return stored.astype(dtype, copy=False)
    if dtype.kind in "iu":
        return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    return (stored.astype(np.float64) * slope + intercept).astype(dtype)
