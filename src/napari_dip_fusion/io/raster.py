"""Pictures: PNG, JPEG and BMP in; PNG out, with 8 and 16 bits a value.

TIFF has a module of its own. A picture holds pixels only, no place in the world.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import declared_bytes, refuse_memory, refuse_packed
from napari_dip_fusion.io.losses import warn_of_lost_place
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import drop_single_axes

__all__ = ["read", "write"]

_PNG = b"\x89PNG\r\n\x1a\n"
# Samples a pixel by the colour type in the header of a PNG.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def read(path: Path) -> list[Source]:
    """Read a picture; palettes become colours, grey with alpha becomes RGBA.

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
        If the file is damaged or declares more than it can hold.
    """
    content = path.read_bytes()
    if content.startswith(_PNG):
        _check_png(path, content)
    # Pillow raises OSError for broken content, too.
    with report_damage(path, "decoded", unchanged=(MemoryError,)):
        pixels = _decode_deep_png(content) if _is_deep_colour(content) else _decode(path, content)
    return [Source(pixels, rgb=pixels.ndim == 3, name=path.stem, path=path)]


def write(path: Path, image: Source) -> None:
    """Write a plane as PNG.

    Parameters
    ----------
    path : Path
        File to write.
    image : Source
        Plane of uint8 or uint16, grey, RGB or RGBA.

    Raises
    ------
    ImageFileError
        If PNG cannot hold the image.
    """
    import imagecodecs

    image = drop_single_axes(image)
    if image.ndim != 2:
        raise ImageFileError(
            f"PNG holds one plane, got axes {', '.join(image.axes)} of sizes {image.shape}; "
            "choose a plane, or write OME-TIFF, OME-Zarr or NIfTI"
        )
    if image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ImageFileError(
            f"PNG holds uint8 or uint16, got {image.dtype}; convert it, or write TIFF"
        )
    warn_of_lost_place(image, "PNG", stacklevel=3)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image.to_numpy())))


def _check_png(path: Path, content: bytes) -> None:
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise ImageFileError(f"{path} ends before the header of a PNG does; copy it again")
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (16, 20))
    samples = _PNG_SAMPLES.get(content[25], 4)
    packed_bits = content[24] * (1 if content[25] == 3 else samples)
    nbytes = declared_bytes(path, (height, width), 1)
    refuse_packed(path, nbytes * packed_bits // 8, packed=len(content))
    refuse_memory(path, 2 * nbytes * max(content[24] // 8, 1) * samples)


def _is_deep_colour(content: bytes) -> bool:
    """Tell whether Pillow would cut a PNG down to eight bits."""
    return content.startswith(_PNG) and content[24] == 16 and content[25] != 0


def _decode_deep_png(content: bytes) -> NDArray[Any]:
    import imagecodecs

    return _as_colour(imagecodecs.png_decode(content))


def _decode(path: Path, content: bytes) -> NDArray[Any]:
    import warnings

    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked here
        try:
            picture: Image.Image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "BMP"))
        except Image.DecompressionBombError as error:
            raise ImageFileError(
                f"{path} has more pixels than are read of a picture ({error}); convert it to TIFF"
            ) from error
        nbytes = declared_bytes(path, picture.size, len(picture.getbands()))
        refuse_memory(path, 3 * nbytes)
        if picture.mode in ("P", "PA"):
            # By hand, because "has transparency" alone decides for the alpha.
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        elif picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            picture = picture.convert("RGB")
        elif picture.mode == "1":
            picture = picture.convert("L")
        # A camera held upright stores a turned picture and says so.
        pixels = np.array(ImageOps.exif_transpose(picture))
    if pixels.dtype == np.int32:  # how Pillow holds 16 bits of some files
        pixels = pixels.astype(np.uint16)
    return _as_colour(pixels)


def _as_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim == 3 and pixels.shape[-1] == 2:
        return np.concatenate([np.repeat(pixels[..., :1], 3, axis=-1), pixels[..., 1:]], axis=-1)
    return pixels
