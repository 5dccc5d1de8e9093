"""What a DICOM header asks to be done with values for a screen, and what is odd in it.

Physical values are fused, not gray values of a screen: what a header adds to show them is
named in the metadata of an image and not applied, as in pydicom's ``pixel_array``. Sections
such as C.7.6.3 are those of DICOM PS3.3, which defines the fields.
"""

from typing import Any

from napari_dip_fusion.io.dicom.checks import count_frames
from napari_dip_fusion.io.dicom.elements import find_number, find_private

__all__ = ["list_oddities", "list_unapplied"]

# The windows of a header become limits of contrast, which change no value.
_UNAPPLIED = {
    "VOILUTSequence": "VOI LUT (C.11.2)",
    "WindowCenter": "VOI window (C.11.2; shown as limits of contrast)",
    "FrameVOILUTSequence": "VOI window (C.11.2; shown as limits of contrast)",
    "PresentationLUTSequence": "Presentation LUT (C.11.4)",
    "RealWorldValueMappingSequence": "Real World Value Mapping (C.7.6.16.2.11)",
    "PixelIntensityRelationshipLUTSequence": "Pixel Intensity Relationship LUT (C.7.6.16.2.13)",
    "MaskSubtractionSequence": "mask subtraction (C.7.6.10)",
    "ICCProfile": "ICC profile (C.11.15)",
    "ShutterShape": "display shutter (C.7.6.11)",
    "PixelPaddingValue": "pixel padding (C.7.5.1.1.2; padded pixels keep their value)",
}
# Philips writes factors to its own physical values, beside those of the standard.
_PHILIPS_SCALE = ("Philips MR Imaging DD 001", 0x2005, 0x0E)
_OVERLAYS = range(0x6000, 0x6100, 2)


def list_unapplied(header: Any) -> list[str]:
    """Return names of what is not applied to the values of an image.

    Parameters
    ----------
    header : pydicom.Dataset
        A header.

    Returns
    -------
    list of str
        Names for people, with sections of the standard.
    """
    shared = header.get("SharedFunctionalGroupsSequence") or []
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    places = [header, *shared[:1], *own[:1]]
    names = [name for key, name in _UNAPPLIED.items() if any(_holds(item, key) for item in places)]
    photometric = header.get("PhotometricInterpretation")
    if _is_turned(header):
        names.append("Presentation LUT Shape INVERSE (C.11.4)")
    if "RedPaletteColorLookupTableDescriptor" in header and photometric != "PALETTE COLOR":
        names.append("supplemental palette (C.7.6.19)")
    tags = header.keys()  # the elements themselves would be converted
    if any(tag >> 16 in _OVERLAYS for tag in tags):
        names.append("overlays (C.9.2)")
    if find_private(header, *_PHILIPS_SCALE) is not None:
        names.append("private scale of Philips")
    return list(dict.fromkeys(names))


def list_oddities(header: Any) -> tuple[str, ...]:
    """Return what somebody who looks at the picture has to know.

    Parameters
    ----------
    header : pydicom.Dataset
        A header.

    Returns
    -------
    tuple of str
        Sentences without a name.
    """
    said = []
    held, high = header.get("BitsStored"), header.get("HighBit")
    if held and high is not None and high != held - 1 and header.get("BitsAllocated") != 1:
        # PS3.5 8.1.1. pydicom and SimpleITK do not look at it either.
        said.append(
            f"HighBit is {high} and must be {held - 1} where BitsStored is {held}; "
            f"the lowest {held} bits are taken"
        )
    if _is_turned(header):
        said.append(
            "its Presentation LUT Shape is INVERSE, which is not applied: small values are "
            "meant to be bright"
        )
    if not header.get("PhotometricInterpretation"):
        said.append("it lacks PhotometricInterpretation; MONOCHROME2 is taken")
    if find_number(header, "SamplesPerPixel") is None:
        said.append("it lacks SamplesPerPixel; 1 is taken")
    described, frames = header.get("PerFrameFunctionalGroupsSequence"), count_frames(header)
    if described and len(described) != frames:
        said.append(f"its header describes {len(described)} frames, and it has {frames}")
    return tuple(said)


def _holds(place: Any, keyword: str) -> bool:
    """Tell whether a field is there and not empty."""
    return keyword in place and not place[keyword].is_empty


def _is_turned(header: Any) -> bool:
    """Tell whether a MONOCHROME2 image is to be shown inverted: the standard has no such one."""
    photometric = header.get("PhotometricInterpretation")
    return bool(header.get("PresentationLUTShape") == "INVERSE" and photometric != "MONOCHROME1")
