"""What a DICOM header says of the values in a frame: their type, and what they mean.

Sections such as C.7.6.3 are those of DICOM PS3.3, which defines the fields.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_dip_fusion.io.anatomy import choose_rescaled_dtype
from napari_dip_fusion.io.dicom.elements import LARGEST, read_number
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.lookups import Lookup, find_modality_table, find_palette

__all__ = ["StoredValues", "choose_dtype", "find_ends", "find_stored_values", "find_window"]

_VALUES = "PixelValueTransformationSequence"


@dataclass(frozen=True)
class StoredValues:
    """How the values of a frame are stored, and how they become physical ones.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    color : bool
        Whether a pixel is a color.
    inverted : bool
        Whether small values are bright (MONOCHROME1).
    dtype : dtype
        Type of the values in the file; of the colors, where they stand in a table.
    limits : tuple of int
        Smallest and largest value that the file can hold, 0 and 0 for floats.
    slope, intercept : float
        Factors from stored to physical values.
    lookup : Lookup, optional
        Physical values, or colors, of all stored ones; the factors are then 1 and 0.
    window : tuple of float, optional
        The smallest and the largest physical value that the scanner suggests to show.
    remarks : tuple of str
        What the reader of the picture has to know.
    ends : tuple of float, optional
        What inverted values are mirrored between, once all frames of the image are known.
    told : set of str, optional
        What pydicom has said of the pixels of this image, so that it is passed on once.
    """

    shape: tuple[int, int]
    color: bool
    inverted: bool
    dtype: np.dtype[Any]
    limits: tuple[int, int]
    slope: float = 1.0
    intercept: float = 0.0
    lookup: Lookup | None = field(default=None, compare=False)
    window: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()
    ends: tuple[float, float] | None = None
    told: set[str] | None = field(default=None, compare=False)

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Rows, columns and, of a color, its parts."""
        if not self.color:
            return self.shape
        return (*self.shape, 3 if self.lookup is None else self.lookup.entries.shape[1])


