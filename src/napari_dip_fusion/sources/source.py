"""An image and where it lies: pixels, axes, units and the way to world coordinates."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Source", "warn_of_place"]

_AXES = ("t", "z", "y", "x")


@dataclass(frozen=True, eq=False)
class Source:
    """Pixels of one image layer and their place in the world.

    Parameters
    ----------
    data : array-like of shape (..., M, N) or (..., M, N, 3 or 4)
        The pixels, possibly lazy (dask).
    axes : tuple of str
        Names of the axes of space and time in the order of `data`, without the
        axis of colours. By default the last of ``("t", "z", "y", "x")``.
    affine : ndarray of shape (D + 1, D + 1)
        From pixel index to world, both in the order of `axes`. By default the
        identity.
    units : tuple of str
        Unit of each world axis, by default ``"pixel"``.
    name : str
        Name for people, not a path.
    rgb : bool
        Whether the last axis of `data` holds the colours.
    metadata : dict
        What the file says besides; JSON-able.
    path : Path, optional
        The file or folder that the image comes from.
    display : mapping
        How it was shown: colormap, contrast_limits, gamma, opacity, blending.
    pyramid : tuple of array-like
        Smaller versions of `data`, largest first, without `data` itself.

    Raises
    ------
    ValueError
        If the axes, affine or units do not fit the data.
    """

    data: Any = field(repr=False)
    axes: tuple[str, ...] = ()
    affine: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    units: tuple[str, ...] = ()
    name: str = ""
    rgb: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    display: Mapping[str, Any] = field(default_factory=dict)
    pyramid: tuple[Any, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        ndim = self.ndim
        if not self.axes:
            extra = tuple(f"axis {n}" for n in range(ndim - len(_AXES)))
            object.__setattr__(self, "axes", extra + _AXES[max(len(_AXES) - ndim, 0) :])
        affine = np.asarray(self.affine, dtype=np.float64)
        object.__setattr__(self, "affine", affine if affine.size else np.eye(ndim + 1))
        object.__setattr__(self, "units", tuple(self.units) or ("pixel",) * ndim)
        object.__setattr__(self, "axes", tuple(self.axes))
        self._check(ndim)

    def _check(self, ndim: int) -> None:
        if self.rgb and self.data.shape[-1] not in (3, 4):
            raise ValueError(f"a colour image must end in 3 or 4, got shape {self.data.shape}")
        if len(self.axes) != ndim or len(self.units) != ndim:
            raise ValueError(
                f"{ndim} axes need {ndim} names and units, got {self.axes} and {self.units}"
            )
        if self.affine.shape != (ndim + 1, ndim + 1):
            raise ValueError(
                f"{ndim} axes need an affine of shape {(ndim + 1, ndim + 1)}, "
                f"got {self.affine.shape}"
            )
        if not np.isfinite(self.affine).all():
            raise ValueError("the affine must be finite, got NaN or infinity")

    @property
    def ndim(self) -> int:
        """Number of axes without the one of colours."""
        return len(self.data.shape) - bool(self.rgb)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes without the one of colours."""
        return tuple(int(size) for size in self.data.shape[: self.ndim])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance in the world between neighbouring pixels, one per axis."""
        steps: NDArray[np.float64] = np.linalg.norm(self.affine[:-1, :-1], axis=0)
        return steps

    def to_numpy(self) -> NDArray[Any]:
        """Return the pixels as an array in memory."""
        return np.asarray(self.data)

    def replace(self, **changes: Any) -> "Source":
        """Return a copy with other values in the named fields."""
        return replace(self, **changes)

    def take(self, axis: str, index: int, *, keep: bool = False) -> "Source":
        """Return one plane of an axis.

        Parameters
        ----------
        axis : str
            Name of the axis.
        index : int
            Pixel index on it; negative counts from the end.
        keep : bool
            Keep the axis, with size 1 and its place in the world. Otherwise it
            is dropped; if the plane lies oblique to the world's axes, only
            distances and angles within it are then kept.

        Returns
        -------
        Source
            The plane.

        Raises
        ------
        ValueError
            If there is no such axis or index.
        """
        number, index = self._locate(axis, index)
        where = (slice(None),) * number + (slice(index, index + 1) if keep else index,)
        affine = self.affine.copy()
        affine[:, -1] += affine[:, number] * index
        if keep:
            return replace(self, data=self.data[where], affine=affine, pyramid=())
        return replace(
            self,
            data=self.data[where],
            axes=_without(self.axes, number),
            units=_without(self.units, number),
            affine=_drop(affine, number),
            pyramid=(),
        )

    def _locate(self, axis: str, index: int) -> tuple[int, int]:
        if axis not in self.axes:
            raise ValueError(f"axis must be one of {', '.join(self.axes)}, got {axis!r}")
        number = self.axes.index(axis)
        size = self.shape[number]
        if not -size <= index < size:
            raise ValueError(f"index on axis {axis} must be 0 to {size - 1}, got {index}")
        return number, index % size


def warn_of_place(image: Source, form: str) -> None:
    """Warn that a format of bare pixels drops where an image lies, if that is known."""
    if set(image.units) != {"pixel"} or not np.array_equal(image.affine, np.eye(image.ndim + 1)):
        steps = ", ".join(
            f"{step:g} {unit}" for step, unit in zip(image.spacing, image.units, strict=True)
        )
        warnings.warn(
            f"{image.name or 'image'}: {form} holds pixels only; the spacing ({steps}) and the "
            "position are dropped",
            stacklevel=4,
        )


def _without(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    return names[:number] + names[number + 1 :]


def _drop(affine: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Leave an axis out of an affine: exactly if it stands alone."""
    rest = np.delete(np.delete(affine, number, axis=0), number, axis=1)
    coupled = np.delete(affine[:-1, number], number).any() or (
        np.delete(affine[number, :-1], number).any()
    )
    if not coupled:
        return rest
    # An oblique plane has no place in fewer axes. The triangular factor of its
    # steps has the same lengths and angles.
    steps = np.delete(affine[:-1, :-1], number, axis=1)
    triangle = np.linalg.qr(steps, mode="r")
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    plane = np.eye(len(rest))
    plane[:-1, :-1] = triangle * signs[:, None]
    return plane
