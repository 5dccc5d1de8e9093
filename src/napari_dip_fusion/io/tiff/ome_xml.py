"""The OME-XML in an OME-TIFF file, and what it says of each image.

Element and attribute names are those of the OME schema of June 2016,
https://www.openmicroscopy.org/Schemas/OME/2016-06. The year stands in the namespace, of
which no notice is taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from napari_dip_fusion.errors import ImageFileError

__all__ = [
    "ImageElement",
    "find_children",
    "is_ome_xml",
    "list_named_files",
    "parse_images",
    "parse_xml",
    "remove_illegal",
]

_MOST_IMAGES = 1000
# Characters that no XML may hold; the halves of characters are bytes of a file's name.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_BARE_AMPERSAND = re.compile(r"&(?!#?\w+;)")
_START = re.compile(r"<(\w+:)?OME[\s>]")
_NOTHING = ("", "null", "None")


@dataclass(frozen=True)
class ImageElement:
    """What an element ``Image`` says.

    Parameters
    ----------
    name : str
        The attribute ``Name``.
    pixels : dict
        The attributes of the element ``Pixels``: sizes, and their units.
    channels : list of dict
        The attributes of each element ``Channel``.
    planes : list of dict
        The attributes of each element ``Plane``.
    comments : list of str
        The texts of annotations that the image refers to.
    """

    name: str = ""
    pixels: dict[str, str] = field(default_factory=dict)
    channels: list[dict[str, str]] = field(default_factory=list)
    planes: list[dict[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


def is_ome_xml(text: str) -> bool:
    """Tell whether a text is meant to be OME-XML, whole or damaged."""
    return _START.search(text[:4096]) is not None


def remove_illegal(text: str) -> str:
    """Return a text without the characters that no XML may hold."""
    return _ILLEGAL.sub("", text)


def parse_xml(path: Path, text: str) -> tuple[Element, bool]:
    """Return the root of an OME-XML, whose attributes that say nothing are left out.

    A byte order mark, characters that XML does not allow, and text around the element are
    passed over.

    Parameters
    ----------
    path : Path
        The file, for messages.
    text : str
        The text.

    Returns
    -------
    root : Element
        The element ``OME``.
    mended : bool
        Whether the text is read by this function only.

    Raises
    ------
    ImageFileError
        If the text is made to harm.
    xml.etree.ElementTree.ParseError
        If the text is damaged.
    """
    # No OME-XML needs a document type; entities in one can grow without end.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageFileError(f"{path} declares entities in its OME-XML, which is not read")
    # The declaration of an encoding says nothing of a text that was decoded.
    start, end = _START.search(text), text.rfind("OME>")
    whole = text[start.start() : end + len("OME>")] if start and end > start.start() else text
    # tifffile takes a declaration before it, and spaces after it.
    mended = not text.strip().endswith("OME>") or not text.startswith(("<OME", "<?xml"))
    try:
        root = ElementTree.fromstring(whole)
    except ElementTree.ParseError:
        # Some programs copy such characters from a microscope's fields.
        root = ElementTree.fromstring(_BARE_AMPERSAND.sub("&amp;", remove_illegal(whole)))
        mended = True
    for element in root.iter():
        for key in [key for key, value in element.attrib.items() if value in _NOTHING]:
            del element.attrib[key]
            mended = True
    return root, mended


def parse_images(path: Path, root: Element) -> list[ImageElement]:
    """Return what an OME-XML says of its images.

    Parameters
    ----------
    path : Path
        The file, for messages.
    root : Element
        The element ``OME``, from :func:`parse_xml`.

    Returns
    -------
    list of ImageElement
        In the order of the text.

    Raises
    ------
    ImageFileError
        If there are more than any file holds.
    """
    texts = _find_comments(root)
    found = [_parse_image(element, texts) for element in find_children(root, "Image")]
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
    # tifffile follows every element whose name ends like that of the schema.
    return [name for element in root.iter() if (name := element.get("FileName"))]


def find_children(element: Element, *names: str) -> Iterator[Element]:
    """Yield the elements of a path of names below an element, in whatever namespace.

    Parameters
    ----------
    element : Element
        Where the path begins.
    *names : str
        Names without a namespace.

    Yields
    ------
    Element
        In the order of the text.
    """
    if not names:
        yield element
        return
    for child in element:
        if _tag(child) == names[0]:
            yield from find_children(child, *names[1:])


def _find_comments(root: Element) -> dict[str, str]:
    """Return the text of each comment among the annotations, by its identifier."""
    return {
        note.get("ID", ""): value.text or ""
        for note in find_children(root, "StructuredAnnotations", "CommentAnnotation")
        for value in find_children(note, "Value")
    }


def _parse_image(element: Element, texts: dict[str, str]) -> ImageElement:
    pixels = next(find_children(element, "Pixels"), Element("Pixels"))
    refs = [child.get("ID", "") for child in find_children(element, "AnnotationRef")]
    return ImageElement(
        name=element.get("Name", ""),
        pixels=dict(pixels.attrib),
        channels=[dict(channel.attrib) for channel in find_children(pixels, "Channel")],
        planes=[dict(plane.attrib) for plane in find_children(pixels, "Plane")],
        comments=[texts[ref] for ref in refs if ref in texts],
    )


def _tag(element: Element) -> str:
    """Return an element's name without its namespace, which holds the schema's year."""
    return element.tag.rpartition("}")[2]
