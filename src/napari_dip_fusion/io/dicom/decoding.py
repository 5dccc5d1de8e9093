"""The pixels of a DICOM frame are decoded to physical values."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from napari_dip_fusion.errors import ImageFileError, summarize_error
from napari_dip_fusion.io.anatomy import rescale
from napari_dip_fusion.io.dicom.checks import suggest_installation
from napari_dip_fusion.io.dicom.frames import Frame
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.silence import silence_warnings

__all__ = ["decode_frame"]


def decode_frame(frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the physical values of a frame.

    Parameters
    ----------
    frame : Frame
        The frame.
    dtype : dtype
        Type of the result, from
        :func:`~napari_dip_fusion.io.anatomy.choose_rescaled_dtype`.

    Returns
    -------
    ndarray of shape (M, N) or (M, N, 3)
        The values; colors as uint8 or uint16 RGB.

    Raises
    ------
    ImageFileError
        If the pixels are damaged.
    """
    with report_damage(frame.path, "read as DICOM"), silence_warnings():
        # One frame is read from a path; a palette lies in the header beside it.
        whole = frame.values.palette or frame.deflated
        content: Any = pydicom.dcmread(frame.path) if whole else frame.path
        try:
            values = pixel_array(content, index=frame.index)
        except RuntimeError as error:  # what pydicom raises after all decoders have failed
            raise _explain_undecoded(frame.path, error) from error
        if frame.values.palette:
            return _paint(values, content)
        expected = (*frame.values.shape, 3) if frame.values.color else frame.values.shape
        if values.shape != expected:
            raise ValueError(f"its header says {expected}, its pixels {values.shape}")
        if frame.values.color:
            return values.astype(dtype, copy=False)
        physical = rescale(values, frame.values.slope, frame.values.intercept, dtype)
        return _invert(physical, frame, dtype) if frame.values.inverted else physical


def _paint(values: NDArray[Any], header: Any) -> NDArray[Any]:
    """Return the color of each index in a palette, as uint8 RGB."""
    colors = apply_color_lut(values, header)[..., :3]
    # The third number of the descriptor says how many bits an entry has (PS3.3 C.7.6.3.1.5).
    bits = header.RedPaletteColorLookupTableDescriptor[2]
    return (colors >> 8 if bits > 8 else colors).astype(np.uint8)


def _invert(values: NDArray[Any], frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values of which the largest is bright, within the range of the file's type."""
    ends = [limit * frame.values.slope + frame.values.intercept for limit in frame.values.limits]
    if dtype.kind in "iu":
        return (int(sum(ends)) - values.astype(np.int64)).astype(dtype)
    return (sum(ends) - values.astype(np.float64)).astype(dtype)


def _explain_undecoded(path: Path, error: RuntimeError) -> ImageFileError:
    """Return the error for pixels that no decoder can read: a missing one might."""
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    missing = get_decoder(syntax).missing_dependencies if syntax is not None else []
    advice = f", or another decoder is needed: {suggest_installation(missing)}" if missing else ""
    reason = summarize_error(error)
    return ImageFileError(f"{path} cannot be decoded ({reason}); it is damaged{advice}")
