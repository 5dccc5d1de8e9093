"""What was fused, and how, in the words of the command."""

import numpy as np

from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axes import find_stacked_axes
from napari_dip_fusion.sources.sensing import find_space_axes
from napari_dip_fusion.sources.units import LENGTHS

__all__ = [
    "FILE_PLANES",
    "NO_MASK",
    "NO_WIDTH",
    "choose_plane",
    "name_output",
    "write_plane",
    "write_width",
]

NO_WIDTH, NO_MASK = "0", "-"
"""What the command takes for a source that its pixels blur alone, and for one that saw all."""

FILE_PLANES = "it takes planes along y and x only, counted as in the file"
"""Why a plane cannot be told to the command."""


def write_width(source: Source) -> str:
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


def name_output(place: Source) -> str:
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


def choose_plane(image: Source, plan: Plan) -> str | None:
    """Return a plane of a stack that is fused whole: the one on the screen, or the middle one."""
    if not plan.whole:
        return None
    stacked = find_stacked_axes(image)
    sizes = dict(zip(image.axes, image.shape, strict=True))
    shown = () if plan.look is None else plan.look.index
    index = shown if len(shown) == len(stacked) else [sizes[axis] // 2 for axis in stacked]
    return ",".join(f"{axis}={i}" for axis, i in zip(stacked, index, strict=True)) or None


def write_plane(image: Source, plan: Plan) -> str | None:
    """Return the plane of the reference in the words of the command, None if it has one only."""
    if plan.place.plane["slice"][-2:] != [None, None]:
        raise ValueError(FILE_PLANES)
    indices = [index for index in plan.place.plane["slice"] if index is not None]
    stacked = find_stacked_axes(image, longer_than=0)
    if len(stacked) != len(indices):
        # Axes of length one that one of the two does not have make no planes to choose from.
        stacked, indices = find_stacked_axes(image), [i for i in indices if i > 0]
    if len(stacked) != len(indices):
        raise ValueError(FILE_PLANES)
    sizes = dict(zip(image.axes, image.shape, strict=True))
    named = zip(stacked, indices, strict=True)
    return ",".join(f"{axis}={index}" for axis, index in named if sizes[axis] > 1) or None
