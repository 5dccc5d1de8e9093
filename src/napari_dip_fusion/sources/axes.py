"""Which axes of two sources mean the same, and how far numbers along them can be compared.

Two sources share a world only as far as their axes are of one kind (a frame number is no
height) and their units measure the same (a pixel is no millimeter).
"""

import numpy as np

from napari_dip_fusion.sources.axis_kinds import find_flat, find_kind
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import TIMES, find_factor

__all__ = [
    "align_axes",
    "find_counted_axes",
    "find_indexed_axes",
    "find_plane_axes",
    "find_stacked_axes",
    "is_placeless",
    "share_space",
]


def find_stacked_axes(image: Source, *, longer_than: int = 1) -> list[str]:
    """Return the names of the axes along which planes are stacked.

    Parameters
    ----------
    image : Source
        The image.
    longer_than : int
        Leave out axes of this size or smaller.

    Returns
    -------
    list of str
        All axes but ``"y"`` and ``"x"``, or but the last two where those have other names.
    """
    plane = {image.axes[number] for number in find_plane_axes(image)}
    pairs = zip(image.axes, image.shape, strict=True)
    return [axis for axis, size in pairs if axis not in plane and size > longer_than]


def find_plane_axes(image: Source) -> list[int]:
    """Return the numbers of the two axes that are not stacked, in ascending order."""
    return find_flat(image.axes)


def align_axes(source: Source, place: Source) -> Source:
    """Return a source with the names of another's axes, in the other's order.

    Axes of one name go together. Of what is left, the two axes of the planes do, in their
    order, and the one axis of each that is one of space, or one of time. No other axes are
    matched.

    Parameters
    ----------
    source : Source
        The source.
    place : Source
        The other one.

    Returns
    -------
    Source
        Axes that the other one lacks come first. Where nothing changes it is the source itself.
    """
    names = _name_alike(source, place)
    extra = [name for name in names if name not in place.axes]
    order = [names.index(name) for name in [*extra, *(a for a in place.axes if a in names)]]
    named = source if tuple(names) == source.axes else source.replace(axes=tuple(names))
    return named.transpose(order)


def _name_alike(source: Source, place: Source) -> list[str]:
    """Return names for a source's axes, those of another one where they mean the same."""
    names = list(source.axes)
    own_plane, plane = find_plane_axes(source), find_plane_axes(place)
    if {names[n] for n in own_plane} != {place.axes[n] for n in plane}:
        for own, other in zip(own_plane, plane, strict=True):
            names[own] = place.axes[other]
    for kind in ("space", "time"):
        left = [n for n in _list_stacked(source, kind) if names[n] not in place.axes]
        wanted = [n for n in _list_stacked(place, kind) if place.axes[n] not in names]
        if len(left) == len(wanted) == 1:
            names[left[0]] = place.axes[wanted[0]]
    return names


def _list_stacked(image: Source, kind: str) -> list[int]:
    """Return the numbers of the stacked axes of a kind."""
    plane = find_plane_axes(image)
    pairs = enumerate(zip(image.axes, image.units, strict=True))
    return [n for n, pair in pairs if n not in plane and find_kind(*pair) == kind]


def share_space(source: Source, place: Source) -> bool:
    """Tell whether the planes of two sources lie in one world.

    A picture that only counts its pixels says nothing about lengths, so it cannot be
    compared with an image in millimeters, nor two such pictures with each other; but a crop
    or a coarser level that counts the pixels of another picture can be compared with it.

    Parameters
    ----------
    source, place : Source
        From :func:`align_axes`, and the other one.
    """
    axes = [place.axes[n] for n in find_plane_axes(place)]
    compared = all(_find_axis_factor(source, place, axis) is not None for axis in axes)
    return compared and not (is_placeless(source) and is_placeless(place))


def find_counted_axes(source: Source, place: Source) -> list[str]:
    """Return the stacked axes of both sources along which only indices can be compared.

    Parameters
    ----------
    source, place : Source
        From :func:`align_axes`, and the other one.

    Returns
    -------
    list of str
        Where the two share no world, all axes but those of time in known units; otherwise those
        whose units measure other things.
    """
    apart = not share_space(source, place)
    shared = [a for a in find_stacked_axes(source, longer_than=0) if a in place.axes]
    return [
        axis
        for axis in shared
        if _find_axis_factor(source, place, axis) is None
        or (apart and not _is_time_in_both(source, place, axis))
    ]


def find_indexed_axes(source: Source, place: Source) -> list[str]:
    """Return the axes of a place along which another source is matched frame by frame.

    Parameters
    ----------
    source, place : Source
        From :func:`align_axes`, and the other one.

    Returns
    -------
    list of str
        Of the axes along which the place has several planes, those that are not of space, and
        those along which only indices can be compared.
    """
    counted = find_counted_axes(source, place)
    space = _list_stacked(place, "space")
    return [
        axis
        for axis in find_stacked_axes(place)
        if axis in counted or place.axes.index(axis) not in space
    ]


def _is_time_in_both(source: Source, place: Source, axis: str) -> bool:
    return all(image.units[image.axes.index(axis)] in TIMES for image in (source, place))


def _find_axis_factor(source: Source, place: Source, axis: str) -> float | None:
    own, other = (image.units[image.axes.index(axis)] for image in (source, place))
    return find_factor(own, other)


def is_placeless(source: Source) -> bool:
    """Tell whether a source only counts its pixels, from the first one on."""
    space = [*_list_stacked(source, "space"), *find_plane_axes(source)]
    block = source.affine[np.ix_(space, [*space, source.ndim])]
    counted = all(source.units[n] == "pixel" for n in space)
    return counted and bool(np.array_equal(block, np.eye(len(space), len(space) + 1)))
