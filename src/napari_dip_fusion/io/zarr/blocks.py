"""Blocks of OME-Zarr images are written, by several processes at the same time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError, summarize_error
from napari_dip_fusion.io.zarr.arrays import report_zarr_damage
from napari_dip_fusion.io.zarr.layout import Layout

__all__ = ["BlockWriter", "open_level", "report_refusal"]


@dataclass(frozen=True)
class BlockWriter:
    """Writes blocks of a growing image, in any process.

    No two blocks share a chunk of what it writes, and a chunk is replaced in one step of the
    file system: blocks are written at the same time, and again.

    Parameters
    ----------
    path : Path
        The OME-Zarr folder.
    layout : Layout
        How the image is stored.
    dtype : str
        Type of the pixels.
    """

    path: Path
    layout: Layout
    dtype: str

    def write(self, start: Sequence[int], pixels: NDArray[Any]) -> NDArray[Any]:
        """Write a block, and all coarser resolutions of it whose chunks belong to it alone.

        Parameters
        ----------
        start : sequence of int
            Where the block begins, along each axis of the image.
        pixels : ndarray
            The whole block, colors last; shorter only at the ends of the image.

        Returns
        -------
        ndarray
            What :meth:`.GrowingImage.take` wants of the block.

        Raises
        ------
        ValueError
            If no block begins there, or it has another shape or type.
        ImageFileError
            If it cannot be written.
        """
        layout = self.layout
        where, shape = layout.cut(start), layout.measure_block(start)
        if pixels.shape != shape or pixels.dtype != self.dtype:
            raise ValueError(
                f"the block at {tuple(start)} has the shape {shape} of {self.dtype}, got "
                f"{pixels.shape} of {pixels.dtype}"
            )
        part = layout.turn(pixels)
        with report_refusal(self.path):
            for number in range(layout.owned):
                open_level(self.path, number)[layout.levels[number].cut(where)] = part
                if number + 1 < len(layout.levels):
                    part = layout.coarsen(part, number)
        return np.ascontiguousarray(part)


def open_level(path: Path, number: int) -> Any:
    """Return the array of a resolution, to be read and written.

    Parameters
    ----------
    path : Path
        The OME-Zarr folder.
    number : int
        0 is the finest.
    """
    import zarr

    from napari_dip_fusion.io.zarr.store import CheckedStore

    store = CheckedStore(zarr.storage.LocalStore(path / str(number)), path)
    array = zarr.open_array(store, mode="r+")
    # Empty chunks, too: a reader can then tell a folder that was copied in part. zarr's settings
    # would say the same, but for all threads.
    return array.with_config({"write_empty_chunks": True})


@contextmanager
def report_refusal(path: Path) -> Iterator[None]:
    """Turn errors of the file system, and over damaged chunks, into the one of this package.

    Parameters
    ----------
    path : Path
        The OME-Zarr folder, for the message.

    Raises
    ------
    ImageFileError
        If the block raises any error but one of memory.
    """
    try:
        with report_zarr_damage(path):
            yield
    except OSError as error:
        reason = error.strerror or summarize_error(error)
        raise ImageFileError(
            f"{path} cannot be written: {reason}; what is finished is kept, make room or allow "
            "writing, and go on"
        ) from error
