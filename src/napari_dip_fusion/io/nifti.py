"""NIfTI in and out: the whole affine, scaled values, large files lazily."""

import gzip
import io
import json
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.anatomy import NIFTI_TO_WORLD, rescale, rescaled_dtype
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import declared_bytes, refuse_memory, refuse_packed
from napari_dip_fusion.io.quiet import quiet
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["read", "write"]

_EAGER_BYTES = 64 * 2**20
# Extensions lie before the pixels; the largest known (CIFTI) are far smaller.
_MOST_EXTENSION = 256 * 2**20
_COMMENT = 6
_COLOURS = {128: 3, 2304: 4}
_HELD = (*tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f4", "f8")
_GZIP = b"\x1f\x8b"


def read(path: Path) -> list[Source]:
    """Read a NIfTI file; volumes over time and large volumes stay lazy.

    The world is that of :mod:`~napari_dip_fusion.io.anatomy`, in millimetres
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
    header = _checked_header(path)
    with _report_damage(path), quiet("nibabel.global"):
        loaded: Any = nib.load(path)
        if not isinstance(loaded, nib.Nifti1Pair):  # CIFTI, with the same ending
            kind = type(loaded).__name__
            raise ImageFileError(f"{path} is {kind}, not an image; convert it to NIfTI")
        image = _image(path, loaded)
    found = _description(loaded.header)
    images = _split(image)
    if int(header["dim"][0]) == 2:
        images = [_flat(one) for one in images]
    return [description.restore(one, found) for one in images]


def _report_damage(path: Path) -> AbstractContextManager[None]:
    # Broken gzip data and missing bytes are errors of the file system to gzip and nibabel.
    return report_damage(path, "read as NIfTI", advice="it is damaged", unchanged=(MemoryError,))


def _checked_header(path: Path) -> Any:
    """Check what the header declares before anything else is unpacked."""
    packed = path.stat().st_size
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP
    with _report_damage(path):
        with gzip.open(path) if is_gzip else path.open("rb") as handle:
            start = handle.read(540)
        header = _parse_header(start)
        shape = header.get_data_shape()
        itemsize = header.get_data_dtype().itemsize
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_EXTENSION:
        raise ImageFileError(f"{path} declares its pixels at byte {offset:g}; it is damaged")
    if not shape:
        raise ImageFileError(f"{path} declares no dimensions; it is damaged")
    nbytes = declared_bytes(path, shape, itemsize)
    refuse_packed(path, nbytes + int(offset), packed=packed, ratio=1032 if is_gzip else 1)
    return header


def _parse_header(start: bytes) -> Any:
    kinds: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
    for kind in kinds:
        size = kind.template_dtype.itemsize
        for order in ("little", "big"):
            if len(start) >= size and int.from_bytes(start[:4], order) == size:
                return kind.from_fileobj(io.BytesIO(start[:size]), check=False)
    raise ValueError(f"the header must declare 348 or 540 bytes, got {start[:4].hex(' ')}")


@dataclass(frozen=True)
class _Scaled:
    """Pixels in napari's order of axes, unpacked and scaled when indexed."""

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
        with _report_damage(self.path):
            values = np.asarray(self.stored[tuple(reversed(where))]).T
        return rescale(values, self.slope, self.intercept, self.dtype)


def _image(path: Path, loaded: Any) -> Source:
    header = loaded.header
    shape = tuple(header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    data = _pixels(path, loaded, shape)
    colours = _COLOURS.get(int(header["datatype"]), 0)
    ndim = len(shape)
    names = (*(f"dim {n}" for n in range(ndim, 5, -1)), "c", "t", "z", "y", "x")[-ndim:]
    affine, units = _place(path, loaded, ndim)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return Source(data, names, affine=affine, units=units, name=name, rgb=bool(colours), path=path)


def _pixels(path: Path, loaded: Any, shape: tuple[int, ...]) -> Any:
    import dask.array as da

    header = loaded.header
    stored = np.dtype(header.get_data_dtype())
    colours = _COLOURS.get(int(header["datatype"]), 0)
    if (stored.kind not in "iuf" and not colours) or stored.itemsize > 8:
        raise ImageFileError(f"{path} holds {stored} values; convert them to integer or float")
    # nibabel moves the factors from the header to its proxy.
    original: Any = loaded.dataobj
    factors = (1.0, 0.0) if colours else (float(original.slope), float(original.inter))
    if not np.isfinite(factors).all():
        raise ImageFileError(f"{path} scales its values by {factors}; it is damaged")
    # The file's own proxy would scale everything to float64.
    spec = (shape, stored, original.offset, 1.0, 0.0)
    proxy = type(original)(original.file_like, spec, mmap=False)
    dtype = stored if colours else rescaled_dtype(stored, [factors])
    scaled = _Scaled(path, proxy, *factors, dtype)
    nbytes = int(np.prod(shape)) * max(dtype.itemsize, stored.itemsize)
    if len(shape) <= 3 and nbytes <= _EAGER_BYTES:
        return _as_colours(scaled[(slice(None),) * 3], colours)
    chunks = _chunks(path, shape, dtype.itemsize)
    refuse_memory(path, int(np.prod(chunks)) * dtype.itemsize)
    lazy = da.from_array(scaled, chunks=chunks, lock=True, meta=np.empty(0, dtype))  # type: ignore[no-untyped-call]
    if colours:
        ends = (*lazy.chunks, (colours,))
        return lazy.map_blocks(
            _as_colours, colours, dtype=np.uint8, chunks=ends, new_axis=lazy.ndim
        )
    return lazy


def _chunks(path: Path, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the pieces to read: whole volumes, or slabs of large ones.

    Gzip has to unpack all that lies before, so a packed volume is read once.
    """
    columns, rows, slices = shape[:3]
    slab = max(_EAGER_BYTES // (rows * columns * itemsize), 1)
    is_gzip = path.name.lower().endswith(".gz")
    return (*(1,) * (len(shape) - 3), slices if is_gzip else min(slab, slices), rows, columns)


def _as_colours(values: NDArray[Any], colours: int) -> NDArray[Any]:
    if not colours:
        return values
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(*values.shape, colours)


def _place(path: Path, loaded: Any, ndim: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return affine and units in napari's order of axes."""
    header = loaded.header
    stored = np.asarray(loaded.affine, dtype=np.float64)
    if not np.isfinite(stored).all() or abs(np.linalg.det(stored[:3, :3])) == 0:
        warnings.warn(
            f"{path} places its pixels by an affine that cannot be inverted; "
            "it is opened with a spacing of 1",
            stacklevel=2,
        )
        stored = np.diag([-1.0, -1, 1, 1])
    affine = np.eye(ndim + 1)
    spatial = slice(ndim - 3, ndim)
    affine[spatial, spatial] = (NIFTI_TO_WORLD @ stored[:3, :3])[:, ::-1]
    affine[spatial, -1] = NIFTI_TO_WORLD @ stored[:3, 3]
    length, time = header.get_xyzt_units()
    units = ["pixel"] * (ndim - 3) + [abbreviate_unit(length) if length != "unknown" else "mm"] * 3
    if ndim > 3:
        step, start = float(header["pixdim"][4]), float(header["toffset"])
        units[-4] = abbreviate_unit(time)
        affine[ndim - 4, ndim - 4] = step if np.isfinite(step) and step > 0 else 1.0
        affine[ndim - 4, -1] = start if np.isfinite(start) else 0.0
    return affine, tuple(units)


def _description(header: Any) -> dict[str, Any] | None:
    for extension in header.extensions:
        if extension.get_code() == _COMMENT:
            found = description.parse(bytes(extension.get_content()).rstrip(b"\0"))
            if found is not None:
                return found
    return None


def _split(image: Source) -> list[Source]:
    """Return one image for each index of the fifth dimension."""
    if "c" not in image.axes:
        return [image]
    count = image.shape[image.axes.index("c")]
    images = [image.take("c", n) for n in range(count)]
    return (
        images
        if count == 1
        else [one.replace(name=f"{image.name} {n}") for n, one in enumerate(images)]
    )


def _flat(image: Source) -> Source:
    """Drop the third axis of a plane that lies along the world's axes."""
    number = image.axes.index("z")
    coupled = np.delete(image.affine[number, :-1], number).any()
    return image if coupled else image.take("z", 0)


def write(path: Path, image: Source) -> None:
    """Write an image of space, or of space and time, as NIfTI.

    The header holds the affine (as sform, in float32) and a comment with the
    exact one, the names, units and display; the world is taken as that of
    :mod:`~napari_dip_fusion.io.anatomy`.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz`` file to write.
    image : Source
        Two to four axes, the last three of space.

    Raises
    ------
    ImageFileError
        If NIfTI cannot hold the image.
    """
    affine, units = _header_place(image)
    data = _header_pixels(image)
    kind: Any = nib.Nifti2Image if max(data.shape) > 32767 else nib.Nifti1Image
    written = kind(data, affine, dtype=data.dtype)
    header = written.header
    header.set_sform(affine, code="scanner")
    # A qform holds no shear; a reader that takes it first must not be misled.
    header.set_qform(affine, code="scanner" if _is_rigid(affine) else "unknown")
    header.set_xyzt_units(*units)
    if image.ndim == 4:
        header["pixdim"][4], header["toffset"] = image.affine[0, 0], image.affine[0, -1]
    text = json.dumps(description.describe(image)).encode()
    header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, text))
    written.to_filename(path)


def _is_rigid(affine: NDArray[np.float64]) -> bool:
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(steps.T @ steps, np.eye(3), atol=1e-6))


