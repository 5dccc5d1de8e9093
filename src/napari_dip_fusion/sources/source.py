"""The noun of this package: a source is an image and its place in the world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources.sensing import (
    check_fwhm,
    check_mask,
    check_psf,
    find_space_axes,
    spread_fwhm,
)

__all__ = ["GUESSED_PLACE", "STAGE_POSITION", "Source", "fit_level", "make_source"]

GUESSED_PLACE = "guessed_place"
"""Key of a source's metadata under which stands why its place in the world is only a guess."""

STAGE_POSITION = "stage_position"
"""Key of a source's metadata under which stands where a microscope's stage was, by axis."""

_AXES = ("t", "z", "y", "x")

# Volume of the box that unit steps along all axes span, below which these lie in one plane.
_SINGULAR = 1e-9


@dataclass(frozen=True, eq=False)
class Source:
    """An image that can be fused, and what is known about where it lies.

    A source is a plane, a volume, or either of them over time. The readers in
    :mod:`napari_dip_fusion.io` return sources, a fusion takes planes of them beside plain
    arrays, and the writers write them; in napari a source is one image layer. The affine
    puts every pixel into a world that all sources of a fusion share, so that images of
    different scanners, scales and orientations can be brought to one grid of pixels
    (:func:`~napari_dip_fusion.sources.grid.resample_to_reference`).

    Parameters
    ----------
    data : array-like of shape (..., M, N) or (..., M, N, 3 or 4)
        The pixels: a NumPy array, or one that reads its parts when they are asked
        for (dask, zarr).
    axes : str or tuple of str
        Names of the axes of space and time in the order of `data`, without the
        axis of colors, which is the last one and has no name: ``"zyx"``, or ``("echo", "y",
        "x")``. By default the last of ``("t", "z", "y", "x")``.
    affine : ndarray of shape (D + 1, D + 1)
        Matrix from homogeneous pixel indices to homogeneous world coordinates, both
        in the order of `axes`; whole indices are the centers of pixels. By default
        the identity.
    units : tuple of str
        Unit of each world axis, as :mod:`~napari_dip_fusion.sources.units`
        abbreviates it; by default ``"pixel"``.
    name : str
        Name for people, not a path.
    rgb : bool
        Whether the last axis of `data` holds the colors. One of 3 or 4 does, too, for which
        there is no name among `axes`.
    metadata : dict
        What else is known about the image, in values that JSON can hold. Under
        :data:`GUESSED_PLACE` stands why the place in the world is only a guess, if it is
        one; under ``"axis_values"`` the values of axes that count neither pixels nor
        even steps, as lists by the name of the axis (``{"echo": [4.9, 7.4]}``).
    path : Path, optional
        The file or folder that the image comes from.
    display : mapping
        How the image is shown, in the words of napari's layers, such as colormap,
        contrast_limits, opacity and visible.
    pyramid : tuple of array-like
        Coarser versions of `data`, finest first, without `data` itself.
    level_affines : tuple of ndarray of shape (D + 1, D + 1)
        Matrix from the pixel indices of each array of `pyramid` to those of `data`, where
        the file says where its resolutions lie. By default none: :meth:`find_level_affine`
        takes it from their shapes.
    fwhm : float or sequence of D float
        How wide the sensor blurs a point: full width at half maximum of its Gaussian point spread
        function, in the units of the world, everywhere or along each axis of `data`; 0 where it
        blurs no more than its own pixels do, which are known without it.
    mask : array-like of the shape of `data` without colors, optional
        True where something was seen; by default everywhere.
    psf : Source, optional
        A measured point spread function in place of `fwhm`: an image of a point, of as many axes
        of space, whose brightest pixel is its middle. Only the steps of its affine count.

    Raises
    ------
    ValueError
        If the axes, affine or units do not fit the data, the affine is singular, or blur and
        mask do not fit the image.
    """

    data: Any = field(repr=False)
    axes: Sequence[str] = ()
    affine: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    units: tuple[str, ...] = ()
    name: str = ""
    rgb: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    display: Mapping[str, Any] = field(default_factory=dict)
    pyramid: tuple[Any, ...] = field(default=(), repr=False)
    level_affines: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)
    fwhm: float | Sequence[float] = 0.0
    mask: Any = field(default=None, repr=False)
    psf: "Source | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # The defaults depend on the number of axes; a frozen dataclass sets them so.
        if not hasattr(self.data, "shape"):
            object.__setattr__(self, "data", np.asarray(self.data))
        shape = self.data.shape
        if self.axes and len(shape) == len(self.axes) + 1 and shape[-1] in (3, 4):
            object.__setattr__(self, "rgb", True)
        ndim = self.ndim
        if not self.axes:
            extra = tuple(f"axis {n}" for n in range(ndim - len(_AXES)))
            object.__setattr__(self, "axes", extra + _AXES[max(len(_AXES) - ndim, 0) :])
        affine = np.asarray(self.affine, dtype=np.float64)
        object.__setattr__(self, "affine", affine if affine.size else np.eye(ndim + 1))
        object.__setattr__(self, "units", tuple(self.units) or ("pixel",) * ndim)
        object.__setattr__(self, "axes", tuple(self.axes))
        # Whoever drops the resolutions drops their places with them.
        places = tuple(self.level_affines) if self.pyramid else ()
        object.__setattr__(self, "level_affines", places)
        self._check(ndim)
        object.__setattr__(self, "fwhm", spread_fwhm(self.fwhm, self.axes, self.units))
        check_fwhm(self.widths, self.axes, self.units, (self.spacing * self.shape).tolist())
        if self.mask is not None:
            object.__setattr__(self, "mask", check_mask(self.mask, self.shape))
        if self.psf is not None:
            check_psf(self.psf.to_numpy(), [self.axes[n] for n in self.space])

    def _check(self, ndim: int) -> None:
        if self.rgb and self.data.shape[-1] not in (3, 4):
            raise ValueError(f"a color image must end in 3 or 4, got shape {self.data.shape}")
        if len(self.axes) != ndim or len(self.units) != ndim:
            raise ValueError(
                f"{ndim} axes need {ndim} names and units, got {self.axes} and {self.units} for "
                f'data of shape {tuple(self.data.shape)}; name them as in axes="zyx"'
            )
        if len(set(self.axes)) != ndim:
            raise ValueError(f"each axis needs a name of its own, got {self.axes}")
        if self.affine.shape != (ndim + 1, ndim + 1):
            raise ValueError(
                f"{ndim} axes need an affine of shape {(ndim + 1, ndim + 1)}, "
                f"got {self.affine.shape}"
            )
        if not np.isfinite(self.affine).all():
            raise ValueError("the affine must be finite, got NaN or infinity")
        if _is_singular(self.affine[:-1, :-1]):
            raise ValueError(
                f"the affine {self.affine.tolist()} is singular: it lays all pixels into one plane "
                "or line; give every axis a distance other than 0"
            )
        shapes = [matrix.shape for matrix in self.level_affines]
        if shapes and shapes != [self.affine.shape] * len(self.pyramid):
            raise ValueError(
                f"{len(self.pyramid)} coarser resolutions need as many affines of shape "
                f"{self.affine.shape}, got {shapes}"
            )

    @property
    def ndim(self) -> int:
        """Number of axes without the one of colors."""
        return len(self.data.shape) - bool(self.rgb)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes without the one of colors."""
        return tuple(int(size) for size in self.data.shape[: self.ndim])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance in the world between neighboring pixels, one per axis."""
        steps: NDArray[np.float64] = np.linalg.norm(self.affine[:-1, :-1], axis=0)
        return steps

    @property
    def widths(self) -> tuple[float, ...]:
        """Full width at half maximum of the blur along each axis, as `fwhm` has it."""
        return tuple(np.atleast_1d(self.fwhm).tolist())

    @property
    def space(self) -> list[int]:
        """Numbers of the axes of space, which are those of `psf`."""
        return find_space_axes(self.axes, self.units)

    @property
    def guess(self) -> str:
        """Why the place in the world is only a guess; empty where the file says it."""
        return str(self.metadata.get(GUESSED_PLACE, ""))

    def find_level_affine(self, level: int) -> NDArray[np.float64]:
        """Return the matrix from the pixel indices of a resolution to those of `data`.

        Parameters
        ----------
        level : int
            0 is `data` itself, and the others are those of `pyramid`.

        Returns
        -------
        ndarray of shape (D + 1, D + 1)
            As declared. Otherwise each resolution is taken to cover the same area, so that
            a pixel lies at the mean place of the pixels that it covers: for a factor of
            two, the first one is half a fine pixel further than the first fine one.
        """
        if level == 0:
            return np.eye(self.ndim + 1)
        return self.level_affines[level - 1] if self.level_affines else self._guess_level(level)

    def measure_level_shift(self, level: int) -> float:
        """Return how far a resolution is declared from where its shape would put it.

        Parameters
        ----------
        level : int
            As of :meth:`find_level_affine`.

        Returns
        -------
        float
            The largest distance along any axis, in pixels of that resolution. Programs that
            go by the shapes, as napari does, show it so far from its place.
        """
        if level == 0:
            return 0.0
        guess = self._guess_level(level)
        last = np.array(self.pyramid[level - 1].shape[: self.ndim]) - 1
        corners = np.array([[*last * corner, 1] for corner in np.ndindex((2,) * self.ndim)])
        apart = np.linalg.solve(guess, (self.find_level_affine(level) - guess) @ corners.T)
        return float(np.abs(apart).max())

    def _guess_level(self, level: int) -> NDArray[np.float64]:
        """Return where a coarser resolution lies in pixels of `data`, by its shape."""
        return fit_level(self.shape, self.pyramid[level - 1].shape[: self.ndim])

    def to_numpy(self) -> NDArray[Any]:
        """Return the pixels as an array in memory."""
        return np.asarray(self.data)

    def replace(self, **changes: Any) -> "Source":
        """Return a copy with other values in the named fields."""
        return replace(self, **changes)

    def transpose(self, order: Sequence[int]) -> "Source":
        """Return the same image with its axes in another order.

        Parameters
        ----------
        order : sequence of int
            Numbers of the axes, without the one of colors, which stays the last.

        Returns
        -------
        Source
            The image itself where the order is the one that it has.
        """
        order = list(order)
        if order == list(range(self.ndim)):
            return self
        arrays = [*order, self.ndim] if self.rgb else order
        matrix = np.ix_([*order, -1], [*order, -1])
        levels = [np.transpose(data, arrays) for data in (self.data, *self.pyramid)]
        space = [self.space.index(n) for n in order if n in self.space]
        return replace(
            self,
            data=levels[0],
            axes=tuple(self.axes[n] for n in order),
            units=tuple(self.units[n] for n in order),
            affine=self.affine[matrix],
            pyramid=tuple(levels[1:]),
            level_affines=tuple(affine[matrix] for affine in self.level_affines),
            fwhm=tuple(self.widths[n] for n in order),
            mask=None if self.mask is None else np.transpose(self.mask, order),
            psf=None if self.psf is None else self.psf.transpose(space),
        )

    def take(self, axis: str, index: int, *, keep: bool = False) -> "Source":
        """Return what lies at one index of an axis, without its pyramid.

        Parameters
        ----------
        axis : str
            Name of the axis.
        index : int
            Pixel index on the axis; negative ones count from the end.
        keep : bool
            Keep the axis, with size 1 and its place in the world. Otherwise it
            is dropped; if the plane lies oblique to the world's axes, only
            distances and angles within it are then kept.

        Returns
        -------
        Source
            For a volume, a plane.

        Raises
        ------
        ValueError
            If there is no such axis or index.
        """
        number, index = self._locate(axis, index)
        where = (slice(None),) * number + (slice(index, index + 1) if keep else index,)
        affine = self.affine.copy()
        # The first pixel that is left lies where this index was.
        affine[:, -1] += affine[:, number] * index
        mask = None if self.mask is None else self.mask[where]
        if keep:
            return replace(self, data=self.data[where], affine=affine, pyramid=(), mask=mask)
        psf = self.psf
        if psf is not None and number in self.space:
            psf = _sum_psf(psf, self.space.index(number))
        return replace(
            self,
            data=self.data[where],
            axes=_remove(tuple(self.axes), number),
            units=_remove(self.units, number),
            affine=_remove_axis(affine, number),
            pyramid=(),
            fwhm=self.widths[:number] + self.widths[number + 1 :],
            mask=mask,
            psf=psf,
        )

    def _locate(self, axis: str, index: int) -> tuple[int, int]:
        """Return the number of an axis, and an index on it that is not negative."""
        if axis not in self.axes:
            raise ValueError(f"axis must be one of {', '.join(self.axes)}, got {axis!r}")
        number = self.axes.index(axis)
        size = self.shape[number]
        if not -size <= index < size:
            raise ValueError(f"index on axis {axis} must be 0 to {size - 1}, got {index}")
        return number, index % size


