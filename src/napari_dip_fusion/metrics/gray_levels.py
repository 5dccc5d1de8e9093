"""Bring images of any real type to gray levels 0..255, on which every metric is computed.

Owns the checks that sources and fused image fit together, and :func:`quantize`. How a picture is
stored changes no metric, since all of them start from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.tiles import cut_rows


class Pixels(Protocol):
    """An image that is no array, and gives its pixels as one: a :class:`~.Source`."""

    rgb: bool
    """Whether the last axis holds the colors."""

    def to_numpy(self) -> NDArray[Any]:
        """Return the pixels."""
        ...


Image: TypeAlias = NDArray[Any] | Pixels
"""A gray image of shape (..., M, N)."""

Images: TypeAlias = Sequence[Image] | NDArray[Any]
"""K sources of one shape, as one array or as several images."""

Stack: TypeAlias = NDArray[np.float64]
"""Gray levels of shape (K + 1, M, N): the planes of the sources, then that of the fused image."""

# The gray level of white: the code published for the metrics works on 8-bit pictures.
_WHITE = 255.0

# Gray levels are multiples of this, so that they are integers of 23 bits times a power of two.
# The product of two of them has 46 bits, and the sum of 64 products (one 8x8 window) 52: float64
# holds both exactly. Hence a flat window has a variance of exactly 0, without a tolerance, and
# 0..1 scores as 0..255 does. Near white, float32 is about as fine as this.
_QUANTUM = 2.0**-15


@dataclass(frozen=True, eq=False)
class GrayImages:
    """Sources and fused image that fit together, and how their values become gray levels.

    What is checked, and the value of white, hold for the whole of a stack of planes.

    Attributes
    ----------
    images : tuple of ndarray of shape (..., M, N)
        The sources, then the fused image.
    white : float
        The value that becomes white.
    """

    images: tuple[NDArray[Any], ...]
    white: float

    @classmethod
    def check(cls, sources: Images, fused: Image, data_range: float | None) -> "GrayImages":
        """Return the images, or raise ValueError as :func:`quantize` does."""
        images = tuple(_take_pixels(image) for image in (*sources, fused))
        _check_images(images)
        white = _find_white(images) if data_range is None else float(data_range)
        if not 0 < white < np.inf:
            raise ValueError(f"data_range must be positive and finite, got {data_range}; try 255")
        return cls(images, white)

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Sizes of the axes before rows and columns; empty for planes."""
        return self.images[-1].shape[:-2]

    def quantize(self, index: tuple[int, ...]) -> Stack:
        """Return one plane of all images as gray levels, like :func:`quantize`."""
        planes = [image[index] for image in self.images]
        stack = np.empty((len(planes), *planes[-1].shape))
        for image, plane in zip(planes, stack, strict=True):
            for rows in cut_rows(len(plane)):
                strip = plane[rows]
                strip[...] = image[rows]
                np.clip(strip, 0.0, self.white, out=strip)
                strip *= _WHITE / _QUANTUM / self.white
                np.rint(strip, out=strip)
                strip *= _QUANTUM
        stack.flags.writeable = False
        return stack


def quantize(sources: Images, fused: Image, data_range: float | None) -> Stack:
    """Check sources and fused image, and stack them as gray levels.

    Parameters
    ----------
    sources : sequence of K ndarrays of shape (M, N), or ndarray of shape (K, M, N)
        K >= 2 gray images of any real dtype.
    fused : ndarray of shape (M, N)
    data_range : float or None
        The value of white; None tells it from the dtype (see :func:`.evaluate`). Values below
        black and above white are clipped.

    Returns
    -------
    ndarray of shape (K + 1, M, N), float64
        Multiples of 2**-15 from 0 to 255, which several metrics share: it is read-only.

    Raises
    ------
    ValueError
        If the images do not fit together, are more than one plane, hold NaN or infinity, or
        `data_range` is not a positive number or cannot be told from the dtypes.
    """
    gray = GrayImages.check(sources, fused, data_range)
    if gray.stack_shape:
        raise ValueError(
            f"expected planes of shape (M, N), got shape {gray.images[-1].shape}; "
            "score volumes and series with evaluate"
        )
    return gray.quantize(())


def check_size(shape: tuple[int, ...], smallest: int) -> None:
    """Raise ValueError if images are smaller than a metric's window.

    Parameters
    ----------
    shape : tuple of int
        Shape of the images, or of a stack of them; the last two are rows and columns.
    smallest : int
        Side of the window in pixels.
    """
    rows, columns = shape[-2:]
    if min(rows, columns) < smallest:
        raise ValueError(
            f"expected images of at least {smallest}x{smallest} pixels for this metric's window, "
            f"got {rows}x{columns}; use larger images or leave the metric out"
        )


def choose_variant(name: str, variants: dict[str, Any]) -> Any:
    """Return the variant of a metric that has this name, or raise ValueError."""
    if name not in variants:
        raise ValueError(f"unknown variant {name!r}; choose from {', '.join(variants)}")
    return variants[name]


def _take_pixels(image: Image) -> NDArray[Any]:
    """Return an image as an array, or raise ValueError if it says that it is in color."""
    if isinstance(image, np.ndarray) or not hasattr(image, "to_numpy"):
        return np.asarray(image)
    pixels = image.to_numpy()
    if image.rgb:
        raise _refuse_shape(pixels.shape)
    return pixels


def _refuse_shape(shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"expected gray images of shape (M, N), or (..., M, N) for stacks, got shape {shape}; "
        "convert color to gray, or evaluate its channels one by one"
    )


def _check_images(images: Sequence[NDArray[Any]]) -> None:
    fused = images[-1]
    if len(images) < 3:
        raise ValueError(f"expected at least 2 sources, got {len(images) - 1}; pass all of them")
    for image in images:
        # What ends in 3 or 4 is in color, here as everywhere: no metric says much of 3 columns.
        if image.ndim < 2 or (image.ndim > 2 and image.shape[-1] in (3, 4)):
            raise _refuse_shape(image.shape)
        if image.shape != fused.shape:
            raise ValueError(
                f"sources and fused must share one shape, got {image.shape} and {fused.shape}; "
                "align them first"
            )
        if image.dtype.kind not in "buif":
            raise ValueError(f"expected real numbers, got dtype {image.dtype}; convert to float")
    check_size(fused.shape, 1)
    if fused.size == 0:
        raise ValueError(f"expected at least one plane, got shape {fused.shape}; pass all planes")
    # NaN and infinity show in minimum and maximum, which need no array of flags.
    if not all(np.isfinite([image.min(), image.max()]).all() for image in images):
        raise ValueError("expected finite values, got NaN or infinity; replace them first")


def _find_white(images: Sequence[NDArray[Any]]) -> float:
    """Return the value of white that the dtypes imply, or raise ValueError where they do not."""
    dtypes = {image.dtype for image in images}
    kinds = {dtype.kind for dtype in dtypes}
    if kinds == {"b"}:
        return 1.0
    if kinds == {"u"} and len(dtypes) == 1:
        return float(np.iinfo(dtypes.pop()).max)
    # Signed integers are measured values (such as Hounsfield units) more often than pictures.
    if kinds != {"f"}:
        raise ValueError(
            f"cannot tell the data range of dtype {' and '.join(sorted(map(str, dtypes)))}; "
            "pass data_range, the value of white"
        )
    low, high = min(image.min() for image in images), max(image.max() for image in images)
    if low < 0 or high > 1:
        raise ValueError(
            f"expected floats in [0, 1], got {low:g} to {high:g}; "
            "rescale them, or pass data_range, the value of white"
        )
    return 1.0
