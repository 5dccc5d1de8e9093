"""One image less another, as a layer whose colors say the sign."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari import Viewer
from napari.components import Dims
from napari.layers import Image
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.layer_report import check_layers
from napari_dip_fusion.plugin.layers.placement import Placement, place_result
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader, make_plane_readers
from napari_dip_fusion.plugin.layers.planes import choose_level
from napari_dip_fusion.plugin.layers.result_layers import ROLE, find_free_name
from napari_dip_fusion.sources.prepare import scale_to_unit_range

COLORMAP = "PiYG"
"""White at 0; one of napari's own diverging colormaps, so that files can name it."""


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference of two planes on the grid of the first, not read yet.

    Attributes
    ----------
    names : pair of str
    readers : pair of PlaneReader
    intensities : pair of dict
        Arguments of :func:`~napari_dip_fusion.sources.prepare.scale_to_unit_range`.
    place : Placement
    warnings : tuple of str
    """

    names: tuple[str, str]
    readers: tuple[PlaneReader, PlaneReader]
    intensities: tuple[dict[str, Any], dict[str, Any]]
    place: Placement
    warnings: tuple[str, ...] = ()

    def read(self) -> NDArray[np.float32]:
        """Return the first image less the second; may be called in any thread."""
        first, second = (
            scale_to_unit_range(reader.read().data, name=reader.name, **intensity)
            for reader, intensity in zip(self.readers, self.intensities, strict=True)
        )
        difference: NDArray[np.float32] = first - second
        return difference


def take_difference(
    first: Image,
    second: Image,
    dims: Dims,
    *,
    intensities: Mapping[Image, dict[str, Any]],
    interpolation: str = "linear",
) -> Difference:
    """Return what reads the difference of two layers at the slice now shown.

    Parameters
    ----------
    first, second : Image
    dims : Dims
        ``viewer.dims``.
    intensities : mapping of layer to dict
        How sources become [0, 1]; other layers as ``scale_to_unit_range`` does by default.
    interpolation : {"linear", "nearest"}
        If the second lies on another grid.

    Raises
    ------
    ValueError
        If the layers do not show the same scene here; the message says why.
    """
    pair = [first, second]
    # Not "is": a plugin gets layers from napari behind proxies, of which each is new.
    if first == second:
        raise ValueError("choose two different images")
    report = check_layers(pair, first, dims)
    if not report.ok:
        raise ValueError(report.message)
    level = choose_level(first, dims)
    # Of pyramids the finest level that fits, as in a fusion.
    readers = make_plane_readers(pair, first, dims, level=level, interpolation=interpolation)
    return Difference(
        names=(first.name, second.name),
        readers=(readers[0], readers[1]),
        intensities=(intensities.get(first, {}), intensities.get(second, {})),
        place=place_result(first, dims, level=level),
        warnings=report.warnings,
    )


def add_difference_layer(
    viewer: Viewer, difference: Difference, values: NDArray[np.float32]
) -> Image:
    """Add the layer of a difference that was read; call from the GUI thread."""
    # Limits as far on one side as on the other, so that white is 0.
    most = float(np.abs(values).max()) or 1.0
    return viewer.add_image(
        difference.place.expand(values),
        name=find_free_name(viewer, difference.place.add_slice(" - ".join(difference.names))),
        rgb=False,
        colormap=COLORMAP,
        contrast_limits=(-most, most),
        metadata={ROLE: "difference"},
        **difference.place.spatial,
    )


def describe_difference(difference: Difference, values: NDArray[np.float32]) -> str:
    """Say how large a difference is, and what to think of before one believes it."""
    size = np.abs(values)
    text = f"A - B: mean absolute difference {size.mean():.3g}, largest {size.max():.3g}"
    return "\n".join([text, *difference.warnings])
