"""A run block by block, as it is asked for: into which file, and in what blocks."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from napari.layers import Layer

from napari_dip_fusion.blocks.layout import Layout, choose_layout
from napari_dip_fusion.blocks.manifest import IMAGE, Manifest, name_folder
from napari_dip_fusion.blocks.plan import Plan as BlockPlan
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.fusion.timing import format_bytes
from napari_dip_fusion.io.files import is_bundle
from napari_dip_fusion.io.streaming import count_bytes
from napari_dip_fusion.sources import Source

ENDINGS = (".ome.zarr", ".fusion.ome.tif")
"""Of files that are written block by block; the first one is what is suggested."""

_LONGEST_NAME = 80

# With all resolutions a plane has a third more pixels than the finest one, each a float32.
_LEVELS = 4 / 3
_BYTES_PER_PIXEL = 4 * _LEVELS


@dataclass(frozen=True)
class BlockChoice:
    """How a run goes block by block.

    Attributes
    ----------
    output : Path
        The file or folder that is written.
    block : int
        Pixels of a block along rows and columns; 0 for what the library takes by itself.
    workers : int
        Processes that compute; 0 for none but napari's own.
    resume : bool
        Whether a run on the way there that was not finished is taken up, and not refused.
    """

    output: Path
    block: int = 0
    workers: int = 0
    resume: bool = True

    @property
    def folder(self) -> Path:
        """Where a run on its way to the output lies."""
        return name_folder(self.output)

    @property
    def image(self) -> Path:
        """The image there, while it grows."""
        return self.folder / IMAGE

    @property
    def resumes(self) -> bool:
        """Whether a run that was not finished is taken up."""
        return self.resume and self.folder.exists()

    def throw_away(self) -> None:
        """Remove what is done of a run that was not finished.

        Raises
        ------
        ValueError
            If another process is at work there.
        """
        if self.folder.exists():
            manifest = Manifest(self.folder, {})
            manifest.lock()
            manifest.remove()

    def refuse_output(self) -> None:
        """Refuse an output that could not be written in the end.

        Raises
        ------
        ValueError
        """
        if not self.output.name.lower().endswith(ENDINGS):
            raise ValueError(
                f"block by block, a file's name ends in {' or '.join(ENDINGS)}, got "
                f"{self.output.name!r}"
            )
        if self.output.exists():
            raise ValueError(f"{self.output} exists; choose another name for the fused image")
        if not self.output.parent.is_dir():
            raise ValueError(f"folder {self.output.parent} does not exist; choose another one")


def find_block(shape: Sequence[int], steps: Sequence[float], config: FusionConfig) -> int:
    """Return the rows and columns of a block that the library takes by itself.

    Parameters
    ----------
    shape : sequence of int
        Of the image, without axes of one pixel in front of the plane.
    steps : sequence of float
        Distance of neighbors along each axis, as of :class:`.PreparedSources`.
    config : FusionConfig
    """
    frame = range(count_frame_axes(tuple(steps), config), len(shape))
    return max(choose_layout(shape, frame, [0] * len(frame), None).block[-2:])


def plan_blocks(
    sources: Sequence[Source],
    config: FusionConfig,
    choice: BlockChoice,
    reference: int,
    interpolation: str,
) -> Layout:
    """Return how an image will be cut into blocks; nothing is read.

    Raises
    ------
    ValueError
        If sources and settings cannot be fused block by block, or the output not be written.
    """
    choice.refuse_output()
    plan = BlockPlan.make(
        sources,
        config,
        block=choice.block or None,
        reference=reference,
        interpolation=interpolation,
    )
    return plan.choose_layout(None)


def describe_blocks(layout: Layout, choice: BlockChoice, sources: Sequence[Source]) -> str:
    """Say what is written in which blocks, and warn if the disk has no room for it.

    Parameters
    ----------
    layout : Layout
    choice : BlockChoice
    sources : sequence of Source
        What is fused.
    """
    block = [min(pair) for pair in zip(layout.block, layout.shape, strict=True)]
    size = "x".join(str(n) for n in block if n > 1)
    needed = int(prod(layout.shape) * _BYTES_PER_PIXEL)
    if is_bundle(choice.output):
        # It is written beside the image that has grown, and the sources lie in it, too.
        needed = 2 * needed + int(sum(count_bytes(source.data) for source in sources) * _LEVELS)
    free = shutil.disk_usage(choice.output.parent).free
    count = "1 block" if layout.count == 1 else f"{layout.count:,} blocks"
    line = f"{count} of {size}, {format_bytes(needed)} of {format_bytes(free)} on the disk"
    # What is done of a run that is resumed has its room already.
    if needed <= free or choice.resumes:
        return line
    return f"\N{WARNING SIGN} {line}: choose another folder, or make room"


def suggest_output(layers: Sequence[Layer], where: str = "") -> Path:
    """Return a file for what is fused of layers: beside the first one's, or at home.

    One that exists is never suggested, but one on whose way a run was not finished is.

    Parameters
    ----------
    layers : sequence of Layer
    where : str
        The plane of them that is fused, such as ``z=42``; empty for all.
    """
    path = layers[0].source.path if layers else None
    folder = Path.home() if path is None else Path(path).absolute().parent
    if not os.access(folder, os.W_OK):
        folder = Path.home()
    words = re.sub(r"\W+", "_", " ".join(layer.name for layer in layers)).strip("_")
    name = f"fused_{words}"[:_LONGEST_NAME]
    if where:
        # Not with the sign before the numbers of files of one name.
        name += "_" + re.sub(r"\W+", "-", where)
    return number_output(folder / f"{name}{ENDINGS[0]}")


def number_output(path: Path) -> Path:
    """Return a path, or if it exists the first one with a number in its name that does not."""
    endings = [ending for ending in ENDINGS if path.name.lower().endswith(ending)]
    ending = endings[0] if endings else ENDINGS[0]
    stem = path.name[: len(path.name) - len(ending)] if endings else path.name
    # Not the number of a number.
    stem = re.sub(r"_\d+$", "", stem) if path.exists() else stem
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{stem}_{number}{ending}")
    return found
