"""Make the focus series: real pictures, blurred as a lens would blur them."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import color as skcolor
from skimage import data as skdata
from skimage.transform import resize

from napari_dip_fusion.samples.sample_set import (
    Image,
    SampleSet,
    Shape,
    check_range,
    check_shape,
    to_uint8,
)

# What is cut out of the picture when its aspect ratio does not fit: the middle of its height, and
# the right part of its width, where the motorcycle stands before its background.
_MOTORCYCLE_CENTER = (0.5, 0.78)
_MOTORCYCLE_SPLIT = 30.0  # disparity in pixels, between the motorcycle and its background
_MOTORCYCLE_JUMP = 4.0  # disparity in pixels from which neighbors are different things


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
    check_shape(shape)
    check_range("blur", blur, 0, 0.1)
    picture, _, disparity = skdata.stereo_motorcycle()  # type: ignore[no-untyped-call]
    image = _fit(_to_float(picture, color), shape, _MOTORCYCLE_CENTER)
    # The disparity less that of the plane that is sharp in both is positive in front of it. Where
    # the scanner saw nothing, it is infinite.
    depth = _fill(disparity, np.isfinite(disparity)) - _MOTORCYCLE_SPLIT
    depth = ndimage.median_filter(depth, 3)  # single wrong pixels would be blurred by themselves
    front = _fit((depth > 0).astype(float), shape, _MOTORCYCLE_CENTER)
    depth = _fit(depth, shape, _MOTORCYCLE_CENTER, order=0)
    strength = blur * min(shape) / np.abs(depth).max()
    near = _blur_layers(image, front, depth, strength * np.maximum(-depth, 0))
    far = _blur_layers(image, front, depth, strength * np.maximum(depth, 0))
    return SampleSet(
        name="focus-pair",
        sources=(to_uint8(near), to_uint8(far)),
        source_names=("near focus", "far focus"),
        truth=to_uint8(image),
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
    check_shape(shape)
    check_range("blur", blur, 0, 0.1)
    if slices < 2:
        raise ValueError(f"slices must be at least 2, got {slices}; try slices=5")
    picture = skdata.immunohistochemistry()  # type: ignore[no-untyped-call]
    image = _fit(_to_float(picture, color), shape, (0.5, 0.5))
    rows, columns = (np.linspace(0, 1, length) for length in shape)
    # In units of a band's height; a slice is sharp to half a unit on either side.
    depth = slices * (0.4 * rows[:, None] + 0.6 * columns) - 0.5
    strength = blur * min(shape) / (slices - 1)
    planes = (np.maximum(np.abs(depth - plane) - 0.5, 0) * strength for plane in range(slices))
    return SampleSet(
        name="focus-stack",
        sources=tuple(to_uint8(_blur_each_pixel(image, sigma)) for sigma in planes),
        source_names=tuple(f"slice {plane + 1}" for plane in range(slices)),
        truth=to_uint8(image),
        description="A tilted tissue section in several focal planes; the truth is all in focus.",
    )


def _to_float(picture: npt.NDArray[np.uint8], color: bool) -> Image:
    """Return a picture in [0, 1], in color or as its luma."""
    return np.asarray(picture / 255 if color else skcolor.rgb2gray(picture))


def _fit(image: Image, shape: Shape, center: tuple[float, float], order: int = 1) -> Image:
    """Cut the largest window of the aspect ratio of `shape` around `center`, and resize it."""
    # A color image has a third axis, which is neither cut nor resized.
    zoom = min(have / want for have, want in zip(image.shape, shape, strict=False))
    lengths = [max(1, round(want * zoom)) for want in shape]
    rows, columns = (
        slice(start := round((have - length) * place), start + length)
        for have, length, place in zip(image.shape, lengths, center, strict=False)
    )
    size = (*shape, *image.shape[2:])
    # With order 0, for the depth, no value may appear that lies between two things.
    resized = resize(  # type: ignore[no-untyped-call]
        image[rows, columns], size, order=order, anti_aliasing=order > 0
    )
    return np.asarray(resized)


def _fill(image: Image, known: npt.NDArray[np.bool_]) -> Image:
    """Return an image whose unknown pixels have the value of the nearest known one."""
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(nearest)])


def _blur_layers(image: Image, front: Image, depth: Image, sigma: Image) -> Image:
    """Blur a scene whose front layer, sharp or blurred, covers what lies behind it.

    Parameters
    ----------
    image : ndarray of shape (M, N) or (M, N, 3)
    front : ndarray of shape (M, N)
        Share of the front layer in each pixel.
    depth : ndarray of shape (M, N)
        Disparity in pixels.
    sigma : ndarray of shape (M, N)
        Standard deviation of each pixel's blur, in pixels.
    """
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
    back = _blur_each_pixel(_fill(image, behind), _fill(sigma, behind))
    front_sigma = _fill(sigma, before)
    alpha = front.reshape(front.shape + (1,) * (image.ndim - 2))
    cover = _blur_each_pixel(alpha, front_sigma)
    return _blur_each_pixel(alpha * image, front_sigma) + (1 - cover) * back


def _blur_each_pixel(image: Image, sigma: Image, levels: int = 7) -> Image:
    """Spread each pixel by a Gaussian of its own `sigma`, mixed from a few levels.

    A pixel between two levels of blur is shared out between them, so that the image is filtered
    once a level and not once a pixel; dividing by the spread weights keeps flat parts flat.
    """
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
