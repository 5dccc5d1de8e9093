"""Refuse what a file declares before memory is set aside for it."""

import math
from collections.abc import Iterable
from pathlib import Path

import psutil

from napari_dip_fusion.errors import ImageFileError

# Deflate packs at most 1032 bytes into one.
DEFLATE_RATIO = 1032


def declared_bytes(path: Path, shape: Iterable[int], itemsize: int) -> int:
    """Return the bytes of a declared array, after checking that it can be one.

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


def refuse_packed(path: Path, nbytes: int, *, packed: int, ratio: float = DEFLATE_RATIO) -> None:
    """Refuse a declared size that the bytes of the file cannot hold.

    Parameters
    ----------
    path : Path
        The file, for the message.
    nbytes : int
        Declared size of the content.
    packed : int
        Bytes that are there to hold it.
    ratio : float
        The most that the compression can pack into one byte.

    Raises
    ------
    ImageFileError
        If `nbytes` exceeds what `packed` bytes can hold.
    """
    if nbytes > packed * ratio:
        raise ImageFileError(
            f"{path} declares {_size(nbytes)} of image but holds {_size(packed)}; "
            "the file is cut short or damaged, copy it again"
        )


def refuse_memory(path: Path, nbytes: int) -> None:
    """Refuse to hold more than the free memory of this machine.

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
    free = psutil.virtual_memory().available
    if nbytes > free:
        raise ImageFileError(
            f"{path} needs {_size(nbytes)} of memory, {_size(free)} are free; "
            "read a part of it, or a smaller version"
        )


def _size(nbytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.0f} TB"
