"""The part of a file that is meant: one of its images, of their resolutions and planes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.sources.axes import (
    find_counted_axes,
    find_indexed_axes,
    find_stacked_axes,
    share_space,
)
from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.resample import find_seen
from napari_dip_fusion.sources.source import Source

__all__ = [
    "choose_image",
    "choose_level",
    "choose_plane",
    "choose_planes",
    "drop_single_axes",
    "require_frames",
    "require_plane",
]


def choose_image(images: list[Source], channel: int | str | None) -> Source:
    """Return one of the images that a file holds.

    Parameters
    ----------
    images : list of Source
        All images of the file; several of them are called its channels.
    channel : int or str, optional
        Index or name; not needed where there is one image.

    Returns
    -------
    Source
        The chosen image.

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
    # The command line passes an index as text.
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
        The image; its pyramid holds the coarser resolutions.
    level : int, optional
        0 is the full resolution; by default the image is returned unchanged, with
        its pyramid.

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
    to_finest = image.find_level_affine(level)
    mask = image.mask if level == 0 or image.mask is None else _choose_mask(image, level)
    return image.replace(data=levels[level], affine=image.affine @ to_finest, pyramid=(), mask=mask)


def _choose_mask(image: Source, level: int) -> NDArray[np.bool_]:
    """Return which pixels of a coarser resolution have one in their middle that was seen."""
    to_finest = image.find_level_affine(level)
    shape = image.pyramid[level - 1].shape[: image.ndim]
    return find_seen(image.mask, to_finest, image.shape, shape)


def choose_plane(image: Source, plane: int | str, *, keep: bool = False) -> Source:
    """Return the plane of an image at the given indices.

    Parameters
    ----------
    image : Source
        A volume, or planes or volumes over time.
    plane : int or str
        Index on the one axis besides y and x that is longer than one, or
        ``"z=12"`` or ``"t=0,z=12"``.
    keep : bool
        Keep the indexed axes with size one. Only so the place of a plane is kept that
        lies oblique to the world's axes.

    Returns
    -------
    Source
        The image without those axes, or with one pixel along them.

    Raises
    ------
    ImageFileError
        If an axis or index does not exist; the message lists what there is.
    """
    for axis, index in _parse_indices(image, plane).items():
        image = _take(image, axis, index, keep=keep)
    return image


def choose_planes(images: Sequence[Source], plane: int | str, *, reference: int) -> list[Source]:
    """Return images with a part of one of them chosen, and what only the others have.

    Parameters
    ----------
    images : sequence of Source
        Planes or volumes, of which some may go over time, with axes from
        :func:`~napari_dip_fusion.sources.axes.align_axes`.
    plane : int or str
        As for :func:`choose_plane`; where axes are left out, the part is a volume or a series.
        An axis of the reference is indexed there alone where the
        others can be sampled at its place, and in each image along whose axis only indices can
        be compared; an axis that the reference lacks is indexed in each image that has it.
    reference : int
        Which of the images it is a part of.

    Returns
    -------
    list of Source
        The reference keeps its indexed axes with size one.

    Raises
    ------
    ImageFileError
        If no image has an axis, or there is no such index; the message lists what there is.
    """
    place = images[reference]
    indices = _parse_indices(place, plane)
    for axis in indices:
        if not any(axis in image.axes for image in images):
            held = "; ".join(f"{i.path or i.name} has {', '.join(_list_sizes(i))}" for i in images)
            raise ImageFileError(f"there is no axis {axis} to choose on: {held}")
    return [
        _take_reference(image, indices, images)
        if number == reference
        else _take_indices(image, indices, _list_own_axes(image, place))
        for number, image in enumerate(images)
    ]


def _list_own_axes(image: Source, place: Source) -> list[str]:
    """Return the axes on which nothing says where an image lies to a place."""
    unknown = [axis for axis in find_stacked_axes(image, longer_than=0) if axis not in place.axes]
    return [*unknown, *find_counted_axes(image, place)]


def _take_indices(image: Source, indices: Mapping[str, int], axes: Sequence[str]) -> Source:
    for axis in axes:
        if axis in indices:
            # A single plane goes with every plane of another image.
            single = image.shape[image.axes.index(axis)] == 1
            image = _take(image, axis, 0 if single else indices[axis])
    return image


def _take_reference(place: Source, indices: Mapping[str, int], images: Sequence[Source]) -> Source:
    chosen = place
    for axis, index in indices.items():
        if axis in place.axes:
            # On the same index another image may have more planes than this single one.
            single = place.shape[place.axes.index(axis)] == 1 and any(
                axis in _list_own_axes(image, place) for image in images if image is not place
            )
            chosen = _take(chosen, axis, 0 if single else index, keep=True, role=" (the reference)")
    return chosen


