"""Parts of images that are named now, by slicing, and read when their pixels are asked for."""

import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["View", "find_view", "make_lazy"]


class View:
    """A part of an image, perhaps with its axes in another order, of which nothing is read yet.

    Arrays of zarr, and whatever else is sliced like them, read what they are sliced to. A view
    of them is sliced and transposed for nothing, and :func:`numpy.asarray` reads it.

    Parameters
    ----------
    image : array-like
        NumPy, dask, zarr or anything that is sliced like them.
    index : sequence of int or range, optional
        What is taken of each axis of `image`; by default all.
    order : sequence of int, optional
        The order of those axes that are taken as ranges; by default theirs.
    dtype : dtype, optional
        The type that is read; by default that of `image`.
    """

    def __init__(
        self,
        image: Any,
        index: Sequence[int | range] | None = None,
        order: Sequence[int] | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._image = image
        self._index = tuple(map(range, image.shape) if index is None else index)
        ranges = [part for part in self._index if isinstance(part, range)]
        self._order = tuple(range(len(ranges)) if order is None else order)
        self.shape = tuple(len(ranges[number]) for number in self._order)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(image.dtype if dtype is None else dtype)

    @property
    def size(self) -> int:
        """How many pixels there are, and colors of pixels."""
        return math.prod(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Sizes of the parts in which the image comes, which has to say it, along each axis."""
        whole = self._image.chunks
        places = [n for n, part in enumerate(self._index) if isinstance(part, range)]
        return tuple(whole[places[number]] for number in self._order)

    def __getitem__(self, index: Any) -> "View":
        """Return a part of this part: `index` holds whole numbers and slices alone."""
        parts = index if isinstance(index, tuple) else (index,)
        parts = (*parts, *(slice(None),) * (self.ndim - len(parts)))
        # Where in the image each axis of this part is.
        places = [n for n, part in enumerate(self._index) if isinstance(part, range)]
        taken: list[Any] = list(self._index)
        for number, part in zip(self._order, parts, strict=True):
            taken[places[number]] = taken[places[number]][part]
        left = [number for number in self._order if isinstance(taken[places[number]], range)]
        return View(self._image, taken, np.argsort(np.argsort(left)).tolist(), self.dtype)

    def transpose(self, *axes: Any) -> "View":
        """Return the same part with its axes in another order."""
        order = axes[0] if len(axes) == 1 else axes
        return View(self._image, self._index, [self._order[n] for n in order], self.dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the pixels."""
        pixels = np.asarray(self._take()).astype(self.dtype, copy=False)
        return np.array(pixels, dtype=dtype, copy=copy)

    def resolve(self) -> Any:
        """Return the part as an array of the image's own kind, unless that would read it."""
        if self.dtype != self._image.dtype:
            return self
        whole = self._index == tuple(map(range, self._image.shape))
        if whole and self._order == tuple(range(self.ndim)):
            return self._image
        # Of NumPy and dask, parts are views.
        is_lazy = isinstance(self._image, np.ndarray) or hasattr(self._image, "__dask_graph__")
        return self._take() if is_lazy else self

    def _take(self) -> Any:
        index = tuple(
            _make_slice(part) if isinstance(part, range) else part for part in self._index
        )
        pixels = self._image[index]
        return pixels.transpose(self._order) if self._order != tuple(range(self.ndim)) else pixels


def _make_slice(part: range) -> slice:
    # A range that runs down to the first pixel ends before it, which no slice can say.
    return slice(part.start, part.stop if part.stop >= 0 else None, part.step)


# The views that dask arrays read, by the names of these, which nothing else has.
_views: WeakValueDictionary[str, View] = WeakValueDictionary()


def make_lazy(view: View) -> Any:
    """Return a dask array that reads a view, chunk by chunk.

    Parameters
    ----------
    view : View
        Of an image that says which chunks it has.
    """
    import dask.array as da

    lazy: Any = da  # dask has no types
    meta = np.empty((0,) * view.ndim, view.dtype)
    # A name made from the path would have napari's cache show a file that was replaced since.
    data = lazy.from_array(view, chunks=view.chunks, name=False, meta=meta, fancy=False)
    _views[data.name] = view
    return data


def find_view(data: Any) -> View | None:
    """Return the view that a dask array of :func:`make_lazy` reads; None of anything else.

    Of several chunks, dask reads each by itself, which takes three times as long as to read them
    at once.
    """
    name = getattr(data, "name", None)
    return _views.get(name) if isinstance(name, str) else None
