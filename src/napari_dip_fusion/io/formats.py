"""Which module reads and writes which file, and the errors common to all of them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.atomic import replacing
from napari_dip_fusion.io.failures import report_failure
from napari_dip_fusion.sources import Source

__all__ = [
    "FORMATS",
    "Format",
    "known_endings",
    "read_image",
    "read_images",
    "read_plane",
    "write_image",
    "write_images",
]


@dataclass(frozen=True)
class Format:
    """A family of files.

    Parameters
    ----------
    name : str
        Name for people.
    module : str
        Module of this package that reads and writes it.
    endings : tuple of str
        Lower-case ends of the file name.
    magic : tuple of bytes
        How such a file starts; empty where there is no such sign.
    writes : bool
        Whether the module can write it.
    """

    name: str
    module: str
    endings: tuple[str, ...]
    magic: tuple[bytes, ...] = ()
    writes: bool = True

    def load(self, function: str) -> Callable[..., Any]:
        """Return a function of the module, imported now."""
        module = import_module(f"napari_dip_fusion.io.{self.module}")
        return getattr(module, function)  # type: ignore[no-any-return]


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# The first whose ending fits is taken: longer endings stand before shorter ones.
FORMATS = (
    Format("NIfTI", "nifti", (".nii.gz", ".nii")),
    Format("DICOM", "dicom.series", (".dcm", ".dicom"), writes=False),
    Format("OME-Zarr", "zarr.ome", (".ome.zarr", ".zarr")),
    Format("fusion bundle", "tiff.bundle", (".fusion.ome.tif",), _TIFF),
    Format("OME-TIFF", "tiff.ome", (".ome.tif", ".ome.tiff"), _TIFF),
    Format("TIFF", "tiff.plain", (".tif", ".tiff"), _TIFF),
    Format("PNG", "raster", (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Format("JPEG", "raster", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), writes=False),
    Format("BMP", "raster", (".bmp",), (b"BM",), writes=False),
)
_BUNDLE, _DICOM, _ZARR = (
    next(form for form in FORMATS if form.module == module)
    for module in ("tiff.bundle", "dicom.series", "zarr.ome")
)
_ZARR_FILES = ("zarr.json", ".zgroup")


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
        images: list[Source] = _identify(path).load("read")(path)
    return images


def read_image(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    plane: int | str | None = None,
    level: int | None = None,
) -> Source:
    """Read one image of a file or folder.

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
        The image, with the chosen planes' axes dropped.

    Raises
    ------
    ImageFileError
        If it cannot be read, or holds several images and none was chosen.
    """
    from napari_dip_fusion.sources.parts import choose_image, choose_level, choose_plane

    image = choose_level(choose_image(read_images(path), channel), level)
    return image if plane is None else choose_plane(image, plane)


def read_plane(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    plane: int | str | None = None,
    level: int | None = None,
) -> Source:
    """Read one plane, in memory; axes of size one are dropped.

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
    from napari_dip_fusion.sources.parts import require_plane

    image = require_plane(read_image(path, channel=channel, plane=plane, level=level))
    with report_failure(Path(path)):
        return image.replace(data=image.to_numpy())


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
        An array of shape (M, N, 3) or (M, N, 4) is taken as colours.
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
        image = _as_image(np.asarray(image))
    form = _by_ending(path.name, writing=True)
    if form is None:
        known = _phrase(known_endings(writing=True))
        raise ImageFileError(f"{path} has no ending that can be written; use {known}")
    write = form.load("write")
    with replacing(path, overwrite=overwrite) as temporary:
        write(temporary, image)
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
    if not path.name.lower().endswith(_BUNDLE.endings):
        raise ImageFileError(f"several images are written together as .fusion.ome.tif, got {path}")
    write_all = _BUNDLE.load("write_all")
    with replacing(path, overwrite=overwrite) as temporary:
        write_all(temporary, images)
    return path


def known_endings(*, writing: bool = False) -> tuple[str, ...]:
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
    forms = [form for form in FORMATS if form.writes or not writing]
    return tuple(ending for form in forms for ending in form.endings)


def _phrase(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _as_image(array: NDArray[Any]) -> Source:
    return Source(array, rgb=array.ndim == 3 and array.shape[-1] in (3, 4))


def _by_ending(name: str, *, writing: bool = False) -> Format | None:
    for form in FORMATS:
        if name.lower().endswith(form.endings) and (form.writes or not writing):
            return form
    return None


def _identify(path: Path) -> Format:
    if path.is_dir():
        return _identify_folder(path)
    if not path.exists():
        raise ImageFileError(f"{path} does not exist; check the name")
    with path.open("rb") as handle:
        start = handle.read(132)
    if not start:
        raise ImageFileError(f"{path} is empty (0 bytes); copy it again")
    form = _DICOM if start[128:] == b"DICM" else _by_ending(path.name)
    if form is None:
        raise ImageFileError(f"{path} is of no known kind; known are {_phrase(known_endings())}")
    if form.magic and not start.startswith(form.magic):
        raise ImageFileError(_wrong_start(path, form, start))
    return form


def _identify_folder(path: Path) -> Format:
    if path.name.lower().endswith(_ZARR.endings) or any((path / n).exists() for n in _ZARR_FILES):
        return _ZARR
    return _DICOM


def _wrong_start(path: Path, form: Format, start: bytes) -> str:
    for other in FORMATS:
        if other.magic and start.startswith(other.magic):
            return f"{path} is named {form.name} but holds {other.name}; give it that ending"
    return f"{path} does not start as {form.name} does ({start[:8].hex(' ')}); it is damaged"