def make_source(image: ArrayLike, *, name: str = "") -> Source:
    """Return a plain array as a source.

    Parameters
    ----------
    image : array of shape (M, N), (M, N, 3), (M, N, 4) or (Z, M, N)
        A plane in gray or color, or a volume.
    name : str

    Raises
    ------
    ValueError
        If nothing says what the axes of the array are.
    """
    array = np.asarray(image)
    rgb = array.ndim == 3 and array.shape[-1] in (3, 4)
    if not 2 <= array.ndim <= 3:
        raise ValueError(
            f"{name or 'the image'} has {array.ndim} axes, {array.shape}: say what they are, as in "
            'Source(image, axes="tzyx"), or "zyx" before an axis of 3 or 4 colors; plain arrays '
            "are planes (M, N), (M, N, 3), (M, N, 4) or volumes (Z, M, N)"
        )
    return Source(array, name=name, rgb=rgb)


def fit_level(shape: Sequence[int], coarse: Sequence[int]) -> NDArray[np.float64]:
    """Return where a coarser resolution lies if it covers the same area as the finest.

    Parameters
    ----------
    shape, coarse : sequence of D int
        Sizes of the finest resolution and of the coarser one.

    Returns
    -------
    ndarray of shape (D + 1, D + 1)
        Matrix from pixel indices of the coarser one to those of the finest.
    """
    factors = np.array(shape) / np.array(coarse)
    matrix = np.diag([*factors, 1.0])
    matrix[:-1, -1] = (factors - 1) / 2
    return matrix


