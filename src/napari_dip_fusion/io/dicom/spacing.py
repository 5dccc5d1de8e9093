"""How far the pixels of a DICOM frame lie apart, in the many fields that may say it.

Sections such as 10.7.1.3 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass
from typing import Any

from napari_dip_fusion.io.dicom.elements import find_number, get_value, list_values, parse_number
from napari_dip_fusion.io.dicom.fields import Fields

__all__ = ["SIZES", "PixelSpacing", "find_pixel_spacing"]

_DETECTOR = "ImagerPixelSpacing holds at the detector, not in the body"
# Where Pixel Spacing is missing: a field, its functional group, and what its distances are.
_OTHERS = (
    ("ObjectPixelSpacingInCenterOfBeam", "ProjectionPixelCalibrationSequence", ""),
    ("ImagerPixelSpacing", "FramePixelDataPropertiesSequence", _DETECTOR),
    ("ImagePlanePixelSpacing", "", "ImagePlanePixelSpacing holds at the receptor, not in the body"),
    (
        "NominalScannedPixelSpacing",
        "",
        "NominalScannedPixelSpacing is that of a scanned film",
    ),
)
# Physical units of an ultrasound region: the code of centimeters (C.8.5.5.1.15).
_CENTIMETERS = 3
_SAME = 1e-6

SIZES = (1e-6, 1e6)
"""The smallest and the largest distance, in millimeters, that is taken for one."""


@dataclass(frozen=True)
class PixelSpacing:
    """The distances between the pixels of a frame.

    Parameters
    ----------
    rows, columns : float
        The distances between neighboring rows and between neighboring columns.
    unit : str
        ``"mm"``, or ``"pixel"`` where only their ratio is known, or nothing.
    guess : str
        Why they are only a guess, if they are one.
    """

    rows: float = 1.0
    columns: float = 1.0
    unit: str = "pixel"
    guess: str = ""


def find_pixel_spacing(fields: Fields) -> PixelSpacing:
    """Return how far the pixels of a frame lie apart (10.7.1.3).

    Parameters
    ----------
    fields : Fields
        The fields of the frame.

    Returns
    -------
    PixelSpacing
        One pixel where the header says nothing.
    """
    known = _parse_pair(fields.find("PixelMeasuresSequence", "PixelSpacing"))
    detector = _parse_pair(fields.find("FramePixelDataPropertiesSequence", "ImagerPixelSpacing"))
    if known:
        # Uncalibrated projections repeat the distances at the detector (10.7.1.1).
        calibrated = known != detector or fields.get("PixelSpacingCalibrationType")
        return PixelSpacing(*known, "mm", "" if calibrated else _DETECTOR)
    for keyword, group, guess in _OTHERS:
        pair = _parse_pair(fields.find(group, keyword))
        if pair:
            return PixelSpacing(*pair, "mm", guess)
    pair = _find_regions(fields.header)
    if pair:
        return PixelSpacing(*pair, "mm")
    # The vertical size of a pixel, then the horizontal one (C.7.6.3.1.7).
    ratio = _parse_pair(fields.get("PixelAspectRatio"))
    return PixelSpacing(ratio[0] / ratio[1], 1.0) if ratio else PixelSpacing()


def _parse_pair(value: Any) -> tuple[float, float] | None:
    numbers = [parse_number(number) for number in list_values(value)]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    inside = SIZES[0] <= min(numbers[0], numbers[1]) and max(numbers[0], numbers[1]) <= SIZES[1]
    return (numbers[0], numbers[1]) if inside else None


def _find_regions(header: Any) -> tuple[float, float] | None:
    """Return the distances in an ultrasound image, if they are the same all over (C.8.5.5)."""
    pairs = []
    for region in list_values(get_value(header, "SequenceOfUltrasoundRegions")):
        units = {get_value(region, f"PhysicalUnits{axis}Direction") for axis in "XY"}
        down, across = (find_number(region, f"PhysicalDelta{axis}") for axis in "YX")
        if units != {_CENTIMETERS} or not down or not across:
            return None
        pairs.append((10 * abs(down), 10 * abs(across)))
    first = pairs[0] if pairs else None
    same = all(abs(a - b) < _SAME for pair in pairs for a, b in zip(pair, pairs[0], strict=True))
    return first if same else None
