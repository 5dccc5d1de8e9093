"""In which order the axes of an image are held: by files, and by programs that draw them."""

import re
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from napari_dip_fusion.sources.axes import find_plane_axes
from napari_dip_fusion.sources.axis_kinds import find_flat, find_kind
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES

__all__ = ["arrange_axes", "is_nameless", "limit_axes", "list_kinds", "turn_to_world"]

# Axes whose directions differ by more than this from those of the world are looked at: the
# cosine of 60 degrees.
_TURNED = 0.5
# Names that programs give to axes of which they know nothing.
_MADE_UP = re.compile(r"|-?\d+|axis -?\d+|dim \d+|q\d*")


def list_kinds(axes: Sequence[str], units: Sequence[str]) -> list[str]:
    """Return what each axis of an image counts, for a file that has to say it.

    Parameters
    ----------
    axes, units : sequence of str
        Names and units of the axes.

    Returns
    -------
    list of str
        As of :func:`find_kind`; the two axes of the planes are ones of space. Where nothing
        says it, as of an array without names: the third axis from the end is one of space,
        the fourth one of time, if there is no other, and the further ones are ``""``.
    """
    plane = find_flat(axes)
    kinds = [
        "space" if n in plane else "" if is_nameless(name, unit) else find_kind(name, unit) or ""
        for n, (name, unit) in enumerate(zip(axes, units, strict=True))
    ]
    for place, kind, most in ((-3, "space", 3), (-4, "time", 1)):
        if len(kinds) >= -place and not kinds[place] and kinds.count(kind) < most:
            kinds[place] = kind
    return kinds


def is_nameless(name: str, unit: str) -> bool:
    """Tell whether nothing says what an axis counts.

    Parameters
    ----------
    name, unit : str
        Of the axis. Names are made up by napari (``"-3"``), NumPy's order (``"axis 0"``) and
        tifffile (``"q"``).
    """
    return unit not in LENGTHS and unit not in TIMES and _MADE_UP.fullmatch(name) is not None


def arrange_axes(image: Source) -> Source:
    """Return an image with its axes in the order in which files hold them.

    Parameters
    ----------
    image : Source
        The image.

    Returns
    -------
    Source
        The same image: first time, then what is neither time nor space, then space with the
        two axes of its planes as the last ones, y before x.
    """
    ranks = {"time": 0, "space": 2}
    kinds, plane = list_kinds(image.axes, image.units), find_plane_axes(image)
    order = sorted(
        range(image.ndim),
        key=lambda n: (ranks.get(kinds[n], 1), n in plane, "yx".find(image.axes[n])),
    )
    return image.transpose(order)


def limit_axes(image: Source, most: int, *, beside: Sequence[str]) -> Source:
    """Return an image without axes of size one for which a format has no room.

    Parameters
    ----------
    image : Source
        The image.
    most : int
        How many axes of other kinds the format has room for.
    beside : sequence of str
        Kinds of axes that are not counted.

    Returns
    -------
    Source
        With more axes only where these are longer than one.
    """
    kinds = list_kinds(image.axes, image.units)
    surplus = sum(kind not in beside for kind in kinds) - most
    for axis, kind, size in zip(image.axes, kinds, image.shape, strict=True):
        if surplus > 0 and size == 1 and kind not in beside:
            image, surplus = image.take(axis, 0), surplus - 1
    return image


def turn_to_world(image: Source) -> Source:
    """Return an image whose axes of space run as the world's do, as nearly as their order can.

    Slices of a sagittal scan are stacked along x of the world. Programs that draw two axes of
    an array over the same two of the world, as napari does, cannot show them so.

    Parameters
    ----------
    image : Source
        A volume; any other image is returned unchanged.

    Returns
    -------
    Source
        The same pixels at the same places, in another order of axes where one axis is turned
        by more than 60 degrees from its own and another order is nearer.
    """
    space = [image.axes.index(name) for name in ("z", "y", "x") if name in image.axes]
    if len(space) != 3:
        return image
    block = np.abs(image.affine[np.ix_(space, space)])
    cosines = block / np.maximum(np.linalg.norm(block, axis=0), np.finfo(float).tiny)
    # The worst axis counts: one at right angles to its own would be a line.
    best = max(permutations(range(3)), key=lambda order: cosines[[0, 1, 2], order].min())
    if np.diag(cosines).min() > _TURNED or best == (0, 1, 2):
        return image
    order = list(range(image.ndim))
    for place, number in zip(space, best, strict=True):
        order[place] = space[number]
    # Only the pixels are turned; the world keeps its axes.
    affine = image.affine[:, [*order, -1]]
    return image.transpose(order).replace(axes=image.axes, units=image.units, affine=affine)
