"""How far neighbors lie apart along the axes of images, beside the pixels of a plane."""

import numpy as np

from napari_dip_fusion.sources.axes import find_plane_axes
from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.coverage import measure_pixel
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import find_factor

__all__ = ["measure_steps"]


def measure_steps(place: Source, ndim: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return names of the axes of images, and the distance of neighbors in pixels of a plane.

    Parameters
    ----------
    place : Source
        Where the images lie.
    ndim : int
        Number of axes of an image, without those of the place that are of size one.

    Returns
    -------
    axes, steps
        As of :class:`PreparedSources`.
    """
    plane = find_plane_axes(place)
    pixel = np.sqrt(measure_pixel(place.affine, plane))
    unit = place.units[plane[-1]]
    named: dict[str, float] = {}
    for number, (axis, size) in enumerate(zip(place.axes, place.shape, strict=True)):
        if number in plane:
            named[axis] = 1.0
        elif size > 1:
            factor = find_factor(place.units[number], unit)
            in_space = find_kind(axis, place.units[number]) == "space" and factor is not None
            named[axis] = place.spacing[number] * factor / pixel if in_space else np.inf
    return tuple(named)[-ndim:], tuple(float(step) for step in named.values())[-ndim:]
