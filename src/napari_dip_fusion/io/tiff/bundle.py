"""A bundle is a fusion in one file: its sources, gains, consensus, fused image and record.

The file is an OME-TIFF that any program opens; the record and the metrics lie in
the metadata of the fused image, under ``"dip_fusion"``.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.tiff import ome
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source

__all__ = [
    "check",
    "find_changed_sources",
    "find_record",
    "is_own",
    "read",
    "write",
    "write_all",
]

# Stacks of more planes than this are not compared with the record: it would take long.
_MOST_PLANES = 512


def read(path: Path) -> list[Source]:
    """Read a bundle, every image as it was.

    A source that is not the one that was fused, by its hash in the record, is warned of.

    Parameters
    ----------
    path : Path
        ``.fusion.ome.tif`` file.

    Returns
    -------
    list of Source
        In the order in which they were written.

    Raises
    ------
    ImageFileError
        If the file is damaged, or was not written by this program.
    """
    if not is_own(path):
        raise ImageFileError(f"{path} was not written by this program; open it as .ome.tif")
    images = ome.read(path)
    for problem in find_changed_sources(images):
        warnings.warn(f"{path.name}: {problem}", stacklevel=2)
    return images


def check(image: Source) -> None:
    """Refuse an image that a bundle cannot hold, as :func:`.check_image` asks."""
    ome.check(image)


def write(path: Path, image: Source) -> None:
    """Write a bundle of one image; see :func:`write_all`."""
    write_all(path, [image])


def write_all(path: Path, images: Sequence[Source]) -> None:
    """Write images that belong together.

    Parameters
    ----------
    path : Path
        File to write.
    images : sequence of Source
        In any order and of any sizes.

    Raises
    ------
    ImageFileError
        If there is none, or OME-TIFF cannot hold one.
    """
    if not images:
        raise ImageFileError("a bundle needs at least one image, got none")
    ome.write_all(path, images)


def is_own(path: Path) -> bool:
    """Tell whether an OME-TIFF was written by this program.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        False also for a file that cannot be read.
    """
    try:
        return ome.is_own(path)
    except (ImageFileError, OSError):
        return False


def find_record(image: Source) -> dict[str, Any] | None:
    """Return the run record in an image's metadata, if there is one.

    Parameters
    ----------
    image : Source
        Such as the fused image of a bundle.

    Returns
    -------
    dict or None
        The record.
    """
    known = image.metadata.get("dip_fusion")
    record = known.get("record") if isinstance(known, dict) else None
    return record if isinstance(record, dict) else None


def find_changed_sources(images: Sequence[Source]) -> list[str]:
    """Compare the sources of a bundle with the hashes in its record.

    Parameters
    ----------
    images : sequence of Source
        All images of a bundle.

    Returns
    -------
    list of str
        A warning for each source that is stored under its name, but not as it was
        fused. None of a fusion block by block, whose hashes are of what each block read: such
        sources may be larger than memory, and are not read whole to be compared.
    """
    problems = []
    for record in filter(None, map(find_record, images)):
        for entry in _list_sources(record):
            stored = [image for image in images if image.name == entry.get("name")]
            if stored and not any(_may_hold(image, entry) for image in stored):
                problems.append(
                    f"{entry.get('name')} is not what the run record says was fused; it was "
                    "changed since, or resampled for the fusion"
                )
    return problems


def _list_sources(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a record's sources that can be compared."""
    sources = record.get("sources")
    known = sources if isinstance(sources, list) and "blocks" not in record else []
    return [s for s in known if isinstance(s, dict) and isinstance(s.get("shape"), list)]


def _may_hold(image: Source, entry: dict[str, Any]) -> bool:
    """Tell whether a plane of an image has the hash of a record's entry, or nobody looked."""
    # A source was a plane of a stack where the record's shape has fewer axes.
    shape, full = tuple(entry["shape"]), tuple(image.data.shape)
    leading = full[: len(full) - len(shape)]
    if not shape or full[len(leading) :] != shape:
        return False
    planes = (np.asarray(image.data[index]) for index in np.ndindex(leading))
    return math.prod(leading) > _MOST_PLANES or any(
        array_sha256(plane) == entry.get("sha256") for plane in planes
    )
