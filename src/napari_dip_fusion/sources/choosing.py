"""Which of the images, resolutions and planes of a file is meant."""

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.sources.source import Source

__all__ = ["choose_image", "choose_level", "choose_plane", "only_plane", "without_single_axes"]


def choose_image(images: list[Source], channel: int | str | None) -> Source:
    """Return the one image that is meant.

    Parameters
    ----------
    images : list of Source
        What the file holds.
    channel : int or str, optional
        Index or name; not needed where there is one image.

    Returns
    -------
    Source
        The image.

    Raises
    ------
    ImageFileError
        If the choice is missing or fits none; the message lists what there is.
    """
    held = "; ".join(f"{n}: {_describe(image)}" for n, image in enumerate(images))
    path = images[0].path
    if channel is None:
        if len(images) == 1:
            return images[0]
        raise ImageFileError(f"{path} holds {len(images)} images, choose a channel of {held}")
    names = [image.name for image in images]
    if isinstance(channel, str) and channel in names:
        return images[names.index(channel)]
    try:
        index = int(channel)
    except ValueError:
        index = -1
    if not 0 <= index < len(images):
        raise ImageFileError(f"{path} has no channel {channel!r}; it holds {held}")
    return images[index]


def choose_level(image: Source, level: int | None) -> Source:
    """Return one resolution of a multiscale image, at its place in the world.

    Parameters
    ----------
    image : Source
        The image with its pyramid.
    level : int, optional
        0 is the full resolution; by default the image is returned as it is.

    Returns
    -------
    Source
        The image of that resolution, without a pyramid.

    Raises
    ------
    ImageFileError
        If there is no such level; the message lists what there is.
    """
    if level is None:
        return image
    levels = (image.data, *image.pyramid)
    if not 0 <= level < len(levels):
        sizes = "; ".join(f"{n}: {data.shape}" for n, data in enumerate(levels))
        raise ImageFileError(f"{image.path} has no level {level}; it holds {sizes}")
    smaller = np.array(levels[level].shape[: image.ndim])
    factors = np.array(image.shape) / smaller
    affine = image.affine @ np.diag([*factors, 1.0])
    # Pixel centres: the first of a coarse level lies amid those that it covers.
    affine[:-1, -1] += image.affine[:-1, :-1] @ ((factors - 1) / 2)
    return image.replace(data=levels[level], affine=affine, pyramid=())


def choose_plane(image: Source, plane: int | str, *, keep: bool = False) -> Source:
    """Take the planes at the given indices.

    Parameters
    ----------
    image : Source
        The image.
    plane : int or str
        Index on the one axis besides y and x that is longer than one, or
        ``"z=12"`` or ``"t=0,z=12"``.
    keep : bool
        Keep those axes with size one, and with them the place of an oblique plane.

    Returns
    -------
    Source
        The image without those axes, or with one pixel along them.

    Raises
    ------
    ImageFileError
        If an axis or index is not there; the message lists what there is.
    """
    for axis, index in _parse(image, plane).items():
        try:
            image = image.take(axis, index, keep=keep)
        except ValueError as error:
            raise ImageFileError(f"{image.path}: {error}") from error
    return image


def only_plane(image: Source) -> Source:
    """Return the image with two axes, dropping those of size one.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    Source
        Image with two axes.

    Raises
    ------
    ImageFileError
        If more than one plane is left; the message lists what there is.
    """
    image = without_single_axes(image)
    if image.ndim != 2:
        held = ", ".join(
            f"{a}: 0 to {image.shape[image.axes.index(a)] - 1}" for a in stacked_axes(image)
        )
        raise ImageFileError(f"{image.path} holds more than one plane, choose one of {held}")
    return image


def without_single_axes(image: Source) -> Source:
    """Drop axes of size one, down to two axes.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    Source
        The image with fewer axes.
    """
    for axis in stacked_axes(image, longer_than=0):
        if image.ndim > 2 and image.shape[image.axes.index(axis)] == 1:
            image = image.take(axis, 0)
    return image


def stacked_axes(image: Source, *, longer_than: int = 1) -> list[str]:
    """Return the axes of which a plane takes one index: all but the last two."""
    flat = {"y", "x"} if {"y", "x"} <= set(image.axes) else set(image.axes[-2:])
    pairs = zip(image.axes, image.shape, strict=True)
    return [axis for axis, size in pairs if axis not in flat and size > longer_than]


def _parse(image: Source, plane: int | str) -> dict[str, int]:
    advice = f"{image.path} has the axes {', '.join(_axes(image))}"
    text = str(plane)
    if "=" not in text:
        axes = stacked_axes(image) or stacked_axes(image, longer_than=0)
        if len(axes) != 1:
            raise ImageFileError(f"{advice}; name one, as in z=12, got {text!r}")
        text = f"{axes[0]}={text}"
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {axis.strip(): int(index) for axis, index in pairs}
    except ValueError as error:
        raise ImageFileError(f"{advice}; choose as in z=12 or t=0,z=12, got {text!r}") from error


def _describe(image: Source) -> str:
    return f"{image.name or 'unnamed'} ({' '.join(_axes(image))})"


def _axes(image: Source) -> list[str]:
    return [f"{axis}:{size}" for axis, size in zip(image.axes, image.shape, strict=True)]
