"""The formats of image files, and which of them a file has."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.start import find_data_set
from napari_dip_fusion.io.regular import require_regular

__all__ = [
    "FORMATS",
    "Format",
    "find_format",
    "find_packer",
    "find_written_format",
    "get_format",
    "list_endings",
    "strip_ending",
]


@dataclass(frozen=True)
class Format:
    """A family of files that two functions read and write.

    The functions are loaded when they are needed: the libraries of a format are not
    imported before a file of that format is met.

    Parameters
    ----------
    name : str
        Name for people.
    reader : str
        Module of :mod:`napari_dip_fusion.io` whose function ``read`` takes a path and
        returns a list of :class:`~napari_dip_fusion.sources.Source`.
    writer : str
        Module whose function ``write`` takes a path and a source, and whose function
        ``check`` refuses a source that the format cannot hold; empty where the format is
        only read.
    endings : tuple of str
        Lower-case ends of the file name.
    magic : tuple of bytes
        How such a file starts; empty where there is no such sign.
    """

    name: str
    reader: str
    writer: str
    endings: tuple[str, ...]
    magic: tuple[bytes, ...] = ()

    def load_reader(self) -> Callable[[Path], Any]:
        """Return the function that reads the format, and import it now."""
        return _load(self.reader, "read")

    def load_check(self) -> Callable[[Any], None]:
        """Return the function that refuses what the format cannot hold, and import it now."""
        return _load(self.writer, "check")

    def load_writer(self, function: str = "write") -> Callable[[Path, Any], None]:
        """Return the function that writes the format, and import it now."""
        return _load(self.writer, function)


def _load(module: str, function: str) -> Callable[..., Any]:
    loaded = import_module(f"napari_dip_fusion.io.{module}")
    return getattr(loaded, function)  # type: ignore[no-any-return]


# Byte order (Intel or Motorola), then 42 in TIFF and 43 in BigTIFF.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# The first whose ending fits is taken: longer endings stand before shorter ones.
FORMATS = (
    Format("NIfTI", "nifti.reading", "nifti.writing", (".nii.gz", ".nii")),
    # The header of a pair, beside which lie the pixels.
    Format("NIfTI pair", "nifti.reading", "", (".hdr.gz", ".hdr")),
    Format("DICOM", "dicom.series", "", (".dcm", ".dicom")),
    Format("OME-Zarr", "zarr.reading", "zarr.writing", (".ome.zarr", ".zarr")),
    Format("fusion bundle", "tiff.bundle", "tiff.bundle", (".fusion.ome.tif",), _TIFF),
    Format("OME-TIFF", "tiff.ome", "tiff.ome", (".ome.tif", ".ome.tiff"), _TIFF),
    Format("OME companion", "tiff.companion", "", (".companion.ome",)),
    Format("TIFF", "tiff.plain", "tiff.plain", (".tif", ".tiff"), _TIFF),
    Format("PNG", "raster", "raster", (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Format("JPEG", "raster", "", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    Format("BMP", "raster", "", (".bmp",), (b"BM",)),
)
# How files begin that hold others.
_PACKERS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
}
# What else is met under the name of an image: archives, and pages of an error of a server.
_OTHER_KINDS = {
    **{start: f"data packed by {packer}" for start, packer in _PACKERS.items()},
    b"PK\x03\x04": "a ZIP archive",
    b"%PDF": "a PDF",
    b"\x89HDF": "HDF5",
    b"GIF8": "a GIF",
    b"RIFF": "WebP or another RIFF",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"<": "text in XML or HTML",
    b"{": "text in JSON",
}
# A group of Zarr 3 or of Zarr 2, or one of its arrays, may be a folder of any name.
_ZARR_FOLDERS = ("zarr.json", ".zgroup", ".zarray")


def get_format(name: str) -> Format:
    """Return the format of a name."""
    return next(form for form in FORMATS if form.name == name)


def list_endings(*, writing: bool = False) -> tuple[str, ...]:
    """Return the endings of all files that can be read, or written.

    Parameters
    ----------
    writing : bool
        Whether to leave out what can only be read.

    Returns
    -------
    tuple of str
        Lower case, with the dot.
    """
    forms = [form for form in FORMATS if form.writer or not writing]
    return tuple(ending for form in forms for ending in form.endings)


def strip_ending(path: Path) -> str:
    """Return a file's name without the ending of its format, whatever its case.

    Parameters
    ----------
    path : Path
        A file or folder.

    Returns
    -------
    str
        A name for people: ``"scan_1.5T"`` of ``scan_1.5T.NII.GZ``. A name without such an
        ending, or with nothing before it, is returned whole.
    """
    ending = _find_ending(path.name)
    return path.name[: len(path.name) - len(ending)] or path.name


def find_written_format(path: Path) -> Format:
    """Return the format in which a file of this name is written.

    Parameters
    ----------
    path : Path
        The file or folder to write.

    Returns
    -------
    Format
        One with a writer.

    Raises
    ------
    ImageFileError
        If the name has no ending of such a format.
    """
    form = _match_ending(path.name, writing=True)
    if form is None:
        known = _join(list_endings(writing=True))
        raise ImageFileError(f"{path} has no ending that can be written; use {known}")
    return form


def find_format(path: Path) -> Format:
    """Return the format of a file or folder, by its name and its first bytes.

    Parameters
    ----------
    path : Path
        The file or folder.

    Returns
    -------
    Format
        Its format.

    Raises
    ------
    ImageFileError
        If it does not exist, is empty, is no plain file, or is of no known format.
    """
    if path.is_dir():
        return _find_folder_format(path)
    if not path.exists():
        raise ImageFileError(f"{path} does not exist; check the name")
    require_regular(path)
    # Files of the system that have no size may wait for something to happen.
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes); copy it again")
    with path.open("rb") as handle:
        start = handle.read(132)
    form = _match_ending(path.name)
    # A file may be DICOM and TIFF at once (PS3.10 7.1 leaves room): its name decides.
    if form is not None and form.magic and start.startswith(form.magic):
        return form
    # DICOM files often have no ending.
    if start[128:] == b"DICM" or (form is None and find_data_set(path) is not None):
        return get_format("DICOM")
    if form is None:
        raise ImageFileError(_explain_unknown(path, start))
    if form.magic or (form.name == "DICOM" and _match_start(start)):
        raise ImageFileError(_explain_start(path, form, start))
    return form


def find_packer(start: bytes) -> str:
    """Return the program by which a file is packed that begins so.

    Parameters
    ----------
    start : bytes
        The first six bytes or more.

    Returns
    -------
    str
        Such as ``"gzip"``; empty where the file is not packed.
    """
    return next((name for magic, name in _PACKERS.items() if start.startswith(magic)), "")


def _find_folder_format(path: Path) -> Format:
    zarr = get_format("OME-Zarr")
    if path.name.lower().endswith(zarr.endings) or any((path / n).exists() for n in _ZARR_FOLDERS):
        return zarr
    return get_format("DICOM")


def _match_ending(name: str, *, writing: bool = False) -> Format | None:
    for form in FORMATS:
        if name.lower().endswith(form.endings) and (form.writer or not writing):
            return form
    return None


def _find_ending(name: str) -> str:
    """Return the longest ending of a format that a name has, empty if it has none."""
    found = [ending for ending in list_endings() if name.lower().endswith(ending)]
    return max(found, key=len, default="")


def _explain_start(path: Path, form: Format, start: bytes) -> str:
    """Return an error's text for a file that does not start as its ending says."""
    other = _match_start(start)
    if other:
        return f"{path} is named {form.name} but holds {other}"
    return (
        f"{path} does not start as {form.name} does ({start[:8].hex(' ')}): it is something else, "
        "or its start is damaged; open it with the program that wrote it"
    )


def _match_start(start: bytes) -> str:
    """Return what a file holds by its first bytes, and what to do; empty if they are unknown."""
    for form in FORMATS:
        if form.magic and start.startswith(form.magic):
            return f"{form.name}; give it that ending"
    for sign, kind in _OTHER_KINDS.items():
        if start.startswith(sign):
            return f"{kind}; unpack or convert it"
    return ""


def _explain_unknown(path: Path, start: bytes) -> str:
    """Return an error's text for a file whose name and first bytes say nothing."""
    pair = re.fullmatch(r"(.+)\.img(\.gz)?", path.name, re.IGNORECASE)
    stem = pair[1] if pair else ""
    for header in (path.with_name(stem + ending) for ending in (".hdr", ".HDR", ".hdr.gz")):
        if pair and header.exists():
            return f"{path} holds the pixels of a pair; open its header {header.name}"
    held = _match_start(start)
    if held:
        return f"{path} has no ending that is known and holds {held}"
    return f"{path} is of no known kind; known are {_join(list_endings())}"


def _join(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"
