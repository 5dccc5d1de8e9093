"""The pixels of a NIfTI file are found, and read and scaled when they are asked for."""

import gzip
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.anatomy import choose_rescaled_dtype, rescale
from napari_dip_fusion.io.limits import (
    DEFLATE_RATIO,
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)
from napari_dip_fusion.io.nifti.header import (
    EXTENDER,
    MOST_EXTENSION,
    is_gzip,
    open_content,
    report_nifti_damage,
)
from napari_dip_fusion.io.regular import require_regular

__all__ = ["count_colors", "read_pixels"]

# Volumes below this size are read at once, and larger ones in pieces of about this size.
_EAGER_BYTES = 64 * 2**20
# Colors a pixel of the datatypes DT_RGB24 and DT_RGBA32 in nifti1.h.
_COLORS = {128: 3, 2304: 4}


def count_colors(header: Any) -> int:
    """Return how many colors a pixel has, 0 for gray values."""
    return _COLORS.get(int(header["datatype"]), 0)


def read_pixels(path: Path, header: Any, shape: tuple[int, ...]) -> Any:
    """Return the pixels as an array in memory, or as a dask array where they are many.

    Parameters
    ----------
    path : Path
        The file of the header.
    header : nibabel.Nifti1Header
        The header, checked.
    shape : tuple of int
        Sizes in the order of NIfTI, x first; three or more.

    Returns
    -------
    ndarray or dask.array.Array
        In the order of axes of a source, colors last. Values are scaled by scl_slope and
        scl_inter as nibabel scales them: not at all where the slope is 0, NaN or infinite.

    Raises
    ------
    ImageFileError
        If the pixels lie within the header, are missing, or have no known scale.
    """
    stored = np.dtype(header.get_data_dtype())
    place = _find_pixels(path, header)
    nbytes = count_declared_bytes(path, shape, stored.itemsize)
    packed, ratio = place.path.stat().st_size, DEFLATE_RATIO if place.packed else 1
    require_packed_bytes(place.path, nbytes + place.offset, packed=packed, ratio=ratio)
    colors = count_colors(header)
    factors = (1.0, 0.0) if colors else _find_factors(path, header)
    dtype = stored if colors else choose_rescaled_dtype(stored, [factors])
    scaled = _ScaledPixels(place, shape[::-1], stored, *factors, dtype)
    nbytes = int(np.prod(shape)) * max(dtype.itemsize, stored.itemsize)
    if len(shape) <= 3 and nbytes <= _EAGER_BYTES:
        return _split_colors(scaled[(slice(None),) * 3], colors)
    return _read_lazily(scaled, colors)


@dataclass(frozen=True)
class _PixelPlace:
    """Where in which file the pixels begin, and whether it is packed by gzip."""

    path: Path
    offset: int
    packed: bool


def _find_pixels(path: Path, header: Any) -> _PixelPlace:
    """Return where the pixels lie: behind the header, or in a file of their own."""
    offset = float(header["vox_offset"])
    lowest = header.template_dtype.itemsize + EXTENDER
    if not header.is_single:
        stem = _strip_endings(path.name)
        partner = _find_partner(path, stem)
        if partner is not None:
            lowest, path = 0, partner
        # A file of this ending holds no pixels, wherever its header says that they begin.
        elif offset < lowest or path.name.lower().endswith((".hdr", ".hdr.gz")):
            raise ImageFileError(
                f"{path} is one file of a pair: its pixels lie in {stem}.img, which is not "
                "beside it; put both in one folder"
            )
        else:
            # As nibabel and ITK read it.
            warnings.warn(
                f"{path} is marked as one file of a pair, but the other is missing; the pixels are "
                f"taken from byte {offset:g} on",
                stacklevel=2,
            )
    if not (offset.is_integer() and abs(offset) <= MOST_EXTENSION):
        raise ImageFileError(f"{path} declares its pixels at byte {offset:g}; it is damaged")
    if offset < lowest:
        raise ImageFileError(
            f"{path} declares its pixels at byte {offset:g}, within its header of {lowest} bytes; "
            "its fields contradict each other; write it again with the program that it comes from"
        )
    # Other processes that read from it may work in other folders.
    return _PixelPlace(path.absolute(), int(offset), is_gzip(path))


def _strip_endings(name: str) -> str:
    """Return the name that both files of a pair share."""
    plain = name[: -len(".gz")] if name.lower().endswith(".gz") else name
    return plain.rpartition(".")[0]


