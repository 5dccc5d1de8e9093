"""OME-TIFF in, with its physical sizes, and out, with all that napari shows.

Rotation, shear, display and metadata, for which OME has no fields, are written
as a comment in the OME-XML (see :mod:`~napari_dip_fusion.io.description`).
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.io.tiff.pages import opened, series_image
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["images", "is_own", "read", "write", "write_all"]

_HELD = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
_BIGTIFF_BYTES = 2**32 - 2**27
_MOST_IMAGES = 1000
# Beyond, the text would outgrow what readers of OME-XML take.
_MOST_PLANES = 10_000


@dataclass(frozen=True)
class _Entry:
    """What the OME-XML says of one image."""

    name: str = ""
    pixels: dict[str, str] = field(default_factory=dict)
    channels: list[str | None] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


def read(path: Path) -> list[Source]:
    """Read all images of an OME-TIFF file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Source
        From :func:`images`.

    Raises
    ------
    ImageFileError
        If the file is damaged, or no OME-TIFF.
    """
    with opened(path) as tif:
        if not tif.is_ome:
            raise ImageFileError(
                f"{path} holds no whole OME-XML; it is damaged, or plain TIFF to be named .tif"
            )
        return images(path, tif)


def images(path: Path, tif: tifffile.TiffFile) -> list[Source]:
    """Return the images of an open OME-TIFF.

    Parameters
    ----------
    path : Path
        The file.
    tif : tifffile.TiffFile
        The open file.

    Returns
    -------
    list of Source
        What this program wrote, as it was; of others, one for every channel.

    Raises
    ------
    ImageFileError
        If the OME-XML is damaged.
    """
    entries = _entries(path, tif)
    found = []
    for number in range(len(tif.series)):
        entry = entries[number] if number < len(entries) else _Entry()
        found += _restored(series_image(path, tif, number), entry)
    return found


def is_own(path: Path) -> bool:
    """Tell whether a file was written by this program, without reading its pixels.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Whether an image in it has a description of this program.

    Raises
    ------
    ImageFileError
        If the file is damaged.
    """
    with opened(path) as tif:
        texts = [text for entry in _entries(path, tif) for text in entry.comments]
        return any(description.parse(text) is not None for text in texts)


def _restored(image: Source, entry: _Entry) -> list[Source]:
    for text in entry.comments:
        found = description.parse(text)
        whole = None if found is None else _with_single_axes(image, found)
        if whole is not None:
            return [description.restore(_placed(whole, entry), found, stored=_diagonal)]
    named = _placed(image, entry).replace(name=entry.name or image.name)
    return split_channels(named, entry.channels)


def _with_single_axes(image: Source, found: dict[str, Any]) -> Source | None:
    """Give back axes of size one, which tifffile drops; None if another image is described."""
    shape, axes = found.get("shape"), found.get("axes")
    if not isinstance(shape, list) or not isinstance(axes, list) or len(axes) != len(shape):
        return None
    same = [size for size in shape if size != 1] == [size for size in image.shape if size != 1]
    if not same or not 2 <= len(shape) <= 5:
        return None
    colours = image.data.shape[image.ndim :]
    letters = tuple(_letters(tuple(str(axis) for axis in axes)).lower())
    data = image.data.reshape(*shape, *colours)
    return Source(data, letters, rgb=image.rgb, name=image.name, path=image.path)


def _diagonal(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME."""
    return np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])


def _entries(path: Path, tif: tifffile.TiffFile) -> list[_Entry]:
    xml = tif.ome_metadata or ""
    # No OME-XML needs a document type; entities in one can grow without end.
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ImageFileError(f"{path} declares entities in its OME-XML, which is not read")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ImageFileError(f"{path} has damaged OME-XML ({error})") from error
    texts = {
        note.get("ID", ""): value.text or ""
        for notes in root
        if _tag(notes) == "StructuredAnnotations"
        for note in notes
        for value in note
        if _tag(value) == "Value" and _tag(note) == "CommentAnnotation"
    }
    found = [_entry(element, texts) for element in root if _tag(element) == "Image"]
    if len(found) > _MOST_IMAGES:
        raise ImageFileError(f"{path} declares {len(found)} images; it is damaged")
    return found


