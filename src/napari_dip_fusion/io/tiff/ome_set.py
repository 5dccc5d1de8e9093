"""The files over which an OME-TIFF image is spread, whichever of them is named.

Elements ``TiffData`` name the file of each plane. The OME-XML may stand in one file of a set
only, or in a companion file of its own, which the others name in an element ``BinaryOnly``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.formats import get_format
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.io.silence import silence_logger
from napari_dip_fusion.io.tiff.ome_xml import (
    ImageElement,
    find_children,
    is_ome_xml,
    parse_images,
    parse_xml,
)
from napari_dip_fusion.io.tiff.opening import require_own_folder

__all__ = ["OmeSet", "read_companion", "study_set"]

# Files of a folder that are looked at for one that was renamed.
_MOST_FILES = 1000


@dataclass(frozen=True)
class OmeSet:
    """What an OME-XML says, and how tifffile is to open the files that it is about.

    Parameters
    ----------
    file : Path
        The file to open.
    options : dict
        Options of :class:`tifffile.TiffFile`.
    elements : list of ImageElement
        What the OME-XML says of its images; none where it cannot be used.
    missing : list of str
        Names of files that are not there.
    problem : str
        Why the OME-XML cannot be used; empty where it can.
    """

    file: Path
    options: dict[str, Any] = field(default_factory=dict)
    elements: list[ImageElement] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problem: str = ""


def study_set(path: Path, text: str) -> OmeSet | None:
    """Find the OME-XML that a file's description leads to, and the files that it names.

    Parameters
    ----------
    path : Path
        The file that was named.
    text : str
        The description in its first page.

    Returns
    -------
    OmeSet or None
        None for a file without OME-XML.

    Raises
    ------
    ImageFileError
        If the OME-XML is made to harm, or names files of other folders.
    """
    if not is_ome_xml(text):
        return None
    without: dict[str, Any] = {"is_ome": False}
    try:
        root, mended = parse_xml(path, text)
    except ElementTree.ParseError as error:
        return OmeSet(path, without, problem=f"its OME-XML is damaged ({error})")
    binary = next(find_children(root, "BinaryOnly"), None)
    if binary is None:
        return _plan(path, root, changed=mended)
    name = binary.get("MetadataFile", "")
    other = require_own_folder(path, name) if name else path
    if not name or not other.exists():
        problem = f"its OME-XML lies in the file {name or 'of no name'}, which is missing"
        return OmeSet(path, without, problem=problem)
    return _follow(path, other, root.get("UUID"))


def read_companion(path: Path) -> OmeSet:
    """Find the files that an OME-XML in a file of its own is about.

    Parameters
    ----------
    path : Path
        A file that ends in ``.companion.ome``.

    Returns
    -------
    OmeSet
        Its `file` is the first one that is there.

    Raises
    ------
    ImageFileError
        If it is no OME-XML, or none of the files is there.
    """
    root = _parse_file(path)
    names = [uuid.get("FileName", "") for uuid in _list_uuids(root)]
    there = [require_own_folder(path, name) for name in names if name]
    first = next((file for file in there if file.exists()), None)
    if first is None:
        raise ImageFileError(
            f"{path} describes pixels in {', '.join(sorted(set(names))) or 'no file'}; put the "
            "files beside it"
        )
    return _plan(first, root)


def _follow(path: Path, other: Path, own: str | None) -> OmeSet:
    """Return what the OME-XML in another file says of the set that a file belongs to.

    `own` is the identifier of the file that was named.
    """
    with other.open("rb") as handle:
        mark = handle.read(4)
    if mark not in get_format("TIFF").magic:
        root = _parse_file(other)
        if own:
            root.set("UUID", own)
        return _plan(path, root)
    with silence_logger("tifffile"), tifffile.TiffFile(other) as tif:
        text = str(tif.pages.first.description)
    try:
        root, mended = parse_xml(other, text)
    except ElementTree.ParseError as error:
        problem = f"the OME-XML in {other.name} is damaged ({error})"
        return OmeSet(path, {"is_ome": False}, problem=problem)
    # The identifier at the root is that of the other file.
    return _plan(other, root, changed=mended)


def _parse_file(path: Path) -> Element:
    """Return the root of an OME-XML in a file of its own."""
    require_memory(path, 20 * path.stat().st_size)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        other = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
        text = content.decode(other, errors="replace")
    if not is_ome_xml(text):
        raise ImageFileError(f"{path} holds no OME-XML; name a file of the set that has one")
    try:
        root, _ = parse_xml(path, text)
    except ElementTree.ParseError as error:
        raise ImageFileError(f"{path} has damaged OME-XML ({error}); copy it again") from error
    # The identifier at the root is that of no file with pixels.
    root.attrib.pop("UUID", None)
    return root


def _plan(path: Path, root: Element, *, changed: bool = True) -> OmeSet:
    """Return how the files of an OME-XML are opened, and which of them are missing.

    The OME-XML is changed where it is not the one in the file, or not one that tifffile reads.
    """
    elements = parse_images(path, root)
    missing, other = _find_files(path, root)
    changed = changed or other
    if len(elements) > 1:
        # tifffile leaves out images without pages; their numbers say which are left.
        changed = True
        for number, image in enumerate(find_children(root, "Image")):
            image.set("Name", str(number))
    xml = ElementTree.tostring(root, encoding="unicode") if changed else ""
    return OmeSet(path, {"omexml": xml} if changed else {}, elements, missing)


def _find_files(path: Path, root: Element) -> tuple[list[str], bool]:
    """Make an OME-XML name files that are there, and return those that are missing.

    Returns
    -------
    missing : list of str
        Names of files; what they hold is taken out of the OME-XML.
    changed : bool
        Whether the OME-XML is another one now.
    """
    keys = list(dict.fromkeys(map(_key, _list_uuids(root))))
    # Some programs give one identifier to all files of a set, which tells nothing then.
    counts = Counter(identifier for _, identifier in keys)
    blocks = list(find_children(root, "Image", "Pixels", "TiffData"))
    alone = len(keys) == 1 and len(list(_list_uuids(root))) == len(blocks)
    own = root.get("UUID", "")
    found = {key: _find_file(path, key, own if counts[own] < 2 else "", alone) for key in keys}
    if None in found.values():
        known = _find_renamed(path)
        for key in [key for key, name in found.items() if name is None and counts[key[1]] < 2]:
            name = known.get(key[1])
            found[key] = name if name not in found.values() else None
    changed = _rewrite(path, root, found)
    lost = [name or identifier for (name, identifier), file in found.items() if file is None]
    return list(dict.fromkeys(lost)), changed


def _rewrite(path: Path, root: Element, found: dict[tuple[str, str], str | None]) -> bool:
    """Make an OME-XML name the files that were found, and tell whether it is another one now."""
    changed = False
    # tifffile takes files of one identifier for one file, which some programs give to all.
    holders = {root.get("UUID", ""): path.name}
    for pixels in find_children(root, "Image", "Pixels"):
        for block in list(find_children(pixels, "TiffData")):
            for uuid in find_children(block, "UUID"):
                name, identifier = found[_key(uuid)], _key(uuid)[1]
                shared = name is not None and holders.setdefault(identifier, name) != name
                changed |= shared or name != uuid.get("FileName")
                if name is None:
                    pixels.remove(block)
                    break
                uuid.set("FileName", name)
                uuid.text = f"{identifier} {name}" if shared else identifier
    return changed


def _key(uuid: Element) -> tuple[str, str]:
    """Return the name and the identifier of a file."""
    return uuid.get("FileName", ""), (uuid.text or "").strip()


def _find_file(path: Path, key: tuple[str, str], own: str, alone: bool) -> str | None:
    """Return the name of a file that is there; None for one that is not.

    A copy names the file that it was made from, which may still be there, and may be another
    one by now: it is itself that is meant where its identifier, or that it is the only one,
    says so.
    """
    name, identifier = key
    if (own and identifier == own) or (alone and not own):
        return path.name
    if name and _is_there(require_own_folder(path, name)):
        return name
    return path.name if alone else None


def _is_there(path: Path) -> bool:
    """Tell whether a file is there; one without content holds the place of one."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _find_renamed(path: Path) -> dict[str, str]:
    """Return the names of the OME-TIFF files in a folder by the identifiers that they hold."""
    found = {}
    files = sorted(p for p in path.parent.iterdir() if p.name.lower().endswith((".tif", ".tiff")))
    for file in files[:_MOST_FILES]:
        try:
            require_own_folder(path, file.name)
            with silence_logger("tifffile"), tifffile.TiffFile(file) as tif:
                text = str(tif.pages.first.description)
            key = parse_xml(file, text)[0].get("UUID") if is_ome_xml(text) else None
        # Whatever else lies in the folder is no part of the set.
        except Exception:
            continue
        if key:
            found[key] = file.name
    return found


def _list_uuids(root: Element) -> Iterator[Element]:
    """Yield what names the file of each block of planes."""
    return find_children(root, "Image", "Pixels", "TiffData", "UUID")
