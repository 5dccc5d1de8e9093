"""How the image of a layer was taken: how wide its sensor blurs, and what it saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_dip_fusion.plugin.layers.levels import get_level_affine, get_level_shape
from napari_dip_fusion.plugin.layers.planes import Units, get_unit_factors
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import abbreviate_unit
from napari_dip_fusion.sources.views import View

FWHM = "fwhm"
"""Key of layer metadata with the width of the sensor's blur, where its reader knows it."""

Fwhm = float | tuple[float, ...]
"""A full width at half maximum in the units of a layer, everywhere or along each of its axes."""


@dataclass(frozen=True, eq=False)
class Acquisition:
    """What a person says of how a layer was taken.

    Attributes
    ----------
    fwhm : float or tuple of float
        How wide a point is blurred, in the units of the layer; 0 where it is no wider than the
        layer's own pixels.
    mask : Layer or None
        A layer that is not 0 where something was seen; None where everything was.
    mask_is_gone : bool
        Whether there was a mask that is no longer to be had.
    """

    fwhm: Fwhm = 0.0
    mask: Layer | None = None
    mask_is_gone: bool = False


PLAIN = Acquisition()
"""A layer of which nothing is said."""


def get_declared_fwhm(layer: Layer) -> Fwhm:
    """Return the width of the blur that a layer's metadata hold; 0 if they hold none."""
    try:
        # Metadata come from files, too, where the key may stand for anything.
        widths = np.asarray(layer.metadata.get(FWHM, 0.0), dtype=np.float64)
    except (TypeError, ValueError):
        return 0.0
    if widths.shape not in ((), (layer.ndim,)) or not (np.isfinite(widths) & (widths >= 0)).all():
        return 0.0
    if widths.ndim and np.ptp(widths):
        return tuple(widths.tolist())
    return float(widths.max())


def can_mask(mask: Layer, layer: Image) -> bool:
    """Tell whether a layer could be offered as the mask of another one.

    Labels are in any case, for which else would they be drawn; images where they have its pixels.
    """
    if isinstance(mask, Labels):
        return True
    if not isinstance(mask, Image) or mask == layer or mask.rgb:
        return False
    return get_level_shape(mask) == get_level_shape(layer)


def make_layer_source(
    layer: Image, acquisition: Acquisition, units: Units, **fields: Any
) -> Source:
    """Return a source that is called and blurred as a layer is; nothing is read.

    Parameters
    ----------
    layer : Image
    acquisition : Acquisition
    units : tuple of pint.Unit
        Of the world's axes, the last of which are the layer's.
    **fields
        Data, axes, affine and mask of :class:`Source`.

    Raises
    ------
    ValueError
        If they do not go together; the message names the layer.
    """
    try:
        return Source(
            **fields,
            units=tuple(abbreviate_unit(unit) for unit in units[-layer.ndim :]),
            name=layer.name,
            rgb=bool(layer.rgb),
            fwhm=_convert_fwhm(layer, acquisition.fwhm, units),
        )
    # A source that is not made yet has no name.
    except ValueError as error:
        raise ValueError(f"{layer.name}: {error}") from error


def take_mask(layer: Image, acquisition: Acquisition, level: int) -> View | None:
    """Return which pixels of a level of a layer were seen, not read yet; None for all.

    Raises
    ------
    ValueError
        If the mask does not fit the layer; the message says what to do.
    """
    if acquisition.mask_is_gone:
        raise ValueError(
            f"the mask of {layer.name} was removed, or has other pixels now; choose another one, "
            "or none"
        )
    mask = acquisition.mask
    if mask is None:
        return None
    _require_mask(layer, mask)
    pixels = get_mask_pixels(mask)
    return View(_LevelPixels(pixels, _find_places(layer, level))) if level else pixels


def get_mask_pixels(mask: Layer) -> View:
    """Return all pixels of a mask as truth values, which are not read yet."""
    return View(mask.data[0] if mask.multiscale else mask.data, dtype=np.bool_)


def _convert_fwhm(layer: Image, fwhm: Fwhm, units: Units) -> Fwhm:
    """Return the width of a layer's blur in the units of the world."""
    factors = get_unit_factors(layer.units, units[-layer.ndim :])
    if isinstance(fwhm, tuple) and len(fwhm) == layer.ndim:
        return tuple(width * factor for width, factor in zip(fwhm, factors, strict=True))
    # One number is a length in the plane: other axes may be measured in seconds.
    widths = np.multiply(fwhm, factors[-1])
    return tuple(widths.tolist()) if widths.ndim else float(widths)


def _require_mask(layer: Image, mask: Layer) -> None:
    """Refuse a mask that is none, or has other pixels than its layer."""
    if not isinstance(mask, Image | Labels) or getattr(mask, "rgb", False):
        raise ValueError(
            f"{mask.name} cannot be the mask of {layer.name}; choose a labels layer, or an image "
            "layer of one channel"
        )
    own, shape = get_level_shape(mask), get_level_shape(layer)
    if own != shape:
        raise ValueError(
            f"{mask.name} has {_list_sizes(own)} pixels and {layer.name}, whose mask it is, "
            f"{_list_sizes(shape)}; choose a mask with the pixels of {layer.name}, or none"
        )


def _list_sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _find_places(layer: Image, level: int) -> tuple[NDArray[np.intp], ...]:
    """Return the pixel of full resolution at the middle of each of a level's, along each axis."""
    matrix, shape = get_level_affine(layer, level), get_level_shape(layer)
    return tuple(
        np.floor(np.arange(count) * matrix[axis, axis] + matrix[axis, -1] + 0.5)
        .astype(np.intp)
        .clip(0, shape[axis] - 1)
        for axis, count in enumerate(get_level_shape(layer, level))
    )


class _LevelPixels:
    """The pixels of a mask that are nearest to those of a coarser level of its layer.

    Parameters
    ----------
    mask : View
    places : tuple of ndarray of int
        Along each axis, the pixel of the mask for each pixel of the level.
    """

    dtype = np.dtype(bool)

    def __init__(self, mask: View, places: tuple[NDArray[np.intp], ...]) -> None:
        self._mask, self._places = mask, places
        self.shape = tuple(len(place) for place in places)

    def __getitem__(self, index: tuple[slice | int, ...]) -> NDArray[np.bool_]:
        places = [np.atleast_1d(p[part]) for p, part in zip(self._places, index, strict=True)]
        # A box, since not every kind of array takes lists of indices.
        box = tuple(slice(place.min(), place.max() + 1) for place in places)
        inside = np.ix_(*(place - place.min() for place in places))
        seen: NDArray[np.bool_] = np.asarray(self._mask[box])[inside]
        return seen[tuple(slice(None) if isinstance(part, slice) else 0 for part in index)]
