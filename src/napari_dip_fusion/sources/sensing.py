"""What a source says of how it was sensed: its blur, and which pixels were seen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources.axis_kinds import find_flat, find_kind
from napari_dip_fusion.sources.units import find_factor
from napari_dip_fusion.sources.views import View

if TYPE_CHECKING:
    from napari_dip_fusion.sources.source import Source

__all__ = [
    "check_fwhm",
    "check_mask",
    "check_psf",
    "find_space_axes",
    "measure_psf_steps",
    "put_in_world",
    "spread_fwhm",
    "sum_psf",
    "transpose_psf",
]


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


def check_fwhm(image: "Source") -> None:
    """Raise an error if the widths of a source's blur cannot be true."""
    widths = np.array(image.fwhm)
    bad = widths[~((widths >= 0) & (widths < np.inf))]
    if bad.size:
        raise ValueError(
            f"fwhm must be 0 or more and finite, got {bad[0]:g}; 0 means no blur but that of the "
            "pixels"
        )
    if not widths.any():
        return
    space, flat = find_space_axes(image.axes, image.units), find_flat(image.axes)
    extents = image.spacing * image.shape
    for number, (axis, width) in enumerate(zip(image.axes, widths, strict=True)):
        if width and number not in space:
            raise ValueError(
                f"fwhm along {axis} must be 0, as that is no axis of space, got {width:g}"
            )
        # A slice, and a few of them, may be thinner than what is blurred into them.
        most = extents[number] if number in flat else max(extents[n] for n in space)
        if width > most:
            unit = image.units[number]
            raise ValueError(
                f"fwhm along {axis} must not be wider than the image, {most:.4g} {unit}, got "
                f"{width:g} {unit}; it is a length in the world, not in pixels"
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


def check_psf(psf: "Source", image: "Source") -> None:
    """Raise an error if a measured point spread function cannot be that of an image."""
    space = [image.axes[n] for n in find_space_axes(image.axes, image.units)]
    if psf.rgb or psf.ndim != len(space):
        raise ValueError(
            f"a point spread function must be gray, with the axes {', '.join(space)} as its "
            f"image, got {', '.join(psf.axes)}{' in colors' if psf.rgb else ''}"
        )
    values = psf.to_numpy()
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError("a point spread function must hold finite numbers, got NaN or infinity")
    if values.min() == values.max() or values.sum(dtype=np.float64) <= 0:
        raise ValueError(
            "a point spread function must be an image of a bright point on a background of 0, got "
            f"values from {values.min():g} to {values.max():g}"
        )


def measure_psf_steps(psf: "Source", image: "Source") -> NDArray[np.float64]:
    """Return the distance of the samples of a point spread function, in pixels of its image."""
    space = find_space_axes(image.axes, image.units)
    steps = psf.spacing.copy()
    for number, axis in enumerate(space):
        factor = find_factor(psf.units[number], image.units[axis])
        # One that counts pixels where its image has lengths counts those of the image.
        if factor is not None:
            steps[number] *= factor / image.spacing[axis]
    return steps


def put_in_world(image: "Source", affine: NDArray[np.float64], units: Sequence[str]) -> "Source":
    """Return an image at another place, blurred over as many of its pixels as before.

    Parameters
    ----------
    image : Source
    affine, units
        Those of the place, such as the same one in other units.
    """
    steps = np.linalg.norm(affine[:-1, :-1], axis=0) / image.spacing
    fwhm, psf = tuple((steps * image.fwhm).tolist()), image.psf
    if psf is not None:
        space = find_space_axes(image.axes, image.units)
        lengths = np.linalg.norm(affine[:-1, :-1], axis=0)[space]
        psf = psf.replace(
            affine=np.diag([*(measure_psf_steps(psf, image) * lengths), 1.0]),
            units=tuple(units[n] for n in space),
        )
    return image.replace(affine=affine, units=tuple(units), fwhm=fwhm, psf=psf)


def sum_psf(psf: "Source", number: int) -> "Source":
    """Return a point spread function without an axis: how what is even along it is blurred."""
    flat = psf.to_numpy().sum(axis=number, dtype=np.float64)
    steps, units = np.delete(psf.spacing, number), np.delete(psf.units, number)
    axes = tuple(axis for n, axis in enumerate(psf.axes) if n != number)
    affine = np.diag([*steps, 1.0])
    return psf.replace(data=flat, axes=axes, affine=affine, units=tuple(units), pyramid=())


def transpose_psf(psf: "Source", order: Sequence[int], space: Sequence[int]) -> "Source":
    """Return a point spread function for an image with its axes in another order.

    Parameters
    ----------
    psf : Source
    order : sequence of int
        Numbers of the axes of the image.
    space : sequence of int
        Those of them that are of space, in the order of the axes of `psf`.
    """
    return psf.transpose([space.index(number) for number in order if number in space])
