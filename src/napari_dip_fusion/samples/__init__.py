"""Deterministic synthetic source sets with a known true image.

Owns the head phantoms and the focus series that the demonstrations, the tests and
napari's sample menu use; everything is computed, nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import color as skcolor
from skimage import data as skdata
from skimage.transform import resize

from napari_dip_fusion.samples.head_slice import head_slice

__all__ = [
    "FIELD_OF_VIEW",
    "SAMPLES",
    "SampleSet",
    "focus_pair",
    "focus_stack",
    "head_phantom",
    "noisy_head_phantom",
]

Image: TypeAlias = npt.NDArray[np.float64]
Shape: TypeAlias = tuple[int, int]

FIELD_OF_VIEW = 240.0
"""Length in millimetres that the shorter side of a head phantom stands for."""

_SMALLEST = 16


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Aligned sources and the image that an ideal fusion of them would show.

    Attributes
    ----------
    name : str
        Key of the set in :data:`SAMPLES`.
    sources : tuple of ndarray of shape (M, N) or (M, N, 3)
        Aligned source images, all of one shape and dtype.
    source_names : tuple of str
        One name for each source.
    truth : ndarray
        True image, of the shape and dtype of a source.
    description : str
        What the set shows and what `truth` is, in one sentence or two.
    """

    name: str
    sources: tuple[npt.NDArray[Any], ...]
    source_names: tuple[str, ...]
    truth: npt.NDArray[Any]
    description: str