def _sum_psf(psf: Source, number: int) -> Source:
    """Return a point spread function without an axis: how what is even along it is blurred."""
    kept = [n for n in range(psf.ndim) if n != number]
    return Source(
        psf.to_numpy().sum(axis=number, dtype=np.float64),
        tuple(psf.axes[n] for n in kept),
        np.diag([*psf.spacing[kept], 1.0]),
        tuple(psf.units[n] for n in kept),
    )


def _is_singular(steps: NDArray[np.float64]) -> bool:
    """Tell whether steps along the axes of an image lie in one plane, or one of them is 0."""
    lengths = np.linalg.norm(steps, axis=0)
    return bool(lengths.min() == 0 or abs(np.linalg.det(steps / lengths)) < _SINGULAR)


def _remove(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    return names[:number] + names[number + 1 :]


def _remove_axis(affine: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return an affine without one axis: its exact rest if no other axis mixes with that one."""
    rest = np.delete(np.delete(affine, number, axis=0), number, axis=1)
    coupled = np.delete(affine[:-1, number], number).any() or (
        np.delete(affine[number, :-1], number).any()
    )
    if not coupled:
        return rest
    # An oblique plane has no place in a world of fewer axes. In the QR decomposition
    # of its steps the orthogonal factor holds the orientation, and the triangular
    # factor the lengths and angles, which is what a flat image can keep.
    steps = np.delete(affine[:-1, :-1], number, axis=1)
    triangle = np.linalg.qr(steps, mode="r")
    # The signs of QR are arbitrary: no axis is to be flipped.
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    plane = np.eye(len(rest))
    plane[:-1, :-1] = triangle * signs[:, None]
    return plane
