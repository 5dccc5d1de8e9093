"""What a run tells that goes on block by block."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_dip_fusion.blocks.layout import Index, Layout, Region
from napari_dip_fusion.fusion.events import Event
from napari_dip_fusion.sources import Source

__all__ = ["BlockDone", "BlockEvent", "BlocksBegun", "BlocksDone", "BlocksResult"]


@dataclass(frozen=True)
class BlocksBegun:
    """The image is there, and grows from now on.

    Attributes
    ----------
    image : Path
        The OME-Zarr folder, which can be read while it grows.
    layout : Layout
    done : frozenset of tuple of int
        The blocks that an earlier run has made.
    workers : int
        Processes that are at work.
    dashboard : str
        Where a cluster shows its work; empty without one.
    """

    image: Path
    layout: Layout
    done: frozenset[Index]
    workers: int = 1
    dashboard: str = ""


@dataclass(frozen=True)
class BlockDone:
    """A block is fused, and written.

    Attributes
    ----------
    region : Region
    done, total : int
        How many blocks are, earlier runs included, and how many there will be.
    seconds : float
        Time that this one took.
    rate : float
        Pixels a second of all workers, since the first block of this run.
    remaining : float
        Seconds left at that rate.
    """

    region: Region
    done: int
    total: int
    seconds: float
    rate: float
    remaining: float


@dataclass(frozen=True, eq=False)
class BlocksResult:
    """What a fusion block by block leaves.

    Attributes
    ----------
    path : Path
        The output; of a run that was stopped, the growing image, which holds what is done.
    done, total : int
        Blocks that are made, and all of them.
    stop_reason : str
        ``stopped``, or as of :class:`~napari_dip_fusion.FusionResult`.
    record : dict
        The run record, of values that JSON can hold; empty of a run that was stopped.
    metrics : dict of str to float
        Quality metrics of samples that are spread over the image, their mean.
    """

    path: Path
    done: int
    total: int
    stop_reason: str
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all blocks are made."""
        return self.done == self.total

    def to_source(self) -> Source:
        """Return the fused image in its place, which is read part by part."""
        from napari_dip_fusion.io.files import read_fused

        return read_fused(self.path)


@dataclass(frozen=True, eq=False)
class BlocksDone:
    """The run ended."""

    result: BlocksResult


BlockEvent = Event | BlocksBegun | BlockDone | BlocksDone
