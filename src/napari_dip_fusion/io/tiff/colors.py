"""The samples of TIFF pixels become gray values or colors, whatever their photometric is.

The tag PhotometricInterpretation (262) says what the samples of a pixel mean.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError

__all__ = ["convert_colors"]


def convert_colors(path: Path, data: Any, axes: str, page: Any) -> tuple[Any, str]:
    """Return pixels as gray values or RGB(A) on the last axis.

    Palettes are resolved, and gray values of which zero is white are inverted.

    Parameters
    ----------
    path : Path
        The file, for messages.
    data : array-like
        Pixels in memory, or a dask array.
    axes : str
        tifffile's letter of each axis; ``"S"`` is that of samples.
    page : tifffile.TiffPage
        A page of the image.

    Returns
    -------
    data : array-like
        The pixels.
    axes : str
        Their letters; ``"S"``, if there, is the last one and stands for colors.

    Raises
    ------
    ImageFileError
        If the pixels are of another kind.
    """
    photometric = page.photometric
    if photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise ImageFileError(f"{path} holds ink colors (CMYK); convert it to RGB first")
    if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _paint(page.colormap, data), axes + "S"
    if data.dtype.kind == "b":
        data = data.astype(np.uint8) * 255
    if data.dtype.kind not in "uif":
        raise ImageFileError(f"{path} holds {data.dtype} pixels; convert them to integer or float")
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and data.dtype.kind == "u":
        data = np.iinfo(data.dtype).max - data
    return _move_samples_last(data, axes)


def _paint(colormap: NDArray[np.uint16], data: Any) -> Any:
    """Return the color of each index; the entries of the tag ColorMap (320) have 16 bits."""
    table = np.ascontiguousarray((colormap >> 8).astype(np.uint8).T)
    if isinstance(data, np.ndarray):
        return table[data]
    chunks = (*data.chunks, (3,))
    return data.map_blocks(table.__getitem__, dtype=np.uint8, chunks=chunks, new_axis=data.ndim)


def _move_samples_last(data: Any, axes: str) -> tuple[Any, str]:
    if "S" not in axes:
        return data, axes
    # Colors lie side by side or in planes of their own (PlanarConfiguration, tag 284).
    data = np.moveaxis(data, axes.index("S"), -1)
    axes = axes.replace("S", "") + "S"
    samples = data.shape[-1]
    if samples == 1:
        return data[..., 0], axes[:-1]
    if samples == 2:  # gray with alpha
        parts = [np.repeat(data[..., :1], 3, axis=-1), data[..., 1:]]
        return np.concatenate(parts, axis=-1), axes
    if samples > 4:  # as many measurements, not colors
        return data, axes[:-1] + ("C" if "C" not in axes else "P")
    return data, axes
