"""The samples of TIFF pixels become gray values, colors or channels, as their tags say.

PhotometricInterpretation (tag 262) says what the first samples of a pixel are, ExtraSamples
(338) what the further ones are. tifffile returns all of them as they are stored.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError

__all__ = ["Samples", "describe_samples", "require_known_samples"]

# What an image's metadata say of an alpha by which its colors are multiplied.
_ASSOCIATED_ALPHA = "associated (colors are stored multiplied by it, and read so)"
_PHOTOMETRIC = tifffile.PHOTOMETRIC
_REFUSED = {
    _PHOTOMETRIC.SEPARATED: "amounts of ink (CMYK); convert it to RGB first",
    _PHOTOMETRIC.CIELAB: "CIE L*a*b* colors; convert it to RGB first",
    _PHOTOMETRIC.ICCLAB: "ICC L*a*b* colors; convert it to RGB first",
    _PHOTOMETRIC.ITULAB: "ITU L*a*b* colors; convert it to RGB first",
    _PHOTOMETRIC.CFA: "the raw mosaic of a color filter; develop it to RGB first",
    _PHOTOMETRIC.LOGL: "LogL luminances; convert it to float first",
    _PHOTOMETRIC.LOGLUV: "LogLuv colors; convert it to RGB first",
}
# tifffile's decoder of JPEG turns YCbCr into RGB.
_JPEG = (6, 7, 34892, 33007)
# CCITT's compressions of bits.
_FAX = (2, 3, 4)
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


@dataclass(frozen=True)
class Samples:
    """What the samples of the pixels of one series are.

    Parameters
    ----------
    photometric : int
        Value of the tag PhotometricInterpretation.
    base : int
        How many of the first samples the photometric interpretation is about.
    alpha : int or None
        Index of the sample that is the opacity.
    bits : int
        Bits of a sample in the file, which may be fewer than in memory.
    palette : ndarray of shape (N, 3), optional
        Color of each value, if the values stand for colors.
    coefficients : tuple of float
        Parts of red, green and blue in the luma of YCbCr; empty for other pixels.
    note : str
        What is to be said of the alpha; empty where there is nothing to say.
    """

    photometric: int
    base: int
    alpha: int | None
    bits: int
    palette: NDArray[np.uint8] | None = None
    coefficients: tuple[float, ...] = ()
    note: str = ""

    def convert(self, data: Any, axes: str) -> list[tuple[Any, str]]:
        """Return pixels as gray values or RGB(A), and what other samples they have.

        Parameters
        ----------
        data : array-like
            Pixels in memory, or a dask array.
        axes : str
            tifffile's letter of each axis; ``"S"`` is that of samples.

        Returns
        -------
        list of (array-like, str)
            First the image that the photometric interpretation is about: its colors on a
            last axis ``"S"``, or else all samples as channels on an axis ``"C"``; then
            the samples that are neither color nor alpha, if there is a color, as
            channels.
        """
        # Samples that a description declares to be channels are not on an axis of samples.
        if "S" not in axes:
            first = _turn_to_numbers(data) if self.coefficients else self._convert_first(data)
            return [(first, axes + "S" * (self.palette is not None))]
        data, axes = _move_samples_last(data, axes)
        first = self._convert_first(data[..., 0] if self.base == 1 else data[..., : self.base])
        if self.base == 1 and self.palette is None:
            first = first[..., None]
        chosen = set(range(self.base)) | ({self.alpha} - {None})
        rest = [n for n in range(data.shape[-1]) if n not in chosen]
        data = _turn_to_numbers(data)
        if self.alpha is not None:
            first = _append(first, data[..., self.alpha : self.alpha + 1], colors=True)
        if first.shape[-1] > 1:
            images = [(first, axes)]
            return images + ([_channel(data[..., rest], axes)] if rest else [])
        if not rest:
            return [(first[..., 0], axes[:-1])]
        return [_channel(_append(first, data[..., rest]), axes)]

    def _convert_first(self, first: Any) -> Any:
        """Return the samples that the photometric interpretation is about, as they are meant."""
        if self.palette is not None:
            return _paint(self.palette, first)
        if self.photometric == _PHOTOMETRIC.MINISWHITE:
            return _turn_to_numbers(_invert(first, self.bits))
        if self.coefficients:
            return _convert_ycbcr(first, self.coefficients)
        return _turn_to_numbers(first)


def require_known_samples(path: Path, page: Any) -> None:
    """Refuse pixels that are stored or meant in a way that is not read, and say in which.

    Parameters
    ----------
    path : Path
        The file, for messages.
    page : tifffile.TiffPage
        A page of the image.

    Raises
    ------
    ImageFileError
        If the file may be sound, but is not read.
    """
    if page.photometric in _REFUSED:
        raise ImageFileError(f"{path} holds {_REFUSED[page.photometric]}")
    formats = page.tags.valueof(339, (page.sampleformat,))
    mixed = isinstance(formats, tuple) and len(set(formats[: page.samplesperpixel])) > 1
    if page.dtype is None or mixed:
        raise ImageFileError(
            f"{path} holds samples of {page.bitspersample} bits in the sample format "
            f"{tuple(map(int, np.atleast_1d(formats)))}, which are not read; convert them to "
            "integer or float"
        )
    if page.dtype.kind not in "buif":
        raise ImageFileError(f"{path} holds {page.dtype} pixels; convert them to integer or float")
    if page.compression != 1 and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise ImageFileError(
            f"{path} is compressed in a way that is not read ({page.compression!r}); save it "
            "without compression"
        )
    if page.is_subsampled and (page.compression not in _JPEG or page.planarconfig == 2):
        raise ImageFileError(
            f"{path} holds YCbCr colors of which several pixels share one, without JPEG; "
            "convert it to RGB"
        )


def describe_samples(path: Path, page: Any, *, painted: bool = True) -> Samples:
    """Return what the tags of a page say of its samples.

    Colors are RGB, YCbCr and the entries of a palette. Alpha is what ExtraSamples calls so;
    libtiff and Pillow take a fourth sample without that tag for alpha, too, which loses a
    channel such as near infrared. An associated alpha is not divided out.

    Where zero is white the order of the values is turned round: from the largest value that
    has as many bits for unsigned ones, as Pillow does it; by the sign for float, and to
    -1 - value for signed ones, for which no library has a rule. tifffile and SimpleITK return
    all of them as they are stored.

    A palette of which no entry exceeds 255 has 8 bits, as libtiff takes it; of others the
    upper 8 bits are taken. Samples of an undefined format are unsigned, as in tifffile. Gray
    values of 2 to 7 and of 9 to 15 bits are not spread over those of their type.

    Parameters
    ----------
    path : Path
        The file, for messages.
    page : tifffile.TiffPage
        A page of the image.
    painted : bool
        Whether the values of a palette stand for colors, and are not measured values
        that are only shown in them.

    Returns
    -------
    Samples
        What they are.

    Raises
    ------
    ImageFileError
        If the palette does not fit the values.
    """
    photometric, count = _find_photometric(page), int(page.samplesperpixel)
    colors = photometric in (_PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR) and count >= 3
    base = 3 if colors else 1
    extras = tuple(page.extrasamples or ())
    # The extra samples are the last ones (TIFF 6.0, section 18).
    found = [n for n, kind in enumerate(extras, count - len(extras)) if kind in _ALPHA]
    alpha = next((n for n in found if n >= base), None)
    palette = None
    if painted and photometric == _PHOTOMETRIC.PALETTE and page.colormap is not None:
        palette = _make_palette(path, page)
        # Colors of a palette have 8 bits; an alpha of more does not go with them.
        alpha = alpha if page.dtype == np.uint8 else None
    associated = alpha is not None and extras[alpha - count] == tifffile.EXTRASAMPLE.ASSOCALPHA
    ycbcr = colors and photometric == _PHOTOMETRIC.YCBCR and page.compression not in _JPEG
    samples = Samples(
        photometric,
        base,
        alpha,
        page.bitspersample if isinstance(page.bitspersample, int) else 8 * page.dtype.itemsize,
        palette,
        _find_coefficients(page) if ycbcr else (),
        _ASSOCIATED_ALPHA if associated else "",
    )
    if photometric == _PHOTOMETRIC.MINISWHITE and page.dtype.kind in "if":
        rule = "-1 - value" if page.dtype.kind == "i" else "-value"
        warnings.warn(
            f"{path.name} says that zero is white, with {page.dtype} values; they are turned "
            f"round to {rule}",
            stacklevel=3,
        )
    return samples


def _find_photometric(page: Any) -> int:
    """Return the photometric interpretation, without which zero is black except in a fax."""
    said = 262 in page.tags or page.photometric != _PHOTOMETRIC.MINISWHITE
    # libtiff's rule; tifffile has zero for a tag that is missing.
    return int(page.photometric if said or page.compression in _FAX else _PHOTOMETRIC.MINISBLACK)


def _make_palette(path: Path, page: Any) -> NDArray[np.uint8]:
    """Return the color of each value; the entries of the tag ColorMap (320) have 16 bits."""
    table = np.asarray(page.colormap)
    if page.dtype.kind not in ("b", "u") or table.shape[-1] < 2**page.bitspersample:
        raise ImageFileError(
            f"{path} has a palette of {table.shape[-1]} colors for {page.dtype} values of "
            f"{page.bitspersample} bits; it is damaged"
        )
    if table.max(initial=0) > 255:
        table = table >> 8
    return np.ascontiguousarray(table.astype(np.uint8).T)


def _find_coefficients(page: Any) -> tuple[float, ...]:
    """Return the parts of red, green and blue in the luma, by default those of CCIR 601."""
    stored = page.tags.valueof(529)
    default = (0.299, 0.587, 0.114)
    if not isinstance(stored, tuple) or len(stored) != 6 or 0 in stored:
        return default
    return tuple(stored[n] / stored[n + 1] for n in (0, 2, 4))


def _turn_to_numbers(data: Any) -> Any:
    """Return bits as 0 and 255, as pictures have them, and other values unchanged."""
    return data.astype(np.uint8) * np.uint8(255) if data.dtype.kind == "b" else data


def _invert(data: Any, bits: int) -> Any:
    """Return values in the opposite order; see :func:`describe_samples`."""
    if data.dtype.kind == "u":
        return data.dtype.type(2**bits - 1) - data
    return -data if data.dtype.kind == "f" else ~data


def _convert_ycbcr(data: Any, coefficients: tuple[float, ...]) -> Any:
    """Return the RGB values of YCbCr ones (TIFF 6.0, section 21), without headroom."""
    red, green, blue = coefficients
    top = float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else 1.0
    middle = (top + 1) / 2 if top > 1 else 0.5
    luma = data[..., 0].astype(np.float64)
    r = luma + (2 - 2 * red) * (data[..., 2] - middle)
    b = luma + (2 - 2 * blue) * (data[..., 1] - middle)
    g = (luma - red * r - blue * b) / green
    rgb = np.stack([r, g, b], axis=-1).clip(0, top)
    return (np.rint(rgb) if top > 1 else rgb).astype(data.dtype)


def _paint(table: NDArray[np.uint8], data: Any) -> Any:
    """Return the color of each value."""
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if isinstance(data, np.ndarray):
        return table[data]
    chunks = (*data.chunks, (3,))
    return data.map_blocks(table.__getitem__, dtype=np.uint8, chunks=chunks, new_axis=data.ndim)


def _move_samples_last(data: Any, axes: str) -> tuple[Any, str]:
    """Return pixels with their samples on the last axis, whose letter is ``"S"``."""
    # Samples lie side by side or in planes of their own (PlanarConfiguration, tag 284).
    return np.moveaxis(data, axes.index("S"), -1), axes.replace("S", "") + "S"


def _append(first: Any, further: Any, *, colors: bool = False) -> Any:
    """Return samples with further ones behind them; a gray value is three equal colors."""
    if colors and first.shape[-1] == 1:
        first = np.repeat(first, 3, axis=-1)
    return np.concatenate([first, further], axis=-1)


def _channel(data: Any, axes: str) -> tuple[Any, str]:
    """Return samples as channels, each beside the samples of the same channel if there are any."""
    if "C" not in axes:
        return np.moveaxis(data, -1, 0), "C" + axes[:-1]
    axis = axes.index("C")
    data = np.moveaxis(data, -1, axis + 1)
    count = data.shape[axis] * data.shape[axis + 1]
    return data.reshape(*data.shape[:axis], count, *data.shape[axis + 2 :]), axes[:-1]
