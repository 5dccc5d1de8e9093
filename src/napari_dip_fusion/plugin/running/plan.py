"""The one description of a run: what is read, how, and where results go."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari.components import Dims, ViewerModel
from napari.layers import Image, Layer

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.plugin.layers.layer_origin import LayerOrigin, get_origins
from napari_dip_fusion.plugin.layers.layer_report import check_layers
from napari_dip_fusion.plugin.layers.placement import Placement, place_result
from napari_dip_fusion.plugin.layers.plane_reader import (
    PlaneReader,
    make_plane_readers,
)
from napari_dip_fusion.plugin.layers.planes import choose_level, find_finest, find_world_units
from napari_dip_fusion.plugin.layers.thick_slice import find_thick_slice


@dataclass(frozen=True, eq=False)
class Plan:
    """A run of any kind, as layers and settings were when it was asked for.

    It stays valid when layers, sliders and settings change: sessions run it,
    scripts and commands are written from it.

    Attributes
    ----------
    names : tuple of str
        Of the source layers.
    origins : tuple of LayerOrigin or None
        Where the source layers say that they came from; None for those that came from no file.
    layer_ids : tuple of Hashable
        The ``unique_id`` of the source layers, which stays when names change.
    reference : str
        Name of the layer whose grid the results take.
    config : FusionConfig
    level : int
        Level of the reference's pyramid.
    interpolation : str
        For sources on other grids.
    place : Placement
        Where results go.
    readers : tuple of PlaneReader
        One for each source.
    layers : tuple of Image
        The sources; they are only watched, and never read again.
    resampled : bool
        Whether a source lies on another grid than the reference.
    multiscale : bool
        Whether a source or the reference has levels.
    point : tuple of float, or None
        Position of the viewer's sliders, which says what plane is fused; None
        where all layers are 2-D.
    order : tuple of int, or None
        Order of the viewer's axes, likewise.
    margins : tuple of two tuples of float, or None
        How thick the slice is to the left and to the right of the sliders, where a
        source is the projection of several planes.
    projections : mapping of str to str
        Name and projection mode of each source, if there are margins.
    warnings : tuple of str
        What the user should know, a line each.
    preview_rate : float
        Largest number of preview images a second; 0 for none.
    """

    names: tuple[str, ...]
    origins: tuple[LayerOrigin | None, ...]
    reference: str
    config: FusionConfig
    level: int
    interpolation: str
    place: Placement
    readers: tuple[PlaneReader, ...] = ()
    layers: tuple[Image, ...] = ()
    layer_ids: tuple[Hashable, ...] = ()
    resampled: bool = False
    multiscale: bool = False
    point: tuple[float, ...] | None = None
    order: tuple[int, ...] | None = None
    margins: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    projections: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    preview_rate: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """The size of the images to fuse, in pixels."""
        return self.readers[0].to_shape

    @property
    def notes(self) -> dict[str, Any]:
        """What a run record says beside settings and sources: the plane, and whose it is."""
        return {"plane": self.place.plane}

    def drop_layers(self) -> "Plan":
        """Return the plan without layers, as threads other than the GUI's may have it."""
        return replace(self, layers=())

    def drop_data(self) -> "Plan":
        """Return the plan without layers and readers, which hold the pixels of the sources."""
        return replace(self, layers=(), readers=())


def make_plan(
    layers: Sequence[Layer],
    reference: Layer | None,
    dims: Dims,
    config: FusionConfig,
    *,
    level: int | str = "auto",
    interpolation: str = "linear",
    preview_rate: float = 0.0,
) -> Plan:
    """Return the plan of a run on layers, at the slice now shown.

    Parameters
    ----------
    layers : sequence of Layer
        The sources, in order.
    reference : Layer or None
        Whose grid the result takes; the finest source if None.
    dims : Dims
        ``viewer.dims``.
    config : FusionConfig
    level : int or "auto"
        As for :func:`~napari_dip_fusion.plugin.layers.planes.choose_level`.
    interpolation : {"linear", "nearest"}
        For sources on other grids.
    preview_rate : float
        Largest number of preview images a second; 0 for none.

    Raises
    ------
    ValueError
        If the layers cannot be fused; the message says what to do.
    """
    # Anew, though the list of sources has a report: layers may have moved since, and scripts
    # have no list.
    report = check_layers(layers, reference, dims)
    if not report.ok:
        raise ValueError(report.message)
    target = find_finest(layers, dims) if reference is None else reference
    level = choose_level(target, dims, level=level, count=len(layers), config=config)
    readers = make_plane_readers(layers, target, dims, level=level, interpolation=interpolation)
    # 2-D layers have one plane, wherever the sliders of other layers stand.
    flat = all(layer.ndim == 2 for layer in layers)
    units = find_world_units([target, *layers])
    found = [(layer.name, find_thick_slice(layer, dims, units)) for layer in layers]
    thick = {name: planes for name, planes in found if planes is not None}
    return Plan(
        names=tuple(layer.name for layer in layers),
        origins=get_origins(layers),
        reference=target.name,
        config=config,
        level=level,
        interpolation=interpolation,
        place=place_result(target, dims, level=level, thick=thick),
        readers=tuple(readers),
        layers=tuple(layers),
        layer_ids=tuple(layer.unique_id for layer in layers),
        resampled=bool(report.resampled),
        # The files hold all levels, of which the run takes one.
        multiscale=any(layer.multiscale for layer in [*layers, target]),
        point=None if flat else tuple(float(x) for x in dims.point),
        order=None if flat else tuple(int(i) for i in dims.order),
        margins=_get_margins(dims) if thick else None,
        projections={x.name: str(x.projection_mode) for x in layers} if thick else {},
        warnings=report.warnings,
        preview_rate=preview_rate,
    )


def _get_margins(dims: Dims) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Plain numbers, which a script can be written with.
    left, right = ([float(x) for x in margin] for margin in (dims.margin_left, dims.margin_right))
    return tuple(left), tuple(right)


def name_as_now(plan: Plan, viewer: ViewerModel) -> Plan:
    """Return a plan with the names that its layers have by now, as far as they are there."""
    present = {layer.unique_id: layer.name for layer in viewer.layers}
    pairs = zip(plan.layer_ids, plan.names, strict=True)
    names = tuple(present.get(layer_id, name) for layer_id, name in pairs)
    reference = dict(zip(plan.names, names, strict=True)).get(plan.reference, plan.reference)
    return replace(plan, names=names, reference=reference)
