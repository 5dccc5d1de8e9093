"""Bring images of any real type to gray levels 0..255, on which every metric is computed.

Owns the checks that sources and fused image fit together, and :func:`quantize`. How a picture is
stored changes no metric, since all of them start from here.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.tiles import cut_rows

Images: TypeAlias = Sequence[NDArray[Any]] | NDArray[Any]
"""K sources of shape (M, N), as one array or as several."""

Stack: TypeAlias = NDArray[np.float64]
"""Gray levels of shape (K + 1, M, N): the planes of the sources, then that of the fused image."""

# The gray level of white: the code published for the metrics works on 8-bit pictures.
_WHITE = 255.0

# Gray levels are multiples of this, so that they are integers of 23 bits times a power of two.
# The product of two of them has 46 bits, and the sum of 64 products (one 8x8 window) 52: float64
# holds both exactly. Hence a flat window has a variance of exactly 0, without a tolerance, and
# 0..1 scores as 0..255 does. Near white, float32 is about as fine as this.
_QUANTUM = 2.0**-15


def quantize(sources: Images, fused: NDArray[Any], data_range: float | None) -> Stack:
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
        If the images do not fit together, hold NaN or infinity, or `data_range` is not a positive
        number or cannot be told from the dtypes.
    """
    images = [np.asarray(image) for image in (*sources, fused)]
    _check_images(images)
    white = _find_white(images) if data_range is None else float(data_range)
    if not 0 < white < np.inf:
        raise ValueError(f"data_range must be positive and finite, got {data_range}; try 255")
    stack = np.empty((len(images), *images[-1].shape))
    for image, plane in zip(images, stack, strict=True):
        for rows in cut_rows(len(plane)):
            strip = plane[rows]
            strip[...] = image[rows]
            np.clip(strip, 0.0, white, out=strip)
            strip *= _WHITE / _QUANTUM / white
            np.rint(strip, out=strip)
            strip *= _QUANTUM
    stack.flags.writeable = False
    return stack


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


def _check_images(images: Sequence[NDArray[Any]]) -> None:
    fused = images[-1]
    if len(images) < 3:
        raise ValueError(f"expected at least 2 sources, got {len(images) - 1}; pass all of them")
    for image in images:
        if image.ndim != 2:
            raise ValueError(
                f"expected gray images of shape (M, N), got shape {image.shape}; "
                "convert color to gray, or evaluate channels and slices one by one"
            )
        if image.shape != fused.shape:
            raise ValueError(
                f"sources and fused must share one shape, got {image.shape} and {fused.shape}; "
                "align them first"
            )
        if image.dtype.kind not in "buif":
            raise ValueError(f"expected real numbers, got dtype {image.dtype}; convert to float")
    check_size(fused.shape, 1)
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
