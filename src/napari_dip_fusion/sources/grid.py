"""Images from files to sources on one grid, and the place of what is fused from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.choosing import choose_plane, only_plane, stacked_axes
from napari_dip_fusion.sources.resample import on_grid, resample
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import LENGTHS

Matrix = NDArray[np.float64]

# What belongs to the pixels of the reference, not to its place.
_BARE: dict[str, Any] = {"metadata": {}, "display": {}, "pyramid": ()}


@dataclass(frozen=True, eq=False)
class GridSources:
    """Sources on the grid of one of them.

    Attributes
    ----------
    arrays : list of ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
        In the types of their files.
    place : Source
        The reference's plane; the other axes are kept with size one, so that
        its affine holds an oblique plane.
    covered : list of float
        Fraction of the reference's plane that each source covers.
    resampled : list of bool
        Whether each source was interpolated.
    """

    arrays: list[NDArray[Any]]
    place: Source
    covered: list[float]
    resampled: list[bool]

    def placed(self, image: NDArray[Any], *, flat: bool, **changes: Any) -> Source:
        """Put an image of shape (M, N) or (M, N, 3) in the place of the reference's plane.

        Parameters
        ----------
        image : ndarray
        flat : bool
            Drop the axes of size one, for formats of two dimensions.
        **changes
            Other fields of :class:`Source`, such as ``name``.
        """
        rgb = image.ndim == 3
        shape = (*self.place.shape, image.shape[-1]) if rgb else self.place.shape
        placed = self.place.replace(
            **{"data": image.reshape(shape), "rgb": rgb, **_BARE, **changes}
        )
        return only_plane(placed) if flat else placed


def to_one_grid(
    images: Sequence[Source],
    *,
    reference: int = 0,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> GridSources:
    """Sample images at the pixels of one plane of one of them.

    Parameters
    ----------
    images : sequence of Source
        Planes or volumes. Volumes are cut where the reference's plane lies in
        world coordinates.
    reference : int
        Index of the image whose grid is taken.
    plane : int or str, optional
        The reference's plane where it holds several: an index, or as in
        ``"z=12"`` or ``"t=0,z=12"``.
    interpolation : {"linear", "nearest"}

    Returns
    -------
    GridSources

    Raises
    ------
    ValueError
        If there is no such reference or plane, or an image does not overlap
        the reference in the world.

    Notes
    -----
    Pictures without a place in the world (pixels as units, the identity as
    affine) are not resampled onto a plane in units of length, nor it onto
    them, and not onto each other: they have to share their shape.
    """
    if not 0 <= reference < len(images):
        raise ValueError(f"reference must be a source from 0 to {len(images) - 1}, got {reference}")
    held = images[reference]
    place = held if plane is None else choose_plane(held, plane, keep=True)
    only_plane(place)  # its error lists the planes to choose from
    sampled = [_on_place(image, place, interpolation) for image in images]
    return GridSources(
        arrays=[s[0] for s in sampled],
        place=place,
        covered=[s[1] for s in sampled],
        resampled=[s[2] for s in sampled],
    )


def _on_place(image: Source, place: Source, interpolation: str) -> tuple[NDArray[Any], float, bool]:
    """Return the pixels of one image on the place, its coverage, and whether it was resampled."""
    if image.ndim != place.ndim:
        image, place = only_plane(image), only_plane(place)
    if image.ndim == 2 and not _comparable(image, place):
        return image.to_numpy(), 1.0, False
    affine = _in_units(image, place.units)
    target, shape = _plane_matrix(place)
    exact = on_grid(affine, image.shape, target, shape)
    try:
        pixels, covered = resample(image.data, affine, target, shape, interpolation=interpolation)
    except ValueError as error:
        raise ValueError(f"{image.path or image.name}: {error}") from error
    return pixels, covered, not exact


def _comparable(image: Source, place: Source) -> bool:
    """Tell whether two images lie in one world: a pixel is no length."""
    if not (_placeless(image) or _placeless(place)):
        return True
    in_pixels = set(image.units) | set(place.units) <= {"pixel"}
    return in_pixels and not (_placeless(image) and _placeless(place))


def _placeless(image: Source) -> bool:
    identity = bool(np.array_equal(image.affine, np.eye(image.ndim + 1)))
    return identity and set(image.units) <= {"pixel"}


def _plane_matrix(place: Source) -> tuple[Matrix, tuple[int, int]]:
    """Return the matrix from the place's pixels to the world, and their shape."""
    stacked = stacked_axes(place, longer_than=0)
    axes = [n for n, name in enumerate(place.axes) if name not in stacked]
    shape = (place.shape[axes[0]], place.shape[axes[1]])
    return place.affine[:, [*axes, -1]], shape


def _in_units(image: Source, units: Sequence[str]) -> Matrix:
    """Return the image's affine with its lengths in other units, where both are lengths."""
    factors = [
        LENGTHS[own] / LENGTHS[other] if own in LENGTHS and other in LENGTHS else 1.0
        for own, other in zip(image.units, units, strict=True)
    ]
    scaled: Matrix = np.diag([*factors, 1.0]) @ image.affine
    return scaled
