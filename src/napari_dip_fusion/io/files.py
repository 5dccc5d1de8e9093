"""Image files are read to sources and written from them, whatever their format is."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.atomic import write_atomically
from napari_dip_fusion.io.failures import report_failure
from napari_dip_fusion.io.formats import find_format, find_written_format, get_format
from napari_dip_fusion.io.streaming import make_sliceable
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import (
    choose_image,
    choose_level,
    choose_plane,
    require_plane,
)

__all__ = [
    "check_image",
    "is_bundle",
    "read_fused",
    "read_image",
    "read_images",
    "read_plane",
    "write_image",
    "write_images",
]


def read_images(path: str | os.PathLike[str]) -> list[Source]:
    """Read all images of a file or folder, large ones lazily.

    Parameters
    ----------
    path : path-like
        The file or folder; its ending says the format.

    Returns
    -------
    list of Source
        One for every channel and series.

    Raises
    ------
    ImageFileError
        If it cannot be read, with one line that says why and what to do.
    """
    path = Path(path)
    with report_failure(path):
        images: list[Source] = find_format(path).load_reader()(path)
    return images


def read_image(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    plane: int | str | None = None,
    level: int | None = None,
) -> Source:
    """Read one image of a file or folder: a plane, a volume or a series in its place.

    A large one is read lazily, as far as its format can: its pixels come from the file when
    they are asked for. What the file says of axes, place, units and display is read now.

    Parameters
    ----------
    path : path-like
        The file or folder; its ending says the format.
    channel : int or str, optional
        Which image, by index or name, where the file holds several.
    plane : int or str, optional
        Index on the one axis besides y and x, or ``"z=12"`` or ``"t=0,z=12"``.
    level : int, optional
        Which resolution, 0 being the full one, where the file holds several.

    Returns
    -------
    Source
        The image, without the axes on which a plane was chosen.

    Raises
    ------
    ImageFileError
        If it cannot be read, or holds several images and none was chosen.

    Examples
    --------
    >>> import tempfile
    >>> volume = Source(np.zeros((4, 8, 8), np.uint8), axes=("z", "y", "x"), units=("mm",) * 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_image(Path(folder, "head.nii.gz"), volume)
    ...     read_image(path).axes, read_image(path, plane="z=2").shape
    (('z', 'y', 'x'), (8, 8))
    """
    image = choose_level(choose_image(read_images(path), channel), level)
    return image if plane is None else choose_plane(image, plane)


def read_plane(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    plane: int | str | None = None,
    level: int | None = None,
) -> Source:
    """Read one plane into memory; axes of size one are dropped.

    Parameters
    ----------
    path, channel, plane, level
        As of :func:`read_image`.

    Returns
    -------
    Source
        Image with two axes.

    Raises
    ------
    ImageFileError
        If it cannot be read, or more than one plane is left; the message lists
        what there is.
    """
    image = require_plane(read_image(path, channel=channel, plane=plane, level=level))
    # A lazy image is read only here.
    with report_failure(Path(path)):
        return image.replace(data=image.to_numpy())


def read_fused(path: str | os.PathLike[str]) -> Source:
    """Read the image that a fusion wrote: of a bundle, the last one.

    Parameters
    ----------
    path : path-like
        The file or folder.

    Raises
    ------
    ImageFileError
        As of :func:`read_image`.
    """
    return read_images(path)[-1] if is_bundle(path) else read_image(path)


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file of this name holds a fused image with all that belongs to it."""
    return Path(path).name.lower().endswith(get_format("fusion bundle").endings)


def check_image(path: str | os.PathLike[str], image: Source) -> None:
    """Refuse an image that a file of this name cannot hold; nothing is read or written.

    Parameters
    ----------
    path : path-like
        The file or folder to write; its ending says the format.
    image : Source
        Its axes, place and type are looked at, not its pixels.

    Raises
    ------
    ImageFileError
        If the format cannot hold the image, or no format has this ending.
    """
    form = find_written_format(Path(path))
    _require_pixels(image)
    form.load_check()(image)


def write_image(
    path: str | os.PathLike[str],
    image: Source | NDArray[Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write an image whole or not at all.

    Parameters
    ----------
    path : path-like
        The file or folder; its ending says the format.
    image : Source or ndarray
        An array of shape (M, N, 3) or (M, N, 4) is taken as colors.
    overwrite : bool
        Whether what exists may be replaced.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ImageFileError
        If the format cannot hold the image, or the file cannot be written.
    """
    path = Path(path)
    if not isinstance(image, Source):
        image = _make_source(np.asarray(image))
    write = find_written_format(path).load_writer()
    _require_pixels(image)
    with write_atomically(path, overwrite=overwrite) as temporary:
        write(temporary, make_sliceable(image))
    return path


def write_images(
    path: str | os.PathLike[str],
    images: Sequence[Source],
    *,
    overwrite: bool = False,
) -> Path:
    """Write images that belong together as one fusion bundle, whole or not at all.

    Parameters
    ----------
    path : path-like
        File whose name ends in ``.fusion.ome.tif``.
    images : sequence of Source
        Sources, gains, consensus and fused image; the record lies in the metadata of
        the last.
    overwrite : bool
        Whether what exists may be replaced.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ImageFileError
        If the name does not fit, or an image cannot be held.
    """
    path = Path(path)
    if not is_bundle(path):
        raise ImageFileError(f"several images are written together as .fusion.ome.tif, got {path}")
    write_all = get_format("fusion bundle").load_writer("write_all")
    for image in images:
        _require_pixels(image)
    with write_atomically(path, overwrite=overwrite) as temporary:
        write_all(temporary, list(map(make_sliceable, images)))
    return path


def _require_pixels(image: Source) -> None:
    """Refuse an image without any pixel, over which each library fails in its own way."""
    if 0 in image.data.shape:
        raise ImageFileError(f"an image needs pixels, got shape {tuple(image.data.shape)}")


def _make_source(array: NDArray[Any]) -> Source:
    return Source(array, rgb=array.ndim == 3 and array.shape[-1] in (3, 4))
