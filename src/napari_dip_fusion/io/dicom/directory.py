"""A DICOMDIR names the files of a disk or an archive (PS3.10 8, PS3.3 F)."""

import warnings
from pathlib import Path

import pydicom

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.files import is_dicom
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.io.regular import require_inside
from napari_dip_fusion.io.silence import silence_warnings

__all__ = ["list_named_files"]


def list_named_files(path: Path) -> list[Path]:
    """Return the files that a DICOMDIR names, or any other file itself.

    Parameters
    ----------
    path : Path
        A file; as the standard demands, only one of the name DICOMDIR is taken for such a
        list.

    Returns
    -------
    list of Path
        In the order of the list, without those that are not there: a warning counts them.

    Raises
    ------
    ImageFileError
        If none of them is there, or one lies outside of the folder.
    """
    if path.name.upper() != "DICOMDIR" or not is_dicom(path):
        return [path]
    require_memory(path, 8 * path.stat().st_size)
    with report_damage(path, "read as DICOMDIR"), silence_warnings():
        records = pydicom.dcmread(path, force=True).get("DirectoryRecordSequence") or []
        named = [record.get("ReferencedFileID") for record in records]
        files = [_find_file(path.parent, parts) for parts in named if parts]
    found = [file for file in files if file.is_file()]
    lost = [file for file in files if not file.is_file()]
    if not found:
        raise ImageFileError(
            f"{path} is a DICOMDIR, a list of files, and none of the {len(files)} files that it "
            "names is there; open the folder that holds the images"
        )
    if lost:
        warnings.warn(
            f"{path} names {len(lost)} files that are not there, such as {lost[0]}", stacklevel=2
        )
    return found


def _find_file(folder: Path, parts: str | list[str]) -> Path:
    """Return the file of a list, whose name disks may write in small letters."""
    names = [parts] if isinstance(parts, str) else [str(part) for part in parts]
    paths = [folder.joinpath(*names), folder.joinpath(*(name.lower() for name in names))]
    for path in paths:
        if not path.is_relative_to(folder):  # an absolute name
            raise ImageFileError(f"{folder} holds a list that names {path}, which is not read")
        require_inside(folder, path)
    return next((path for path in paths if path.is_file()), paths[0])
