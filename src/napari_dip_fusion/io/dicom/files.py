"""DICOM files are found among others."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.start import find_data_set

__all__ = ["find_dicom_files", "holds_dicom", "is_dicom"]

_MOST_FILES = 50_000
# Looking further into a folder of anything else would take long.
_MOST_LOOKED_AT = 200


def is_dicom(path: Path) -> bool:
    """Tell whether a file can be read and holds a data set of DICOM, by its first bytes.

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
        return find_data_set(path) is not None
    except (ImageFileError, OSError):
        return False


def holds_dicom(path: Path) -> bool:
    """Tell whether one of the first files in or below a folder is a DICOM file.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    bool
        False also where a DICOM file comes after 200 others.

    Raises
    ------
    ImageFileError
        If there are too many hidden files to look at.
    """
    return any(map(is_dicom, islice(_list_files(path), _MOST_LOOKED_AT)))


def find_dicom_files(path: Path) -> list[Path]:
    """Return all files in and below a folder that are DICOM files, or are named so.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    list of Path
        In the order of their names, one at least. A damaged file is among them if its name
        ends like that of a DICOM file, and one that may not be read if no other was found,
        so that it can be reported.

    Raises
    ------
    ImageFileError
        If there are more than 50,000 files and folders, or none of them is a DICOM file.
    """
    # All are counted before the first one is opened.
    files = list(_list_files(path))
    found = [file for file in files if is_dicom(file) or _is_named_dicom(file)]
    closed = [file for file in files if not os.access(file, os.R_OK)]
    if found or closed:
        return found or closed
    looked = f"{len(files)} other files, such as {files[0].name}" if files else "nothing at all"
    raise ImageFileError(
        f"{path} holds no DICOM files; name the folder of one study (in it are {looked})"
    )


def _is_named_dicom(path: Path) -> bool:
    return path.suffix.lower() in (".dcm", ".dicom")


def _list_files(path: Path) -> Iterator[Path]:
    number = 0
    for folder, folders, files in os.walk(path):
        folders.sort()
        number += 1 + len(files)
        if number > _MOST_FILES:
            raise ImageFileError(
                f"{path} holds more than {_MOST_FILES} files and folders; name the folder of one "
                "study"
            )
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(folder, name)
