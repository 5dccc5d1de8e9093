"""Warnings of what a format cannot hold of a source, though other programs would want it."""

import warnings

import numpy as np

from napari_dip_fusion.sources import Source

__all__ = ["warn_of_lost_place", "warn_of_lost_unit", "warn_of_private_rotation"]


def warn_of_lost_place(image: Source, form: str, *, stacklevel: int) -> None:
    """Warn that a format of bare pixels drops where an image lies, if that is known.

    Parameters
    ----------
    image : Source
        The image that is written.
    form : str
        Name of the format.
    stacklevel : int
        As of :func:`warnings.warn`, counted from the caller of this function.
    """
    if set(image.units) != {"pixel"} or not np.array_equal(image.affine, np.eye(image.ndim + 1)):
        steps = ", ".join(
            f"{step:g} {unit}" for step, unit in zip(image.spacing, image.units, strict=True)
        )
        warnings.warn(
            f"{image.name or 'image'}: {form} holds pixels only; the spacing ({steps}) and the "
            "position are dropped",
            stacklevel=stacklevel + 1,
        )


def warn_of_private_rotation(image: Source, form: str, *, kept_in: str, stacklevel: int) -> None:
    """Warn that other programs will see an image without its rotation, shear and flips.

    Parameters
    ----------
    image : Source
        The image that is written.
    form : str
        Name of the format.
    kept_in : str
        Where this program writes the whole affine, such as ``"a comment"``.
    stacklevel : int
        As of :func:`warnings.warn`, counted from the caller of this function.
    """
    steps = image.affine[:-1, :-1]
    if not np.array_equal(steps, np.diag(np.diag(steps))) or (np.diag(steps) < 0).any():
        warnings.warn(
            f"{image.name or 'image'}: {form} has fields for spacing and position only; "
            f"rotation, shear and flips are kept in {kept_in} that only this program reads",
            stacklevel=stacklevel + 1,
        )


def warn_of_lost_unit(unit: str, axis: str, form: str, *, stacklevel: int) -> None:
    """Warn that a format has no name for the unit of an axis.

    Parameters
    ----------
    unit, axis : str
        Names of the unit and the axis.
    form : str
        Name of the format.
    stacklevel : int
        As of :func:`warnings.warn`, counted from the caller of this function.
    """
    warnings.warn(f"{form} has no unit {unit} for axis {axis}", stacklevel=stacklevel + 1)
