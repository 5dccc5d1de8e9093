"""Pictures: PNG, JPEG and BMP are read; PNG is written, with 8 and 16 bits a value.

TIFF has a folder of its own. A picture holds pixels only, no place in the world.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.formats import strip_ending
from napari_dip_fusion.io.limits import (
    count_declared_bytes,
    require_memory,
    require_packed_bytes,
)
from napari_dip_fusion.io.losses import warn_of_lost_place
from napari_dip_fusion.io.silence import relay_messages
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import drop_single_axes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check", "read", "write"]

_PNG = b"\x89PNG\r\n\x1a\n"
# The PNG specification, section 11.2.1: the chunk IHDR follows the signature of 8 bytes
# and ends at byte 33; width and height begin at bytes 16 and 20 (big-endian), the bit
# depth is byte 24, the color type byte 25.
_PNG_HEADER = 33
# Samples a pixel by color type: gray, RGB, palette, gray with alpha, RGBA.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_GRAY, _PALETTE = 0, 3
_JPEG = b"\xff\xd8\xff"
# ITU T.81, table B.1: markers of a frame, and those among them that are none; JPEG-LS has
# one of its own (ITU T.87). Its first byte after the length is the bits of a sample.
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_JPEG_READ = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA}
_HARMLESS = (
    # The size of a picture is compared with the memory here.
    "decompression bomb",
    # Palettes with transparency are turned into RGBA.
    "Palette images with Transparency",
)


def read(path: Path) -> list[Source]:
    """Read a picture; palettes become colors, gray with alpha becomes RGBA.

    Values are those of the file: gray of 1, 2 and 4 bits is spread over 0 to 255 as Pillow
    does it, 16 bits are kept. A color that PNG calls transparent (tRNS) makes colors RGBA,
    and leaves gray values as they are. Inks (CMYK) become RGB by Pillow's plain formula,
    without a color profile. Curves and sizes that a picture may have for its display (gAMA,
    iCCP, pHYs, dots an inch) are not used. Of several pictures the first is read.

    Parameters
    ----------
    path : Path
        PNG, JPEG or BMP file.

    Returns
    -------
    list of Source
        The one picture.

    Raises
    ------
    ImageFileError
        If the file is damaged, declares more than it can hold, or is of a kind that is
        not read.
    """
    require_memory(path, path.stat().st_size)
    content = path.read_bytes()
    if content.startswith(_PNG):
        _check_png(path, content)
    elif content.startswith(_JPEG):
        _check_jpeg(path, content)
    # Pillow raises OSError for broken content, too.
    with report_damage(path, "decoded", unchanged=(MemoryError, Warning)):
        pixels = _decode_deep_png(content) if _is_deep_color(content) else _decode(path, content)
    return [Source(pixels, rgb=pixels.ndim == 3, name=strip_ending(path), path=path)]


def check(image: Source) -> None:
    """Refuse an image that PNG cannot hold, as :func:`.check_image` asks."""
    plane = drop_single_axes(image)
    if plane.ndim != 2:
        raise ImageFileError(
            f"PNG holds one plane, got axes {', '.join(plane.axes)} of sizes {plane.shape}; "
            "choose a plane, or write .nii.gz, .ome.tif or .ome.zarr"
        )
    if plane.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ImageFileError(
            f"PNG holds uint8 or uint16, got {plane.dtype}; convert it, or write TIFF"
        )


def write(path: Path, image: Source) -> None:
    """Write a plane as PNG.

    Parameters
    ----------
    path : Path
        File to write.
    image : Source
        Plane of uint8 or uint16, gray, RGB or RGBA.

    Raises
    ------
    ImageFileError
        If PNG cannot hold the image.
    """
    import imagecodecs

    check(image)
    image = drop_single_axes(image)
    warn_of_lost_place(image, "PNG", stacklevel=3)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image.to_numpy())))


def _check_png(path: Path, content: bytes) -> None:
    """Refuse a PNG whose header declares more than the file or the memory can hold."""
    if len(content) < _PNG_HEADER or content[12:16] != b"IHDR":
        raise ImageFileError(f"{path} ends before the header of a PNG does; copy it again")
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (16, 20))
    depth, color_type = content[24], content[25]
    samples = _PNG_SAMPLES.get(color_type, 4)
    # A palette stores one index a pixel, which is unpacked to three values.
    packed_bits = depth * (1 if color_type == _PALETTE else samples)
    nbytes = count_declared_bytes(path, (height, width), 1)
    require_packed_bytes(path, nbytes * packed_bits // 8, packed=len(content))
    # Decoding holds the pixels about twice.
    require_memory(path, 2 * nbytes * max(depth // 8, 1) * samples)


def _check_jpeg(path: Path, content: bytes) -> None:
    """Refuse a JPEG of a kind that is not read; those that are broken are left to Pillow."""
    place = 2
    while content[place : place + 1] == b"\xff" and place + 5 <= len(content):
        marker, bits = content[place + 1], content[place + 4]
        if marker in _JPEG_FRAMES:
            if marker not in _JPEG_READ or bits != 8:
                kind = "JPEG-LS" if marker == 0xF7 else f"JPEG (frame {marker - 0xC0})"
                raise ImageFileError(
                    f"{path} is {kind} of {bits} bits, which is not read; convert it to PNG or TIFF"
                )
            return
        # Some programs fill up with this byte.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4], "big")


def _is_deep_color(content: bytes) -> bool:
    """Tell whether a file is a PNG that Pillow would cut down to eight bits."""
    return content.startswith(_PNG) and content[24] == 16 and content[25] != _GRAY


def _decode_deep_png(content: bytes) -> NDArray[Any]:
    import imagecodecs

    return _expand_alpha(imagecodecs.png_decode(content))


def _decode(path: Path, content: bytes) -> NDArray[Any]:
    from PIL import ImageOps

    # A camera held upright stores a turned picture, and how it is turned (EXIF).
    with relay_messages(path.name, "Pillow", harmless=_HARMLESS):
        picture, count = _open(path, content)
        pixels = np.array(ImageOps.exif_transpose(picture))
    if count > 1:
        warnings.warn(
            f"{path.name} holds {count} pictures, of which the first is read", stacklevel=5
        )
    # Pillow holds 16 bits of some files as 32.
    if pixels.dtype == np.int32:
        pixels = pixels.astype(np.uint16)
    return _expand_alpha(pixels)


def _open(path: Path, content: bytes) -> tuple["Image", int]:
    """Return a picture as gray, RGB or RGBA values, and how many there are in the file."""
    from PIL import Image

    try:
        picture: Image.Image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "BMP"))
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"{path} has more pixels than are read of a picture ({error}); convert it to TIFF"
        ) from error
    except OSError as error:
        if "nsupported" not in str(error):
            raise
        raise ImageFileError(
            f"{path} is of a kind that is not read ({error}); convert it to PNG or TIFF"
        ) from error
    nbytes = count_declared_bytes(path, picture.size, len(picture.getbands()))
    # The content, the decoded picture and its array are held at once.
    require_memory(path, 3 * nbytes)
    return _simplify(picture), getattr(picture, "n_frames", 1)


def _simplify(picture: "Image") -> "Image":
    """Return a picture of any mode as gray, RGB or RGBA values."""
    # Whether there is an alpha depends on the file's transparency alone.
    if picture.mode in ("P", "PA", "RGB") and picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        return picture.convert("RGB")
    if picture.mode == "1":
        return picture.convert("L")
    return picture


def _expand_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return gray with alpha as RGBA, and other pixels unchanged."""
    if pixels.ndim == 3 and pixels.shape[-1] == 2:
        return np.concatenate([np.repeat(pixels[..., :1], 3, axis=-1), pixels[..., 1:]], axis=-1)
    return pixels
