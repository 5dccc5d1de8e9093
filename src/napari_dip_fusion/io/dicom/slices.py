"""What the header of a DICOM file says about each of its planes, and their pixels."""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from napari_dip_fusion.errors import ImageFileError, summarize_error
from napari_dip_fusion.io.anatomy import rescale
from napari_dip_fusion.io.dicom.privacy import kept_fields
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import declared_bytes, refuse_memory, refuse_packed
from napari_dip_fusion.io.quiet import no_warnings

__all__ = ["Slice", "decode", "read_slices"]

_MOST_FRAMES = 100_000


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane: a file, or a frame of a file, and where it lies.

    Parameters
    ----------
    path : Path
        The file.
    frame : int
        Index of the frame in the file.
    frames : int
        How many the file has.
    series, identity : str
        UID of the series and of the object.
    number : float
        The position in the series as the scanner counts.
    shape : tuple of int
        Rows and columns.
    colour : bool
        Whether a pixel has three values.
    palette : bool
        Whether the values are indices of colours.
    deflated : bool
        Whether the file has to be unpacked as a whole.
    inverted : bool
        Whether small values are bright (MONOCHROME1).
    stored : dtype
        Type of the values in the file.
    limits : tuple of float
        Smallest and largest value that the file can hold.
    slope, intercept : float
        From stored to physical values.
    spacing : tuple of float, optional
        Millimetres between rows and between columns.
    thickness : float
        Millimetres to the next slice, where it alone is known.
    position, orientation : ndarray, optional
        Of the first pixel, and the directions along a row and a column (left,
        back, head).
    interval : float, optional
        Milliseconds to the next frame.
    name : str
        Name for people, free of what a patient is called.
    metadata : dict
        Technical fields.
    """

    path: Path
    frame: int
    frames: int
    series: str
    identity: str
    number: float
    shape: tuple[int, int]
    colour: bool
    palette: bool
    deflated: bool
    inverted: bool
    stored: np.dtype[Any]
    limits: tuple[float, float]
    slope: float
    intercept: float
    spacing: tuple[float, float] | None
    thickness: float
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    interval: float | None
    name: str
    metadata: dict[str, Any]


def read_slices(path: Path, *, patient: bool = False) -> list[Slice]:
    """Read the header of a file, without its pixels.

    Parameters
    ----------
    path : Path
        The file.
    patient : bool
        Whether to keep who was scanned and when.

    Returns
    -------
    list of Slice
        One for each frame; empty for an object that is no image.

    Raises
    ------
    ImageFileError
        If the file is damaged, or compressed in a way for which a package is missing.
    """
    # Many scanners bend the standard a little, which pydicom warns of.
    with report_damage(path, "read as DICOM"), no_warnings():
        with path.open("rb") as handle:
            if handle.read(132)[128:] != b"DICM":
                raise ImageFileError(f"{path} has no DICM mark at byte 128; it is no DICOM file")
        meta = read_file_meta_info(path)
        syntax = meta.get("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            _check_deflated(path)
        with path.open("rb") as handle:
            header = pydicom.dcmread(handle, stop_before_pixels=True)
            left = path.stat().st_size - handle.tell()
        if "Rows" not in header or "BitsAllocated" not in header:
            if "Image Storage" in str(getattr(meta.get("MediaStorageSOPClassUID"), "name", "")):
                raise ImageFileError(f"{path} ends within its header; the file is cut short")
            return []
        frames = int(header.get("NumberOfFrames") or 1)
        _check_size(path, header, frames, left=None if _is_packed(syntax) else left)
        _check_decoder(path, syntax)
        return [_slice(path, header, frame, frames, patient) for frame in range(frames)]


def decode(plane: Slice, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the physical values of a plane.

    Parameters
    ----------
    plane : Slice
        The plane.
    dtype : dtype
        From :func:`~napari_dip_fusion.io.anatomy.rescaled_dtype`.

    Returns
    -------
    ndarray of shape (M, N) or (M, N, 3)
        The values; colours as uint8 or uint16 RGB.

    Raises
    ------
    ImageFileError
        If the pixels are damaged.
    """
    with report_damage(plane.path, "read as DICOM"), no_warnings():
        whole = plane.palette or plane.deflated
        source: Any = pydicom.dcmread(plane.path) if whole else plane.path
        try:
            values = pixel_array(source, index=plane.frame)
        except RuntimeError as error:  # of all decoders that are installed
            raise _undecoded(plane.path, error) from error
        if plane.palette:
            return (apply_color_lut(values, source)[..., :3] >> 8).astype(np.uint8)
        expected = (*plane.shape, 3) if plane.colour else plane.shape
        if values.shape != expected:
            raise ValueError(f"its header says {expected}, its pixels {values.shape}")
        if plane.colour:
            return values.astype(dtype, copy=False)
        physical = rescale(values, plane.slope, plane.intercept, dtype)
        return _invert(physical, plane, dtype) if plane.inverted else physical


