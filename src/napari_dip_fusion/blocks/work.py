"""What is done with one block, in whatever process: it is read, fused and written."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.cutting import Cutter
from napari_dip_fusion.blocks.layout import Index, Layout
from napari_dip_fusion.blocks.parts import fuse_part, prepare_part
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io.zarr.growing import BlockWriter
from napari_dip_fusion.sources.prepared import PreparedSources

__all__ = ["BlockJob", "FusedBlock", "fuse_block", "hash_block"]


@dataclass(frozen=True, eq=False)
class BlockJob:
    """What a process needs to fuse blocks; it holds no pixels of sources that are read lazily.

    Attributes
    ----------
    cutter : Cutter
    layout : Layout
    config : FusionConfig
    statistics : Statistics
    writer : BlockWriter
    dtype : str
        Type of the pixels that are written.
    like : int or None
        Index of the source in whose units they are; None for [0, 1], or the range of an integer
        type.
    """

    cutter: Cutter
    layout: Layout
    config: FusionConfig
    statistics: Statistics
    writer: BlockWriter
    dtype: str = "float32"
    like: int | None = None


@dataclass(frozen=True, eq=False)
class FusedBlock:
    """What comes back of a block that is fused and written.

    Attributes
    ----------
    index : tuple of int
    hashes : tuple of str
        SHA-256 of what was read of each source.
    piece : ndarray
        The block in the coarser resolutions that no block owns.
    seconds : float
        Time that it took.
    """

    index: Index
    hashes: tuple[str, ...]
    piece: NDArray[Any]
    seconds: float


def fuse_block(job: BlockJob, index: Index) -> FusedBlock:
    """Fuse a block and write it."""
    start = time.perf_counter()
    region = job.layout.locate(index)
    cut = job.cutter.cut(region.around)
    prepared = prepare_part(cut, job.statistics.windows, job.config)
    inside = [
        part
        for part, around in zip(region.inside, region.around, strict=True)
        if around.stop - around.start > 1
    ]
    image = fuse_part(prepared, job.statistics, job.config, tuple(inside))
    sizes = [part.stop - part.start for part in region.core]
    block = image.reshape(*sizes, *image.shape[len(prepared.shape) :])
    piece = job.writer.write(region.start, _make_pixels(block, prepared, job))
    return FusedBlock(index, cut.hashes, piece, time.perf_counter() - start)


def hash_block(job: BlockJob, index: Index) -> tuple[str, ...]:
    """Return the hashes of what is read of each source for a block."""
    return job.cutter.hash(job.layout.locate(index).around)


def _make_pixels(block: NDArray[Any], prepared: PreparedSources, job: BlockJob) -> NDArray[Any]:
    """Return pixels in [0, 1] in the type, and the units, in which they are written."""
    if job.like is not None:
        return prepared.rescale(block, like=job.like, dtype=job.dtype)
    kind = np.dtype(job.dtype)
    if kind.kind == "f":
        return block.astype(kind)
    whole: NDArray[Any] = np.rint(block * np.iinfo(kind).max).astype(kind)
    return whole
