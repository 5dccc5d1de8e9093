"""What a DICOM frame is, beside its place: its nature, and the volume that it belongs to.

Sections such as C.7.6.16 are those of DICOM PS3.3, which defines the fields.
"""

from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_dict, keyword_for_tag

from napari_dip_fusion.io.dicom.diffusion import find_diffusion
from napari_dip_fusion.io.dicom.elements import get_value, list_values, parse_number
from napari_dip_fusion.io.dicom.fields import Fields
from napari_dip_fusion.io.dicom.moments import MOMENTS, find_moments

__all__ = ["DIRECTIONS", "MARKS", "FrameKind", "Mark", "find_frame_kind"]


@dataclass(frozen=True)
class Mark:
    """A field that tells the volumes of a series apart.

    Parameters
    ----------
    axis : str
        The axis along which such volumes are stacked.
    group : str
        The functional group in which enhanced objects keep the field.
    tolerance : float
        Values that differ by no more are the same, in the unit of the field.
    unit : str
        Of the values; ``"pixel"`` where they only count.
    by_slice : bool
        Whether the values of one volume may differ from slice to slice. They tell nothing
        apart then unless some slice comes with several of them.
    """

    axis: str
    group: str = ""
    tolerance: float = 0.5
    unit: str = "pixel"
    by_slice: bool = False


_CYCLE, _MODIFIER = "CardiacSynchronizationSequence", "MRModifierSequence"
_TIMING = "MRTimingAndRelatedParametersSequence"

MARKS = {
    "TemporalPositionIndex": Mark("t", "FrameContentSequence"),
    "TemporalPositionIdentifier": Mark("t"),
    "FrameTime": Mark("t", tolerance=1e-3, unit="ms", by_slice=True),
    "FrameTimeVector": Mark("t", tolerance=1e-3, unit="ms", by_slice=True),
    "TimeSliceVector": Mark("t"),
    "PhaseVector": Mark("phase"),
    "NominalPercentageOfCardiacPhase": Mark("phase", _CYCLE, 0.1, "%", by_slice=True),
    "NominalCardiacTriggerDelayTime": Mark("phase", _CYCLE, 0.1, "ms", by_slice=True),
    "CardiacCyclePosition": Mark("phase", by_slice=True),
    "NominalPercentageOfRespiratoryPhase": Mark(
        "breath", "RespiratorySynchronizationSequence", 0.1, "%", by_slice=True
    ),
    "RRIntervalVector": Mark("rr"),
    "TimeSlotVector": Mark("slot"),
    "EnergyWindowVector": Mark("energy"),
    "DetectorVector": Mark("detector"),
    "RotationVector": Mark("rotation"),
    "AngularViewVector": Mark("angle"),
    "DiffusionBValue": Mark("b", tolerance=1.0, unit="s/mm2"),
    # The length of the difference of two unit vectors: half a degree.
    "DiffusionGradientOrientation": Mark("b", tolerance=0.01),
    "DiffusionGradientInImage": Mark("b", tolerance=0.01),
    "InversionTimes": Mark("inversion", _MODIFIER, 0.1, "ms", by_slice=True),
    "InversionTime": Mark("inversion", tolerance=0.1, unit="ms", by_slice=True),
    "FlipAngle": Mark("flip", _TIMING, 0.01, "deg", by_slice=True),
    "RepetitionTime": Mark("repetition", _TIMING, 0.1, "ms", by_slice=True),
    "EffectiveEchoTime": Mark("echo", "MREchoSequence", 0.005, "ms"),
    "EchoTime": Mark("echo", tolerance=0.005, unit="ms"),
    "EchoNumbers": Mark("echo"),
    "KVP": Mark("kvp", "CTXRayDetailsSequence", 0.1, "kV", by_slice=True),
    # The dimensions of an enhanced object that are none of the above, by their order.
    **{f"DimensionIndexValues {n}": Mark("index", by_slice=True) for n in range(1, 6)},
}
"""The fields by their keywords, in the order of their axes from the slowest to the fastest."""

DIRECTIONS = ("DiffusionGradientOrientation", "DiffusionGradientInImage")
"""Those of them that hold vectors in place of numbers."""

# Each kind of enhanced object has a functional group of its own for Frame Type.
_FRAME_TYPES = tuple(keyword for keyword in keyword_dict if keyword.endswith("FrameTypeSequence"))
# The others are found by functions of their own: for an object, a diffusion image, a dimension.
_READ_AS_THEY_ARE = [
    keyword
    for keyword in MARKS
    if not keyword.endswith("Vector")
    and not keyword.startswith("DimensionIndexValues")
    and keyword not in ("FrameTime", "DiffusionBValue", *DIRECTIONS)
]
# Dimensions that are places or natures, which are read from the fields themselves.
_NO_VOLUMES = frozenset(
    (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "InStackPositionNumber",
        "StackID",
        "SliceLocation",
        "ImagePositionVolume",
        "ImageOrientationVolume",
        "ReferencedSegmentNumber",
        "ImageType",
        "FrameType",
        "ComplexImageComponent",
        "OpticalPathIdentifier",
        "RowPositionInTotalImagePixelMatrix",
        "ColumnPositionInTotalImagePixelMatrix",
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "ZOffsetInSlideCoordinateSystem",
        "FrameLabel",
        "DiffusionDirectionality",
    )
)