def _invert(values: NDArray[Any], plane: Slice, dtype: np.dtype[Any]) -> NDArray[Any]:
    ends = [limit * plane.slope + plane.intercept for limit in plane.limits]
    if dtype.kind in "iu":
        return (int(sum(ends)) - values.astype(np.int64)).astype(dtype)
    return (sum(ends) - values.astype(np.float64)).astype(dtype)


def _undecoded(path: Path, error: RuntimeError) -> ImageFileError:
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    missing = get_decoder(syntax).missing_dependencies if syntax is not None else []
    advice = f", or another decoder is needed: {_installation(missing)}" if missing else ""
    reason = summarize_error(error)
    return ImageFileError(f"{path} cannot be decoded ({reason}); it is damaged{advice}")


def _installation(missing: list[str]) -> str:
    """Return the command that installs the first of the missing decoders."""
    wanted = [line for line in missing if line.startswith("pylibjpeg")] or missing
    packages = re.findall(r"[\w-]+[>=]+[\d.]+", wanted[0])
    return "pip install " + " ".join(f'"{package}"' for package in packages)


def _is_packed(syntax: Any) -> bool:
    return bool(
        syntax is not None and (syntax.is_encapsulated or syntax == DeflatedExplicitVRLittleEndian)
    )


def _check_deflated(path: Path) -> None:
    """Refuse what would unpack to more than the memory, before it is unpacked."""
    content = path.read_bytes()
    start = content.find(b"\x02\x00\x00\x00UL\x04\x00")
    length = int.from_bytes(content[start + 8 : start + 12], "little")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, total = content[start + 12 + length :], 0
    while rest and not unpacker.eof:
        total += len(unpacker.decompress(rest, 2**20))
        rest = unpacker.unconsumed_tail
        refuse_memory(path, 2 * total)


