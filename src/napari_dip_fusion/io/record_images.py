"""The images that a run record speaks of, as far as they are found.

A record is no image file: it names the sources by their paths and lies beside the
fused image.
"""

import warnings
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.files import read_images
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.record import read_record
from napari_dip_fusion.sources import Source

__all__ = ["ENDING", "read"]

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
    # A record may have been moved together with its sources.
    for path in (record.parent / stored, record.parent / Path(stored).name, Path(stored)):
        if path.exists():
            found = _read_or_warn(record, path)
            named = [image for image in found if image.name == name]
            return named or found
    warnings.warn(f"{record.name}: source {stored} is not found", stacklevel=3)
    return []


def _read_or_warn(record: Path, path: Path) -> list[Source]:
    try:
        return read_images(path)
    except ImageFileError as error:
        warnings.warn(f"{record.name}: {error}", stacklevel=4)
        return []


def _read_fused(record: Path, content: dict[str, Any]) -> Source | None:
    stem = record.name.removesuffix(ENDING)
    for ending in list_endings():
        path = record.with_name(stem + ending)
        if path.exists():
            known = {"record": content, "metrics": content.get("metrics", {})}
            # In a bundle the fused image comes last.
            for image in _read_or_warn(record, path)[-1:]:
                return image.replace(metadata={**image.metadata, "dip_fusion": known})
    warnings.warn(f"{record.name}: the fused image {stem} is not found beside it", stacklevel=3)
    return None
