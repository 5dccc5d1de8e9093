"""The OME-XML in an OME-TIFF file: what it says of each image, and what is written for one.

Element and attribute names are those of the OME schema of June 2016,
https://www.openmicroscopy.org/Schemas/OME/2016-06.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = [
    "ImageElement",
    "choose_letters",
    "list_named_files",
    "make_fields",
    "parse_images",
    "place_image",
]

_MOST_IMAGES = 1000
# Beyond, the text would outgrow what readers of OME-XML take.
_MOST_PLANES = 10_000


@dataclass(frozen=True)
class ImageElement:
    """What an element ``Image`` says.

    Parameters
    ----------
    name : str
        The attribute ``Name``.
    pixels : dict
        The attributes of the element ``Pixels``: sizes, and their units.
    channels : list of str or None
        The attribute ``Name`` of each element ``Channel``.
    comments : list of str
        The texts of annotations that the image refers to.
    """

    name: str = ""
    pixels: dict[str, str] = field(default_factory=dict)
    channels: list[str | None] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


def parse_images(path: Path, xml: str) -> list[ImageElement]:
    """Return what an OME-XML says of its images.

    Parameters
    ----------
    path : Path
        The file, for messages.
    xml : str
        The text.

    Returns
    -------
    list of ImageElement
        In the order of the text, which is that of the file's series.

    Raises
    ------
    ImageFileError
        If the text is damaged, or made to harm.
    """
    # No OME-XML needs a document type; entities in one can grow without end.
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ImageFileError(f"{path} declares entities in its OME-XML, which is not read")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ImageFileError(f"{path} has damaged OME-XML ({error})") from error
    texts = _find_comments(root)
    found = [_parse_image(element, texts) for element in root if _tag(element) == "Image"]
    if len(found) > _MOST_IMAGES:
        raise ImageFileError(f"{path} declares {len(found)} images; it is damaged")
    return found


def list_named_files(xml: str) -> list[str]:
    """Return the names of the files over which an image is spread.

    Parameters
    ----------
    xml : str
        OME-XML; other texts name no files.

    Returns
    -------
    list of str
        As they stand there, the file that holds the text often among them.
    """
    if "FileName" not in xml or "<!ENTITY" in xml:
        return []
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return []
    return [e.get("FileName", "") for e in root.iter() if _tag(e) == "UUID" and e.get("FileName")]


def _find_comments(root: ElementTree.Element) -> dict[str, str]:
    """Return the text of each comment among the annotations, by its identifier."""
    return {
        note.get("ID", ""): value.text or ""
        for notes in root
        if _tag(notes) == "StructuredAnnotations"
        for note in notes
        for value in note
        if _tag(value) == "Value" and _tag(note) == "CommentAnnotation"
    }


def _parse_image(element: ElementTree.Element, texts: dict[str, str]) -> ImageElement:
    pixels = next((child for child in element if _tag(child) == "Pixels"), None)
    names = [] if pixels is None else [c.get("Name") for c in pixels if _tag(c) == "Channel"]
    refs = [child.get("ID", "") for child in element if _tag(child) == "AnnotationRef"]
    return ImageElement(
        name=element.get("Name", ""),
        pixels={} if pixels is None else dict(pixels.attrib),
        channels=names,
        comments=[texts[ref] for ref in refs if ref in texts],
    )


def _tag(element: ElementTree.Element) -> str:
    """Return an element's name without its namespace, which holds the schema's year."""
    return element.tag.rpartition("}")[2]


def place_image(image: Source, element: ImageElement) -> Source:
    """Return an image with the spacing that its element gives.

    Parameters
    ----------
    image : Source
        The image.
    element : ImageElement
        What the file says of it.

    Returns
    -------
    Source
        Axes of which nothing is said count pixels.
    """
    steps, units = [], []
    for axis in image.axes:
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        default = "s" if axis == "t" else "um"  # of the schema
        step = _parse_positive(element.pixels.get(key))
        steps.append(step or 1.0)
        unit = element.pixels.get(f"{key}Unit", default)
        units.append(abbreviate_unit(unit) if step else "pixel")
    return image.replace(affine=np.diag([*steps, 1.0]), units=tuple(units))


def _parse_positive(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def make_fields(image: Source) -> dict[str, Any]:
    """Return the fields of an image from which tifffile makes its element.

    Parameters
    ----------
    image : Source
        The image, of two to five axes.

    Returns
    -------
    dict
        The argument ``metadata`` of :meth:`tifffile.TiffWriter.write`.
    """
    letters = choose_letters(image.axes)
    warn_of_private_rotation(image, "OME-TIFF", kept_in="a comment", stacklevel=5)
    note = json.dumps(description.describe(image))
    fields: dict[str, Any] = {
        "axes": letters + ("S" if image.rgb else ""),
        "Name": image.name or "image",
        "CommentAnnotation": {"Namespace": description.NAMESPACE, "Value": note},
    }
    # Readers show the name of a channel; with an axis of channels there are several.
    if "C" not in letters:
        fields["Channel"] = {"Name": image.name or "image"}
    for letter, step, unit in zip(letters, image.spacing, image.units, strict=True):
        fields.update(_make_size_fields(letter, float(step), abbreviate_unit(unit)))
    planes = _list_positions(image, letters)
    return {**fields, "Plane": planes} if planes else fields


def _list_positions(image: Source, letters: str) -> dict[str, list[Any]]:
    """Return where each plane lies, unless all lie at the origin."""
    sizes = image.shape[:-2]
    count = int(np.prod(sizes))
    if not image.affine[:-1, -1].any() or count > _MOST_PLANES:
        return {}
    # The first pixel of each plane, in homogeneous coordinates.
    indices = np.zeros((count, image.ndim + 1))
    indices[:, : len(sizes)] = np.indices(sizes).reshape(len(sizes), count).T
    indices[:, -1] = 1
    world = indices @ image.affine.T
    planes: dict[str, list[Any]] = {}
    for axis, (letter, unit) in enumerate(zip(letters, image.units, strict=True)):
        if letter in "XYZ" and abbreviate_unit(unit) in LENGTHS:
            planes[f"Position{letter}"] = world[:, axis].tolist()
            planes[f"Position{letter}Unit"] = [_name_unit(unit)] * count
    return planes


def _name_unit(unit: str) -> str:
    """Return the schema's symbol of a unit, which has the micro sign."""
    return abbreviate_unit(unit).replace("um", "µm").replace("us", "µs")


def _make_size_fields(letter: str, step: float, unit: str) -> dict[str, Any]:
    """Return the fields for the spacing along one axis, none where it has none."""
    known = TIMES if letter == "T" else LENGTHS
    # A step of one pixel is what readers take where nothing is said.
    if letter == "C" or (unit == "pixel" and step == 1) or step <= 0:
        return {}
    if unit not in known and unit != "pixel":
        warn_of_lost_unit(unit, letter, "OME-TIFF", stacklevel=6)
        return {}
    if letter == "T" and unit == "pixel":
        return {}
    key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
    return {key: step, f"{key}Unit": _name_unit(unit)}


def choose_letters(axes: tuple[str, ...]) -> str:
    """Return OME's letters of axes; an axis of another name takes one that is free.

    Parameters
    ----------
    axes : tuple of str
        Names of two to five axes.

    Returns
    -------
    str
        Of the letters Z, T, C, Y and X; the last two are always YX.
    """
    # The five axes of OME's DimensionOrder.
    names = axes[:-2]
    free = [letter for letter in "ZTC" if letter.lower() not in names]
    letters = [name.upper() if name in ("z", "t", "c") else free.pop(0) for name in names]
    return "".join(letters) + "YX"