def _find_partner(path: Path, stem: str) -> Path | None:
    """Return the file that holds the pixels of a header, if it is there."""
    for ending in (".img", ".IMG", ".img.gz", ".IMG.GZ"):
        partner = path.with_name(stem + ending)
        if partner.exists():
            require_regular(partner)
            return partner
    return None


def _find_factors(path: Path, header: Any) -> tuple[float, float]:
    """Return slope and intercept of the values, 1 and 0 where none are meant."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope):
        warnings.warn(f"{path} has the scl_slope {slope}; its values are not scaled", stacklevel=2)
    # nifti1.h: with a slope of 0 nothing is scaled, though ITK adds the intercept. nibabel writes
    # NaN for none.
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        # nibabel refuses it, ITK takes 0: nobody can know.
        raise ImageFileError(
            f"{path} scales its values by {slope:g} and adds {intercept}; set scl_inter to a number"
        )
    return slope, intercept


@dataclass(frozen=True)
class _ScaledPixels:
    """Pixels in the order of axes of a source, unpacked and scaled when they are indexed.

    dask reads from it like from an array. The file is opened anew each time, so that no
    handle stays open.
    """

    place: _PixelPlace
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    slope: float
    intercept: float
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, where: tuple[Any, ...]) -> NDArray[Any]:
        read = self._unpack if self.place.packed else self._map
        return rescale(read(where), self.slope, self.intercept, self.dtype)

    def _map(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """Return stored values of a file that is not packed: no more of it is read."""
        # That the file has gone meanwhile is no damage: errors of opening it pass as they are.
        require_regular(self.place.path)
        with report_nifti_damage(self.place.path):
            values = np.memmap(self.place.path, self.stored, "r", self.place.offset, self.shape)
            return np.array(values[where])

    def _unpack(self, where: tuple[Any, ...]) -> NDArray[Any]:
        """Return stored values of a packed file."""
        with open_content(self.place.path) as handle, report_nifti_damage(self.place.path):
            # nibabel's proxy would scale everything to float64, so it is made without factors;
            # rescale() takes the smallest type that holds the values.
            spec = (self.shape[::-1], self.stored, self.place.offset)
            proxy: Any = ArrayProxy(handle, spec, mmap=False)  # type: ignore[no-untyped-call]
            values = np.asarray(proxy[tuple(reversed(where))]).T
            _check_sum(handle)
        return values


def _check_sum(handle: BinaryIO) -> None:
    """Have gzip compare its checksum, if all that was packed has been read.

    It does so only when somebody reads on.

    Raises
    ------
    OSError, EOFError
        If the checksum differs, or is missing.
    """
    try:
        handle.read(1)
    except gzip.BadGzipFile as error:
        # Bytes after the packed ones are of no concern; gzip takes them for another member.
        if "Not a gzipped file" not in str(error):
            raise


def _read_lazily(scaled: _ScaledPixels, colors: int) -> Any:
    """Return a dask array of pieces that fit into memory."""
    import dask.array as da

    dtype = scaled.dtype
    chunks = _choose_chunks(scaled)
    require_memory(scaled.place.path, int(np.prod(chunks)) * dtype.itemsize)
    # A name made from the path would have napari's cache show a file that was replaced since.
    options: dict[str, Any] = {"name": False, "fancy": False, "meta": np.empty(0, dtype)}
    # Of packed files one piece at a time is unpacked.
    options["lock"] = scaled.place.packed
    lazy = da.from_array(scaled, chunks=chunks, **options)  # type: ignore[no-untyped-call]
    if colors:
        ends = (*lazy.chunks, (colors,))
        return lazy.map_blocks(
            _split_colors, colors, dtype=np.uint8, chunks=ends, new_axis=lazy.ndim
        )
    return lazy


def _choose_chunks(scaled: _ScaledPixels) -> tuple[int, ...]:
    """Return the size of the pieces to read: whole volumes, slabs of large ones, or rows.

    In a gzip file all that lies before a piece has to be unpacked with it, so a packed
    volume is one piece.
    """
    slices, rows, columns = scaled.shape[-3:]
    if not scaled.place.packed:
        row = columns * scaled.dtype.itemsize
        slices = min(max(_EAGER_BYTES // (rows * row), 1), slices)
        rows = min(max(_EAGER_BYTES // row, 1), rows)
    return (*(1,) * (scaled.ndim - 3), slices, rows, columns)


def _split_colors(values: NDArray[Any], colors: int) -> NDArray[Any]:
    """Return records of red, green, blue (and alpha) bytes with an axis of colors."""
    if not colors:
        return values
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(*values.shape, colors)
