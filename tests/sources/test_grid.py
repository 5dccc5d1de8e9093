"""Sources on different grids are sampled on the grid of one of them."""

from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.coverage import list_coverage_warnings
from napari_dip_fusion.sources.grid import find_finest, resample_to_reference

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
    assert grid.coverage[0].of_target == 1
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
    assert resample_to_reference([level, picture], reference=0).arrays[1].shape == (10, 10)


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
    with pytest.raises(ValueError, match="index on axis z must be 0 to 4, got 7"):
        resample_to_reference([volume, volume], plane="z=7")
    with pytest.raises(ValueError, match="do not overlap"):
        resample_to_reference([volume, far], plane=2)
    with pytest.raises(ValueError, match="reference must be a source from 0 to 1, got 2"):
        resample_to_reference([volume, volume], reference=2)


def place_at(spacing: float, size: int = 20, unit: str = "mm", name: str = "") -> Source:
    """Return a plane of random values at the origin of the world."""
    affine = np.diag([spacing, spacing, 1])
    return Source(RNG.random((size, size)), affine=affine, units=(unit,) * 2, name=name)


def test_the_finest_grid_is_taken_so_that_nothing_is_lost() -> None:
    coarse, fine = place_at(2.0, 10), place_at(1.0, 20)
    grid = resample_to_reference([coarse, fine])
    assert grid.reference == 1
    assert grid.arrays[0].shape == (20, 20)
    np.testing.assert_array_equal(grid.arrays[1], fine.data)
    assert resample_to_reference([coarse, fine], reference=0).arrays[1].shape == (10, 10)


def test_the_finest_is_found_in_any_unit_and_the_first_of_equals_taken() -> None:
    assert find_finest([place_at(1.0), place_at(500.0, unit="um")]) == 1
    assert find_finest([place_at(1.0), place_at(1000.0, unit="um")]) == 0
    # As two headers write one spacing.
    assert find_finest([place_at(0.4883), place_at(0.48828125)]) == 0
    assert find_finest([Source(RNG.random((20, 20))), place_at(0.1)]) == 0


def test_the_distance_of_planes_makes_no_grid_finer() -> None:
    thin = Source(RNG.random((9, 8, 8)), affine=np.diag([0.5, 2.0, 2, 1]), units=("mm",) * 3)
    turned = np.eye(4)
    turned[:3, :3] = oblique(0.5, (5.0, 1.0, 1.0), np.zeros(3))[:3, :3]
    thick = Source(RNG.random((3, 16, 16)), affine=turned, units=("mm",) * 3)
    assert find_finest([thin, thick]) == 1
    # Of different dimensions, they are compared from the last axis on.
    assert find_finest([place_at(1000.0, unit="um"), thin]) == 0
    assert find_finest([thin, place_at(1000.0, unit="um")]) == 1


def test_a_small_finest_source_says_how_much_of_the_others_is_left_out() -> None:
    overview, detail = place_at(1.0, 100), place_at(0.5, 40)
    grid = resample_to_reference([overview, detail])
    assert grid.reference == 1
    assert grid.coverage[0].of_target == pytest.approx(1, abs=1e-3)
    assert grid.coverage[0].of_image == pytest.approx(0.04, abs=2e-3)
    assert grid.coverage[0].pixels == pytest.approx(400, rel=0.05)
    (line,) = list_coverage_warnings("overview", "detail", grid.coverage[0])
    assert line.startswith("only 4% of overview lies in detail, of which it covers 100%")
    back = resample_to_reference([overview, detail], reference=0)
    (line,) = list_coverage_warnings("detail", "overview", back.coverage[1])
    assert line == "detail covers only 4% of overview, in which 100% of it lies"


def test_volumes_and_series_of_volumes_meet_in_space() -> None:
    affine = np.diag([3.0, 1, 1, 1])
    volume = Source(RNG.random((5, 12, 12)), affine=affine, units=("mm",) * 3, path=Path("ct"))
    over_time = np.eye(5)
    over_time[1:, 1:] = affine
    units = ("s", "mm", "mm", "mm")
    series = Source(RNG.random((4, 5, 12, 12)), affine=over_time, units=units, path=Path("fmri"))
    for reference, images in enumerate(([volume, series], [series, volume])):
        position = images.index(series)
        for plane in ("t=2,z=3", "z=3,t=2"):
            grid = resample_to_reference(images, reference=reference, plane=plane)
            np.testing.assert_array_equal(grid.arrays[position], series.data[2, 3])
            np.testing.assert_array_equal(grid.arrays[1 - position], volume.data[3])
            grid = resample_to_reference(images, reference=1 - reference, plane=plane)
            np.testing.assert_array_equal(grid.arrays[position], series.data[2, 3])
    flat = volume.take("z", 3)
    grid = resample_to_reference([flat, series], plane="t=0,z=3")
    np.testing.assert_array_equal(grid.arrays[1], series.data[0, 3])
    grid = resample_to_reference([flat, volume], plane="z=4")
    np.testing.assert_array_equal(grid.arrays[1], volume.data[4])


def test_errors_list_what_can_be_chosen_in_each_file() -> None:
    volume = Source(RNG.random((5, 12, 12)), path=Path("ct"))
    series = Source(RNG.random((4, 5, 12, 12)), path=Path("fmri"))
    for plane, message in [
        (
            None,
            r"^fmri has 4 frames along t, ct \(the reference\) has 1; choose one of t: 0 to 3, "
            'with --slice t=N or plane="t=N"$',
        ),
        ("z=3", "^fmri holds more than one plane, choose one of t: 0 to 3$"),
        ("t=9,z=3", "^fmri: index on axis t must be 0 to 3, got 9$"),
        ("c=1,z=3", "^there is no axis c to choose on: ct has z:5, y:12, x:12; fmri has t:4, z:5"),
    ]:
        with pytest.raises(ValueError, match=message):
            resample_to_reference([volume, series], plane=plane)


def test_an_error_on_planes_says_which_source_was_taken_as_the_reference() -> None:
    coarse = Source(RNG.random((40, 8, 8)), axes=("z", "y", "x"), units=("mm",) * 3, name="CT")
    affine = np.diag([1, 0.5, 0.5, 1])
    fine = coarse.replace(data=RNG.random((5, 16, 16)), affine=affine, name="MR")
    message = r"^MR \(the reference\): index on axis z must be 0 to 4, got 30; the reference is"
    with pytest.raises(ValueError, match=message):
        resample_to_reference([coarse, fine], plane="z=30")
    grid = resample_to_reference([coarse, fine], plane="z=3", reference=0)
    assert grid.reference == 0
