"""OME-Zarr images are created empty, and grow block by block."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.atomic import write_atomically
from napari_dip_fusion.io.losses import warn_of_private_rotation
from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.io.zarr import ATTRIBUTE, GROWING
from napari_dip_fusion.io.zarr.arrays import load_json, open_array, report_zarr_damage
from napari_dip_fusion.io.zarr.blocks import BlockWriter, open_level, report_refusal
from napari_dip_fusion.io.zarr.fields import check, make_array_options, make_axes, make_ome
from napari_dip_fusion.io.zarr.layout import Layout, add_levels, make_layout
from napari_dip_fusion.sources import Source

__all__ = ["BlockWriter", "GrowingImage"]

_VERSION = "0.5"


class GrowingImage:
    """An OME-Zarr image while its blocks are written; one process directs it.

    :func:`~napari_dip_fusion.io.read_image` reads it at any moment, with 0 where no block
    has been written yet.

    Parameters
    ----------
    path : Path
        The OME-Zarr folder.
    image : Source
        What is written, without its pixels.
    writer : BlockWriter
        Writes blocks, in this process or in others.
    """

    def __init__(self, path: Path, image: Source, writer: BlockWriter) -> None:
        self.path = path
        self.image = image
        self.writer = writer

    @classmethod
    def create(
        cls, path: Path, image: Source, block: Sequence[int], *, overwrite: bool = False
    ) -> "GrowingImage":
        """Make the folder of an image of which no block is written.

        Parameters
        ----------
        path : Path
            The OME-Zarr folder.
        image : Source
            What is to be written; of its pixels only shape and type count.
        block : sequence of int
            Pixels of a block along each axis of the image; 1 along those that are none of
            space. Sizes with many factors of two leave the least to :meth:`take`.
        overwrite : bool
            Whether what exists may be replaced.

        Raises
        ------
        FileExistsError
            If `path` exists and `overwrite` is false.
        ValueError
            If blocks of this size cannot be cut into chunks and halved.
        ImageFileError
            If OME-Zarr cannot hold the image, or it cannot be written.
        """
        check(image)
        layout = make_layout(image, block)
        warn_of_private_rotation(image, "OME-Zarr", kept_in="an attribute", stacklevel=2)
        with write_atomically(path, overwrite=overwrite) as temporary:
            _create_arrays(temporary, layout, image)
            _write_attributes(temporary, image, {GROWING: True})
        return cls._make(path, image, layout)

    @classmethod
    def open(cls, path: Path, image: Source, block: Sequence[int]) -> "GrowingImage":
        """Open a folder that :meth:`create` made, even if it is finished.

        Parameters
        ----------
        path, image, block
            As for :meth:`create`.

        Raises
        ------
        ImageFileError
            If it is something else, or damaged.
        """
        path = Path(path)
        if not (path / "zarr.json").is_file():
            raise ImageFileError(f"{path} holds no image that could be gone on with")
        layout = make_layout(image, block)
        with report_zarr_damage(path):
            load_json(path / "zarr.json", path)
            _compare_arrays(path, layout, image.dtype)
        return cls._make(path, image, layout)

    @classmethod
    def _make(cls, path: Path, image: Source, layout: Layout) -> "GrowingImage":
        # Other processes may work in other folders.
        path = Path(path).absolute()
        return cls(path, image, BlockWriter(path, layout, str(image.dtype.newbyteorder("="))))

    def take(self, start: Sequence[int], piece: NDArray[Any]) -> None:
        """Write what is left of a block into the resolutions that blocks share.

        Only one process may do so. A block is done when this has returned.

        Parameters
        ----------
        start : sequence of int
            Where the block begins, along each axis of the image.
        piece : ndarray
            What :meth:`BlockWriter.write` returned.

        Raises
        ------
        ValueError
            If it is no such piece.
        ImageFileError
            If it cannot be written.
        """
        layout = self.writer.layout
        if layout.owned == len(layout.levels):
            return
        block = layout.cut(start)
        place = layout.levels[layout.owned].cut(block)
        shape = tuple(one.stop - one.start for one in place)
        if piece.shape != shape:
            raise ValueError(
                f"the piece at {tuple(start)} has the shape {shape}, got {piece.shape}"
            )
        with report_refusal(self.path):
            finer = open_level(self.path, layout.owned)
            finer[place] = piece
            for number in range(layout.owned + 1, len(layout.levels)):
                # Pixels at the edge of the part depend on other blocks, too, whose turn is
                # before or after.
                where = layout.levels[number].cut(block)
                pixels = finer[layout.find_finer(where, number)]
                finer = open_level(self.path, number)
                finer[where] = layout.coarsen(pixels, number - 1)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Complete what is said of an image of which all blocks are done.

        Parameters
        ----------
        metadata : mapping
            What is known by now beside the image's own metadata, such as the run record.

        Raises
        ------
        ImageFileError
            If it cannot be written.
        """
        with report_refusal(self.path):
            # What processes left behind that were killed while they wrote.
            for file in self.path.rglob("*.partial"):
                file.unlink(missing_ok=True)
            image = self.image.replace(metadata={**self.image.metadata, **metadata})
            _write_attributes(self.path, image, {})


def _create_arrays(path: Path, layout: Layout, image: Source) -> None:
    """Make the arrays of all resolutions, without any chunk."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    options = make_array_options(make_axes(add_levels(image)), _VERSION)
    dtype = image.dtype.newbyteorder("=")
    for number, level in enumerate(layout.levels):
        sizes: Any = {"shape": level.shape, "chunks": level.chunks}
        group.create_array(str(number), dtype=dtype, **sizes, **options)


def _write_attributes(path: Path, image: Source, more: Mapping[str, Any]) -> None:
    """Write all that is said of an image, in one step of the file system."""
    import zarr

    stored = add_levels(image)
    # That a unit has no name there was said when the arrays were made.
    with silence_warnings():
        ome = make_ome(stored, make_axes(stored), _VERSION)
    group = zarr.open_group(str(path), mode="r+", zarr_format=3)
    group.attrs.put({**ome, ATTRIBUTE: description.describe(stored), **more})


def _compare_arrays(path: Path, layout: Layout, dtype: np.dtype[Any]) -> None:
    """Refuse arrays that are not those of a layout."""
    for number, level in enumerate(layout.levels):
        array = open_array(path / str(number), path).array
        found = (array.shape, array.chunks, array.shards, array.dtype)
        if found != (level.shape, level.chunks, None, dtype.newbyteorder("=")):
            raise ImageFileError(
                f"{path / str(number)} is not the array of {level.shape} pixels in chunks of "
                f"{level.chunks} that was made there; it is damaged, begin anew"
            )
