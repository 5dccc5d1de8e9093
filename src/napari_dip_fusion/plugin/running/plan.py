"""The one description of a run: what is read, how, and where results go."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.components import Dims, ViewerModel
from napari.layers import Image, Layer

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.plugin.layers.acquisition import (
    PLAIN,
    Acquisition,
    Fwhm,
    get_declared_fwhm,
    get_mask_pixels,
)
from napari_dip_fusion.plugin.layers.block_plane import make_block_plane_readers
from napari_dip_fusion.plugin.layers.layer_origin import LayerOrigin, get_origins
from napari_dip_fusion.plugin.layers.layer_record import ACQUISITION
from napari_dip_fusion.plugin.layers.layer_report import check_layers, is_stacked
from napari_dip_fusion.plugin.layers.levels import get_level_shape
from napari_dip_fusion.plugin.layers.placement import Placement, place_result
from napari_dip_fusion.plugin.layers.plane_reader import (
    PlaneReader,
    make_plane_readers,
)
from napari_dip_fusion.plugin.layers.planes import (
    choose_level,
    find_finest,
    find_plane,
    find_plane_axes,
    find_world_units,
)
from napari_dip_fusion.plugin.layers.thick_slice import ThickSlice, find_thick_slice
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, make_whole_readers
from napari_dip_fusion.plugin.running.block_choice import BlockChoice, find_block
from napari_dip_fusion.sources.views import View


@dataclass(frozen=True, eq=False)
class Look:
    """The plane on the screen when a whole stack is fused, which is shown before all others.

    Attributes
    ----------
    readers : tuple of PlaneReader
        They read that plane of each source, along whatever axes it lies.
    where : tuple of int or slice
        Where it lies in the result.
    index : tuple of int
        The plane along the last two axes that is nearest to it: its index along the others, as
        far as they are longer than 1.
    """

    readers: tuple[PlaneReader, ...]
    where: tuple[int | slice, ...]
    index: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PlannedMask:
    """The mask of a source, as it was when a run was asked for.

    Attributes
    ----------
    name : str
    layer_id : Hashable
        The ``unique_id`` of its layer.
    origin : LayerOrigin or None
        Where its layer says that it came from.
    pixels : View or None
        All of them, at full resolution; None once the run has read them.
    """

    name: str
    layer_id: Hashable
    origin: LayerOrigin | None
    pixels: View | None


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
    readers : tuple of PlaneReader or WholeReader
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
    whole : bool
        Whether all planes are fused, and not one of them.
    look : Look or None
        Of a whole stack, the plane on the screen; None where there is no data.
    degraded : bool
        Whether a source lost resolution or sharpness, and is restored.
    fwhm : tuple of float or tuple of float
        How wide each source is blurred, in the units of its layer.
    masks : tuple of PlannedMask or None
        One for each source.
    declares_fwhm : bool
        Whether a layer says by itself how wide it is blurred, whatever is taken for it here.
    blocks : BlockChoice or None
        How the run goes block by block; None where it is one of whole images in memory.
    """

    names: tuple[str, ...]
    origins: tuple[LayerOrigin | None, ...]
    reference: str
    config: FusionConfig
    level: int
    interpolation: str
    place: Placement
    readers: tuple[PlaneReader | WholeReader, ...] = ()
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
    whole: bool = False
    look: Look | None = None
    degraded: bool = False
    fwhm: tuple[Fwhm, ...] = ()
    masks: tuple[PlannedMask | None, ...] = ()
    declares_fwhm: bool = False
    blocks: BlockChoice | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of the images to fuse, in pixels."""
        return self.readers[0].to_shape

    @property
    def steps(self) -> tuple[float, ...]:
        """The distance of neighbors along each axis, in pixels of a plane; infinite along time."""
        return _get_steps(self.readers[0])

    @property
    def notes(self) -> dict[str, Any]:
        """What a run record says beside the settings: the plane, and how layers were taken."""
        notes: dict[str, Any] = {"plane": self.place.plane}
        if any(map(np.any, self.fwhm)) or any(self.masks):
            notes[ACQUISITION] = [
                {"fwhm": fwhm, "mask": mask and mask.name}
                for fwhm, mask in zip(self.fwhm, self.masks, strict=True)
            ]
        return notes

    @property
    def grid(self) -> dict[str, Any]:
        """What :func:`~napari_dip_fusion.fusion.fuse` is told of the grid of sources.

        Planes lie on one grid when they are read, but not those that are read block by block.
        """
        if not self.whole and self.blocks is None:
            return {}
        return {
            "reference": self.names.index(self.reference),
            "interpolation": self.interpolation,
        }

    def drop_layers(self) -> "Plan":
        """Return the plan without layers, as threads other than the GUI's may have it."""
        return replace(self, layers=())

    def drop_data(self) -> "Plan":
        """Return the plan without layers and readers, which hold the pixels of the sources."""
        masks = tuple(mask and replace(mask, pixels=None) for mask in self.masks)
        return replace(self, layers=(), readers=(), look=None, masks=masks)


