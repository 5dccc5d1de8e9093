"""Make the PET-MR head: one slice on two grids, whose PET is coarse, blurred and noisy."""

from math import log, sqrt

import numpy as np
from scipy import ndimage

from napari_dip_fusion.samples.head import draw_slice
from napari_dip_fusion.samples.head_anatomy import MR, PET
from napari_dip_fusion.samples.sample_set import (
    Image,
    SampleSet,
    Shape,
    check_range,
    check_shape,
    to_uint8,
)
from napari_dip_fusion.sources import Source

# Millimeters of the shorter side: the default shape has pixels of 1 mm.
_SIDE = 256.0
# Pixels of MR along the side of one of PET, and steps along the side of a pixel of MR in which the
# head is drawn: what a scanner records is the mean over a pixel, and not the value at its center.
_COARSER, _STEPS = 4, 2
_FWHM_OF_SIGMA = 2 * sqrt(2 * log(2))


def head_pet(
    *, shape: Shape = (256, 256), fwhm: float = 4.5, noise: float = 2 / 255, seed: int = 0
) -> SampleSet:
    """Make an MR and a PET image of one axial slice of a head, on grids of their own.

    The MR image is that of :func:`head_phantom`. PET shows the uptake of glucose: the
    cortex and the deep nuclei are bright, white matter has about a quarter of it, and
    fluid, skull and scalp next to none. The ring-shaped lesion of MR is hot with a cold
    core; another hot spot in the white matter of one side, and a part of the other side's
    cortex that takes up little, are seen in PET only. Its pixels are four times as large
    as those of MR, it is blurred, and has white noise.

    Parameters
    ----------
    shape : tuple of two int, optional
        Rows and columns of MR, multiples of 4 and each at least 64. The shorter side
        stands for 256 mm.
    fwhm : float, optional
        Full width at half maximum of the scanner's Gaussian blur in millimeters, from 0 to 20,
        on top of the pixels of PET.
    noise : float, optional
        Standard deviation of the noise, on the scale where white is 1.
    seed : int, optional
        Seed of the anatomy and of the noise.

    Returns
    -------
    SampleSet
        Sources MR and PET: :class:`Source` of axes yx, uint8, in millimeters. There is no
        truth, since what an ideal fusion shows depends on the gains; `undegraded` holds MR
        and the true PET on the grid of MR, and their fusion is what to compare with.

    Raises
    ------
    ValueError
        If `shape`, `fwhm` or `noise` is out of range.

    Examples
    --------
    >>> mr, pet = head_pet(shape=(64, 64)).sources
    >>> mr.shape, pet.shape, pet.units, pet.fwhm
    ((64, 64), (16, 16), ('mm', 'mm'), (4.5, 4.5))
    """
    check_shape(shape)
    if min(shape) < 64 or any(length % _COARSER for length in shape):
        raise ValueError(f"shape must be multiples of 4 from 64 on, got {shape}; try (256, 256)")
    check_range("fwhm", fwhm, 0, 20)
    check_range("noise", noise, 0, 1)
    rows, columns = shape
    fine = draw_slice((_STEPS * rows, _STEPS * columns), seed, bias=0.08, field_of_view=_SIDE)
    mr, true_pet = (_bin(fine[kind], _STEPS) for kind in (MR, PET))
    pixel = _SIDE / min(shape)
    blurred = ndimage.gaussian_filter(fine[PET], fwhm / _FWHM_OF_SIGMA * _STEPS / pixel)
    pet = _bin(blurred, _STEPS * _COARSER)
    # A generator of its own, so that the noise has nothing of the anatomy's texture.
    pet = pet + noise * np.random.default_rng((seed, 1)).standard_normal(pet.shape)
    sources = _make_source(mr, pixel, "MR"), _make_source(pet, pixel, "PET", _COARSER, fwhm)
    return SampleSet(
        name="head-pet",
        sources=sources,
        source_names=("MR", "PET"),
        truth=None,
        description="MR and PET of a head slice, PET of larger pixels, blurred and with noise; "
        "what it would show without them is known on the grid of MR.",
        undegraded=(sources[0], _make_source(true_pet, pixel, "true PET")),
    )


def _bin(image: Image, factor: int) -> Image:
    """Return means over squares of so many pixels along a side."""
    rows, columns = (length // factor for length in image.shape)
    return np.asarray(image.reshape(rows, factor, columns, factor).mean(axis=(1, 3)))


def _make_source(
    image: Image, pixel: float, name: str, coarser: int = 1, fwhm: float = 0.0
) -> Source:
    """Return an image whose pixels are so many times as large as those of MR, in its place."""
    affine = np.diag([coarser * pixel, coarser * pixel, 1.0])
    # The center of its first pixel lies amid as many pixels of MR.
    affine[:2, 2] = (coarser - 1) / 2 * pixel
    return Source(
        to_uint8(image),
        axes=("y", "x"),
        affine=affine,
        units=("mm", "mm"),
        name=name,
        display={"colormap": "gray", "contrast_limits": (0, 255)},
        fwhm=fwhm,
    )
