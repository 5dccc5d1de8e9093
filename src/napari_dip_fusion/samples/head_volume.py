"""Make the head volumes: CT and MR of one head, on oblique grids or with thick slices of CT."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_dip_fusion.samples.head import FIELD_OF_VIEW
from napari_dip_fusion.samples.head_anatomy import CT, MR, TRUTH, HeadAnatomy, shade
from napari_dip_fusion.samples.sample_set import (
    Image,
    SampleSet,
    Shape,
    check_range,
    check_shape,
    to_uint8,
)
from napari_dip_fusion.sources import Source

Affine: TypeAlias = npt.NDArray[np.float64]

# Millimeters of CT from its first to its last slice, and its middle above the widest slice.
_CT_HEIGHT, _CT_MIDDLE = 117.5, 14.0
# The field of view of MR, in millimeters, and by how many degrees the head was turned in it: about
# the axis from ear to ear, and about that from face to back.
_MR_HEIGHT, _MR_WIDTH, _MR_MIDDLE = 84.0, 211.0, 0.0
_MR_NOD, _MR_LEAN = 8.0, -5.0
# Pixels of MR are larger than those of CT, in a slice and from slice to slice.
_MR_COARSER, _MR_THICKER = 4 / 3, 1.4
# Where CT has thick slices: millimeters of the shorter side of a slice, which leave little air
# round the head, slices of MR in one of CT, and steps in a slice of MR in which the head is drawn,
# since a scanner records the mean over a slice.
_THICK_SIDE, _THICKER, _STEPS = 204.8, 4, 2
# Cells and millimeters a cell of the table of the brain's texture.
_TABLE, _CELL = 32, 2.4


def head_volume(
    *, shape: Sequence[int] = (48, 128, 128), seed: int = 0, bias: float = 0.08
) -> SampleSet:
    """Make a CT and an MR volume of one head, free of noise.

    Both are sampled from the same anatomy, that of :func:`head_phantom` at all heights, at
    the centers of their own pixels. The MR volume has larger pixels, is turned by 8 and 5
    degrees, and covers less: the uppermost slices of CT are seen by CT only.

    Parameters
    ----------
    shape : tuple of three int, optional
        Slices, rows and columns of CT: 117.5 mm from the first slice to the last, and a
        field of view of 230 mm. Rows and columns are at least 16, slices at least 2.
    seed : int, optional
        Seed of the anatomy: folds, asymmetry and tissue texture.
    bias : float, optional
        Relative amplitude of the MR image's smooth bias field, from 0 to 0.5.

    Returns
    -------
    SampleSet
        Sources CT and MR and the truth on the grid of CT: :class:`Source` of axes zyx,
        uint8, in millimeters of the world of scanners (z to the top of the head, y to its
        back, x to its left).

    Raises
    ------
    ValueError
        If `shape` or `bias` is out of range.

    Examples
    --------
    >>> ct, mr = head_volume(shape=(6, 32, 32)).sources
    >>> ct.axes, ct.units[0], ct.shape, mr.shape
    (('z', 'y', 'x'), 'mm', (6, 32, 32), (3, 22, 22))
    """
    if len(shape) != 3 or shape[0] < 2:
        raise ValueError(
            f"shape must be at least 2 slices, rows and columns, got {shape}; try (48, 128, 128)"
        )
    check_shape((shape[1], shape[2]))
    check_range("bias", bias, 0, 0.5)
    ct_place, mr_shape, mr_place = _place_grids(shape)
    rng = np.random.default_rng(seed)
    anatomy, texture = HeadAnatomy(rng), _draw_texture(rng)
    ct, truth = _sample(anatomy, texture, shape, ct_place, (CT, TRUTH), bias)
    (mr,) = _sample(anatomy, texture, mr_shape, mr_place, (MR,), bias)
    made = [
        _make_source(*image)
        for image in ((ct, ct_place, "CT"), (mr, mr_place, "MR"), (truth, ct_place, "truth"))
    ]
    return SampleSet(
        name="head-volume",
        sources=tuple(made[:2]),
        source_names=("CT", "MR"),
        truth=made[2],
        description="CT and MR of a head in three dimensions, on grids that lie oblique to each "
        "other; the truth shows bone as in CT and soft tissue as in MR, which sees a part of it.",
    )


def head_thick(
    *, shape: Sequence[int] = (48, 128, 128), seed: int = 0, noise: float = 2 / 255
) -> SampleSet:
    """Make an MR volume of cubic voxels and a CT volume of thick slices of one head.

    Both are sampled from the anatomy of :func:`head_volume`, on grids that lie parallel.
    Slices of CT are four times as thick as those of MR, each the mean over its thickness,
    and have white noise.

    Parameters
    ----------
    shape : tuple of three int, optional
        Slices, rows and columns of MR: slices a multiple of 4 from 8 on, rows and columns at
        least 16. The shorter side of a slice stands for 204.8 mm, which makes voxels of 1.6 mm.
    seed : int, optional
        Seed of the anatomy and of the noise.
    noise : float, optional
        Standard deviation of the noise in CT, on the scale where white is 1.

    Returns
    -------
    SampleSet
        Sources MR and CT: :class:`Source` of axes zyx, uint8, in millimeters. There is no
        truth, since what an ideal fusion shows depends on the gains; `undegraded` holds MR
        and the true CT on the grid of MR, and their fusion is what to compare with.

    Raises
    ------
    ValueError
        If `shape` or `noise` is out of range.

    Examples
    --------
    >>> mr, ct = head_thick(shape=(8, 32, 32)).sources
    >>> mr.shape, ct.shape, ct.spacing.round(1)
    ((8, 32, 32), (2, 32, 32), array([25.6,  6.4,  6.4]))
    """
    if len(shape) != 3 or shape[0] < 2 * _THICKER or shape[0] % _THICKER:
        raise ValueError(
            "shape must be slices, a multiple of 4 from 8 on, rows and columns, "
            f"got {shape}; try (48, 128, 128)"
        )
    check_shape((shape[1], shape[2]))
    check_range("noise", noise, 0, 1)
    steps = np.diag(np.full(3, _THICK_SIDE / min(shape[1:])))
    mr, true_ct = _draw_slabs(shape, steps, seed)
    ct = _average_slices(true_ct, _THICKER)
    # A generator of its own, so that the noise has nothing of the anatomy's texture.
    ct = ct + 255 * noise * np.random.default_rng((seed, 1)).standard_normal(ct.shape)
    fine = _place(shape, steps, _CT_MIDDLE)
    coarse = _place(ct.shape, steps @ np.diag((_THICKER, 1, 1)), _CT_MIDDLE)
    images = ((mr, fine, "MR"), (ct, coarse, "CT"), (true_ct, fine, "true CT"))
    made = [_make_source(to_uint8(image / 255), place, name) for image, place, name in images]
    return SampleSet(
        name="head-thick",
        sources=tuple(made[:2]),
        source_names=("MR", "CT"),
        truth=None,
        description="MR of cubic voxels and CT of thick slices of a head; what CT would show in "
        "thin ones is known.",
        undegraded=(made[0], made[2]),
    )


def _draw_slabs(shape: Sequence[int], steps: Affine, seed: int) -> tuple[Image, Image]:
    """Return MR and CT, each slice the mean over its thickness, from 0 to 255."""
    rng = np.random.default_rng(seed)
    anatomy, texture = HeadAnatomy(rng), _draw_texture(rng)
    drawn_shape = (shape[0] * _STEPS, *shape[1:])
    place = _place(drawn_shape, steps @ np.diag((1 / _STEPS, 1, 1)), _CT_MIDDLE)
    mr, ct = _sample(anatomy, texture, drawn_shape, place, (MR, CT), bias=0.08)
    return _average_slices(mr, _STEPS), _average_slices(ct, _STEPS)


def _draw_texture(rng: np.random.Generator) -> Image:
    texture = ndimage.gaussian_filter(rng.standard_normal((_TABLE,) * 3), 1, mode="wrap")
    return np.asarray(texture / texture.std())


def _average_slices(volume: npt.NDArray[Any], count: int) -> Image:
    """Return means over so many slices that follow each other."""
    return np.asarray(volume.reshape(-1, count, *volume.shape[1:]).mean(axis=1))


def _place_grids(shape: Sequence[int]) -> tuple[Affine, tuple[int, ...], Affine]:
    """Return the affine of CT, and shape and affine of MR, in millimeters."""
    side = 0.96 * FIELD_OF_VIEW
    fine = np.array([_CT_HEIGHT / (shape[0] - 1), *(side / min(shape[1:]),) * 2])
    coarse = fine * (_MR_THICKER, _MR_COARSER, _MR_COARSER)
    lengths = (_MR_HEIGHT, _MR_WIDTH, _MR_WIDTH)
    mr_shape = tuple(max(2, round(n)) for n in lengths / coarse)
    nod, lean = np.deg2rad((_MR_NOD, _MR_LEAN))
    turn = _rotate(0, 1, nod) @ _rotate(0, 2, lean)
    return (
        _place(shape, np.diag(fine), _CT_MIDDLE),
        mr_shape,
        _place(mr_shape, turn * coarse, _MR_MIDDLE),
    )


def _rotate(first: int, second: int, angle: float) -> Affine:
    """Return the matrix of a rotation in the plane of two axes."""
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def _place(shape: Sequence[int], steps: Affine, middle: float) -> Affine:
    """Return the affine of a grid whose center lies at a height in the head's middle."""
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = (middle, 0, 0) - steps @ ((np.array(shape) - 1) / 2)
    return affine