def make_plan(
    layers: Sequence[Layer],
    reference: Layer | None,
    dims: Dims,
    config: FusionConfig,
    *,
    level: int | str = "auto",
    interpolation: str = "linear",
    preview_rate: float = 0.0,
    whole: bool = False,
    acquisitions: Sequence[Acquisition] = (),
    blocks: BlockChoice | None = None,
) -> Plan:
    """Return the plan of a run on layers, at the slice now shown or of all planes.

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
    whole : bool
        Whether to fuse all planes, and not only the one that is shown.
    acquisitions : sequence of Acquisition
        How each source was taken; by default nothing is said of any.
    blocks : BlockChoice, optional
        For a run block by block.

    Raises
    ------
    ValueError
        If the layers cannot be fused; the message says what to do.
    """
    # Anew, though the list of sources has a report: layers may have moved since, and scripts
    # have no list.
    knows_sensors = config.method in (DIP, CONSENSUS)
    # Other methods take sources as they are sampled.
    taken = (knows_sensors and acquisitions) or [PLAIN] * len(layers)
    restore = config.restoration.restore if knows_sensors else ""
    report = check_layers(layers, reference, dims, whole=whole, acquisitions=taken, restore=restore)
    if not report.ok:
        raise ValueError(report.message)
    if blocks is not None:
        # Blocks have no need of a coarser level; and layers that are planes have no others.
        level = 0 if level == "auto" else level
        whole = whole or not any(map(is_stacked, layers))
    target = find_finest(layers, dims) if reference is None else reference
    if (whole or blocks is not None) and target not in layers:
        kind = "whole stacks" if whole else "blocks"
        raise ValueError(
            f"{target.name} is not fused, so that {kind} cannot take its grid; choose the "
            "reference among the sources"
        )
    count = len(layers)
    level = choose_level(target, dims, level=level, count=count, config=config, whole=whole)
    sampling: dict[str, Any] = {
        "level": level,
        "interpolation": interpolation,
        "acquisitions": taken,
    }
    readers: Sequence[PlaneReader | WholeReader]
    if whole:
        readers = make_whole_readers(layers, target, **sampling)
        thick: dict[str, ThickSlice] = {}
    else:
        make_readers = make_plane_readers if blocks is None else make_block_plane_readers
        readers = make_readers(layers, target, dims, **sampling)
        units = find_world_units([target, *layers])
        found = [(layer.name, find_thick_slice(layer, dims, units)) for layer in layers]
        thick = {name: planes for name, planes in found if planes is not None}
    if blocks is not None and not blocks.block:
        shape, steps = readers[0].to_shape, _get_steps(readers[0])
        # Said, so that a command makes the same blocks.
        blocks = replace(blocks, block=find_block(shape, steps, config))
    # 2-D layers have one plane, wherever the sliders of other layers stand, and of a whole stack
    # all planes are fused.
    fixed = whole or all(layer.ndim == 2 for layer in layers)
    return Plan(
        names=tuple(layer.name for layer in layers),
        origins=get_origins(layers),
        reference=target.name,
        config=config,
        level=level,
        interpolation=interpolation,
        place=place_result(target, dims, level=level, thick=thick, whole=whole),
        readers=tuple(readers),
        layers=tuple(layers),
        layer_ids=tuple(layer.unique_id for layer in layers),
        resampled=bool(report.resampled),
        # The files hold all levels, of which the run takes one.
        multiscale=any(layer.multiscale for layer in [*layers, target]),
        point=None if fixed else tuple(float(x) for x in dims.point),
        order=None if fixed else tuple(int(i) for i in dims.order),
        margins=_get_margins(dims) if thick else None,
        projections={x.name: str(x.projection_mode) for x in layers} if thick else {},
        warnings=report.warnings,
        preview_rate=preview_rate,
        whole=whole,
        look=_look(layers, target, dims, sampling) if whole and blocks is None else None,
        degraded=bool(report.restored) and restore != "never",
        fwhm=tuple(each.fwhm for each in taken),
        masks=tuple(_plan_mask(each.mask) for each in taken),
        declares_fwhm=any(np.any(get_declared_fwhm(layer)) for layer in layers),
        blocks=blocks,
    )


def _get_steps(reader: PlaneReader | WholeReader) -> tuple[float, ...]:
    return reader.steps if isinstance(reader, WholeReader) else (1.0, 1.0)


def _plan_mask(mask: Layer | None) -> PlannedMask | None:
    if mask is None:
        return None
    origin = get_origins([mask])[0]
    return PlannedMask(mask.name, mask.unique_id, origin, get_mask_pixels(mask))


def _look(
    layers: Sequence[Image], target: Image, dims: Dims, sampling: Mapping[str, Any]
) -> Look | None:
    """Return what reads the plane on the screen; None where a layer has no data there."""
    # No projections, which the whole stack knows nothing of, and in 3-D the plane that the
    # sliders are at.
    flat = Dims(**{**dims.model_dump(), "ndisplay": 2, "margin_left": (), "margin_right": ()})
    try:
        level = sampling["level"]
        readers = make_plane_readers(layers, target, flat, **sampling)
        plane = find_plane(target, flat, find_plane_axes([target], flat), level)
        along_last = find_plane(target, flat, (dims.ndim - 2, dims.ndim - 1), level)
    except ValueError:
        return None
    where = [slice(None) if a in plane.axes else i for a, i in enumerate(plane.index)]
    sizes = get_level_shape(target, level)[:-2]
    index = [i for i, size in zip(along_last.index, sizes, strict=False) if size > 1]
    return Look(tuple(readers), tuple(where), tuple(index))


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
    masks = tuple(
        mask and replace(mask, name=present.get(mask.layer_id, mask.name)) for mask in plan.masks
    )
    return replace(plan, names=names, reference=reference, masks=masks)
