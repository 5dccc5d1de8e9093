"""Masks from files: which pixels of a source were seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io import read_image
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.sensing import find_space_axes
from napari_dip_fusion.sources.views import View

NONE = "-"
"""How the option for masks says that a source has none."""

_PART = 256  # rows, planes or frames of a mask that are looked at at a time


def read_mask(path: Path, image: Source, name: str) -> Any:
    """Return which pixels of an image a file says were seen: those where it is not 0.

    Parameters
    ----------
    path : Path
        A mask on the grid of the image, or on another one of the same world, from which the
        nearest pixel is taken. For a series, one mask may stand for all frames.
    image : Source
    name : str
        What an error calls the image.

    Returns
    -------
    array-like of the image's shape, bool
        One of whole numbers that lies on the image is read part by part, when that is asked for.

    Raises
    ------
    ValueError
        If the mask does not fit the image, or leaves nothing of it.
    """
    mask = read_image(path)
    try:
        seen = View(mask.data, dtype=np.bool_) if _lies_on(mask, image) else _fit(mask, image)
    except ValueError as error:
        # What lies nowhere near is named there once more.
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"the mask {path} does not fit {name}: {reason}") from error
    # Where anything was seen, the first parts say so as a rule.
    parts = range(0, seen.shape[0], _PART)
    if not any(np.asarray(seen[start : start + _PART]).any() for start in parts):
        raise ValueError(
            f"the mask {path} leaves nothing of {name}: it is 0 everywhere there; it has to be "
            "other than 0 where something was seen"
        )
    return seen


def name_masks(choice: Sequence[str]) -> list[str]:
    """Return files of masks as a run record names them: by their whole paths."""
    return [given if given == NONE else str(Path(given).resolve()) for given in choice]


def hash_masks(choice: Sequence[str]) -> list[str | None]:
    """Return the SHA-256 of what each of these files says was seen; None where there is none."""
    return [
        None if given == NONE else array_sha256(_find_seen(read_image(Path(given))).to_numpy())
        for given in choice
    ]


def _lies_on(mask: Source, image: Source) -> bool:
    """Tell whether the pixels of a mask are those of an image, as they are and one by one."""
    return (
        (mask.axes, mask.units, mask.shape) == (image.axes, image.units, image.shape)
        and np.allclose(mask.affine, image.affine)
        and not mask.rgb
        and mask.dtype.kind in ("b", "i", "u")
    )


def _find_seen(mask: Source) -> Source:
    """Return a mask as 0 and 1, of 8 bits: what lies outside of it counts as 0."""
    pixels: NDArray[Any] = mask.to_numpy()
    # Of colors any will do, but opaque black is none.
    seen = (pixels[..., :3] != 0).any(axis=-1) if mask.rgb else pixels != 0
    if pixels.dtype.kind == "f":
        seen &= ~np.isnan(pixels).any(axis=-1) if mask.rgb else ~np.isnan(pixels)
    return mask.replace(data=seen.astype(np.uint8), rgb=False, pyramid=())


def _fit(mask: Source, image: Source) -> NDArray[np.bool_]:
    """Return a mask at the pixels of an image, of which nothing is read."""
    mask = _find_seen(mask)
    frame, repeated = image, _list_repeated(mask, image)
    for number in repeated:
        frame = frame.take(image.axes[number], 0)
    placed = resample_to_reference([mask, frame], reference=1, interpolation="nearest").images[0]
    pixels = placed.to_numpy()
    if [n for n in pixels.shape if n > 1] != [n for n in frame.shape if n > 1]:
        sizes, expected = (" x ".join(map(str, shape)) for shape in (mask.shape, frame.shape))
        raise ValueError(
            f"it has {sizes} pixels and not {expected}, and nothing says how they lie on each other"
        )
    pixels = np.expand_dims(pixels.reshape(frame.shape), repeated)
    seen: NDArray[np.bool_] = np.broadcast_to(pixels != 0, image.shape)
    return seen


def _list_repeated(mask: Source, image: Source) -> list[int]:
    """Return the numbers of the axes of an image of whose frames a mask says the same."""
    sizes = dict(zip(mask.axes, mask.shape, strict=True))
    space = find_space_axes(image.axes, image.units)
    frames = [n for n in range(image.ndim) if n not in space]
    return [n for n in frames if sizes.get(image.axes[n], 1) == 1]