def _sample(
    anatomy: HeadAnatomy,
    texture: Image,
    shape: Sequence[int],
    affine: Affine,
    kinds: Sequence[int],
    bias: float,
) -> list[npt.NDArray[np.uint8]]:
    """Return some of CT, MR and truth at the pixels of a grid."""
    volumes = [np.empty(shape, np.uint8) for _ in kinds]
    unit = FIELD_OF_VIEW / 2
    pixel = np.cbrt(abs(np.linalg.det(affine[:3, :3]))) / unit
    plane: Shape = (shape[1], shape[2])
    # One slice after the other, so that a large volume needs no more memory than its result.
    for number in range(shape[0]):
        index = np.stack([np.full(plane, number), *np.indices(plane)]).reshape(3, -1)
        z, y, x = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *plane)
        grain = ndimage.map_coordinates(
            texture, np.stack([z, y, x]) / _CELL, order=1, mode="grid-wrap"
        )
        z, y, x = z / unit, y / unit, x / unit
        images = anatomy.draw(x, y, z, texture=grain, pixel=pixel)
        images[MR] = shade(images[MR], x, y, bias)
        for volume, kind in zip(volumes, kinds, strict=True):
            volume[number] = to_uint8(images[kind])
    return volumes


def _make_source(volume: npt.NDArray[np.uint8], affine: Affine, name: str) -> Source:
    return Source(
        volume,
        axes=("z", "y", "x"),
        affine=affine,
        units=("mm",) * 3,
        name=name,
        display={"colormap": "gray", "contrast_limits": (0, 255)},
    )