def head_phantom(*, shape: Shape = (256, 256), seed: int = 0, bias: float = 0.08) -> SampleSet:
    """Make a CT and an MR image of one axial slice of a head, free of noise.

    The slice runs through the lateral ventricles, front up. In the CT image bone is
    white, brain an almost flat grey, fat and air black; calcifications of the choroid
    plexus and the pineal gland are seen here only. The MR image is T1-weighted with
    contrast agent: bone and fluid are dark, scalp fat bright, white matter brighter
    than grey; the vessels and a ring-shaped lesion are seen here only.

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
    _check_shape(shape)
    _check_range("bias", bias, 0, 0.5)
    ct, mr, truth = (_to_uint8(image) for image in head_slice(shape, seed, bias))
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
    _check_shape(shape)
    _check_range("speckle", speckle, 0, 0.5)
    _check_range("noise", noise, 0, 1)
    rng = np.random.default_rng(seed)
    ct, mr, truth = head_slice(shape, anatomy_seed, bias=0.08)
    noisy = (ct * (1 + speckle * _speckle(rng, shape)), mr + noise * rng.standard_normal(shape))
    if clip:
        noisy = (np.clip(noisy[0], 0, 1), np.clip(noisy[1], 0, 1))
    return SampleSet(
        name="noisy-head",
        sources=tuple(image.astype(np.float32) for image in noisy),
        source_names=("CT with speckle", "MR with noise"),
        truth=truth.astype(np.float32),
        description="The head slice with speckle in CT and Gaussian noise in MR; the truth "
        "is free of noise.",
    )


def focus_pair(*, shape: Shape = (256, 256), color: bool = False, blur: float = 0.014) -> SampleSet:
    """Make a near-focus and a far-focus picture of a motorcycle in a garage.

    The picture and its depth are the Middlebury "Motorcycle" scene [1]_, which comes
    with scikit-image. Blur grows with disparity from the plane between motorcycle and
    background, as it does behind a lens; a blurred motorcycle spreads over the
    background, and a blurred background stays behind the sharp outline. So a strip
    of background along the outline is sharp in neither picture, as in real ones.

    Parameters
    ----------
    shape : tuple of two int, optional
        Rows and columns, each at least 16.
    color : bool, optional
        Give the picture in color.
    blur : float, optional
        Standard deviation of the strongest blur, as a fraction of the shorter side,
        from 0 to 0.1.

    Returns
    -------
    SampleSet
        Sources focused near and far and the truth, uint8 of shape `shape`, or
        ``(*shape, 3)`` in color. The truth is the picture all in focus.

    Raises
    ------
    ValueError
        If `shape` or `blur` is out of range.

    References
    ----------
    .. [1] D. Scharstein, H. Hirschmueller, Y. Kitajima, G. Krathwohl, N. Nesic,
       X. Wang and P. Westling, "High-resolution stereo datasets with subpixel-accurate
       ground truth", GCPR 2014. :DOI:`10.1007/978-3-319-11752-2_3`

    Examples
    --------
    >>> focus_pair(shape=(32, 48), color=True).truth.shape
    (32, 48, 3)
    """
    _check_shape(shape)
    _check_range("blur", blur, 0, 0.1)
    picture, _, disparity = skdata.stereo_motorcycle()  # type: ignore[no-untyped-call]
    image = _fit(_as_float(picture, color), shape, _MOTORCYCLE_CENTER)
    # Disparity less that of the plane that is sharp in both: positive in front of it.
    depth = _fill(disparity, np.isfinite(disparity)) - _MOTORCYCLE_SPLIT
    depth = ndimage.median_filter(depth, 3)
    front = _fit((depth > 0).astype(float), shape, _MOTORCYCLE_CENTER)
    depth = _fit(depth, shape, _MOTORCYCLE_CENTER, order=0)
    strength = blur * min(shape) / np.abs(depth).max()
    near = _two_layers(image, front, depth, strength * np.maximum(-depth, 0))
    far = _two_layers(image, front, depth, strength * np.maximum(depth, 0))
    return SampleSet(
        name="focus-pair",
        sources=(_to_uint8(near), _to_uint8(far)),
        source_names=("near focus", "far focus"),
        truth=_to_uint8(image),
        description="A motorcycle in a garage, focused near and far; the truth is all in focus.",
    )


def focus_stack(
    *, shape: Shape = (256, 256), slices: int = 5, color: bool = False, blur: float = 0.014
) -> SampleSet:
    """Make a focus stack of a stained tissue section that lies tilted in the microscope.

    The tissue is the immunohistochemistry picture that comes with scikit-image; its
    depth rises from the upper left to the lower right corner. Each slice is sharp in
    its own band and the bands meet, so each pixel is sharp in at least one slice.

    Parameters
    ----------
    shape : tuple of two int, optional
        Rows and columns, each at least 16.
    slices : int, optional
        Number of slices, at least 2.
    color : bool, optional
        Give the slices in color.
    blur : float, optional
        Standard deviation of the strongest blur, as a fraction of the shorter side,
        from 0 to 0.1.

    Returns
    -------
    SampleSet
        Slices from the lowest plane to the highest and the truth, uint8 of shape
        `shape`, or ``(*shape, 3)`` in color. The truth is the section all in focus.

    Raises
    ------
    ValueError
        If `shape`, `slices` or `blur` is out of range.

    Examples
    --------
    >>> len(focus_stack(shape=(32, 32)).sources)
    5
    """
    _check_shape(shape)
    _check_range("blur", blur, 0, 0.1)
    if slices < 2:
        raise ValueError(f"slices must be at least 2, got {slices}; try slices=5")
    picture = skdata.immunohistochemistry()  # type: ignore[no-untyped-call]
    image = _fit(_as_float(picture, color), shape, (0.5, 0.5))
    rows, columns = (np.linspace(0, 1, length) for length in shape)
    # In units of the band's height; a slice is sharp to half a unit on either side.
    depth = slices * (0.4 * rows[:, None] + 0.6 * columns) - 0.5
    strength = blur * min(shape) / (slices - 1)
    planes = (np.maximum(np.abs(depth - plane) - 0.5, 0) * strength for plane in range(slices))
    return SampleSet(
        name="focus-stack",
        sources=tuple(_to_uint8(_variable_blur(image, sigma)) for sigma in planes),
        source_names=tuple(f"slice {plane + 1}" for plane in range(slices)),
        truth=_to_uint8(image),
        description="A tilted tissue section in several focal planes; the truth is all in focus.",
    )


SAMPLES: MappingProxyType[str, Callable[[], SampleSet]] = MappingProxyType(
    {
        "head": head_phantom,
        "noisy-head": noisy_head_phantom,
        "focus-pair": focus_pair,
        "focus-stack": focus_stack,
    }
)
"""The source sets by name; each value makes its set with the default options."""


def _speckle(rng: np.random.Generator, shape: Shape) -> Image:
    """Fully developed speckle: a Rayleigh field of mean 0 and standard deviation 1."""
    parts = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 0.8, 0.8), mode="wrap")
    amplitude = np.hypot(*parts)
    return np.asarray((amplitude - amplitude.mean()) / amplitude.std())


# The focus series.
_MOTORCYCLE_CENTER = (0.5, 0.78)
_MOTORCYCLE_SPLIT = 30.0  # disparity in pixels, between the motorcycle and its background
_MOTORCYCLE_JUMP = 4.0  # disparity in pixels from which neighbors are different things


def _as_float(picture: npt.NDArray[np.uint8], color: bool) -> Image:
    return np.asarray(picture / 255 if color else skcolor.rgb2gray(picture))


def _fit(image: Image, shape: Shape, center: tuple[float, float], order: int = 1) -> Image:
    """Resize the largest window of the aspect ratio of `shape` around `center`."""
    zoom = min(have / want for have, want in zip(image.shape, shape, strict=False))
    lengths = [max(1, round(want * zoom)) for want in shape]
    rows, columns = (
        slice(start := round((have - length) * place), start + length)
        for have, length, place in zip(image.shape, lengths, center, strict=False)
    )
    size = (*shape, *image.shape[2:])
    resized = resize(  # type: ignore[no-untyped-call]
        image[rows, columns], size, order=order, anti_aliasing=order > 0
    )
    return np.asarray(resized)


def _fill(image: Image, known: npt.NDArray[np.bool_]) -> Image:
    """Give every unknown pixel the value of the nearest known one."""
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(nearest)])


def _two_layers(image: Image, front: Image, depth: Image, sigma: Image) -> Image:
    """Blur a scene whose front layer, sharp or blurred, covers what lies behind it."""
    if not sigma.any():
        return image
    # Pixels at the outline mix both layers: neither layer takes its values from there.
    # Where the depth runs on smoothly, as along the floor, there is no outline.
    front_step, depth_step = (
        ndimage.maximum_filter(values, 3) - ndimage.minimum_filter(values, 3)
        for values in (front, depth)
    )
    clear = (front_step < 0.01) | (depth_step < _MOTORCYCLE_JUMP)
    behind, before = clear & (front < 0.5), clear & (front >= 0.5)
    back = _variable_blur(_fill(image, behind), _fill(sigma, behind))
    front_sigma = _fill(sigma, before)
    alpha = front.reshape(front.shape + (1,) * (image.ndim - 2))
    cover = _variable_blur(alpha, front_sigma)
    return _variable_blur(alpha * image, front_sigma) + (1 - cover) * back


def _variable_blur(image: Image, sigma: Image, levels: int = 7) -> Image:
    """Spread each pixel by a Gaussian of its own `sigma`, mixed from a few levels."""
    if not sigma.any():
        return image
    step = sigma.max() / (levels - 1)
    total, weights = np.zeros_like(image), np.zeros_like(image)
    for level in range(levels):
        weight = np.maximum(0, 1 - np.abs(sigma / step - level))
        weight = weight.reshape(weight.shape + (1,) * (image.ndim - 2))
        width = (level * step, level * step) + (0,) * (image.ndim - 2)
        total += ndimage.gaussian_filter(weight * image, width)
        weights += ndimage.gaussian_filter(weight, width)
    return total / weights


def _to_uint8(image: Image) -> npt.NDArray[np.uint8]:
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _check_shape(shape: Shape) -> None:
    if len(shape) != 2 or min(shape) < _SMALLEST:
        raise ValueError(f"shape must be two numbers >= {_SMALLEST}, got {shape}; try (256, 256)")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
