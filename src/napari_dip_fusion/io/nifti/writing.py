"""Sources are written as NIfTI files."""

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.anatomy import NIFTI_TO_WORLD
from napari_dip_fusion.io.nifti.header import COMMENT
from napari_dip_fusion.io.nifti.place import is_invertible
from napari_dip_fusion.io.streaming import is_streamed, iterate_runs, read
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import arrange_axes, limit_axes, list_kinds
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit

__all__ = ["check", "write"]

# dim[] holds sizes in 16 bits in NIfTI-1, in 64 bits in NIfTI-2.
_MOST_SIZE = 2**15 - 1
_HELD_TYPES = (*(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f4", "f8")
# nibabel's names of the units that xyzt_units can hold.
_HELD_LENGTHS = {"mm": "mm", "um": "micron", "m": "meter", "pixel": "unknown"}
_HELD_TIMES = {"s": "sec", "ms": "msec", "us": "usec"}


def check(image: Source) -> None:
    """Refuse an image that NIfTI cannot hold, as :func:`.check_image` asks."""
    arranged = _arrange(image)
    kinds = list_kinds(arranged.axes, arranged.units)
    others = len(kinds) - kinds.count("space")
    if not 2 <= kinds.count("space") <= 3 or others > 1:
        raise ImageFileError(
            "NIfTI is written with two to four axes, of which one may be none of space, got "
            f"{', '.join(image.axes)}; choose a part, or write OME-TIFF"
        )
    steps = arranged.affine[:-1, :-1]
    if steps[:others, others:].any() or steps[others:, :others].any():
        raise ImageFileError("NIfTI cannot turn time into space; write OME-Zarr or OME-TIFF")
    if not is_invertible(steps):
        raise ImageFileError(
            "NIfTI places pixels along axes that lead in as many directions, got steps "
            f"{steps.tolist()}; correct the affine"
        )
    if image.rgb and image.dtype != np.uint8:
        raise ImageFileError(
            f"NIfTI holds colors of uint8, got {image.dtype}; convert them, or write OME-TIFF"
        )
    # True and False, and half floats, are written in a type that NIfTI has.
    is_converted = image.dtype.kind == "b" or image.dtype == np.float16
    held = [np.dtype(name) for name in _HELD_TYPES]
    if not is_converted and image.dtype.newbyteorder("=") not in held:
        raise ImageFileError(f"NIfTI holds integer and float values, got {image.dtype}")


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
        Two to four axes, of which one may be none of space: it becomes the fourth dimension,
        which other programs take for time.

    Raises
    ------
    ImageFileError
        If NIfTI cannot hold the image.
    """
    check(image)
    described = _arrange(image)
    dtype = _choose_dtype(described)
    if is_streamed(described.data):
        written = _make_image(described, _make_blank(described, dtype))
        _write_parts(path, written, described, dtype)
    else:
        pixels = _convert(described.to_numpy(), described, dtype)
        _make_image(described, pixels).to_filename(path)


def _make_image(described: Source, pixels: NDArray[Any]) -> Any:
    """Return an image of nibabel with its header.

    Parameters
    ----------
    described : Source
        The image, arranged.
    pixels : ndarray
        Its pixels, of a type that NIfTI has.
    """
    image = _add_height(described.replace(data=pixels, rgb=False, pyramid=(), mask=None))
    affine, units = _make_place(image)
    data = image.data.T
    kind: Any = nib.Nifti2Image if max(data.shape) > _MOST_SIZE else nib.Nifti1Image
    written = kind(data, affine, dtype=data.dtype)
    header = written.header
    # What is only a guess is not said to be the scanner's word.
    code = "aligned" if image.guess else "scanner"
    header.set_sform(affine, code=code)
    # A qform holds no shear; a reader that takes it first must not be misled.
    header.set_qform(affine, code=code if _is_rigid(affine) else "unknown")
    header.set_xyzt_units(*units)
    if image.ndim == 4:
        header["pixdim"][4], header["toffset"] = image.affine[0, 0], image.affine[0, -1]
    text = json.dumps(description.describe(described)).encode()
    header.extensions.append(nib.nifti1.Nifti1Extension(COMMENT, text))
    return written


def _write_parts(path: Path, written: Any, image: Source, dtype: np.dtype[Any]) -> None:
    """Write the header of an image, and its pixels part by part, as nibabel writes them whole."""
    opener: Any = nib.openers.ImageOpener
    with opener(path, "wb") as handle:
        written.header.set_slope_inter(1, 0)
        written.header.write_to(handle)
        for part in iterate_runs(image.data):
            pixels = _convert(read(image.data, part), image, dtype)
            handle.write(np.ascontiguousarray(pixels).data)


def _arrange(image: Source) -> Source:
    """Return an image with its axes in NIfTI's order, without surplus ones of one pixel."""
    return limit_axes(arrange_axes(image), 1, beside=("space",))


def _add_height(image: Source) -> Source:
    """Return planes along an axis that is none of space with a third axis of space."""
    if image.ndim != 3 or list_kinds(image.axes, image.units)[0] == "space":
        return image
    affine = np.insert(np.insert(image.affine, 1, 0, axis=0), 1, 0, axis=1)
    affine[1, 1] = 1
    first, y, x = image.axes
    units = (image.units[0], image.units[1], *image.units[1:])
    return image.replace(
        data=image.data[:, None], axes=(first, "z", y, x), units=units, affine=affine, pyramid=()
    )


def _is_rigid(affine: NDArray[np.float64]) -> bool:
    """Tell whether the axes are at right angles, so that an affine only turns and scales."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(steps.T @ steps, np.eye(3), atol=1e-6))


def _choose_dtype(image: Source) -> np.dtype[Any]:
    """Return the type in which pixels are written, of those that NIfTI has."""
    if image.rgb:
        # nibabel takes colors as records of these field names.
        return np.dtype([(name, np.uint8) for name in "RGBA"[: image.data.shape[-1]]])
    if image.dtype.kind != "b" and image.dtype != np.float16:
        return image.dtype.newbyteorder("=")
    other = np.dtype(np.uint8 if image.dtype.kind == "b" else np.float32)
    warnings.warn(f"NIfTI holds no {image.dtype}; it is written as {other}", stacklevel=4)
    return other


def _convert(pixels: NDArray[Any], image: Source, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels, or a part of them, in the type in which they are written."""
    if image.rgb:
        records: NDArray[Any] = np.ascontiguousarray(pixels).view(dtype)[..., 0]
        return records
    return pixels.astype(dtype, copy=False)


def _make_blank(image: Source, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels that take no memory, for a header."""
    return np.broadcast_to(np.zeros((), dtype), image.shape)


def _make_place(image: Source) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Return the affine in NIfTI's order and world, and its units of space and time."""
    steps = image.affine[:-1, :-1]
    # NIfTI places its pixels in three dimensions: a plane lies at z = 0.
    spatial = min(image.ndim, 3)
    place = np.eye(4)
    place[3 - spatial : 3, 3 - spatial : 3] = steps[-spatial:, -spatial:]
    place[3 - spatial : 3, 3] = image.affine[-1 - spatial : -1, -1]
    factor, length = _convert_lengths([abbreviate_unit(unit) for unit in image.units[-spatial:]])
    place[:3] *= factor
    affine = np.eye(4)
    # The matrix to the world is orthogonal: its transpose leads back.
    affine[:3, :3] = (NIFTI_TO_WORLD.T @ place[:3, :3])[:, ::-1]
    affine[:3, 3] = NIFTI_TO_WORLD.T @ place[:3, 3]
    return affine, (length, _name_time_unit(image))


def _convert_lengths(units: list[str]) -> tuple[NDArray[np.float64], str]:
    """Return a factor for each of the last axes, and NIfTI's name of their common unit."""
    if len(set(units)) == 1 and units[0] in _HELD_LENGTHS:
        return np.ones((3, 1)), _HELD_LENGTHS[units[0]]
    if all(unit in LENGTHS for unit in units):
        warnings.warn(f"NIfTI: the units {', '.join(units)} are converted to mm", stacklevel=6)
        factors = [1.0] * (3 - len(units)) + [LENGTHS[unit] / LENGTHS["mm"] for unit in units]
        return np.array(factors)[:, None], "mm"
    warnings.warn(f"NIfTI: the units {', '.join(units)} are not kept in the header", stacklevel=6)
    return np.ones((3, 1)), "unknown"


def _name_time_unit(image: Source) -> str:
    """Return NIfTI's name of the unit of time."""
    if image.ndim < 4:
        return "sec"
    unit = abbreviate_unit(image.units[0])
    if unit not in _HELD_TIMES and unit != "pixel":
        known = "; convert it to s" if unit in TIMES else ""
        warnings.warn(f"NIfTI: the unit {unit} is not kept in the header{known}", stacklevel=6)
    return _HELD_TIMES.get(unit, "unknown")
