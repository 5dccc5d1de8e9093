"""A Zarr store that lets no broken Blosc chunk through, and follows no link out of its folder.

The decoder of Blosc believes what the header of a chunk says of its size: a damaged
one makes it read beyond the chunk, which ends the process. So the header is compared
with the chunk before it is decoded.
"""

from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, RangeByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.regular import require_inside

__all__ = ["CheckedStore", "is_sound_blosc"]

# Bytes of the header of c-blosc: four of versions, flags and type size, then three numbers of
# four bytes each (README_CHUNK_FORMAT of c-blosc).
_HEADER = 16
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
# Filters before Blosc may turn values of one byte into eight.
_WIDENING = 8


class CheckedStore(WrapperStore[LocalStore]):
    """A folder of one array.

    Parameters
    ----------
    store : LocalStore
        The folder.
    root : Path
        The OME-Zarr folder that it is part of, out of which no link may lead.
    chunk_bytes : int, optional
        Bytes of an unpacked chunk, where chunks are packed by Blosc.
    sharded : bool
        Whether a file holds many chunks and their index.
    rename : tuple of str
        What stands between the numbers in the name of a chunk for zarr, and in the folder.
    """

    def __init__(
        self,
        store: LocalStore,
        root: Path,
        *,
        chunk_bytes: int | None = None,
        sharded: bool = False,
        rename: tuple[str, str] = ("/", "/"),
    ) -> None:
        super().__init__(store)
        self._root = root
        self._chunk_bytes = chunk_bytes
        self._sharded = sharded
        self._rename = rename

    def _with_store(self, store: LocalStore) -> "CheckedStore":
        return CheckedStore(
            store,
            self._root,
            chunk_bytes=self._chunk_bytes,
            sharded=self._sharded,
            rename=self._rename,
        )

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a file within the root, unless they are a broken chunk."""
        if key not in _METADATA:
            key = key.replace(*self._rename)
        require_inside(self._root, self._store.root / key)
        found = await super().get(key, prototype, byte_range)
        if found is None or self._chunk_bytes is None or key.rpartition("/")[2] in _METADATA:
            return found
        # From a shard, zarr reads the index by its place from the end, and each chunk by
        # a range of bytes; otherwise a file is one chunk.
        is_chunk = isinstance(byte_range, RangeByteRequest) if self._sharded else byte_range is None
        most = _WIDENING * self._chunk_bytes + _HEADER
        if is_chunk and not is_sound_blosc(found[:_HEADER].to_bytes(), len(found), most):
            raise ImageFileError(f"chunk {key} of {self._store.root} is damaged")
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file within the root."""
        require_inside(self._root, self._store.root / key)
        await super().set(key, value)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Any
    ) -> list[Buffer | None]:
        """Return parts of files, each of them checked."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]


def is_sound_blosc(header: bytes, size: int, most: int) -> bool:
    """Tell whether a Blosc header fits the chunk that it is the start of.

    Parameters
    ----------
    header : bytes
        The first 16 bytes of the chunk.
    size : int
        Bytes of the chunk.
    most : int
        The most bytes that the chunk may unpack to.

    Returns
    -------
    bool
        Whether decoding stays within the chunk.
    """
    if len(header) < _HEADER:
        return False
    unpacked, block, packed = (int.from_bytes(header[n : n + 4], "little") for n in (4, 8, 12))
    return packed == size and unpacked <= most and (0 < block <= max(unpacked, 1) or unpacked == 0)
