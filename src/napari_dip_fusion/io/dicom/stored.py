"""What a DICOM header says of the values in a frame: their type, and what they mean.

Sections such as C.7.6.3 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_dip_fusion.io.dicom.fields import Fields

__all__ = ["StoredValues", "find_stored_values"]


@dataclass(frozen=True)
class StoredValues:
    """How the values of a frame are stored, and how they become physical ones.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    color : bool
        Whether a pixel has three values.
    palette : bool
        Whether the values are indices of colors.
    inverted : bool
        Whether small values are bright (MONOCHROME1).
    dtype : dtype
        Type of the values in the file.
    limits : tuple of float
        Smallest and largest value that the file can hold.
    slope, intercept : float
        Factors from stored to physical values.
    """

    shape: tuple[int, int]
    color: bool
    palette: bool
    inverted: bool
    dtype: np.dtype[Any]
    limits: tuple[float, float]
    slope: float
    intercept: float


def find_stored_values(fields: Fields) -> StoredValues:
    """Return what a header says of the values of one frame.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.

    Returns
    -------
    StoredValues
        Their type and meaning.

    Raises
    ------
    ValueError
        If a field is not what it can be.
    """
    header = fields.header
    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    dtype, limits = _find_stored_type(header)
    slope, intercept = _find_factors(fields)
    return StoredValues(
        shape=(int(header.Rows), int(header.Columns)),
        color=int(header.get("SamplesPerPixel", 1)) == 3 or photometric == "PALETTE COLOR",
        palette=photometric == "PALETTE COLOR",
        inverted=photometric == "MONOCHROME1",
        dtype=dtype,
        limits=limits,
        slope=slope,
        intercept=intercept,
    )


def _find_stored_type(header: Any) -> tuple[np.dtype[Any], tuple[float, float]]:
    """Return the type of the values in a file, and the smallest and largest of them."""
    bits = int(header.BitsAllocated)
    # Float and Double Float Pixel Data have no Pixel Representation (C.7.6.24, C.7.6.25).
    if bits > 16 and "PixelRepresentation" not in header:
        return np.dtype(f"f{bits // 8}"), (0.0, 0.0)
    signed = bool(header.get("PixelRepresentation", 0))
    held = int(header.get("BitsStored", bits))
    if bits == 1:
        return np.dtype(np.uint8), (0.0, 1.0)
    limits = (-(2.0 ** (held - 1)), 2.0 ** (held - 1) - 1) if signed else (0.0, 2.0**held - 1)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}"), limits


def _find_factors(fields: Fields) -> tuple[float, float]:
    """Return slope and intercept from stored to physical values (C.11.1; C.8.8.3 for doses)."""
    group = "PixelValueTransformationSequence"
    scaling = fields.header.get("DoseGridScaling")
    slope = float(scaling or fields.find(group, "RescaleSlope") or 1.0)
    intercept = float(fields.find(group, "RescaleIntercept") or 0.0)
    if not np.isfinite((slope, intercept)).all():
        raise ValueError(f"rescale slope and intercept must be finite, got {slope}, {intercept}")
    return slope, intercept
