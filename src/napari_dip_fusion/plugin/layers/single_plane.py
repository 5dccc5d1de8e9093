"""A plane as an array of more axes, along all others of which it has one pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SinglePlane:
    """An array with axes of one pixel beside those of a plane, read when it is sliced.

    Parameters
    ----------
    plane : array-like of shape (M, N) or (M, N, colors)
        NumPy, dask, zarr, a view of them, or anything that is sliced like them.
    axes : tuple of two int
        Where the axes of the plane are, in ascending order; colors stay the last axis.
    ndim : int
        Number of axes, without one of colors.
    """

    def __init__(self, plane: Any, axes: tuple[int, int], ndim: int) -> None:
        self._plane = plane
        colors = tuple(int(n) for n in plane.shape[2:])
        sizes = dict(zip(axes, plane.shape, strict=False))
        self._kept = (*axes, *range(ndim, ndim + len(colors)))
        self.shape = (*(int(sizes.get(axis, 1)) for axis in range(ndim)), *colors)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(plane.dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part: `index` holds whole numbers and slices alone."""
        given = index if isinstance(index, tuple) else (index,)
        parts = [*given, *(slice(None),) * (self.ndim - len(given))]
        # Axes that are left out by a number stay until the others are there.
        wide = [p if isinstance(p, slice) else slice(int(p), int(p) + 1) for p in parts]
        pixels = np.asarray(self._plane[tuple(wide[axis] for axis in self._kept)])
        others = [axis for axis in range(self.ndim) if axis not in self._kept]
        pixels = np.expand_dims(pixels, tuple(others))
        pixels = pixels[tuple(wide[n] if n in others else slice(None) for n in range(self.ndim))]
        return pixels[tuple(slice(None) if isinstance(p, slice) else 0 for p in parts)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all."""
        return np.array(self[()], dtype=dtype, copy=copy)
