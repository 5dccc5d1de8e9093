"""Whether a fusion goes block by block: because it is asked to, or because memory is short."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_dip_fusion.blocks.output import Output
from napari_dip_fusion.blocks.plan import Plan
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.blockwise.options import BlockChoice
from napari_dip_fusion.cli.fuse_job import FuseJob
from napari_dip_fusion.cli.outputs import Outputs
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion.decision import fits_network
from napari_dip_fusion.fusion.memory import check_memory, estimate_memory
from napari_dip_fusion.fusion.preparation import MIN_SIZE
from napari_dip_fusion.fusion.timing import format_bytes
from napari_dip_fusion.prior.devices import measure_free_memory
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import align_sources
from napari_dip_fusion.sources.matching import list_extended
from napari_dip_fusion.sources.steps import measure_steps


def choose_way(
    images: Sequence[Source], job: FuseJob, outputs: Outputs, choice: BlockChoice
) -> Output | None:
    """Return what is written block by block; None where the images are fused as a whole.

    Parameters
    ----------
    images : sequence of Source
        Of which nothing needs to be read for that.
    job : FuseJob
    outputs : Outputs
    choice : BlockChoice

    Raises
    ------
    ValueError
        If the run is to go block by block, or could go in no other way, and cannot.
    """
    if choice.is_given or job.block:
        return _plan(images, job, outputs, choice)
    if job.config.method not in (DIP, CONSENSUS) or fits_network(job.config, True):
        return None
    whole = _Whole.measure(images, job)
    shortage = whole.find_shortage()
    if not shortage:
        return None
    try:
        output = _plan(images, job, outputs, choice)
    except ValueError as error:
        whole.check(str(error))
        return None
    console.message(f"{shortage}: fused block by block")
    return output


def _plan(images: Sequence[Source], job: FuseJob, outputs: Outputs, choice: BlockChoice) -> Output:
    """Return what is written of which images block by block, all of it checked.

    Raises
    ------
    ValueError
        If images, settings, blocks or output do not fit each other.
    """
    others = {
        "--gains-dir": outputs.gains,
        "--restored-dir": outputs.restored,
        "--planes-csv": outputs.scores,
    }
    for option, paths in others.items():
        if paths:
            raise ValueError(
                f"{option} cannot be written block by block; leave it out, or fuse the whole at "
                "once"
            )

    def plan(block: Sequence[int] | None) -> Plan:
        return Plan.make(
            images,
            job.config,
            block=block,
            reference=job.choice.reference,
            plane=job.choice.plane,
            interpolation=job.choice.interpolation,
            names=job.names,
            paths=[str(path.resolve()) for path in job.paths],
        )

    planned = plan(choice.block or None)
    if job.block:
        # A record has the size along all axes, of which those of frames are none of a block.
        if len(job.block) != len(planned.cutter.place.shape):
            raise ValueError(
                f"the record has blocks of {len(job.block)} axes, and its sources have "
                f"{len(planned.cutter.place.shape)}; fuse them anew"
            )
        planned = plan([job.block[axis] for axis in planned.frame])
    output = Output(outputs.fused, planned, outputs.dtype, outputs.like, outputs.overwrite)
    output.check(resume=choice.resume)
    return output


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """Images as they would be fused as a whole.

    Attributes
    ----------
    config : FusionConfig
    shape, steps
        Of what is fused, as of :func:`.estimate_memory`.
    itemsizes : tuple of int
        Bytes of a pixel of each source.
    """

    config: FusionConfig
    shape: tuple[int, ...]
    steps: tuple[float, ...]
    itemsizes: tuple[int, ...]

    @classmethod
    def measure(cls, images: Sequence[Source], job: FuseJob) -> "_Whole":
        """Return what would be fused; nothing is read for that."""
        sources, number = align_sources(
            images, reference=job.choice.reference, plane=job.choice.plane
        )
        place = sources[number]
        extended = list_extended(place)
        return cls(
            config=job.config,
            shape=tuple(place.shape[place.axes.index(axis)] for axis in extended),
            steps=measure_steps(place, len(extended))[1],
            itemsizes=tuple(source.dtype.itemsize for source in sources),
        )

    def find_shortage(self) -> str:
        """Return how much memory they need, and how much is free; empty if it is enough."""
        # Beside what is computed, all are there in their own type.
        held = sum(self.itemsizes) * math.prod(self.shape)
        count = len(self.itemsizes)
        needed = held + estimate_memory(self.config, self.shape, count, steps=self.steps)
        free = measure_free_memory("cpu")
        if needed <= free:
            return ""
        size = "x".join(map(str, self.shape))
        return f"{size} pixels need about {format_bytes(needed)}, {format_bytes(free)} are free"

    def check(self, hindrance: str) -> None:
        """Refuse them if they do not fit into memory, where something hinders another way.

        Those for whose networks alone there is no memory may have no noise, and need none.
        """
        count = len(self.itemsizes)
        try:
            check_memory(
                self.config,
                self.shape,
                count,
                "cpu",
                network=False,
                smallest=MIN_SIZE,
                steps=self.steps,
            )
        except ValueError as error:
            raise ValueError(
                f"{error}; or write .ome.zarr, which is fused block by block ({hindrance})"
            ) from None