def find_stored_values(fields: Fields, *, floats: bool) -> StoredValues:
    """Return what a header says of the values of one frame.

    Physical values come from the table of the Modality LUT Sequence or, where there is none,
    from slope and intercept: those of the frame, of all frames, or of the header, as pydicom's
    ``apply_modality_lut`` has them; SimpleITK knows no such table. A slope or an intercept
    alone counts, as in SimpleITK, where pydicom applies neither. Doses get their unit
    by DoseGridScaling, which the standard demands and neither of both does. Real world values
    (C.7.6.16.2.11), which highdicom applies and neither of both, and the private factors of
    scanners are not applied.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.
    floats : bool
        Whether the pixels are floats.

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
    photometric = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    dtype, limits = _find_stored_type(header, floats=floats)
    palette = find_palette(header) if photometric == "PALETTE COLOR" else None
    color = palette is not None or int(header.get("SamplesPerPixel") or 1) == 3
    lookup = palette if color or dtype.kind == "f" else find_modality_table(header)
    slope, intercept, remarks = _find_factors(fields) if not (color or lookup) else (1.0, 0.0, ())
    return StoredValues(
        shape=(int(header.Rows), int(header.Columns)),
        color=color,
        inverted=photometric == "MONOCHROME1",
        dtype=lookup.entries.dtype if palette and lookup else dtype,
        limits=limits,
        slope=slope,
        intercept=intercept,
        lookup=lookup,
        window=None if color else _find_suggested(fields),
        remarks=remarks,
    )


def _find_stored_type(header: Any, *, floats: bool) -> tuple[np.dtype[Any], tuple[int, int]]:
    """Return the type of the values in a file, and the smallest and largest of them."""
    bits = int(header.BitsAllocated)
    if floats:
        return np.dtype(f"f{bits // 8}"), (0, 0)
    if bits == 1:
        return np.dtype(np.uint8), (0, 1)
    signed = bool(header.get("PixelRepresentation") or 0)
    held = int(header.get("BitsStored") or bits)
    limits = (-(2 ** (held - 1)), 2 ** (held - 1) - 1) if signed else (0, 2**held - 1)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}"), limits


def _find_factors(fields: Fields) -> tuple[float, float, tuple[str, ...]]:
    """Return slope, intercept (C.11.1; C.8.8.3 for doses) and what is odd about them."""
    scaling = read_number(fields.header.get("DoseGridScaling"))
    if scaling is not None:
        name, slope, intercept = "DoseGridScaling", scaling, 0.0
    else:
        name, given = "RescaleSlope", read_number(fields.find(_VALUES, "RescaleSlope"))
        slope = 1.0 if given is None else given
        intercept = read_number(fields.find(_VALUES, "RescaleIntercept")) or 0.0
    if not (np.abs((slope, intercept)) < LARGEST).all():
        raise ValueError(
            f"rescale slope and intercept must be finite and below {LARGEST:g}, got {slope} "
            f"and {intercept}"
        )
    if slope == 0:  # SimpleITK takes 1, too; pydicom makes all values equal
        return 1.0, intercept, (f"{name} is 0, which would make all values equal; 1 is taken",)
    return slope, intercept, ()


def _find_suggested(fields: Fields) -> tuple[float, float] | None:
    """Return the first window that a header suggests, None if it has none.

    It is that of C.11.2.1.3.2 (LINEAR_EXACT); LINEAR ends one gray value lower.
    """
    center, width = (
        fields.find_number("FrameVOILUTSequence", keyword)
        for keyword in ("WindowCenter", "WindowWidth")
    )
    if center is None or width is None or not width > 0:
        return None
    return center - width / 2, center + width / 2


def choose_dtype(values: Sequence[StoredValues]) -> np.dtype[Any]:
    """Return the smallest type that holds the physical values of all frames.

    Parameters
    ----------
    values : sequence of StoredValues
        What is known of each frame.

    Returns
    -------
    dtype
        For colors and tables that of their entries, otherwise that of
        :func:`~napari_dip_fusion.io.anatomy.choose_rescaled_dtype`. Inverted values lie in
        the range of those that are not, so they need no more room.
    """
    types: set[np.dtype[Any]] = set()
    factors = defaultdict(set)
    for item in values:
        if item.lookup is not None:
            types.add(item.lookup.entries.dtype)
        else:
            factors[item.dtype].add((item.slope, item.intercept))
    # Slices of one volume may be stored in several types; a color has the factors 1 and 0.
    types |= {choose_rescaled_dtype(stored, pairs) for stored, pairs in factors.items()}
    return np.result_type(*types)


def find_ends(values: Sequence[StoredValues]) -> tuple[float, float]:
    """Return the smallest and the largest physical value that frames can hold.

    Parameters
    ----------
    values : sequence of StoredValues
        What is known of each frame.

    Returns
    -------
    tuple of float
        Integers where slopes and intercepts are; 0 and 0 for floats, which have no ends.
    """
    if any(item.dtype.kind == "f" for item in values):
        return 0, 0
    ends: list[float] = []
    for item in values:
        if item.lookup is not None:
            ends += [int(item.lookup.entries.min()), int(item.lookup.entries.max())]
        elif item.slope.is_integer() and item.intercept.is_integer():
            ends += [end * int(item.slope) + int(item.intercept) for end in item.limits]
        else:
            ends += [end * item.slope + item.intercept for end in item.limits]
    return min(ends), max(ends)


def find_window(values: StoredValues) -> dict[str, Any]:
    """Return how the scanner suggests to show a frame, in the words of napari's layers.

    Parameters
    ----------
    values : StoredValues
        What is known of the frame.

    Returns
    -------
    dict
        ``contrast_limits`` of the window, mirrored as inverted values are; empty where the
        header has none.
    """
    if values.window is None:
        return {}
    low, high = values.window
    if values.ends is not None:
        low, high = sum(values.ends) - high, sum(values.ends) - low
    return {"contrast_limits": [low, high]}