def _check_size(path: Path, header: Any, frames: int, *, left: int | None) -> None:
    if not 1 <= frames <= _MOST_FRAMES:
        raise ImageFileError(f"{path} declares {frames} frames; the file is damaged")
    samples = int(header.get("SamplesPerPixel", 1))
    bits = int(header.BitsAllocated)
    if bits not in (1, 8, 16, 32, 64) or samples not in (1, 3):
        raise ImageFileError(
            f"{path} declares {samples} samples of {bits} bits; "
            "1 or 3 of 1, 8, 16, 32 or 64 can be read"
        )
    nbytes = declared_bytes(path, (header.Rows, header.Columns, samples), -(-bits // 8))
    refuse_memory(path, 2 * nbytes)
    if left is not None:
        halved = 1.5 if header.get("PhotometricInterpretation") == "YBR_FULL_422" else 1.0
        total = int(frames * nbytes * (bits / 8 if bits < 8 else 1) / halved)
        refuse_packed(path, total, packed=left, ratio=1)


def _check_decoder(path: Path, syntax: Any) -> None:
    if syntax is None or not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:  # how pydicom says that it knows no such syntax
        raise ImageFileError(
            f"{path} is compressed as {syntax.name}, which cannot be read; export it uncompressed"
        ) from error
    if not decoder.is_available:
        raise ImageFileError(
            f"{path} is compressed as {syntax.name}, for which a package is missing: "
            f"{_installation(decoder.missing_dependencies)}"
        )


def _slice(path: Path, header: Any, frame: int, frames: int, patient: bool) -> Slice:
    field = _Fields(header, frame)
    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    stored, limits = _stored(header)
    slope, intercept = _factors(header, field)
    position = _numbers(field("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _orientation(field("PlaneOrientationSequence", "ImageOrientationPatient"))
    spacing = _spacing(header, field)
    offsets = header.get("GridFrameOffsetVector")
    if frames > 1 and offsets is not None and position is not None and orientation is not None:
        normal = np.cross(orientation[:3], orientation[3:])
        position = position + normal * (float(offsets[frame]) - float(offsets[0]))
    elif frames > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        position = None  # the one that is given is of the first frame only
    thickness = header.get("SpacingBetweenSlices") or field(
        "PixelMeasuresSequence", "SliceThickness"
    )
    interval = header.get("FrameTime")
    return Slice(
        path=path,
        frame=frame,
        frames=frames,
        series=str(header.get("SeriesInstanceUID", "")),
        identity=str(header.get("SOPInstanceUID") or path),
        number=float(header.get("InstanceNumber") or 0) + frame / frames,
        shape=(int(header.Rows), int(header.Columns)),
        colour=int(header.get("SamplesPerPixel", 1)) == 3 or photometric == "PALETTE COLOR",
        palette=photometric == "PALETTE COLOR",
        deflated=header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian,
        inverted=photometric == "MONOCHROME1",
        stored=stored,
        limits=limits,
        slope=slope,
        intercept=intercept,
        spacing=spacing,
        thickness=abs(float(thickness or 0.0)) or 1.0,
        position=position,
        orientation=orientation if position is not None else None,
        interval=float(interval) if interval else None,
        name=f"{header.get('Modality', 'DICOM')} series {header.get('SeriesNumber', 0) or 0}",
        metadata=kept_fields(header, patient=patient),
    )


class _Fields:
    """Looks a field up in the groups of a frame, those of all frames, then the header."""

    def __init__(self, header: Any, frame: int) -> None:
        own = header.get("PerFrameFunctionalGroupsSequence") or []
        shared = header.get("SharedFunctionalGroupsSequence") or []
        self.places = [*own[frame : frame + 1], *shared[:1]]
        self.header = header

    def __call__(self, group: str, keyword: str) -> Any:
        for place in self.places:
            items = place.get(group)
            if items and keyword in items[0]:
                return items[0].get(keyword)
        return self.header.get(keyword)


def _numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    if value is None or value == "":
        return None
    numbers = np.asarray([float(number) for number in value])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers, got {value}")
    return numbers


def _orientation(value: Any) -> NDArray[np.float64] | None:
    numbers = _numbers(value, 6)
    if numbers is None or np.linalg.norm(np.cross(numbers[:3], numbers[3:])) < 0.9:
        return None  # no two directions
    return numbers


def _spacing(header: Any, field: _Fields) -> tuple[float, float] | None:
    value = field("PixelMeasuresSequence", "PixelSpacing")
    if value is None:
        value = header.get("ImagerPixelSpacing")
    numbers = _numbers(value, 2)
    if numbers is None or not (numbers > 0).all():
        return None
    return float(numbers[0]), float(numbers[1])


def _stored(header: Any) -> tuple[np.dtype[Any], tuple[float, float]]:
    bits = int(header.BitsAllocated)
    if bits > 16 and "PixelRepresentation" not in header:  # Float Pixel Data
        return np.dtype(f"f{bits // 8}"), (0.0, 0.0)
    signed = bool(header.get("PixelRepresentation", 0))
    held = int(header.get("BitsStored", bits))
    if bits == 1:
        return np.dtype(np.uint8), (0.0, 1.0)
    limits = (-(2.0 ** (held - 1)), 2.0 ** (held - 1) - 1) if signed else (0.0, 2.0**held - 1)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}"), limits


def _factors(header: Any, field: _Fields) -> tuple[float, float]:
    group = "PixelValueTransformationSequence"
    scaling = header.get("DoseGridScaling")
    slope = float(scaling or field(group, "RescaleSlope") or 1.0)
    intercept = float(field(group, "RescaleIntercept") or 0.0)
    if not np.isfinite((slope, intercept)).all():
        raise ValueError(f"rescale slope and intercept must be finite, got {slope}, {intercept}")
    return slope, intercept