def _header_pixels(image: Source) -> NDArray[Any]:
    """Return the pixels in NIfTI's order, of a type that it holds."""
    values = image.to_numpy()
    if image.rgb:
        if values.dtype != np.uint8:
            raise ImageFileError(
                f"NIfTI holds colours of uint8, got {values.dtype}; convert them, or write OME-TIFF"
            )
        names = [(name, np.uint8) for name in "RGBA"[: values.shape[-1]]]
        values = np.ascontiguousarray(values).view(np.dtype(names))[..., 0]
    elif values.dtype.kind == "b" or values.dtype == np.float16:
        other = np.dtype(np.uint8 if values.dtype.kind == "b" else np.float32)
        warnings.warn(f"NIfTI holds no {values.dtype}; it is written as {other}", stacklevel=3)
        values = values.astype(other)
    elif values.dtype.newbyteorder("=") not in [np.dtype(name) for name in _HELD]:
        raise ImageFileError(f"NIfTI holds integer and float values, got {values.dtype}")
    return values.T


def _header_place(image: Source) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Return the affine in NIfTI's order and world, and its units of space and time."""
    ndim = image.ndim
    if not 2 <= ndim <= 4:
        raise ImageFileError(
            f"NIfTI is written with two to four axes, got {', '.join(image.axes)}; choose a part"
        )
    steps = image.affine[:-1, :-1]
    if ndim == 4 and (steps[0, 1:].any() or steps[1:, 0].any()):
        raise ImageFileError("NIfTI cannot turn time into space; write OME-Zarr or OME-TIFF")
    spatial = min(ndim, 3)
    place = np.eye(4)
    place[3 - spatial : 3, 3 - spatial : 3] = steps[-spatial:, -spatial:]
    place[3 - spatial : 3, 3] = image.affine[-1 - spatial : -1, -1]
    factor, length = _header_length([abbreviate_unit(unit) for unit in image.units[-spatial:]])
    place[:3] *= factor
    affine = np.eye(4)
    affine[:3, :3] = (NIFTI_TO_WORLD.T @ place[:3, :3])[:, ::-1]
    affine[:3, 3] = NIFTI_TO_WORLD.T @ place[:3, 3]
    return affine, (length, _header_time(image))


