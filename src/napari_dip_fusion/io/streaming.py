"""Images larger than memory are read part by part, on their way into a file."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.views import View

__all__ = [
    "Part",
    "choose_part",
    "count_bytes",
    "count_most",
    "is_streamed",
    "iterate_parts",
    "iterate_runs",
    "make_sliceable",
    "read",
]

# Lazy images of at most this size are written as those in memory are.
_WHOLE_BYTES = 64 * 2**20
# About the most that is read of an image at once.
_PART_BYTES = 128 * 2**20
# How many planes a chunk may have of an image that does not say it.
_USUAL_DEPTH = 16

Part = tuple[slice, ...]
"""Where a part of an image lies along each of its axes."""


def make_sliceable(image: Source) -> Source:
    """Return an image whose lazy pixels are sliced and transposed without being read.

    Arrays of zarr have no transpose, and NumPy would read them whole.
    """
    levels = [_make_sliceable(data) for data in (image.data, *image.pyramid)]
    return image.replace(data=levels[0], pyramid=tuple(levels[1:]))


def is_streamed(data: Any) -> bool:
    """Tell whether pixels are written part by part: lazy ones that are many."""
    return not isinstance(data, np.ndarray) and count_bytes(data) > _WHOLE_BYTES


def read(data: Any, part: Part) -> NDArray[Any]:
    """Return a part of an image in memory, in the byte order of this machine."""
    pixels = np.asarray(data[part])
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def iterate_runs(data: Any) -> Iterator[Part]:
    """Yield the parts of an image that follow each other in C order, all of it in the end."""
    shape, most = data.shape, count_most(data)
    # The axes from this one on are read whole.
    axis = next(n for n in range(len(shape) + 1) if math.prod(shape[n:]) <= most) - 1
    if axis < 0:
        yield tuple(slice(0, size) for size in shape)
        return
    many = most // math.prod(shape[axis + 1 :])
    chunk = min(_list_chunks(data)[axis], shape[axis])
    step = max(many // chunk * chunk, 1) if many >= chunk else many
    sizes = (*(1,) * axis, step, *shape[axis + 1 :])
    yield from iterate_parts(shape, sizes)


def choose_part(data: Any, chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the size of the parts in which an image is stored chunk by chunk.

    Parameters
    ----------
    data : array-like
        The image.
    chunks : sequence of int
        Sizes of the chunks that it is stored in.

    Returns
    -------
    tuple of int
        Multiples of those chunks, and as large as the chunks in which the image comes, so
        that none is unpacked again and again, as far as memory allows.
    """
    own = _list_chunks(data)
    sizes = [
        min(-(-max(one, chunk) // chunk) * chunk, size)
        for one, chunk, size in zip(own, chunks, data.shape, strict=True)
    ]
    most = count_most(data)
    for n, chunk in enumerate(chunks):
        if math.prod(sizes) > most:
            others = math.prod(sizes) // sizes[n]
            sizes[n] = max(most // others // chunk, 1) * chunk
    # Fewer and larger parts take less time.
    for n in reversed(range(len(sizes))):
        sizes[n] = min(sizes[n] * max(most // math.prod(sizes), 1), data.shape[n])
    return tuple(sizes)


def iterate_parts(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[Part]:
    """Yield parts of one size, shorter at the ends, in C order."""
    ranges = [range(0, whole, size) for whole, size in zip(shape, sizes, strict=True)]
    for start in product(*ranges):
        yield tuple(
            slice(n, min(n + size, whole))
            for n, size, whole in zip(start, sizes, shape, strict=True)
        )


def count_most(data: Any) -> int:
    """Return how many elements of an image are read at once, about."""
    return max(_PART_BYTES // int(np.dtype(data.dtype).itemsize), 1)


def count_bytes(data: Any) -> int:
    """Return how many bytes an image has in memory."""
    nbytes: int = math.prod(data.shape) * np.dtype(data.dtype).itemsize
    return nbytes


def _make_sliceable(data: Any) -> Any:
    data = data.resolve() if isinstance(data, View) else data
    is_known = isinstance(data, np.ndarray | View) or hasattr(data, "__dask_graph__")
    return data if is_known else View(data)


def _list_chunks(data: Any) -> tuple[int, ...]:
    """Return how large the parts are in which an image comes, as far as it is known."""
    known = getattr(data, "chunksize", None)
    depth = (_USUAL_DEPTH,) if len(data.shape) > 2 else ()
    return tuple(known or (*(1,) * (len(data.shape) - 2 - len(depth)), *depth, 1, 1))
