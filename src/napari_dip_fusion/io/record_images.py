"""The images that a run record speaks of, as far as they are found.

A record is no image file: it names the sources by their paths and lies beside the
fused image.
"""

import warnings
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.files import read_images
from napari_dip_fusion.io.formats import find_format, list_endings
from napari_dip_fusion.io.regular import require_regular
from napari_dip_fusion.record import read_record
from napari_dip_fusion.sources import Source

__all__ = ["ENDING", "find_source", "read"]

ENDING = ".record.json"


def read(path: Path) -> list[Source]:
    """Read the sources that a record names, and the fused image beside it.

    An image that is not found is warned of.

    Parameters
    ----------
    path : Path
        ``NAME.record.json``; the fused image is ``NAME`` with any known ending.

    Returns
    -------
    list of Source
        The sources in their order, then the fused image, whose metadata hold the
        record under ``"dip_fusion"``.

    Raises
    ------
    ImageFileError
        If the file is no run record, or none of its images is found.
    """
    try:
        record = read_record(path)
    except (ValueError, OSError) as error:
        raise ImageFileError(f"{path}: {error}") from error
    images = [image for entry in record["sources"] for image in _read_source(path, entry)]
    fused = _read_fused(path, record)
    if not images and fused is None:
        raise ImageFileError(
            f"{path}: none of its images is found; put the record beside them, or open them first"
        )
    return images if fused is None else [*images, fused]


def _read_source(record: Path, entry: Any) -> list[Source]:
    """Return the image that an entry of the record's sources names, or all of its file."""
    name, stored = (
        (entry.get("name"), entry.get("path")) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(stored, str):
        warnings.warn(f"{record.name}: source {name} came from no file", stacklevel=3)
        return []
    try:
        path = find_source(record, stored)
    except ImageFileError as error:
        warnings.warn(str(error), stacklevel=3)
        return []
    found = _read_or_warn(record, path)
    named = [image for image in found if image.name == name]
    return named or found


def find_source(record: Path, stored: str, *, what: str = "source") -> Path:
    """Return the file or folder of a source that a record names.

    Records come from elsewhere: they may name what is there on any machine, to be searched
    or waited for without end.

    Parameters
    ----------
    record : Path
        The file of the record.
    stored : str
        A path as it stands there; a relative one starts in the folder of the record. A record
        may have been moved together with its sources.
    what : str
        What an error calls it, where it is a mask and no source.

    Returns
    -------
    Path
        A plain file of any kind, or a folder of images.

    Raises
    ------
    ImageFileError
        If it is not found, or is something else.
    """
    name = Path(stored).name
    if name in ("", ".."):
        raise ImageFileError(f"{record.name}: the {what} {stored!r} is no file of images")
    for path in (record.parent / stored, record.parent / name, Path(stored)):
        if path.is_dir():
            _require_images(record, path, what)
            return path
        if path.exists():
            require_regular(path)
            return path
    raise ImageFileError(f"{record.name}: {what} {stored} is not found; put it beside the record")


def _require_images(record: Path, folder: Path, what: str) -> None:
    """Refuse a folder unless it is an OME-Zarr, or DICOM files are among its first ones."""
    from napari_dip_fusion.io.dicom.files import holds_dicom

    if find_format(folder).name == "DICOM" and not holds_dicom(folder):
        raise ImageFileError(f"{record.name}: the {what} {folder} is a folder without images")


def _read_or_warn(record: Path, path: Path) -> list[Source]:
    try:
        return read_images(path)
    except ImageFileError as error:
        warnings.warn(f"{record.name}: {error}", stacklevel=4)
        return []


def _read_fused(record: Path, content: dict[str, Any]) -> Source | None:
    stem = record.name[: -len(ENDING)]
    for ending in list_endings():
        path = record.with_name(stem + ending)
        if path.exists():
            known = {"record": content, "metrics": content.get("metrics", {})}
            # In a bundle the fused image comes last.
            for image in _read_or_warn(record, path)[-1:]:
                return image.replace(metadata={**image.metadata, "dip_fusion": known})
    warnings.warn(f"{record.name}: the fused image {stem} is not found beside it", stacklevel=3)
    return None
