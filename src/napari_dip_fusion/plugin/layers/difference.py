"""One image less another, as a layer whose colors say the sign."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari import Viewer
from napari.components import Dims
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.reading import (
    Placement,
    PlaneReader,
    check_layers,
    chosen_level,
    fresh_name,
    placement,
    plane_readers,
)
from napari_dip_fusion.sources.prepare import unit_range

COLORMAP = "PiYG"
"""White at 0; napari's own diverging colors, so that files can name them."""


@dataclass(frozen=True, eq=False)
class DifferenceRequest:
    """Two planes to read, on the grid of the first.

    Attributes
    ----------
    names : pair of str
    readers : pair of PlaneReader
    intensities : pair of dict
        Arguments of :func:`~napari_dip_fusion.sources.prepare.unit_range`.
    place : Placement
    warnings : tuple of str
    """

    names: tuple[str, str]
    readers: tuple[PlaneReader, PlaneReader]
    intensities: tuple[dict[str, Any], dict[str, Any]]
    place: Placement
    warnings: tuple[str, ...] = ()

    def read(self) -> NDArray[np.float32]:
        """Return the first image less the second; for any thread."""
        first, second = (
            unit_range(reader.read(), **intensity)
            for reader, intensity in zip(self.readers, self.intensities, strict=True)
        )
        difference: NDArray[np.float32] = first - second
        return difference


def difference_request(
    first: Image,
    second: Image,
    dims: Dims,
    *,
    intensities: Mapping[Image, dict[str, Any]],
    interpolation: str = "linear",
) -> DifferenceRequest:
    """Return what reads the difference of two layers at the slice now shown.

    Parameters
    ----------
    first, second : Image
    dims : Dims
        ``viewer.dims``.
    intensities : mapping of layer to dict
        How sources become [0, 1]; other layers as ``unit_range`` does by itself.
    interpolation : {"linear", "nearest"}
        If the second lies on another grid.

    Raises
    ------
    ValueError
        If the layers do not show the same scene here; the message says why.
    """
    pair = [first, second]
    if first == second:
        raise ValueError("choose two different images")
    report = check_layers(pair, first, dims)
    if not report.ok:
        raise ValueError(report.message)
    level = chosen_level(first, dims)
    readers = plane_readers(pair, first, dims, level=level, interpolation=interpolation)
    return DifferenceRequest(
        names=(first.name, second.name),
        readers=(readers[0], readers[1]),
        intensities=(intensities.get(first, {}), intensities.get(second, {})),
        place=placement(first, dims, level=level),
        warnings=report.warnings,
    )


def add_difference(
    viewer: Viewer, request: DifferenceRequest, difference: NDArray[np.float32]
) -> Image:
    """Add the layer; for the GUI thread."""
    most = float(np.abs(difference).max()) or 1.0
    return viewer.add_image(
        request.place.array(difference),
        name=fresh_name(viewer, " - ".join(request.names)),
        rgb=False,
        colormap=COLORMAP,
        contrast_limits=(-most, most),
        **request.place.spatial,
    )


def describe(request: DifferenceRequest, difference: NDArray[np.float32]) -> str:
    """Say how large the difference is."""
    size = np.abs(difference)
    said = f"A - B: mean absolute difference {size.mean():.3g}, largest {size.max():.3g}"
    return "\n".join([said, *request.warnings])
