"""The arrays and the JSON of a Zarr folder are opened safely.

Zarr leaves the reading of chunks to codecs that the file names, some of which run
code from the file; only codecs of plain numbers are let through.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import count_declared_bytes, require_memory
from napari_dip_fusion.io.regular import require_inside
from napari_dip_fusion.io.silence import relay_messages, silence_warnings
from napari_dip_fusion.io.zarr.chunks import find_separator, find_stored_planes
from napari_dip_fusion.sources.views import View

__all__ = ["StoredArray", "holds_array", "load_json", "open_array", "report_zarr_damage"]

_MOST_JSON = 16 * 2**20
# Of more chunks than these not each is looked for.
_MOST_CHUNKS = 1000
_CODECS = {
    *("blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "zstd"),
    *("adler32", "bitround", "bz2", "crc32", "delta", "fixedscaleoffset", "fletcher32"),
    *("lz4", "lzma", "packbits", "quantize", "shuffle", "zlib", "endian"),
}

_HARMLESS = (
    # Codecs of Zarr 2 within Zarr 3 are not in its standard, but zarr reads them.
    "not in the Zarr version 3 specification",
    # Other ways to write that there is nothing: zarr reads them right.
    "Found an empty list of filters",
    # Folders that were converted in place; their chunks are those of Zarr 3.
    r"Both zarr\.json .* and \.zarray",
)


def report_zarr_damage(path: Path) -> AbstractContextManager[None]:
    """Turn the errors that zarr and its codecs raise over a folder into one.

    Parameters
    ----------
    path : Path
        The folder, for the message.

    Returns
    -------
    context manager
        Raises ImageFileError for any error of its block but those of the file system
        and of memory.
    """
    advice = "it is damaged, or made in a way that is not known here"
    return report_damage(path, "read as OME-Zarr", advice=advice)


def load_json(path: Path, root: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Parameters
    ----------
    path : Path
        Such as ``zarr.json``.
    root : Path
        The OME-Zarr folder, out of which no link may lead.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    ImageFileError
        If the file is too large, lies outside of `root`, or holds no JSON object.
    """
    require_inside(root, path)
    if path.stat().st_size > _MOST_JSON:
        raise ImageFileError(f"{path} is larger than metadata can be; it is damaged")
    # Deeply nested brackets end in RecursionError.
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ImageFileError(f"{path} is no JSON ({error}); it is damaged") from error
    if not isinstance(found, dict):
        raise ImageFileError(f"{path} must hold a JSON object; it is damaged")
    return found


