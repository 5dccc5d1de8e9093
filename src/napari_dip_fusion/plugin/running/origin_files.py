"""Files are read again: how they hold what a run was given, and by which options it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.io import read_images
from napari_dip_fusion.plugin.layers.block_plane import BlockPlaneReader
from napari_dip_fusion.plugin.layers.drawable import make_drawable
from napari_dip_fusion.plugin.layers.layer_origin import LayerOrigin
from napari_dip_fusion.plugin.running.command_words import (
    FILE_PLANES,
    NO_MASK,
    choose_plane,
    name_output,
    write_plane,
    write_width,
)
from napari_dip_fusion.plugin.running.plan import Plan, PlannedMask
from napari_dip_fusion.plugin.running.reopening import (
    OpenedLayer,
    Reader,
    holds_plane,
    open_image_layer,
    open_layers,
    shows_plane,
)
from napari_dip_fusion.plugin.running.samples import holds_samples, is_same, lie_alike, show_alike
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference
from napari_dip_fusion.sources.parts import choose_image, choose_level
from napari_dip_fusion.sources.views import View

__all__ = ["OWN_PLUGIN", "Opening", "OriginFiles"]

OWN_PLUGIN = "napari-dip-fusion"
"""Name under which a layer remembers that this plugin read it."""

_OTHER_PLACES = "by what the files say, {} would be sampled at other places"


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


class OriginFiles:
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
        self._opened: dict[tuple[Path, str], list[OpenedLayer]] = {}

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
        plane = None if plan.whole else write_plane(images[reference], plan)
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
        read = _sample(images, plan, plane or choose_plane(images[reference], plan))
        # Of whole stacks, whose pixels are the same, one plane says whether their places are.
        known = planes
        if plan.whole:
            known = _sample(planes, plan, choose_plane(planes[reference], plan)).images
        pairs = zip(plan.names, read.arrays, known, strict=True)
        others = [name for name, array, plane in pairs if not is_same(array, plane.data)]
        if others:
            raise ValueError(_OTHER_PLACES.format(", ".join(others)))
        # Plain TIFF is for planes.
        return choice, name_output(images[reference] if plan.whole else read.place)

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
            said["fwhm"] = [write_width(reader.source) for reader in plan.readers]
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

    def _open(self, path: Path, plugin: str) -> list[OpenedLayer]:
        """Return the layers that a plugin makes of a file."""
        if (path, plugin) not in self._opened:
            # Our own reader makes one layer of each image, and the command needs these, too.
            own = self._sampled or plugin == OWN_PLUGIN
            if own and path.suffix.lower() != ".json":
                opened = [open_image_layer(image) for image in self._read(path)]
            else:
                opened = open_layers(path, plugin)
            self._opened[path, plugin] = opened
        return self._opened[path, plugin]

    def _holds(self, levels: Sequence[Any], reader: Reader, plane: Source) -> bool:
        """Tell whether one of the levels of an image has the pixels that a run was given."""
        if not self._sampled:
            return holds_plane(levels, reader, plane)
        if isinstance(reader, BlockPlaneReader):
            return shows_plane(levels, reader)
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
                raise ValueError(FILE_PLANES)
            if len(images) == 1:
                return None, image
            # An image may be named like the index of another one.
            for channel in (str(index), image.name):
                if choose_image(images, channel) is image:
                    return channel, image
        raise ValueError(f"{path.name} holds no such image")


def _sample(images: Sequence[Source], plan: Plan, plane: str | None) -> GridSources:
    return resample_to_reference(
        images,
        reference=plan.names.index(plan.reference),
        plane=plane,
        interpolation=plan.interpolation,
    )
