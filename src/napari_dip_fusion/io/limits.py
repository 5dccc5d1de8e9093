"""What a file declares is checked before memory is set aside for it.

A damaged header, or a small file made to harm, may declare terabytes of pixels.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import psutil

from napari_dip_fusion.errors import ImageFileError

__all__ = ["DEFLATE_RATIO", "count_declared_bytes", "require_memory", "require_packed_bytes"]

DEFLATE_RATIO = 1032
"""The most bytes that deflate packs into one: two bits, at least, repeat 258 bytes."""


def count_declared_bytes(path: Path, shape: Iterable[int], itemsize: int) -> int:
    """Return the size of the array that a file declares, and refuse sizes below one.

    Parameters
    ----------
    path : Path
        The file, for the message.
    shape : iterable of int
        The declared sizes.
    itemsize : int
        Bytes of one element.

    Returns
    -------
    int
        The number of bytes.

    Raises
    ------
    ImageFileError
        If a size is not positive.
    """
    sizes = [int(size) for size in shape]
    if any(size < 1 for size in sizes):
        raise ImageFileError(f"{path} declares the size {tuple(sizes)}; the file is damaged")
    return math.prod(sizes) * itemsize


def require_packed_bytes(
    path: Path,
    nbytes: int,
    *,
    packed: int,
    ratio: float = DEFLATE_RATIO,
    advice: str = "the file is cut short or damaged, copy it again",
) -> None:
    """Raise an error unless the bytes of a file can hold the content that it declares.

    Parameters
    ----------
    path : Path
        The file, for the message.
    nbytes : int
        Declared size of the content.
    packed : int
        Bytes that are there to hold it.
    ratio : float
        The most bytes of content that the compression can pack into one.
    advice : str
        The end of the message.

    Raises
    ------
    ImageFileError
        If `nbytes` exceeds what `packed` bytes can hold.
    """
    if nbytes > packed * ratio:
        declared, held = _format_size(nbytes), _format_size(packed)
        if declared == held:
            declared, held = f"{nbytes} B", f"{packed} B"
        raise ImageFileError(f"{path} declares {declared} of image but holds {held}; {advice}")


def require_memory(path: Path, nbytes: int) -> None:
    """Raise an error unless the memory of this machine has room.

    Parameters
    ----------
    path : Path
        The file, for the message.
    nbytes : int
        Bytes that would be held at once.

    Raises
    ------
    ImageFileError
        If `nbytes` exceeds the memory that is free.
    """
    # What the system can give without swapping, caches of files included.
    free = psutil.virtual_memory().available
    if nbytes > free:
        raise ImageFileError(
            f"{path} needs {_format_size(nbytes)} of memory, {_format_size(free)} are free; "
            "read a part of it, or a smaller version"
        )


def _format_size(nbytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.0f} TB"
