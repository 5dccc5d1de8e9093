"""Make the head phantoms: CT and MR of one slice, without noise and with it."""

import numpy as np
from scipy import ndimage

from napari_dip_fusion.samples.head_anatomy import CT, MR, TRUTH, HeadAnatomy, shade
from napari_dip_fusion.samples.sample_set import (
    Image,
    SampleSet,
    Shape,
    check_range,
    check_shape,
    to_uint8,
)

FIELD_OF_VIEW = 240.0
"""Length in millimeters that the shorter side of a head phantom stands for."""


def head_phantom(*, shape: Shape = (256, 256), seed: int = 0, bias: float = 0.08) -> SampleSet:
    """Make a CT and an MR image of one axial slice of a head, free of noise.

    The slice runs through the lateral ventricles, front up. In the CT image bone is
    white, brain an almost flat gray, fat and air black; calcifications of the choroid
    plexus and the pineal gland are seen here only. The MR image is T1-weighted with
    contrast agent: bone and fluid are dark, scalp fat bright, white matter brighter
    than gray; the vessels and a ring-shaped lesion are seen here only.

    Parameters
    ----------
    shape : tuple of two int, optional
        Rows and columns, each at least 16. The head is fitted to the shorter side,
        which stands for 240 mm (:data:`FIELD_OF_VIEW`).
    seed : int, optional
        Seed of the anatomy: folds, asymmetry and tissue texture.
    bias : float, optional
        Relative amplitude of the MR image's smooth bias field, from 0 to 0.5.

    Returns
    -------
    SampleSet
        Sources CT and MR and the truth, uint8 of shape `shape`, 0 to 255. The truth
        is bone and calcification as in CT, and every other tissue as in MR without
        its bias field.

    Raises
    ------
    ValueError
        If `shape` or `bias` is out of range.

    Examples
    --------
    >>> sample = head_phantom(shape=(64, 64))
    >>> sample.source_names
    ('CT', 'MR')
    >>> sample.truth.shape, sample.truth.dtype
    ((64, 64), dtype('uint8'))
    """
    check_shape(shape)
    check_range("bias", bias, 0, 0.5)
    drawn = draw_slice(shape, seed, bias)
    ct, mr, truth = (to_uint8(drawn[kind]) for kind in (CT, MR, TRUTH))
    return SampleSet(
        name="head",
        sources=(ct, mr),
        source_names=("CT", "MR"),
        truth=truth,
        description="CT and MR of a head slice; the truth shows bone as in CT and "
        "soft tissue as in MR.",
    )


def noisy_head_phantom(
    *,
    shape: Shape = (256, 256),
    speckle: float = 0.2,
    noise: float = 0.1,
    seed: int = 0,
    anatomy_seed: int = 0,
    clip: bool = True,
) -> SampleSet:
    """Make the head phantom with speckle in the CT and Gaussian noise in the MR image.

    The speckle multiplies the image, as in ultrasound: by one plus `speckle` times a
    Rayleigh-distributed field of mean 0 and standard deviation 1, whose grains are
    two to three pixels wide. The Gaussian noise is added and independent from pixel
    to pixel.

    Parameters
    ----------
    shape : tuple of two int, optional
        Rows and columns, each at least 16.
    speckle : float, optional
        Relative standard deviation of the speckle, from 0 to 0.5. Fully developed
        speckle has 0.52.
    noise : float, optional
        Standard deviation of the Gaussian noise, on the scale where white is 1.
    seed : int, optional
        Seed of the noise.
    anatomy_seed : int, optional
        Seed of the anatomy, see :func:`head_phantom`.
    clip : bool, optional
        Clip the noisy sources to [0, 1], as a recorded image would be. Without it the
        Gaussian noise has mean 0 in air as well, and values leave [0, 1].

    Returns
    -------
    SampleSet
        Sources and truth, float32 of shape `shape`, in [0, 1] unless `clip` is False.
        The truth is the one of :func:`head_phantom`, free of noise.

    Raises
    ------
    ValueError
        If `shape` or a noise level is out of range.

    Examples
    --------
    >>> noisy_head_phantom(shape=(64, 64), noise=0.05).truth.dtype
    dtype('float32')
    """
    check_shape(shape)
    check_range("speckle", speckle, 0, 0.5)
    check_range("noise", noise, 0, 1)
    rng = np.random.default_rng(seed)
    ct, mr, truth = draw_slice(shape, anatomy_seed, bias=0.08)[[CT, MR, TRUTH]]
    # What a seed gives depends on the order of these two.
    speckled = ct * (1 + speckle * _draw_speckle(rng, shape))
    noisy = mr + noise * rng.standard_normal(shape)
    if clip:
        speckled, noisy = np.clip(speckled, 0, 1), np.clip(noisy, 0, 1)
    return SampleSet(
        name="noisy-head",
        sources=(speckled.astype(np.float32), noisy.astype(np.float32)),
        source_names=("CT with speckle", "MR with noise"),
        truth=truth.astype(np.float32),
        description="The head slice with speckle in CT and Gaussian noise in MR; the truth "
        "is free of noise.",
    )


def draw_slice(
    shape: Shape, seed: int, bias: float, *, field_of_view: float = FIELD_OF_VIEW
) -> Image:
    """Draw CT, MR, truth and PET of the slice at z = 0, without noise.

    Parameters
    ----------
    shape : tuple of two int
        Rows and columns.
    seed : int
        Seed of the anatomy.
    bias : float
        Relative amplitude of the MR image's bias field.
    field_of_view : float, optional
        Length in millimeters that the shorter side stands for.

    Returns
    -------
    ndarray of shape (4, M, N)
        Gray levels in [0, 1], by the numbers of :mod:`.head_anatomy`.
    """
    rng = np.random.default_rng(seed)
    anatomy = HeadAnatomy(rng)
    pixel = 2 / min(shape) * field_of_view / FIELD_OF_VIEW
    rows, columns = ((np.arange(length) - (length - 1) / 2) * pixel for length in shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 0.008 / pixel)
    images = anatomy.draw(x, y, np.zeros(shape), texture=texture / texture.std(), pixel=pixel)
    sigma = 0.0042 / pixel  # the scanners' resolution, half a millimeter
    images = ndimage.gaussian_filter(images, (0, sigma, sigma))
    # The truth does not have the shade of the coil.
    images[MR] = shade(images[MR], x, y, bias)
    return np.asarray(np.clip(images, 0, 1))


def _draw_speckle(rng: np.random.Generator, shape: Shape) -> Image:
    """Return fully developed speckle: a Rayleigh field of mean 0 and standard deviation 1."""
    # The magnitude of a complex Gaussian is Rayleigh-distributed; the blur makes its grains.
    parts = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 0.8, 0.8), mode="wrap")
    amplitude = np.hypot(*parts)
    return np.asarray((amplitude - amplitude.mean()) / amplitude.std())
