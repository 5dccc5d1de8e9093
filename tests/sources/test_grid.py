"""Sources on different grids are sampled on the grid of one of them."""

import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference

RNG = np.random.default_rng(6)


def oblique(angle: float, spacing: tuple[float, float, float], origin: np.ndarray) -> np.ndarray:
    """Return the affine of a volume that is turned about its first and last axes."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turn = turn @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def blob(shape: tuple[int, int, int], affine: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Return a volume that is bright around a place in the world."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return np.exp(-np.sum((world - marker) ** 2, axis=-1) / 18).astype(np.float32)


def test_a_marker_lands_where_world_coordinates_say() -> None:
    ct_affine = oblique(0.2, (3.0, 0.9, 0.9), np.array([-20.0, -30, -30]))
    mr_affine = oblique(-0.35, (2.0, 1.2, 1.2), np.array([-25.0, -45, -20]))
    place = np.array([6, 30, 34])
    marker = ct_affine[:3, :3] @ place + ct_affine[:3, 3]
    images = [
        Source(
            blob(shape, affine, marker),
            axes=("z", "y", "x"),
            affine=affine,
            units=("mm",) * 3,
            name=name,
        )
        for name, shape, affine in (
            ("CT", (14, 64, 60), ct_affine),
            ("MR", (40, 80, 70), mr_affine),
        )
    ]
    grid = resample_to_reference(images, plane="z=6")
    assert grid.resampled == [False, True]
    assert grid.covered[0] == 1
    np.testing.assert_array_equal(grid.arrays[0], images[0].data[6])
    for array in grid.arrays:
        assert np.unravel_index(array.argmax(), array.shape) == (30, 34)
        assert array.max() > 0.9
    fused = grid.make_source(grid.arrays[1], flat=False, name="fused")
    assert fused.shape == (1, 64, 60)
    np.testing.assert_allclose((fused.affine @ [0, 30, 34, 1])[:3], marker)
    assert grid.make_source(grid.arrays[1], flat=True).shape == (64, 60)


def test_units_of_length_are_brought_together() -> None:
    data = RNG.random((20, 20))
    fine = Source(data, affine=np.diag([500.0, 500, 1]), units=("um", "um"))
    coarse = Source(data, affine=np.diag([0.5, 0.5, 1]), units=("mm", "mm"))
    grid = resample_to_reference([coarse, fine])
    assert grid.resampled == [False, False]
    np.testing.assert_array_equal(grid.arrays[1], data)


def test_pictures_without_a_place_are_left_alone() -> None:
    large, small = Source(RNG.random((9, 9))), Source(RNG.random((8, 9)))
    grid = resample_to_reference([large, small])
    assert grid.arrays[1].shape == (8, 9)
    assert grid.resampled == [False, False]


def test_a_picture_without_a_place_is_not_laid_over_millimeters() -> None:
    picture = Source(RNG.random((20, 20)))
    placed = Source(RNG.random((20, 20)), affine=np.diag([0.5, 0.5, 1]), units=("mm",) * 2)
    for images in ([placed, picture], [picture, placed]):
        grid = resample_to_reference(images)
        assert grid.resampled == [False, False]
        for array, image in zip(grid.arrays, images, strict=True):
            np.testing.assert_array_equal(array, image.data)
    level = picture.replace(data=picture.data[::2, ::2], affine=np.diag([2.0, 2, 1]))
    assert resample_to_reference([level, picture]).arrays[1].shape == (10, 10)


def test_color_keeps_its_axis() -> None:
    rgb = Source(RNG.integers(0, 255, (9, 8, 3), dtype=np.uint8), rgb=True)
    grid = resample_to_reference([rgb, Source(RNG.random((9, 8)))])
    assert grid.arrays[0].shape == (9, 8, 3)
    assert grid.make_source(grid.arrays[0], flat=True).rgb


def test_a_plane_and_a_volume_of_one_slice() -> None:
    stack = Source(RNG.random((1, 9, 8)), axes=("z", "y", "x"))
    grid = resample_to_reference([Source(RNG.random((9, 8))), stack])
    np.testing.assert_array_equal(grid.arrays[1], stack.data[0])


def test_bad_choices() -> None:
    volume = Source(RNG.random((5, 9, 8)), axes=("z", "y", "x"), units=("mm",) * 3)
    far = volume.replace(affine=np.array([*np.eye(4)[:3].tolist(), [0, 0, 0, 1]]))
    far.affine[2, 3] = 1e4
    with pytest.raises(ValueError, match="more than one plane, choose one of z: 0 to 4"):
        resample_to_reference([volume, volume])
    with pytest.raises(ValueError, match="index on axis z must be 0 to 4, got 7"):
        resample_to_reference([volume, volume], plane="z=7")
    with pytest.raises(ValueError, match="do not overlap"):
        resample_to_reference([volume, far], plane=2)
    with pytest.raises(ValueError, match="reference must be a source from 0 to 1, got 2"):
        resample_to_reference([volume, volume], reference=2)
