"""Which files hold what a run reads of layers, proved by reading them again.

A layer says where it came from, but not whether it is still what came from there: an edit in
place makes no event, and most edits come before anybody listens. What is fused block by block is
too large to be read once more, so that samples of it are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import npe2
import numpy as np
from napari.layers.utils.stack_utils import split_channels
from napari.utils.transforms import Affine

from napari_dip_fusion.io import read_images
from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.plugin.layers.block_plane import BlockPlaneReader
from napari_dip_fusion.plugin.layers.drawable import make_drawable
from napari_dip_fusion.plugin.layers.layer_origin import LayerOrigin
from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.layers.planes import Matrix
from napari_dip_fusion.plugin.layers.thick_slice import ProjectedPlanes
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader
from napari_dip_fusion.plugin.running.plan import Plan, PlannedMask
from napari_dip_fusion.plugin.running.samples import holds_samples, is_same, lie_alike, show_alike
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axes import find_stacked_axes
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference
from napari_dip_fusion.sources.parts import choose_image, choose_level
from napari_dip_fusion.sources.sensing import find_space_axes
from napari_dip_fusion.sources.units import LENGTHS, abbreviate_unit
from napari_dip_fusion.sources.views import View

Reader = PlaneReader | WholeReader

NO_WIDTH, NO_MASK = "0", "-"
"""What the command takes for a source that its pixels blur alone, and for one that saw all."""

OWN_PLUGIN = "napari-dip-fusion"
"""Name under which a layer remembers that this plugin read it."""


@dataclass(frozen=True)
class Opening:
    """How napari opens a file so that one of its layers is what was fused.

    Attributes
    ----------
    path : Path
    plugin : str
        The plugin that reads it.
    index : int
        Which of the layers that are opened is meant.
    count : int
        How many layers are opened.
    """

    path: Path
    plugin: str
    index: int
    count: int


@dataclass(frozen=True)
class Provenance:
    """What is proved of the files of a run's sources.

    Attributes
    ----------
    openings : tuple of Opening or None
        For each source the file that holds it as it was fused; None where none does.
    choice : mapping or None
        The options with which the command reads from these files, bit for bit, what was fused:
        channel, plane, level, reference and interpolation. None if there are none.
    output : str
        A name for the file that the command writes, in a format that holds its place.
    reason : str
        Why there is no choice, and what to do.
    masks : tuple of Opening or None
        For each source the file that holds its mask; None where none does, or there is no mask.
    """

    openings: tuple[Opening | None, ...]
    choice: Mapping[str, Any] | None = None
    output: str = "fused.tif"
    reason: str = ""
    masks: tuple[Opening | None, ...] = ()

    @property
    def notes(self) -> dict[str, Any]:
        """The entries of a run record by which the command can replay it."""
        return {} if self.choice is None else {"choice": dict(self.choice)}


def read_sources(plan: Plan) -> tuple[list[Source], Provenance]:
    """Read the planes of a plan, and find out which files hold them; for a worker thread.

    Returns
    -------
    planes : list of Source
        Each with the path of its file only if that is proved. Of whole stacks, the layers as
        they are, each on its own grid and not read yet.
    provenance : Provenance
    """
    planes = [_take(reader) for reader in plan.readers]
    provenance = _trace(plan, planes)
    return [
        plane.replace(path=None if opening is None else opening.path)
        for plane, opening in zip(planes, provenance.openings, strict=True)
    ], provenance


def read_on_grid(plan: Plan) -> list[Source]:
    """Read the planes of a plan, or whole stacks, on the grid of the reference."""
    return put_on_grid(plan, [_take(reader) for reader in plan.readers])


def put_on_grid(plan: Plan, sources: list[Source]) -> list[Source]:
    """Return sources from :func:`read_sources` on one grid, on which planes are already."""
    if not plan.whole:
        return sources
    reference = plan.names.index(plan.reference)
    grid = resample_to_reference(sources, reference=reference, interpolation=plan.interpolation)
    return grid.images


def _take(reader: Reader) -> Source:
    """Return what a run is given: a plane on the grid of the reference, or a layer as it is."""
    return reader.source if isinstance(reader, WholeReader) else reader.read()


def find_provenance(plan: Plan) -> Provenance:
    """Return what :func:`read_sources` does, without the planes.

    Where no layer came from a file, nothing is read.
    """
    return read_sources(plan)[1] if any(plan.origins) else _trace(plan, [])


def _trace(plan: Plan, planes: Sequence[Source]) -> Provenance:
    openings: list[Opening | None] = [None] * len(plan.origins)
    files = _Files(sampled=plan.blocks is not None)
    # Whatever was said of these files was said when they were opened.
    with silence_warnings():
        for i, (origin, plane) in enumerate(zip(plan.origins, planes, strict=False)):
            if origin is not None:
                openings[i] = files.find_opening(origin, plan.readers[i], plane)
        masks = [None if mask is None else files.find_mask(mask) for mask in plan.masks]
        found = Provenance(tuple(openings), masks=tuple(masks))
        missing = [n for n, x in zip(plan.names, openings, strict=True) if x is None]
        pairs = zip(plan.masks, masks, strict=True)
        missing += [f"the mask {mask.name}" for mask, opening in pairs if mask and not opening]
        if missing:
            return replace(
                found,
                reason=f"no file holds {', '.join(missing)} as fused, so no command can repeat "
                "this; save the layers and open them again, or copy the script",
            )
        try:
            choice, output = files.find_choice(plan, planes)
        # Of files that the command cannot read, or not so that they fit together.
        except Exception as error:
            return replace(
                found, reason=f"the command cannot read this ({error}); copy the script instead"
            )
    return replace(found, choice=choice, output=output)


_FILE_PLANES = "it takes planes along y and x only, counted as in the file"
_OTHER_PLACES = "by what the files say, {} would be sampled at other places"


@dataclass(frozen=True, eq=False)
class _Opened:
    """A layer as a file gives it when it is opened again."""

    levels: Sequence[Any]
    affine: Matrix
    units: tuple[str, ...]


class _Files:
    """Files that are read again, each once.

    Parameters
    ----------
    sampled : bool
        Whether images are compared by samples of them, since they are too large to be read whole,
        and opened by our own readers alone, which read them part by part.
    """

    def __init__(self, *, sampled: bool = False) -> None:
        self._sampled = sampled
        self._images: dict[Path, list[Source]] = {}
        self._opened: dict[tuple[Path, str], list[_Opened]] = {}

    def find_opening(self, origin: LayerOrigin, reader: Reader, plane: Source) -> Opening | None:
        """Return how a file is opened so that it gives a plane, None if it does not."""
        try:
            opened = self._open(origin.path, origin.plugin)
            for index, layer in enumerate(opened):
                placed = layer.units == origin.units and np.allclose(layer.affine, origin.affine)
                if placed and self._holds(layer.levels, reader, plane):
                    return Opening(origin.path, origin.plugin, index, len(opened))
        # Readers of any plugin may raise anything; what cannot be read again is not proved.
        except Exception:
            return None
        return None

    def find_mask(self, mask: PlannedMask) -> Opening | None:
        """Return how a file is opened so that it gives a mask, None if it does not."""
        if mask.origin is None or mask.pixels is None:
            return None
        path, plugin = mask.origin.path, mask.origin.plugin
        try:
            opened = self._open(path, plugin)
            for index, layer in enumerate(opened):
                if self._is_same(View(layer.levels[0], dtype=np.bool_), mask.pixels):
                    return Opening(path, plugin, index, len(opened))
        # As of sources.
        except Exception:
            return None
        return None

    def find_choice(self, plan: Plan, planes: Sequence[Source]) -> tuple[dict[str, Any], str]:
        """Return the options with which the command reads the same planes, and its output."""
        if plan.reference not in plan.names:
            raise ValueError("the reference is none of the sources")
        channels: list[str | None] = []
        images: list[Source] = []
        for origin, reader, pixels in zip(plan.origins, plan.readers, planes, strict=True):
            assert origin is not None
            channel, image = self._find_channel(origin.path, reader, pixels)
            channels.append(channel)
            # As the command does: one level for all files.
            image = choose_level(image, plan.level or None)
            # What was not seen is left out of what is sampled.
            stack = reader.stack if isinstance(reader, BlockPlaneReader) else reader.source
            images.append(image.replace(mask=stack.mask))
        reference = plan.names.index(plan.reference)
        plane = None if plan.whole else _write_plane(images[reference], plan)
        choice = {
            "channel": [] if not any(channels) else [channel or "0" for channel in channels],
            "plane": plane,
            "level": plan.level or None,
            "reference": reference,
            "interpolation": plan.interpolation,
            **self._write_sensors(plan),
        }
        if self._sampled:
            self._require_places(images, planes, plan, plane)
            assert plan.blocks is not None
            return choice, str(plan.blocks.output)
        read = _sample(images, plan, plane or _choose_plane(images[reference], plan))
        # Of whole stacks, whose pixels are the same, one plane says whether their places are.
        known = planes
        if plan.whole:
            known = _sample(planes, plan, _choose_plane(planes[reference], plan)).images
        pairs = zip(plan.names, read.arrays, known, strict=True)
        others = [name for name, array, plane in pairs if not is_same(array, plane.data)]
        if others:
            raise ValueError(_OTHER_PLACES.format(", ".join(others)))
        # Plain TIFF is for planes.
        return choice, _name_output(images[reference] if plan.whole else read.place)

    def _require_places(
        self, images: list[Source], planes: Sequence[Source], plan: Plan, plane: str | None
    ) -> None:
        """Refuse files by which sources that are fused block by block would lie elsewhere."""
        reference = plan.names.index(plan.reference)
        if plane is None:
            alike = lie_alike(images, list(planes), reference)
        else:
            alike = show_alike(images, list(planes), reference, plane)
        others = [name for name, same in zip(plan.names, alike, strict=True) if not same]
        if others:
            raise ValueError(_OTHER_PLACES.format(", ".join(others)))

    def _write_sensors(self, plan: Plan) -> dict[str, list[str]]:
        """Return blurs and masks in the words of the command, as far as there are any."""
        said = {}
        if any(map(np.any, plan.fwhm)):
            said["fwhm"] = [_write_width(reader.source) for reader in plan.readers]
        if any(plan.masks):
            said["mask"] = [self._write_mask(mask) for mask in plan.masks]
        return said

    def _write_mask(self, mask: PlannedMask | None) -> str:
        if mask is None:
            return NO_MASK
        assert mask.origin is not None
        path = mask.origin.path
        images = self._read(path)
        known = View(images[0].data, dtype=np.bool_)
        if len(images) != 1 or not self._is_same(known, mask.pixels):
            raise ValueError(f"{path.name} holds no such mask")
        return str(path)

    def _open(self, path: Path, plugin: str) -> list[_Opened]:
        """Return the layers that a plugin makes of a file."""
        if (path, plugin) not in self._opened:
            # Our own reader makes one layer of each image, and the command needs these, too.
            own = self._sampled or plugin == OWN_PLUGIN
            if own and path.suffix.lower() != ".json":
                opened = [_open_image(image) for image in self._read(path)]
            else:
                found = npe2.read([str(path)], stack=False, plugin_name=plugin)
                opened = [_open_layer(*layer) for data in found for layer in _split(data)]
            self._opened[path, plugin] = opened
        return self._opened[path, plugin]

    def _holds(self, levels: Sequence[Any], reader: Reader, plane: Source) -> bool:
        """Tell whether one of the levels of an image has the pixels that a run was given."""
        if not self._sampled:
            return _holds_plane(levels, reader, plane)
        if isinstance(reader, BlockPlaneReader):
            return _shows_plane(levels, reader)
        return any(holds_samples(level, plane.data, plane.ndim) for level in levels)

    def _is_same(self, one: Any, other: Any) -> bool:
        """Tell whether two images of one channel are the same, as far as they are looked at."""
        if self._sampled:
            return holds_samples(one, other, len(other.shape))
        return is_same(one, other)

    def _read(self, path: Path) -> list[Source]:
        if path not in self._images:
            self._images[path] = read_images(path)
        return self._images[path]

    def _find_channel(self, path: Path, reader: Reader, plane: Source) -> tuple[str | None, Source]:
        """Return the image of a file that holds a plane, and its channel if there are several."""
        images = self._read(path)
        for index, image in enumerate(images):
            shown = make_drawable(image)
            if not self._holds((shown.data, *shown.pyramid), reader, plane):
                continue
            if shown.shape != image.shape or not np.array_equal(shown.affine, image.affine):
                raise ValueError(_FILE_PLANES)
            if len(images) == 1:
                return None, image
            # An image may be named like the index of another one.
            for channel in (str(index), image.name):
                if choose_image(images, channel) is image:
                    return channel, image
        raise ValueError(f"{path.name} holds no such image")


def _open_image(image: Source) -> _Opened:
    image = make_drawable(image)
    return _Opened((image.data, *image.pyramid), image.affine, image.units)


def _split(layer: Sequence[Any]) -> Sequence[Any]:
    """Return the layers that napari makes of one entry of a reader, as data and arguments."""
    data, arguments = layer[0], dict(layer[1]) if len(layer) > 1 else {}
    if arguments.get("channel_axis") is None:
        return [(data, arguments)]
    return [entry[:2] for entry in split_channels(data, **arguments)]


def _open_layer(data: Any, arguments: Mapping[str, Any]) -> _Opened:
    levels = list(data) if isinstance(data, list | tuple) else [data]
    ndim = len(levels[0].shape) - bool(arguments.get("rgb"))
    parts = {key: arguments.get(key) for key in ("scale", "translate", "rotate", "shear")}
    inner = Affine(**{k: v for k, v in parts.items() if v is not None}, ndim=ndim)
    outer = arguments.get("affine")
    outer = np.eye(ndim + 1) if outer is None else getattr(outer, "affine_matrix", outer)
    units = arguments.get("units") or "pixel"
    each = [units] * ndim if isinstance(units, str) else list(units)
    return _Opened(
        levels,
        np.asarray(outer, dtype=np.float64) @ inner.affine_matrix,
        tuple(abbreviate_unit(unit) for unit in each),
    )


def _holds_plane(levels: Sequence[Any], reader: Reader, plane: Source) -> bool:
    """Tell whether one of the levels of an image has the pixels of a plane, or of all planes."""
    if isinstance(reader, WholeReader):
        return any(_holds_all(level, plane.data) for level in levels)
    wanted = reader.source.data
    for level in levels:
        # Of a thick slice, the same planes are one again.
        data = wanted.repeat(level) if isinstance(wanted, ProjectedPlanes) else level
        if tuple(data.shape) == tuple(wanted.shape) and data.dtype == wanted.dtype:
            # The same way of sampling on the other pixels.
            again = replace(reader, source=reader.source.replace(data=data)).read()
            return is_same(again.data, plane.data)
    return False


def _shows_plane(levels: Sequence[Any], reader: BlockPlaneReader) -> bool:
    """Tell whether one of the levels of an image has the plane that is shown, where sampled."""
    wanted = reader.find_shown(reader.stack.data)
    shown = map(reader.find_shown, levels)
    return any(view is not None and holds_samples(view, wanted, 2) for view in shown)


def _holds_all(level: Any, wanted: Any) -> bool:
    """Tell whether two arrays of planes are the same, without ever reading either of them whole."""
    if tuple(level.shape) != tuple(wanted.shape) or level.dtype != wanted.dtype:
        return False
    return all(is_same(level[i], wanted[i]) for i in range(len(wanted)))


def _write_width(source: Source) -> str:
    """Return how wide a source is blurred in the words of the command."""
    widths = np.array(source.fwhm)
    if not widths.any():
        return NO_WIDTH
    space = np.array(find_space_axes(source.axes, source.units))
    unit = source.units[-1]
    if unit not in LENGTHS:
        # Nothing says how long one is: in pixels of its own.
        widths, unit = widths / source.spacing, "px"
    widths = widths[space] if np.ptp(widths[space]) else widths[space[:1]]
    return ",".join(f"{width:.12g}" for width in widths) + unit


def _name_output(place: Source) -> str:
    """Return a name for a file at a place, which plain TIFF would drop."""
    flat = len(find_stacked_axes(place)) == 0
    if (
        flat
        and set(place.units) <= {"pixel"}
        and np.array_equal(place.affine, np.eye(place.ndim + 1))
    ):
        return "fused.tif"
    # An oblique plane has its place in NIfTI only.
    is_nifti = place.path is not None and place.path.name.lower().endswith((".nii", ".nii.gz"))
    return "fused.nii.gz" if is_nifti else "fused.ome.tif"


def _sample(images: Sequence[Source], plan: Plan, plane: str | None) -> GridSources:
    return resample_to_reference(
        images,
        reference=plan.names.index(plan.reference),
        plane=plane,
        interpolation=plan.interpolation,
    )


def _choose_plane(image: Source, plan: Plan) -> str | None:
    """Return a plane of a stack that is fused whole: the one on the screen, or the middle one."""
    if not plan.whole:
        return None
    stacked = find_stacked_axes(image)
    sizes = dict(zip(image.axes, image.shape, strict=True))
    shown = () if plan.look is None else plan.look.index
    index = shown if len(shown) == len(stacked) else [sizes[axis] // 2 for axis in stacked]
    return ",".join(f"{axis}={i}" for axis, i in zip(stacked, index, strict=True)) or None


def _write_plane(image: Source, plan: Plan) -> str | None:
    """Return the plane of the reference in the words of the command, None if it has one only."""
    if plan.place.plane["slice"][-2:] != [None, None]:
        raise ValueError(_FILE_PLANES)
    indices = [index for index in plan.place.plane["slice"] if index is not None]
    stacked = find_stacked_axes(image, longer_than=0)
    if len(stacked) != len(indices):
        # Axes of length one that one of the two does not have make no planes to choose from.
        stacked, indices = find_stacked_axes(image), [i for i in indices if i > 0]
    if len(stacked) != len(indices):
        raise ValueError(_FILE_PLANES)
    sizes = dict(zip(image.axes, image.shape, strict=True))
    named = zip(stacked, indices, strict=True)
    return ",".join(f"{axis}={index}" for axis, index in named if sizes[axis] > 1) or None