def require_frames(images: Sequence[Source], *, reference: int) -> None:
    """Raise an error if it is not clear which planes of several images go together.

    Parameters
    ----------
    images : sequence of Source
        From :func:`choose_planes`, or as they were read.
    reference : int
        Which of them is the place of all. The others are sampled where it lies, so that only
        what it cannot say has to be chosen in them, and only what nothing says where it lies
        has to be there in all, plane by plane.

    Raises
    ------
    ImageFileError
        If more planes are left in one than in the other; the message lists what there is in
        each file.
    """
    place = images[reference]
    faults = [
        fault
        for number, image in enumerate(images)
        if number != reference
        for fault in _list_faults(image, place)
    ]
    if faults:
        raise ImageFileError("; ".join(dict.fromkeys(faults)))


def _list_faults(image: Source, place: Source) -> list[str]:
    """Return why the planes of an image do not go with those of a place, a line each."""
    surplus = _find_open_axes(image, place)
    if surplus and not find_stacked_axes(place):
        held = _list_choices(image, surplus)
        return [f"{image.path or image.name} holds more than one plane, choose one of {held}"]
    faults = [_compare_counts(image, place, axis) for axis in surplus]
    # Images without a common world are laid on each other as they are, if they have one shape.
    together = share_space(image, place)
    for axis in find_stacked_axes(place):
        by_index = axis in find_indexed_axes(image, place) or axis not in image.axes
        is_space = find_kind(axis, place.units[place.axes.index(axis)]) == "space"
        if by_index and (together or not is_space):
            faults.append(_compare_counts(image, place, axis))
    return list(filter(None, faults))


def _compare_counts(image: Source, place: Source, axis: str) -> str:
    """Return that an image and a place have different numbers of planes, or nothing."""
    own, other = (i.shape[i.axes.index(axis)] if axis in i.axes else 1 for i in (image, place))
    if own == other:
        return ""
    unit = next(i.units[i.axes.index(axis)] for i in (place, image) if axis in i.axes)
    noun = "plane" if find_kind(axis, unit) == "space" else "frame"
    first, second = image.path or image.name, f"{place.path or place.name} (the reference)"
    counts = [f"{count} {noun}{'s' if count > 1 else ''}" for count in (own, other)]
    text = f"{first} has {counts[0]} along {axis}, {second} has {other}"
    if min(own, other) > 1:
        return f"{text}, and nothing but their number says which belong together; cut both alike"
    return (
        f"{text}; choose one of {axis}: 0 to {max(own, other) - 1}, with --slice {axis}=N or "
        f'plane="{axis}=N"'
    )


def _find_open_axes(image: Source, place: Source) -> list[str]:
    """Return the axes on which an image has still to be chosen, to be sampled at a place."""
    # Along an axis on which the place has several planes, they are matched by their index.
    settled = find_stacked_axes(place)
    own = _list_own_axes(image, place)
    return [axis for axis in find_stacked_axes(image) if axis in own and axis not in settled]


def require_plane(image: Source) -> Source:
    """Return an image as a plane, and raise an error if it holds more than one.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    Source
        The image with two axes; those of size one are dropped.

    Raises
    ------
    ImageFileError
        If more than one plane is left; the message lists what there is.
    """
    image = drop_single_axes(image)
    if image.ndim != 2:
        held = _list_choices(image, find_stacked_axes(image))
        raise ImageFileError(f"{image.path} holds more than one plane, choose one of {held}")
    return image


def drop_single_axes(image: Source) -> Source:
    """Return an image without axes of size one, as long as two axes are left.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    Source
        The image with as many axes or fewer.
    """
    for axis in find_stacked_axes(image, longer_than=0):
        if image.ndim > 2 and image.shape[image.axes.index(axis)] == 1:
            image = image.take(axis, 0)
    return image


def _take(image: Source, axis: str, index: int, *, keep: bool = False, role: str = "") -> Source:
    try:
        return image.take(axis, index, keep=keep)
    except ValueError as error:
        raise ImageFileError(f"{image.path or image.name}{role}: {error}") from error


def _parse_indices(image: Source, plane: int | str) -> dict[str, int]:
    """Return the index on each axis that a plane's description names."""
    advice = f"{image.path} has the axes {', '.join(_list_sizes(image))}"
    text = str(plane)
    if "=" not in text:
        # A bare number is clear where one axis is left to choose on.
        axes = find_stacked_axes(image) or find_stacked_axes(image, longer_than=0)
        if len(axes) != 1:
            raise ImageFileError(f"{advice}; name one, as in z=12, got {text!r}")
        text = f"{axes[0]}={text}"
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {axis.strip(): int(index) for axis, index in pairs}
    except ValueError as error:
        raise ImageFileError(f"{advice}; choose as in z=12 or t=0,z=12, got {text!r}") from error


def _describe(image: Source) -> str:
    return f"{image.name or 'unnamed'} ({' '.join(_list_sizes(image))})"


def _list_choices(image: Source, axes: Sequence[str]) -> str:
    return ", ".join(f"{axis}: 0 to {image.shape[image.axes.index(axis)] - 1}" for axis in axes)


def _list_sizes(image: Source) -> list[str]:
    return [f"{axis}:{size}" for axis, size in zip(image.axes, image.shape, strict=True)]