@dataclass(frozen=True, eq=False)
class FrameKind:
    """What a frame is, as far as its header says it.

    Parameters
    ----------
    nature : dict of str
        What frames have to share that are stacked at all; the keys are those of
        :func:`find_frame_kind`.
    traits : dict of str
        What frames may differ in, unless two of them that lie in one place do.
    marks : dict of tuple of float
        By the keywords of :data:`MARKS`: which volume of its series the frame belongs to.
    moments : dict of float
        By the names of :data:`~napari_dip_fusion.io.dicom.moments.MOMENTS`: when the frame
        was made.
    """

    nature: dict[str, str]
    traits: dict[str, str]
    marks: dict[str, tuple[float, ...]]
    moments: dict[str, float]


def find_frame_kind(fields: Fields, counted: dict[str, float]) -> FrameKind:
    """Return what a frame is.

    Parameters
    ----------
    fields : Fields
        The fields of the frame.
    counted : dict of float
        What the object counts its frames by, from
        :class:`~napari_dip_fusion.io.dicom.vectors.FrameVectors`.

    Returns
    -------
    FrameKind
        Its nature has ``"class"``, ``"type"``, ``"component"``, ``"stack"``,
        ``"segment"``, ``"channel"``, ``"unit"``, ``"view"``, ``"diffusion"``,
        ``"dose"`` and ``"reference"``, each an empty text where the header says nothing.
    """
    own = _find_frame_type(fields)
    holder = fields.header if own is None else own
    # Frame Type has the terms of Image Type (C.7.6.1.1.2), which is MIXED beside it.
    terms = get_value(holder, "ImageType" if own is None else "FrameType")
    kinds = [str(term).strip() for term in list_values(terms)]
    component = _join(get_value(holder, "ComplexImageComponent"))
    return FrameKind(
        nature={
            "type": "\\".join(kinds[2:]),
            "component": component,
            **_find_nature(fields),
        },
        traits={
            "origin": "\\".join(kinds[:2]),
            "kernel": _join(fields.find("CTReconstructionSequence", "ConvolutionKernel")),
        },
        marks={**_find_marks(fields), **{name: (n,) for name, n in counted.items()}},
        moments=find_moments(fields),
    )


def _join(value: object) -> str:
    return "\\".join(str(part).strip() for part in list_values(value))


def _find_frame_type(fields: Fields) -> Any:
    """Return the functional group with the type of a frame, None where there is none."""
    for place in fields.places:
        for keyword in _FRAME_TYPES:
            items = get_value(place, keyword)
            if items:
                return items[0]
    return None


def _find_nature(fields: Fields) -> dict[str, str]:
    rescaled = fields.find("PixelValueTransformationSequence", "RescaleType")
    unit = _join(fields.get("Units") or fields.get("DoseUnits") or rescaled)
    laterality = fields.get("ImageLaterality") or fields.get("Laterality")
    directions = fields.find("MRDiffusionSequence", "DiffusionDirectionality")
    return {
        "class": _join(fields.get("SOPClassUID")),
        "stack": _join(fields.find("FrameContentSequence", "StackID")),
        "segment": _join(fields.find("SegmentIdentificationSequence", "ReferencedSegmentNumber")),
        "channel": _join(fields.find("OpticalPathIdentificationSequence", "OpticalPathIdentifier")),
        # "US" stands for unspecified (C.11.1.1.2).
        "unit": "" if unit == "US" else unit,
        "view": " ".join(filter(None, (_join(laterality), _join(fields.get("ViewPosition"))))),
        "diffusion": "ISOTROPIC" if directions == "ISOTROPIC" else "",
        "dose": " ".join(
            filter(None, (_join(fields.get("DoseSummationType")), _join(fields.get("DoseType"))))
        ),
        "reference": _join(fields.get("FrameOfReferenceUID")),
    }


def _find_marks(fields: Fields) -> dict[str, tuple[float, ...]]:
    marks: dict[str, tuple[float, ...]] = {}
    for keyword in _READ_AS_THEY_ARE:
        number = fields.find_number(MARKS[keyword].group, keyword)
        if number is not None:
            marks[keyword] = (number,)
    marks |= find_diffusion(fields)
    return marks | _find_dimensions(fields, marks)


def _find_dimensions(
    fields: Fields, known: dict[str, tuple[float, ...]]
) -> dict[str, tuple[float, ...]]:
    """Return what the dimensions of an enhanced object count, beside what is known (C.7.6.17)."""
    content = fields.find_item("FrameContentSequence")
    indices = [] if content is None else list_values(get_value(content, "DimensionIndexValues"))
    dimensions = fields.get("DimensionIndexSequence") or []
    found: dict[str, tuple[float, ...]] = {}
    for n, (dimension, index) in enumerate(zip(dimensions, indices, strict=False), start=1):
        keyword = _name_dimension(dimension, n)
        number = parse_number(index)
        if keyword in MARKS and keyword not in known and number is not None:
            found[keyword] = (number,)
    return found


def _name_dimension(dimension: Any, number: int) -> str:
    """Return the keyword of the mark that a dimension counts, or one that has no mark."""
    pointer = get_value(dimension, "DimensionIndexPointer")
    keyword = keyword_for_tag(pointer) if pointer is not None else ""
    if keyword in MARKS or keyword in _NO_VOLUMES:
        return keyword
    return "TemporalPositionIndex" if keyword in MOMENTS else f"DimensionIndexValues {number}"
