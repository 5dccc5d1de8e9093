"""Only files that hold data are opened: no pipes, devices or sockets, nor files outside a store.

To open a pipe waits for whoever writes to it, and some devices never end.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from napari_dip_fusion.errors import ImageFileError

__all__ = ["require_inside", "require_regular"]

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def require_regular(path: Path) -> None:
    """Raise an error unless a path, or what it links to, is a plain file; it is not opened.

    Parameters
    ----------
    path : Path
        What is to be opened.

    Raises
    ------
    ImageFileError
        If it is anything but a file.
    OSError
        If it is not there, or may not be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no plain file")
        raise ImageFileError(f"{path} is {kind}, which is not read; name a file of images")


def require_inside(folder: Path, path: Path) -> None:
    """Raise an error for a path that links lead out of a folder, or that is no plain file.

    A folder from elsewhere could pass off any file of this machine as an image.

    Parameters
    ----------
    folder : Path
        What was named, such as an OME-Zarr folder; it may itself be a link.
    path : Path
        A path within, which need not exist.

    Raises
    ------
    ImageFileError
        If it leads out of the folder, or is anything but a file.
    """
    # Only a link makes the way to the real place worth its time: stores have many chunks.
    if _has_link(folder, path):
        real = os.path.realpath(path)
        if not Path(real).is_relative_to(os.path.realpath(folder)):
            raise ImageFileError(f"{path} is a link out of {folder}, to {real}, which is not read")
    with suppress(FileNotFoundError, NotADirectoryError):
        require_regular(path)


def _has_link(folder: Path, path: Path) -> bool:
    """Tell whether a step from a folder to a path below it is a link, or leads up."""
    here = os.fspath(folder)
    for part in path.relative_to(folder).parts:
        here = os.path.join(here, part)
        if part == ".." or os.path.islink(here):
            return True
    return False
