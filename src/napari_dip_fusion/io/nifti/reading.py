"""NIfTI files are read to sources, large ones lazily."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.anatomy import NIFTI_TO_WORLD, choose_rescaled_dtype, rescale
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.limits import require_memory
from napari_dip_fusion.io.nifti.header import COMMENT, read_checked_header, report_nifti_damage
from napari_dip_fusion.io.silence import silence_logger
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["read"]

# Volumes below this size are read at once, and larger ones in pieces of about this size.
_EAGER_BYTES = 64 * 2**20
# Colors a pixel of the datatypes DT_RGB24 and DT_RGBA32 in nifti1.h.
_COLORS = {128: 3, 2304: 4}


def read(path: Path) -> list[Source]:
    """Read a NIfTI file; volumes over time and large volumes stay lazy.

    The world is that of :mod:`~napari_dip_fusion.io.anatomy`, in millimeters
    unless the file says otherwise.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz`` file, NIfTI-1 or 2.

    Returns
    -------
    list of Source
        One, or one for each index of a fifth dimension.

    Raises
    ------
    ImageFileError
        If the file is damaged or declares more than it holds.
    """
    header = read_checked_header(path)
    with report_nifti_damage(path), silence_logger("nibabel.global"):
        loaded: Any = nib.load(path)
        # CIFTI-2 files hold matrices of connectivity and have the same ending.
        if not isinstance(loaded, nib.Nifti1Pair):
            kind = type(loaded).__name__
            raise ImageFileError(f"{path} is {kind}, not an image; convert it to NIfTI")
        image = _make_source(path, loaded)
    found = _find_description(loaded.header)
    images = split_channels(image)
    # dim[0] is the number of dimensions in the file; a plane was given its third one above.
    if int(header["dim"][0]) == 2:
        images = [_flatten(one) for one in images]
    return [description.restore(one, found) for one in images]


def _make_source(path: Path, loaded: Any) -> Source:
    """Return what a file holds, with its fifth dimension as an axis of channels."""
    header = loaded.header
    shape = tuple(header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    data = _read_pixels(path, loaded, shape)
    ndim = len(shape)
    # NIfTI counts x first. Dimension 5 is for several values a pixel (nifti1.h).
    names = (*(f"dim {n}" for n in range(ndim, 5, -1)), "c", "t", "z", "y", "x")[-ndim:]
    affine, units = _find_place(path, loaded, ndim)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    rgb = _count_colors(header) > 0
    return Source(data, names, affine=affine, units=units, name=name, rgb=rgb, path=path)


def _count_colors(header: Any) -> int:
    """Return how many colors a pixel has, 0 for gray values."""
    return _COLORS.get(int(header["datatype"]), 0)


@dataclass(frozen=True)
class _ScaledPixels:
    """Pixels in the order of axes of a source, unpacked and scaled when they are indexed.

    dask reads from it like from an array.
    """

    path: Path
    stored: Any
    slope: float
    intercept: float
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in reversed(self.stored.shape))

    @property
    def ndim(self) -> int:
        return len(self.stored.shape)

    def __getitem__(self, where: tuple[Any, ...]) -> NDArray[Any]:
        with report_nifti_damage(self.path):
            values = np.asarray(self.stored[tuple(reversed(where))]).T
        return rescale(values, self.slope, self.intercept, self.dtype)


def _read_pixels(path: Path, loaded: Any, shape: tuple[int, ...]) -> Any:
    """Return the pixels as an array in memory, or as a dask array where they are many."""
    colors = _count_colors(loaded.header)
    scaled = _scale_pixels(path, loaded, shape)
    nbytes = int(np.prod(shape)) * max(scaled.dtype.itemsize, scaled.stored.dtype.itemsize)
    if len(shape) <= 3 and nbytes <= _EAGER_BYTES:
        return _split_colors(scaled[(slice(None),) * 3], colors)
    import dask.array as da

    dtype = scaled.dtype
    chunks = _choose_chunks(path, shape, dtype.itemsize)
    require_memory(path, int(np.prod(chunks)) * dtype.itemsize)
    lazy = da.from_array(scaled, chunks=chunks, lock=True, meta=np.empty(0, dtype))  # type: ignore[no-untyped-call]
    if colors:
        ends = (*lazy.chunks, (colors,))
        return lazy.map_blocks(
            _split_colors, colors, dtype=np.uint8, chunks=ends, new_axis=lazy.ndim
        )
    return lazy


def _scale_pixels(path: Path, loaded: Any, shape: tuple[int, ...]) -> _ScaledPixels:
    """Return pixels that are scaled by the factors scl_slope and scl_inter when they are read."""
    header = loaded.header
    colors = _count_colors(header)
    stored = np.dtype(header.get_data_dtype())
    if (stored.kind not in "iuf" and not colors) or stored.itemsize > 8:
        raise ImageFileError(f"{path} holds {stored} values; convert them to integer or float")
    # nibabel moves the factors from the header to its proxy.
    original: Any = loaded.dataobj
    factors = (1.0, 0.0) if colors else (float(original.slope), float(original.inter))
    if not np.isfinite(factors).all():
        raise ImageFileError(f"{path} scales its values by {factors}; it is damaged")
    # nibabel's own proxy scales everything to float64, so another one is made without
    # factors, and the values are scaled to the smallest type that holds them.
    spec = (shape, stored, original.offset, 1.0, 0.0)
    proxy = type(original)(original.file_like, spec, mmap=False)
    dtype = stored if colors else choose_rescaled_dtype(stored, [factors])
    return _ScaledPixels(path, proxy, *factors, dtype)


def _choose_chunks(path: Path, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the size of the pieces to read: whole volumes, or slabs of large ones.

    In a gzip file all that lies before a piece has to be unpacked with it, so a packed
    volume is one piece.
    """
    columns, rows, slices = shape[:3]
    slab = max(_EAGER_BYTES // (rows * columns * itemsize), 1)
    is_gzip = path.name.lower().endswith(".gz")
    return (*(1,) * (len(shape) - 3), slices if is_gzip else min(slab, slices), rows, columns)


def _split_colors(values: NDArray[Any], colors: int) -> NDArray[Any]:
    """Return records of red, green, blue (and alpha) bytes with an axis of colors."""
    if not colors:
        return values
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(*values.shape, colors)


def _find_place(path: Path, loaded: Any, ndim: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return affine and units in the order of axes of a source."""
    header = loaded.header
    # nibabel takes the sform where sform_code is set, else the qform, else pixdim.
    stored = np.asarray(loaded.affine, dtype=np.float64)
    if not np.isfinite(stored).all() or abs(np.linalg.det(stored[:3, :3])) == 0:
        warnings.warn(
            f"{path} places its pixels by an affine that cannot be inverted; "
            "it is opened with a spacing of 1",
            stacklevel=2,
        )
        stored = np.diag([-1.0, -1, 1, 1])  # the identity in the world of sources
    affine = np.eye(ndim + 1)
    spatial = slice(ndim - 3, ndim)
    affine[spatial, spatial] = (NIFTI_TO_WORLD @ stored[:3, :3])[:, ::-1]
    affine[spatial, -1] = NIFTI_TO_WORLD @ stored[:3, 3]
    length, time = header.get_xyzt_units()
    # Files without a unit mean millimeters nearly always.
    spatial_unit = abbreviate_unit(length) if length != "unknown" else "mm"
    units = ["pixel"] * (ndim - 3) + [spatial_unit] * 3
    if ndim > 3:
        step, start = float(header["pixdim"][4]), float(header["toffset"])
        units[-4] = abbreviate_unit(time)
        affine[ndim - 4, ndim - 4] = step if np.isfinite(step) and step > 0 else 1.0
        affine[ndim - 4, -1] = start if np.isfinite(start) else 0.0
    return affine, tuple(units)


def _find_description(header: Any) -> dict[str, Any] | None:
    """Return the description that this program wrote into a comment, if there is one."""
    for extension in header.extensions:
        if extension.get_code() == COMMENT:
            # Extensions are padded with zeros to a multiple of 16 bytes.
            found = description.parse(bytes(extension.get_content()).rstrip(b"\0"))
            if found is not None:
                return found
    return None


def _flatten(image: Source) -> Source:
    """Return a plane without its third axis, unless it lies oblique to the world's axes."""
    number = image.axes.index("z")
    coupled = np.delete(image.affine[number, :-1], number).any()
    return image if coupled else image.take("z", 0)