def _entry(element: ElementTree.Element, texts: dict[str, str]) -> _Entry:
    pixels = next((child for child in element if _tag(child) == "Pixels"), None)
    names = [] if pixels is None else [c.get("Name") for c in pixels if _tag(c) == "Channel"]
    refs = [child.get("ID", "") for child in element if _tag(child) == "AnnotationRef"]
    return _Entry(
        name=element.get("Name", ""),
        pixels={} if pixels is None else dict(pixels.attrib),
        channels=names,
        comments=[texts[ref] for ref in refs if ref in texts],
    )


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _placed(image: Source, entry: _Entry) -> Source:
    steps, units = [], []
    for axis in image.axes:
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        default = "s" if axis == "t" else "um"
        step = _number(entry.pixels.get(key))
        steps.append(step or 1.0)
        units.append(abbreviate_unit(entry.pixels.get(f"{key}Unit", default)) if step else "pixel")
    return image.replace(affine=np.diag([*steps, 1.0]), units=tuple(units))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def write(path: Path, image: Source) -> None:
    """Write an image as OME-TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    image : Source
        Two to five axes.

    Raises
    ------
    ImageFileError
        If OME-TIFF cannot hold the image.
    """
    write_all(path, [image])


def write_all(path: Path, layers: Sequence[Source]) -> None:
    """Write several images, of any sizes, into one OME-TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    layers : sequence of Source
        The images.

    Raises
    ------
    ImageFileError
        If OME-TIFF cannot hold an image.
    """
    pixels = [_held_pixels(image) for image in layers]
    with tifffile.TiffWriter(
        path, ome=True, bigtiff=sum(p.nbytes for p in pixels) > _BIGTIFF_BYTES
    ) as writer:
        for image, values in zip(layers, pixels, strict=True):
            writer.write(
                values,
                photometric="rgb" if image.rgb else "minisblack",
                planarconfig="contig" if image.rgb else None,
                compression="zlib",
                metadata=_fields(image),
            )


def _held_pixels(image: Source) -> NDArray[Any]:
    if not 2 <= image.ndim <= 5:
        raise ImageFileError(
            f"OME-TIFF holds two to five axes, got {', '.join(image.axes)}; choose a part"
        )
    values = image.to_numpy()
    if values.dtype.kind == "b":
        warnings.warn("OME-TIFF: True and False are written as 1 and 0 of uint8", stacklevel=4)
        values = values.astype(np.uint8)
    if values.dtype.name not in _HELD:
        raise ImageFileError(
            f"OME-TIFF holds {', '.join(_HELD)}, got {values.dtype}; convert it, or write OME-Zarr"
        )
    return values


def _fields(image: Source) -> dict[str, Any]:
    """Return the metadata from which tifffile makes OME-XML."""
    letters = _letters(image.axes)
    warn_of_private_rotation(image, "OME-TIFF", kept_in="a comment", stacklevel=5)
    note = json.dumps(description.describe(image))
    fields: dict[str, Any] = {
        "axes": letters + ("S" if image.rgb else ""),
        "Name": image.name or "image",
        "CommentAnnotation": {"Namespace": description.NAMESPACE, "Value": note},
    }
    if "C" not in letters:
        fields["Channel"] = {"Name": image.name or "image"}
    for letter, step, unit in zip(letters, image.spacing, image.units, strict=True):
        fields.update(_size_fields(letter, float(step), abbreviate_unit(unit)))
    planes = _positions(image, letters)
    return {**fields, "Plane": planes} if planes else fields


def _positions(image: Source, letters: str) -> dict[str, list[Any]]:
    """Return where each plane lies, unless all lie at the origin."""
    sizes = image.shape[:-2]
    count = int(np.prod(sizes))
    if not image.affine[:-1, -1].any() or count > _MOST_PLANES:
        return {}
    indices = np.zeros((count, image.ndim + 1))
    indices[:, : len(sizes)] = np.indices(sizes).reshape(len(sizes), count).T
    indices[:, -1] = 1
    world = indices @ image.affine.T
    planes: dict[str, list[Any]] = {}
    for axis, (letter, unit) in enumerate(zip(letters, image.units, strict=True)):
        if letter in "XYZ" and abbreviate_unit(unit) in LENGTHS:
            planes[f"Position{letter}"] = world[:, axis].tolist()
            planes[f"Position{letter}Unit"] = [_ome_unit(unit)] * count
    return planes


def _ome_unit(unit: str) -> str:
    return abbreviate_unit(unit).replace("um", "µm").replace("us", "µs")


def _size_fields(letter: str, step: float, unit: str) -> dict[str, Any]:
    known = TIMES if letter == "T" else LENGTHS
    if letter == "C" or (unit == "pixel" and step == 1) or step <= 0:
        return {}
    if unit not in known and unit != "pixel":
        warn_of_lost_unit(unit, letter, "OME-TIFF", stacklevel=6)
        return {}
    if letter == "T" and unit == "pixel":
        return {}
    key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
    return {key: step, f"{key}Unit": _ome_unit(unit)}


def _letters(axes: tuple[str, ...]) -> str:
    """Return OME's letters of the axes; an axis of another name takes one that is free."""
    names = axes[:-2]
    free = [letter for letter in "ZTC" if letter.lower() not in names]
    letters = [name.upper() if name in ("z", "t", "c") else free.pop(0) for name in names]
    return "".join(letters) + "YX"