@dataclass(frozen=True)
class StoredArray:
    """An array of a Zarr folder.

    Attributes
    ----------
    path : Path
        Folder of the array.
    data : View
        Its pixels, of which nothing is read yet.
    array : zarr.Array
        What zarr makes of it.
    rename : tuple of str
        What stands between the numbers of a chunk by the metadata, and in the folder.
    """

    path: Path
    data: View
    array: Any
    rename: tuple[str, str]

    @property
    def fill_value(self) -> Any:
        """What pixels are of which no chunk is stored."""
        # Zarr 2 may declare null: zarr then reads zeros.
        value = self.array.fill_value
        return 0 if value is None else value

    @property
    def file_shape(self) -> tuple[int, ...]:
        """Size of what a file holds: a chunk, or a shard of many."""
        return tuple(self.array.shards or self.array.chunks)

    def find_stored(self, plane: Sequence[int]) -> tuple[NDArray[np.bool_] | None, list[int]]:
        """Tell which chunks are stored, or of which planes any where the chunks are many.

        Parameters
        ----------
        plane : sequence of int
            The axes that a plane extends along.

        Returns
        -------
        stored : ndarray of bool or None
            None where it would take too long to tell.
        axes : list of int
            The axes along which it counts chunks.
        """
        grid = [-(-n // size) for n, size in zip(self.array.shape, self.file_shape, strict=True)]
        plane = [] if math.prod(grid) <= _MOST_CHUNKS else plane
        encode = self.array.metadata.encode_chunk_key
        stored = find_stored_planes(
            self.path, grid, plane, lambda n: encode(n).replace(*self.rename)
        )
        return stored, [n for n in range(len(grid)) if n not in plane]


def holds_array(path: Path, root: Path) -> bool:
    """Tell whether a folder is there that holds an array.

    Parameters
    ----------
    path : Path
        The folder.
    root : Path
        The OME-Zarr folder, out of which no link may lead.

    Returns
    -------
    bool
        Whether one of the files is there that describe an array.

    Raises
    ------
    ImageFileError
        If it is a link out of the root.
    """
    for name in ("zarr.json", ".zarray"):
        require_inside(root, path / name)
    return (path / "zarr.json").is_file() or (path / ".zarray").is_file()


def open_array(path: Path, root: Path) -> StoredArray:
    """Open an array lazily, after a look at what opening it would run.

    Parameters
    ----------
    path : Path
        Folder of one array.
    root : Path
        The OME-Zarr folder, out of which no link may lead.

    Returns
    -------
    StoredArray
        Its pixels are unpacked when they are asked for.

    Raises
    ------
    ImageFileError
        If it is damaged, lies outside of `root`, holds no numbers, needs a codec that is
        not trusted, or has chunks that do not fit into memory.
    """
    import zarr

    from napari_dip_fusion.io.zarr.store import CheckedStore

    declared = _load_declaration(path, root)
    names = _list_trusted_codecs(path, declared)
    # Other processes that read from it may work in other folders.
    folder, root = zarr.storage.LocalStore(path.absolute(), read_only=True), root.absolute()
    rename = _find_rename(path, declared)
    options: dict[str, Any] = {"rename": rename}
    with relay_messages(str(path), "zarr", harmless=_HARMLESS):
        array = zarr.open_array(CheckedStore(folder, root, **options), mode="r")
    chunk_bytes = _check_array(path, array)
    if "blosc" in names:
        options |= {"chunk_bytes": chunk_bytes, "sharded": "sharding_indexed" in names}
        # What zarr warns of has been said.
        with silence_warnings():
            array = zarr.open_array(CheckedStore(folder, root, **options), mode="r")
    return StoredArray(path, View(_ReportingArray(path, array)), array, rename)


def _check_array(path: Path, array: Any) -> int:
    """Return the bytes of a chunk, and refuse what holds no numbers or too many of them."""
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "iufb":
        raise ImageFileError(f"{path} holds {dtype} values; convert them to numbers")
    count_declared_bytes(path, array.shape, dtype.itemsize)
    chunk_bytes = count_declared_bytes(path, array.chunks, dtype.itemsize)
    require_memory(path, chunk_bytes)
    return chunk_bytes


def _find_rename(path: Path, declared: Mapping[str, Any]) -> tuple[str, str]:
    """Return how the names of chunks differ from what the metadata say."""
    # Zarr 3 has always said how chunks are named.
    if "zarr_format" in declared and declared["zarr_format"] != 2:
        return "/", "/"
    separator = str(declared.get("dimension_separator") or ".")
    return separator, find_separator(path, separator)


@dataclass(frozen=True)
class _ReportingArray:
    """A Zarr array of which a broken chunk raises the error of this package."""

    path: Path
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.array.chunks)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype).newbyteorder("=")
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    def __getitem__(self, where: Any) -> NDArray[Any]:
        with report_zarr_damage(self.path):
            # Some steps that follow know the byte order of the machine only.
            return np.asarray(self.array[where], dtype=self.dtype)


def _load_declaration(path: Path, root: Path) -> dict[str, Any]:
    """Return what the metadata of an array declare, of Zarr 3 or 2."""
    for name in ("zarr.json", ".zarray"):
        if (path / name).is_file():
            return load_json(path / name, root)
    raise ImageFileError(f"{path} holds neither zarr.json nor .zarray; the array is missing")


def _list_trusted_codecs(path: Path, declared: Mapping[str, Any]) -> list[str]:
    """Return the names of all codecs that unpack the chunks of an array, none of them unknown."""
    old = [declared.get("compressor"), *(declared.get("filters") or [])]
    names = _list_names(declared["codecs"] or [] if "codecs" in declared else old)
    for name in names:
        if name not in _CODECS:
            raise ImageFileError(f"{path} is packed by {name!r}, which is not trusted here")
    return names


def _list_names(codecs: list[Any]) -> list[str]:
    """Return the names of codecs, and of those that they hold (a shard holds chunks)."""
    found = []
    for codec in codecs:
        if codec is not None:
            # Zarr 2 calls the name of a codec its id.
            found.append(str(codec.get("id") or codec.get("name")).removeprefix("numcodecs."))
            inner = codec.get("configuration") or {}
            found += _list_names([*inner.get("codecs", []), *inner.get("index_codecs", [])])
    return found
