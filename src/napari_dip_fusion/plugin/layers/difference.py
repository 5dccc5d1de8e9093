"""One image less another, as a layer whose colors say the sign."""

from collections.abc import Mapping, Sequence
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
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, make_whole_readers
from napari_dip_fusion.sources.prepare import scale_to_unit_range

COLORMAP = "PiYG"
"""White at 0; one of napari's own diverging colormaps, so that files can name it."""


@dataclass(frozen=True, eq=False)
class Subtracted:
    """The first of two images less the second.

    Attributes
    ----------
    image : ndarray
    mean, most : float
        Mean and largest of its absolute values.
    """

    image: NDArray[np.float32]
    mean: float
    most: float


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference of two planes, or whole stacks, on the grid of the first, not read yet.

    Attributes
    ----------
    names : pair of str
    readers : pair of PlaneReader or WholeReader
    intensities : pair of dict
        Arguments of :func:`~napari_dip_fusion.sources.prepare.scale_to_unit_range`.
    place : Placement
    warnings : tuple of str
    """

    names: tuple[str, str]
    readers: tuple[PlaneReader | WholeReader, PlaneReader | WholeReader]
    intensities: tuple[dict[str, Any], dict[str, Any]]
    place: Placement
    warnings: tuple[str, ...] = ()

    def read(self) -> Subtracted:
        """Return the first image less the second; may be called in any thread."""
        first, second = (
            scale_to_unit_range(reader.read(), name=reader.name, **intensity)
            for reader, intensity in zip(self.readers, self.intensities, strict=True)
        )
        difference: NDArray[np.float32] = first - second
        size = np.abs(difference)
        return Subtracted(difference, float(size.mean()), float(size.max()))


def take_difference(
    first: Image,
    second: Image,
    dims: Dims,
    *,
    intensities: Mapping[Image, dict[str, Any]],
    interpolation: str = "linear",
    whole: bool = False,
) -> Difference:
    """Return what reads the difference of two layers at the slice now shown, or of all planes.

    Parameters
    ----------
    first, second : Image
    dims : Dims
        ``viewer.dims``.
    intensities : mapping of layer to dict
        How sources become [0, 1]; other layers as ``scale_to_unit_range`` does by default.
    interpolation : {"linear", "nearest"}
        If the second lies on another grid.
    whole : bool
        Whether to subtract whole stacks, if both layers are such that fit together.

    Raises
    ------
    ValueError
        If the layers do not show the same scene here; the message says why.
    """
    pair = [first, second]
    # Not "is": a plugin gets layers from napari behind proxies, of which each is new.
    if first == second:
        raise ValueError("choose two different images")
    whole = whole and check_layers(pair, first, dims, whole=True).ok
    report = check_layers(pair, first, dims, whole=whole)
    if not report.ok:
        raise ValueError(report.message)
    level = choose_level(first, dims, whole=whole)
    # Of pyramids the finest level that fits, as in a fusion.
    readers: Sequence[PlaneReader | WholeReader]
    if whole:
        readers = make_whole_readers(pair, first, level=level, interpolation=interpolation)
    else:
        readers = make_plane_readers(pair, first, dims, level=level, interpolation=interpolation)
    return Difference(
        names=(first.name, second.name),
        readers=(readers[0], readers[1]),
        intensities=(intensities.get(first, {}), intensities.get(second, {})),
        place=place_result(first, dims, level=level, whole=whole),
        warnings=report.warnings,
    )


def add_difference_layer(viewer: Viewer, difference: Difference, found: Subtracted) -> Image:
    """Add the layer of a difference that was read; call from the GUI thread."""
    # Limits as far on one side as on the other, so that white is 0.
    most = found.most or 1.0
    return viewer.add_image(
        difference.place.expand(found.image),
        name=find_free_name(viewer, difference.place.add_slice(" - ".join(difference.names))),
        rgb=False,
        colormap=COLORMAP,
        contrast_limits=(-most, most),
        metadata={ROLE: "difference"},
        **difference.place.spatial,
    )


def describe_difference(difference: Difference, found: Subtracted) -> str:
    """Say how large a difference is, and what to think of before one believes it."""
    text = f"A - B: mean absolute difference {found.mean:.3g}, largest {found.most:.3g}"
    return "\n".join([text, *difference.warnings])
