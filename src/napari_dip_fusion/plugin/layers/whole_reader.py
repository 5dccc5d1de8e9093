"""What a run reads of layers that are fused whole: all of their planes, on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from napari.layers import Image

from napari_dip_fusion.plugin.layers.acquisition import (
    PLAIN,
    Acquisition,
    make_layer_source,
    take_mask,
)
from napari_dip_fusion.plugin.layers.levels import drop_single
from napari_dip_fusion.plugin.layers.planes import (
    Units,
    compute_world_affine,
    find_matching_level,
    find_world_units,
)
from napari_dip_fusion.plugin.layers.shared_axes import get_label
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axes import align_axes
from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.footprint import Footprint
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.matching import match_source
from napari_dip_fusion.sources.own_pixels import find_footprint
from napari_dip_fusion.sources.steps import measure_steps
from napari_dip_fusion.sources.units import abbreviate_unit

_STACKED = {"space": "z", "time": "t"}


@dataclass(frozen=True, eq=False)
class WholeReader:
    """All planes of one layer on the reference's grid, not read yet.

    It holds what the layer shows and not the layer, so that :meth:`read` may be
    called in any thread.

    Attributes
    ----------
    source : Source
        One level of the layer, with its place in the world of the layers.
    reference : Source
        The level of the layer whose grid is taken.
    interpolation : {"linear", "nearest"}
        How pixels are sampled that do not lie on that grid.
    """

    source: Source
    reference: Source
    interpolation: str

    @property
    def name(self) -> str:
        """The name that the layer had."""
        return self.source.name

    @property
    def to_shape(self) -> tuple[int, ...]:
        """Size of what is read, without the axes along which there is one plane only."""
        return drop_single(self.reference.shape)

    @property
    def steps(self) -> tuple[float, ...]:
        """Distance of neighbors along each of these axes, as of :class:`.PreparedSources`."""
        return measure_steps(self.reference, len(self.to_shape))[1]

    def find_footprint(self) -> Footprint | None:
        """Return how wide pixels and blur of the layer are beside those of the reference.

        None where it is as fine as the reference; no pixels are read.
        """
        match = match_source(align_axes(self.source, self.reference), self.reference)
        return find_footprint(match.frame, match.target, match.shape)

    def read(self) -> Source:
        """Read all planes, in the layer's own values, on the grid of the reference.

        Raises
        ------
        ValueError
            If the layer does not fit the reference.
        """
        grid = resample_to_reference(
            [self.source, self.reference], reference=1, interpolation=self.interpolation
        )
        return grid.images[0]


def make_whole_readers(
    layers: Sequence[Image],
    reference: Image,
    *,
    level: int = 0,
    interpolation: str = "linear",
    acquisitions: Sequence[Acquisition] = (),
) -> list[WholeReader]:
    """Return what reads all planes of each layer on the grid of the reference.

    Parameters
    ----------
    layers : sequence of Image
    reference : Image
        One of the layers, or another one.
    level : int
        Level of the reference's pyramid. Other layers are read at their
        coarsest level that is as fine.
    interpolation : {"linear", "nearest"}
        For layers that do not lie on the grid.
    acquisitions : sequence of Acquisition
        How each layer was taken; of the last ones it may be left out.

    Raises
    ------
    ValueError
        If a layer was not taken so.
    """
    units = find_world_units([reference, *layers])
    names = name_axes([reference, *layers])
    place = _make_source(reference, units, names, level)
    readers = []
    for layer, taken in zip(layers, chain(acquisitions, repeat(PLAIN)), strict=False):
        # Not "is": a plugin gets layers from napari behind proxies, of which each is new.
        own = _find_level(layer, units, place) if layer != reference else level
        source = _make_source(layer, units, names, own, taken)
        readers.append(WholeReader(source, place, interpolation))
    return readers


def _make_source(
    layer: Image,
    units: Units,
    names: tuple[str, ...],
    level: int,
    taken: Acquisition = PLAIN,
) -> Source:
    """Return one level of a layer as a source, with its place in the world; nothing is read."""
    return make_layer_source(
        layer,
        taken,
        units,
        data=layer.data[level] if layer.multiscale else layer.data,
        axes=names[-layer.ndim :],
        affine=compute_world_affine(layer, units, level),
        mask=take_mask(layer, taken, level),
    )


def _find_level(layer: Image, units: Units, place: Source) -> int:
    """Return the coarsest level of a layer that is as fine as the place's pixels."""
    # Layers of other dimensions are refused, whatever their level.
    if layer.ndim != place.ndim:
        return 0
    return find_matching_level(layer, units, place.affine)


def name_axes(layers: Sequence[Image]) -> tuple[str, ...]:
    """Return one name for each axis that layers share in napari, which counts from the last.

    The planes are those of the last two axes, whatever these are called.
    """
    names = ["y", "x"]
    for axis in range(3, max(layer.ndim for layer in layers) + 1):
        having = [layer for layer in layers if layer.ndim >= axis]
        known = [name for layer in having if (name := get_label(layer, -axis)) not in ("", *names)]
        names.insert(0, known[0] if known else _name_unlabeled(having[0], axis, names))
    return tuple(names)


def _name_unlabeled(layer: Image, axis: int, taken: Sequence[str]) -> str:
    """Return a name by what the unit of an axis measures, or else z for the first and then t."""
    kind = find_kind("", abbreviate_unit(layer.units[-axis]))
    wishes = [_STACKED[kind]] if kind in _STACKED else []
    return next(name for name in [*wishes, "z", "t", f"axis {axis}"] if name not in taken)
