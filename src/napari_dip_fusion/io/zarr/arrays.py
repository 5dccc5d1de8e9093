"""The arrays and the JSON of a Zarr folder are opened safely.

Zarr leaves the reading of chunks to codecs that the file names, some of which run
code from the file; only codecs of plain numbers are let through.
"""

import json
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

__all__ = ["load_json", "open_array", "report_zarr_damage"]

_MOST_JSON = 16 * 2**20
_CODECS = {
    *("blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "zstd"),
    *("adler32", "bitround", "bz2", "crc32", "delta", "fixedscaleoffset", "fletcher32"),
    *("lz4", "lzma", "packbits", "quantize", "shuffle", "zlib", "endian"),
}


def report_zarr_damage(path: Path) -> AbstractContextManager[None]:
    """Turn the errors that zarr and its codecs raise over a damaged folder into one.

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
    return report_damage(path, "read as OME-Zarr", advice="it is damaged")


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


def open_array(path: Path, root: Path) -> Any:
    """Open an array lazily, after a look at what opening it would run.

    Parameters
    ----------
    path : Path
        Folder of one array.
    root : Path
        The OME-Zarr folder, out of which no link may lead.

    Returns
    -------
    dask.array.Array
        With the chunks of the file.

    Raises
    ------
    ImageFileError
        If it is damaged, lies outside of `root`, holds no numbers, needs a codec that is
        not trusted, or has chunks that do not fit into memory.
    """
    import dask.array as da
    import zarr

    from napari_dip_fusion.io.zarr.store import CheckedStore

    names = _list_codecs(path, root)
    for name in names:
        if name not in _CODECS:
            raise ImageFileError(f"{path} is packed by {name!r}, which is not trusted here")
    folder = zarr.storage.LocalStore(path, read_only=True)
    array = zarr.open_array(CheckedStore(folder, root), mode="r")
    if array.dtype.kind not in "iufb":
        raise ImageFileError(f"{path} holds {array.dtype} values; convert them to numbers")
    count_declared_bytes(path, array.shape, array.dtype.itemsize)
    chunk_bytes = count_declared_bytes(path, array.chunks, array.dtype.itemsize)
    require_memory(path, chunk_bytes)
    if "blosc" in names:
        sharded = "sharding_indexed" in names
        store = CheckedStore(folder, root, chunk_bytes=chunk_bytes, sharded=sharded)
        array = zarr.open_array(store, mode="r")
    lazy: Any = da  # dask has no types
    meta = np.empty(0, array.dtype)
    return lazy.from_array(_ReportingArray(path, array), chunks=array.chunks, meta=meta)


@dataclass(frozen=True)
class _ReportingArray:
    """A Zarr array of which a broken chunk raises the error of this package.

    dask reads from it like from an array.
    """

    path: Path
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    def __getitem__(self, where: Any) -> NDArray[Any]:
        with report_zarr_damage(self.path):
            return np.asarray(self.array[where])


def _list_codecs(path: Path, root: Path) -> list[str]:
    """Return the names of all codecs that unpack the chunks of an array."""
    new, old = path / "zarr.json", path / ".zarray"
    if new.is_file():
        return _list_names(load_json(new, root).get("codecs") or [])
    if old.is_file():
        declared = load_json(old, root)
        return _list_names([declared.get("compressor"), *(declared.get("filters") or [])])
    raise ImageFileError(f"{path} holds neither zarr.json nor .zarray; the array is missing")


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
