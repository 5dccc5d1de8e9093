"""What a source says of how it was sensed: its blur, and which pixels were seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources.axis_kinds import find_flat, find_kind
from napari_dip_fusion.sources.views import View

__all__ = ["check_fwhm", "check_mask", "check_psf", "find_space_axes", "spread_fwhm"]


def find_space_axes(axes: Sequence[str], units: Sequence[str]) -> list[int]:
    """Return the numbers of those axes along which a sensor blurs: those of space.

    Parameters
    ----------
    axes, units : sequence of str
        Names and units of the axes of an image.
    """
    flat = find_flat(axes)
    kinds = [find_kind(*pair) for pair in zip(axes, units, strict=True)]
    return [n for n, kind in enumerate(kinds) if kind == "space" or (n in flat and kind != "time")]


def spread_fwhm(fwhm: ArrayLike, axes: Sequence[str], units: Sequence[str]) -> tuple[float, ...]:
    """Return a width of blur for each axis; a single one counts for all axes of space.

    Raises
    ------
    ValueError
        If there are not as many as axes, or one is no number.
    """
    try:
        given = np.asarray(fwhm, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fwhm must be a number, or one an axis, got {fwhm!r}") from error
    if not given.any():
        # Whoever makes an image of other axes need not know of blur.
        return (0.0,) * len(axes)
    if given.ndim == 0:
        space = find_space_axes(axes, units)
        return tuple(float(given) if n in space else 0.0 for n in range(len(axes)))
    if given.shape != (len(axes),):
        raise ValueError(
            f"fwhm must be a number, or one for each of the axes {', '.join(axes)}, got "
            f"{given.tolist()}"
        )
    return tuple(given.tolist())


def check_fwhm(
    fwhm: Sequence[float], axes: Sequence[str], units: Sequence[str], extents: Sequence[float]
) -> None:
    """Raise an error if the widths of a blur cannot be true.

    Parameters
    ----------
    fwhm, axes, units
        Of an image, one of each for an axis.
    extents : sequence of float
        How long the image is in the world along each axis.
    """
    bad = [width for width in fwhm if not 0 <= width < np.inf]
    if bad:
        raise ValueError(
            f"fwhm must be 0 or more and finite, got {bad[0]:g}; 0 means no blur but that of the "
            "pixels"
        )
    space, flat = find_space_axes(axes, units), find_flat(axes)
    for number, width in enumerate(fwhm):
        if width and number not in space:
            raise ValueError(
                f"fwhm along {axes[number]} must be 0, as that is no axis of space, got {width:g}"
            )
        # A slice, and a few of them, may be thinner than what is blurred into them.
        most = extents[number] if number in flat else max(extents[n] for n in space)
        if width > most:
            unit = units[number]
            raise ValueError(
                f"fwhm along {axes[number]} must not be wider than the image, {most:.4g} {unit}, "
                f"got {width:g} {unit}; it is a length in the world, not in pixels"
            )


def check_mask(mask: Any, shape: tuple[int, ...]) -> Any:
    """Return a mask as one of booleans, which is not read if it reads its parts by itself.

    Raises
    ------
    ValueError
        If it has another shape than its image.
    """
    mask = mask if hasattr(mask, "shape") else np.asarray(mask)
    if tuple(mask.shape) != shape:
        raise ValueError(
            f"a mask must have the shape of its image without colors, {shape}, got "
            f"{tuple(mask.shape)}; bring it to the grid of the image"
        )
    if np.dtype(mask.dtype) == np.bool_:
        return mask
    if isinstance(mask, np.ndarray):
        return mask.astype(bool)
    return View(mask, dtype=np.bool_)


def check_psf(values: NDArray[Any], axes: Sequence[str]) -> None:
    """Raise an error if a measured point spread function cannot be that of an image.

    Parameters
    ----------
    values : ndarray
        The function.
    axes : sequence of str
        Those of its image that are of space.
    """
    if values.ndim != len(axes):
        raise ValueError(
            f"a point spread function must have the axes of space of its image, {', '.join(axes)}, "
            f"and no colors, got shape {values.shape}"
        )
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError("a point spread function must hold finite numbers, got NaN or infinity")
    if values.min() == values.max() or values.sum(dtype=np.float64) <= 0:
        raise ValueError(
            "a point spread function must be an image of a bright point on a background of 0, got "
            f"values from {values.min():g} to {values.max():g}"
        )
