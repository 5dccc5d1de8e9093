"""TIFF files are opened safely, with whatever other files their images lie in."""

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.regular import require_regular
from napari_dip_fusion.io.silence import relay_messages, silence_logger
from napari_dip_fusion.io.tiff.ome_xml import list_named_files

__all__ = ["check_named_files", "listen", "open_tiff", "report_tiff_damage", "require_own_folder"]

# Fields without which pixels or their place would be others: sizes, samples, pieces, the
# description, resolution and colors.
_NEEDED = {256, 257, 258, 259, 262, 270, 273, 277, 279, 282, 283, 320, 324, 325, 338, 339}
# Bytes of each type of a field, where they are not one.
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_HARMLESS = (
    # Files of one image are opened in turn.
    "reading array from closed file",
    # Missing planes and files are counted and named by this package.
    "MMStack is missing",
    "ImageJ series metadata invalid",
    "OME series (failed to read|is missing|contains index|contains invalid|cannot)",
    # Pieces that are too few are refused; superfluous ones are no part of the image.
    "incorrect (Strip|Tile)(Offsets|ByteCounts) count",
    # All pages were met before the chain of pages led back to one of them.
    "invalid circular reference",
    # Fields that hold no pixels and no place.
    "GDAL_NODATA|GeoKeyDirectory|coercing invalid ASCII|invalid self.subfiletype|tags> raised",
    "<tifffile.(read_micromanager_metadata|read_exif|read_gps|read_json|read_utf8|read_bytes)",
    # Labels and ranges of a display.
    "tifffile.imagej_metadata|tifffile.imagej_shape|ImageJ series of unknown order",
    # Compressed pieces are decoded all the same.
    "ignoring predictor|disabling",
)


def report_tiff_damage(path: Path) -> AbstractContextManager[None]:
    """Turn the errors that tifffile raises over a damaged file into one.

    Parameters
    ----------
    path : Path
        The file, for the message.

    Returns
    -------
    context manager
        Raises ImageFileError for any error of its block but those of the file system and of
        memory, and warnings that are to be errors.
    """
    return report_damage(path, "read as TIFF", unchanged=(OSError, MemoryError, Warning))


@contextmanager
def open_tiff(path: Path, *, quiet: bool = False, **options: Any) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file, and turn all that its damage can raise into one error.

    Parameters
    ----------
    path : Path
        The file.
    quiet : bool
        Whether what tifffile says of the file has been passed on before.
    **options
        Options of :class:`tifffile.TiffFile`, such as another OME-XML.

    Yields
    ------
    tifffile.TiffFile
        The open file.

    Raises
    ------
    ImageFileError
        If the file is damaged or no plain file, or names parts that are not read.
    """
    require_regular(path)
    with report_tiff_damage(path), ExitStack() as stack:
        with listen(path, quiet=quiet):
            tif = stack.enter_context(tifffile.TiffFile(path, **options))
            # Each page points at the next one. Counting finds where the chain ends, also if
            # it leads back to an earlier page.
            if len(tif.pages) < 1:
                raise ImageFileError(f"{path} holds no pages; the file is damaged")
            _check_directory(path, tif)
        check_named_files(path, tif)
        with silence_logger("tifffile"):
            yield tif


@contextmanager
def listen(path: Path, *, told: set[str] | None = None, quiet: bool = False) -> Iterator[None]:
    """Pass on what tifffile says of a file in the block, or keep it back.

    Parameters
    ----------
    path : Path
        The file.
    told : set of str, optional
        What was passed on of this file before, as of :func:`.relay_messages`.
    quiet : bool
        Whether all of it was passed on before.
    """
    if quiet:
        with silence_logger("tifffile"):
            yield
        return
    about, loggers = path.name, ("tifffile",)
    with relay_messages(about, "tifffile", loggers=loggers, harmless=_HARMLESS, told=told):
        yield


def require_own_folder(path: Path, name: str) -> Path:
    """Return the file that a TIFF file names as a part of it; it may be missing.

    Parameters
    ----------
    path : Path
        The file that names it.
    name : str
        The name in it.

    Returns
    -------
    Path
        A file in the same folder or below.

    Raises
    ------
    ImageFileError
        If it lies elsewhere, or is no plain file.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise ImageFileError(f"{path} points out of its folder ({name!r}); it is not read")
    if (path.parent / name).exists():
        require_regular(path.parent / name)
    return path.parent / name


def _check_directory(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuse a file that ends before the fields by which its pixels are understood.

    tifffile leaves out a field whose value lies beyond the end.
    """
    big, file = tif.is_bigtiff, tif.filehandle
    count, entry = ("Q", "HHQQ") if big else ("H", "HHII")
    file.seek(tif.pages.first.offset)
    number = struct.unpack(tif.byteorder + count, file.read(8 if big else 2))[0]
    size = struct.calcsize(tif.byteorder + entry)
    content = file.read(size * number)
    for code, kind, length, start in struct.iter_unpack(tif.byteorder + entry, content):
        nbytes = length * _TYPE_BYTES.get(kind, 1)
        # Shorter values stand in the entry itself; Hamamatsu's offsets have 64 bits elsewhere.
        beyond = nbytes > (8 if big else 4) and start + nbytes > file.size
        if code in _NEEDED and beyond and not tif.is_ndpi:
            raise ImageFileError(
                f"{path} places its field {tifffile.TIFF.TAGS[int(code)]} up to byte "
                f"{start + nbytes} but ends at byte {file.size}; it is cut short or damaged, copy "
                "it again"
            )


def check_named_files(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuse an image that spreads over what are no files, or lie in other folders.

    tifffile opens whatever the OME-XML, or the index of Micro-Manager, names as a part of it.

    Parameters
    ----------
    path : Path
        The file.
    tif : tifffile.TiffFile
        The open file, whose series were not looked at yet.

    Raises
    ------
    ImageFileError
        If a file that it names lies elsewhere, or is no plain file.
    """
    names = list_named_files(tif.ome_metadata or "")
    if tif.is_micromanager:
        names += [file.name for file in path.parent.glob("*_MMStack*.tif")]
    for name in names:
        require_own_folder(path, name)
    index = path.parent / "NDTiff.index"
    if tif.is_micromanager and index.exists():
        require_regular(index)
        for name in {name for _, name, *_ in tifffile.read_ndtiff_index(index)}:
            # tifffile opens each of them, of which it does not say the name.
            if not require_own_folder(path, name).exists():
                raise ImageFileError(f"{index} names {name}, which is missing; put it beside it")