def _header_length(units: list[str]) -> tuple[NDArray[np.float64], str]:
    """Return a factor for each of the last axes, and NIfTI's name of the unit."""
    held = {"mm": "mm", "um": "micron", "m": "meter", "pixel": "unknown"}
    if len(set(units)) == 1 and units[0] in held:
        return np.ones((3, 1)), held[units[0]]
    if all(unit in LENGTHS for unit in units):
        warnings.warn(f"NIfTI: the units {', '.join(units)} are converted to mm", stacklevel=4)
        factors = [1.0] * (3 - len(units)) + [LENGTHS[unit] / LENGTHS["mm"] for unit in units]
        return np.array(factors)[:, None], "mm"
    warnings.warn(f"NIfTI: the units {', '.join(units)} are not kept in the header", stacklevel=4)
    return np.ones((3, 1)), "unknown"


def _header_time(image: Source) -> str:
    if image.ndim < 4:
        return "sec"
    unit = abbreviate_unit(image.units[0])
    held = {"s": "sec", "ms": "msec", "us": "usec"}
    if unit not in held and unit != "pixel":
        known = "; convert it to s" if unit in TIMES else ""
        warnings.warn(f"NIfTI: the unit {unit} is not kept in the header{known}", stacklevel=4)
    return held.get(unit, "unknown")
