import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.interruption import make_observable, stage
from napari_dip_fusion.sources import resample as module
from napari_dip_fusion.sources.coverage import measure_both_ways
from napari_dip_fusion.sources.resample import is_on_grid, resample

RNG = np.random.default_rng(0)


def affine2(*, scale=(1, 1), translate=(0, 0), angle=0.0):
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    matrix = np.eye(3)
    matrix[:2, :2] = np.array([[c, -s], [s, c]]) @ np.diag(scale)
    matrix[:2, 2] = translate
    return matrix


def plane_of(ndim, rows, columns, at=0.0):
    """Pixel to world of a plane along two axes of a unit grid."""
    matrix = np.zeros((ndim + 1, 3))
    matrix[:, 2] = at
    matrix[[rows, columns], 2] = 0
    matrix[rows, 0] = matrix[columns, 1] = matrix[-1, 2] = 1
    return matrix


class Lazy:
    """An array that counts what is read of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.read = []

    def __getitem__(self, index):
        part = self.data[index]
        self.read.append(part.shape)
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("colors", [(), (3,), (4,)])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_equal_grids_are_returned_bit_for_bit(dtype, colors, interpolation):
    image = (RNG.random((9, 11, *colors)) * 200).astype(dtype)
    grid = affine2(scale=(0.3, 0.7), translate=(1e5, -3), angle=33)
    result, covered = resample(image, grid, grid.copy(), (9, 11), interpolation=interpolation)
    assert covered == 1
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, image)


def test_no_other_value_is_touched_on_an_equal_grid():
    image = RNG.random((5, 6))
    image[2, 3] = np.nan
    result, _ = resample(image, np.eye(3), np.eye(3), (5, 6))
    np.testing.assert_array_equal(result, image)


def test_target_on_the_grid_of_an_image():
    grid = affine2(scale=(2, 3), translate=(5, 5), angle=10)
    assert is_on_grid(grid, (9, 9), grid + 1e-13, (9, 9))
    assert is_on_grid(grid, (9, 9), grid, (9, 8))
    assert not is_on_grid(grid, (9, 8), grid, (9, 9))
    assert not is_on_grid(grid, (9, 9), affine2(scale=(2, 3), translate=(5, 5)), (9, 9))
    # A hundred-thousandth of a step a pixel adds up across a large image.
    assert not is_on_grid(np.eye(3), (1000, 1000), affine2(scale=(1.00001, 1)), (1000, 1000))
    assert is_on_grid(np.eye(4), (3, 4, 5), plane_of(3, 1, 2), (4, 5))


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_a_shift_by_whole_pixels_moves_them_unchanged(interpolation):
    image = RNG.random((10, 12)).astype(np.float32) + 1
    shifted = affine2(translate=(0, 3))
    result, covered = resample(image, np.eye(3), shifted, (10, 12), interpolation=interpolation)
    np.testing.assert_array_equal(result[:, :9], image[:, 3:])
    np.testing.assert_array_equal(result[:, 9:], image[:, 3:].min())
    assert covered == 0.75


def test_a_shift_by_half_a_pixel_is_the_mean_of_neighbors():
    image = RNG.random((10, 12)).astype(np.float32)
    result, covered = resample(image, np.eye(3), affine2(translate=(0.5, 0)), (9, 12))
    np.testing.assert_allclose(result, (image[:-1] + image[1:]) / 2, atol=1e-6)
    assert covered == 1


def test_pixels_reach_half_a_step_around_their_centers():
    image = np.arange(8.0).reshape(1, 8)
    # Half as large pixels whose borders coincide with the image's.
    fine = affine2(scale=(1, 0.5), translate=(0, -0.25))
    result, covered = resample(image, np.eye(3), fine, (1, 16), interpolation="nearest")
    np.testing.assert_array_equal(result[0], np.repeat(np.arange(8.0), 2))
    assert covered == 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    image = RNG.integers(0, 255, (7, 7), dtype=np.uint8)
    center = affine2(translate=(-3, -3))
    turned = np.linalg.inv(center) @ affine2(angle=90 * turns) @ center
    result, covered = resample(image, turned, np.eye(3), (7, 7))
    np.testing.assert_array_equal(result, np.rot90(image, turns))
    assert covered == 1


@pytest.mark.parametrize(
    "grid",
    [
        affine2(scale=(0.5, 2)),
        affine2(scale=(2, 2), angle=30),
        affine2(scale=(1, 1.7), angle=-75),
        np.array([[1, 0.4, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_a_marker_lands_where_the_world_says(grid):
    target = affine2(scale=(0.8, 1.1), translate=(2, 1), angle=12)
    spot, own = np.array([30.3, 27.6, 1]), np.array([41.7, 38.2, 1])
    grid[:2, 2] = (target @ spot - grid @ own)[:2]
    off = np.mgrid[:90, :90] - own[:2, None, None]
    distance = np.linalg.norm(np.einsum("ij,jmn->imn", grid[:2, :2], off), axis=0)
    result, _ = resample(np.exp(-((distance / 4) ** 2) / 2), grid, target, (64, 64))
    found = (np.mgrid[:64, :64] * result).sum(axis=(1, 2)) / result.sum()
    np.testing.assert_allclose(found, spot[:2], atol=0.02)


def test_linear_functions_are_reproduced_on_any_grid():
    rows, columns = np.mgrid[:40, :50]
    image = 2.0 * rows - 0.5 * columns + 7
    target = affine2(scale=(0.4, 0.9), translate=(20, 5), angle=25)
    result, covered = resample(image, np.eye(3), target, (20, 20))
    places = (
        np.einsum("ij,jmn->imn", target[:2, :2], np.mgrid[:20, :20]) + target[:2, 2, None, None]
    )
    assert covered == 1
    np.testing.assert_allclose(result, 2 * places[0] - 0.5 * places[1] + 7, atol=1e-9)


def test_integers_keep_their_type_and_are_rounded():
    image = np.array([[0, 1, 10, 255]], dtype=np.uint8)
    result, _ = resample(image, np.eye(3), affine2(translate=(0, 0.6)), (1, 3))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, [[1, 6, 157]])


def test_float16_and_big_endian_images():
    for dtype in ("float16", ">u2", ">f4"):
        image = np.arange(12).reshape(3, 4).astype(dtype)
        result, _ = resample(image, np.eye(3), affine2(translate=(0, 0.5)), (3, 3))
        assert result.dtype == np.dtype(dtype)
        np.testing.assert_allclose(result, np.rint(image[:, :-1] + 0.5), atol=0.5)


def test_colors_are_sampled_one_by_one():
    image = RNG.random((8, 9, 3))
    target = affine2(translate=(0.3, -0.8), angle=4)
    result, _ = resample(image, np.eye(3), target, (8, 9))
    assert result.shape == (8, 9, 3)
    inside = np.s_[2:6, 2:7]
    for color in range(3):
        alone, _ = resample(image[..., color], np.eye(3), target, (8, 9))
        np.testing.assert_array_equal(result[..., color][inside], alone[inside])
    # What lies outside has no hue.
    assert len(set(result[0, 0])) == 1


def test_outside_is_the_smallest_value_inside():
    image = np.full((6, 6), 5.0)
    image[2, 2] = 3
    result, covered = resample(image, np.eye(3), affine2(translate=(0, 3)), (6, 6))
    np.testing.assert_array_equal(result[:, 3:], 5)
    result, covered = resample(image, np.eye(3), affine2(translate=(0, -3)), (6, 6))
    np.testing.assert_array_equal(result[:, :3], 3)
    assert covered == 0.5


def test_outside_of_8_bit_images_is_zero_where_their_window_starts():
    image = np.full((6, 6), 120, np.uint8)
    result, _ = resample(image, np.eye(3), affine2(translate=(0, 3)), (6, 6))
    np.testing.assert_array_equal(result, [[120] * 3 + [0] * 3] * 6)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (np.eye(3), 1),
        (affine2(translate=(2.5, 0)), 0.75),
        (affine2(translate=(5, 5)), 0.25),
        (affine2(scale=(0.5, 0.5), translate=(2, 2)), 0.25),
        (affine2(scale=(10, 10)), 1),
        (affine2(translate=(11, 0)), 0),
        # A square turned by 45 degrees about its center keeps 2 (sqrt(2) - 1) of itself.
        (
            affine2(translate=(4.5, 4.5)) @ affine2(angle=45) @ affine2(translate=(-4.5, -4.5)),
            0.8284,
        ),
    ],
)
def test_coverage(grid, expected):
    assert measure_both_ways(grid, (10, 10), np.eye(3), (10, 10)).of_target == pytest.approx(
        expected, abs=1e-4
    )


def test_coverage_agrees_with_the_pixels_counted():
    grid = affine2(scale=(0.7, 1.3), translate=(20, -31), angle=37)
    image = np.ones((100, 100))
    image[0, 0] = 0
    target = (200, 180)
    _, covered = resample(image, grid, np.eye(3), target)
    inside = module.find_inside(np.linalg.inv(grid), image.shape, target)
    assert covered == measure_both_ways(grid, image.shape, np.eye(3), target).of_target
    assert covered == pytest.approx(inside.mean(), abs=0.005)


def test_planes_of_a_volume():
    volume = RNG.random((6, 10, 12))
    for axis, (rows, columns) in enumerate([(1, 2), (0, 2), (0, 1)]):
        target = plane_of(3, rows, columns, at=4)
        expected = np.take(volume, 4, axis=axis)
        assert is_on_grid(np.eye(4), volume.shape, target, expected.shape)
        result, covered = resample(volume, np.eye(4), target, expected.shape)
        np.testing.assert_array_equal(result, expected)
        swapped, _ = resample(volume, np.eye(4), target[:, [1, 0, 2]], expected.shape[::-1])
        np.testing.assert_array_equal(swapped, expected.T)
        assert covered == 1


def test_a_plane_between_slices_mixes_them():
    volume = RNG.random((6, 10, 12))
    affine = np.diag([2.0, 1, 1, 1])
    target = plane_of(3, 1, 2, at=5)
    assert not is_on_grid(affine, volume.shape, target, (10, 12))
    result, _ = resample(volume, affine, target, (10, 12))
    np.testing.assert_allclose(result, (volume[2] + volume[3]) / 2)
    nearest, _ = resample(
        volume, affine, plane_of(3, 1, 2, at=4.9), (10, 12), interpolation="nearest"
    )
    np.testing.assert_array_equal(nearest, volume[2])


def test_an_oblique_plane_of_an_anisotropic_volume():
    z, y, x = np.mgrid[:9, :30, :30]
    affine = np.diag([3.0, 1, 0.5, 1])
    affine[:3, 3] = -2, 4, 1
    volume = (3.0 * z - 2) + 10 * (y + 4) + 100 * (0.5 * x + 1)
    target = np.array([[0.5, 0.2, 1], [0.9, 0, 6], [0, 0.45, 2], [0, 0, 1]])
    result, covered = resample(volume, affine, target, (20, 20))
    r, c = np.mgrid[:20, :20]
    world = (
        target[:3, 0, None, None] * r + target[:3, 1, None, None] * c + target[:3, 2, None, None]
    )
    assert covered == 1
    np.testing.assert_allclose(result, world[0] + 10 * world[1] + 100 * world[2], atol=1e-9)


def test_large_boxes_are_read_in_parts_with_the_same_result(monkeypatch):
    volume = RNG.random((20, 20, 20)).astype(np.float32)
    target = np.array([[0.7, 0.1, 1], [0.6, 0.2, 0.5], [0, 0.9, 0.3], [0, 0, 1]])
    whole, _ = resample(volume, np.eye(4), target, (19, 17))
    monkeypatch.setattr(module, "MOST_VOXELS", 400)
    lazy = Lazy(volume)
    parts, _ = resample(lazy, np.eye(4), target, (19, 17))
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert len(lazy.read) > 4
    assert max(np.prod(shape) for shape in lazy.read) <= 400


def test_only_the_slices_around_the_plane_are_read():
    lazy = Lazy(RNG.random((50, 10, 12)))
    resample(lazy, np.eye(4), plane_of(3, 1, 2, at=7), (10, 12))
    resample(lazy, np.eye(4), plane_of(3, 1, 2, at=7.25), (10, 12))
    resample(lazy, np.eye(4), plane_of(3, 1, 2, at=7.25), (4, 5))
    assert lazy.read == [(10, 12), (2, 10, 12), (2, 4, 5)]


def test_dask_computes_only_the_chunks_needed():
    dask_array = pytest.importorskip("dask.array")
    made = []

    def block(block_info):
        made.append(block_info[None]["chunk-location"])
        return np.full((1, 8, 8), float(sum(made[-1])))

    lazy = dask_array.map_blocks(
        block, dtype=float, chunks=((1,) * 20, (8, 8, 8), (8, 8, 8)), meta=np.empty((0, 0, 0))
    )
    made.clear()
    resample(lazy, np.eye(4), plane_of(3, 1, 2, at=5), (10, 8))
    assert sorted(made) == [(5, 0, 0), (5, 1, 0)]


def affine3(*, scale=1.0, translate=(0, 0, 0), angle=0.0):
    """Return the affine of a volume that is turned about its first and its last axis."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * scale
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    matrix[:3, 3] = translate
    return matrix


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("colors", [(), (3,)])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_a_volume_on_an_equal_grid_is_returned_bit_for_bit(dtype, colors, interpolation):
    volume = (RNG.random((4, 9, 11, *colors)) * 200).astype(dtype)
    grid = affine3(scale=0.3, translate=(1e5, -3, 2), angle=33)
    result, covered = resample(volume, grid, grid.copy(), (4, 9, 11), interpolation=interpolation)
    assert (covered, result.dtype) == (1, volume.dtype)
    np.testing.assert_array_equal(result, volume)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("colors", [(), (3,)])
def test_a_volume_is_turned_bit_for_bit(order, colors):
    volume = RNG.random((4, 5, 6, *colors))
    target = np.eye(4)[:, [*order, 3]]
    shape = tuple(volume.shape[axis] for axis in order)
    result, covered = resample(volume, np.eye(4), target, shape)
    assert covered == 1
    np.testing.assert_array_equal(result, volume.transpose(*order, *range(3, volume.ndim)))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("nearest", 0)])
def test_an_oblique_volume_is_sampled_as_scipy_does(dtype, interpolation, order):
    volume = (RNG.random((13, 15, 17)) * 1000).astype(dtype)
    affine = affine3(scale=1.3, translate=(2, -1, 3), angle=12)
    target = affine3(scale=0.8, translate=(4, 1, 4), angle=-25)
    shape = (9, 20, 14)
    where = np.linalg.solve(affine, target @ [*np.indices(shape).reshape(3, -1), np.ones(2520)])
    where = where[:3].reshape(3, *shape)
    last = np.array(volume.shape)[:, None, None, None] - 0.5
    inside = ((where >= -0.5) & (where <= last)).all(axis=0)
    assert 0.5 < inside.mean() < 1
    expected = ndimage.map_coordinates(volume.astype(float), where, order=order, mode="nearest")
    result, covered = resample(volume, affine, target, shape, interpolation=interpolation)
    assert result.dtype == volume.dtype
    assert covered == pytest.approx(inside.mean(), abs=0.02)
    tolerance = 0.51 if dtype == "int16" else 2e-3
    np.testing.assert_allclose(result[inside], expected[inside], atol=tolerance)
    assert set(result[~inside]) == {result[inside].min()}


def test_a_large_volume_is_read_in_parts_with_the_same_result(monkeypatch):
    volume = RNG.random((20, 20, 20)).astype(np.float32)
    target = affine3(scale=0.9, translate=(5, 1, 2), angle=20)
    whole, _ = resample(volume, np.eye(4), target, (9, 12, 14))
    monkeypatch.setattr(module, "MOST_VOXELS", 400)
    lazy = Lazy(volume)
    told = []
    with make_observable(lambda *each: told.append(each)), stage("resampling", 18):
        parts, _ = resample(lazy, np.eye(4), target, (9, 12, 14))
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert max(np.prod(shape) for shape in lazy.read) <= 400
    assert told[-1] == ("resampling", pytest.approx(9), 18)


def test_a_volume_takes_little_memory_beside_itself():
    volume = (RNG.random((40, 40, 40)) * 1000).astype(np.int16)
    target, shape = affine3(scale=0.4, translate=(5, 1, 2), angle=20), (80, 80, 80)
    resample(volume, np.eye(4), target, shape)
    tracemalloc.start()
    result, _ = resample(volume, np.eye(4), target, shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The mask of what lies inside, its opposite, and some planes of float64.
    assert peak < 2.5 * result.nbytes


def test_volumes_that_do_not_overlap_are_refused():
    with pytest.raises(ValueError, match="do not overlap in world coordinates; check"):
        resample(np.ones((5, 5, 5)), np.eye(4), affine3(translate=(0, 50, 0)), (5, 5, 5))


@pytest.mark.parametrize(
    ("grid", "shape", "expected"),
    [
        (np.eye(4), (10, 10, 10), 1),
        (affine3(translate=(2.5, 0, 0)), (10, 10, 10), 0.75),
        (affine3(translate=(5, 5, -5)), (10, 10, 10), 0.125),
        (affine3(scale=10, translate=(4, 4, 4)), (2, 2, 2), 1),
        (affine3(translate=(0, 0, 11)), (10, 10, 10), 0),
        # A slice of ten.
        (affine3(translate=(3, 0, 0)), (1, 10, 10), 0.1),
        # Half a slice at the border, and a slice between the pixels of the target.
        (affine3(translate=(-0.5, 0, 0)), (1, 10, 10), 0.05),
        (affine3(translate=(3.3, 0, 0)), (1, 10, 10), 0.1),
    ],
)
def test_coverage_of_volumes(grid, shape, expected):
    found = measure_both_ways(grid, shape, np.eye(4), (10, 10, 10))
    assert found.of_target == pytest.approx(expected, abs=2e-4)
    size = abs(np.linalg.det(grid)) * np.prod(shape)
    assert found.of_image == pytest.approx(1000 * expected / size, rel=1e-3)
    assert found.pixels == pytest.approx(found.of_image * np.prod(shape), rel=1e-3)


def test_coverage_of_oblique_volumes_agrees_with_points_counted():
    grid = affine3(scale=1.7, translate=(5, -4, 9), angle=31)
    found = measure_both_ways(grid, (18, 24, 20), np.eye(4), (30, 40, 36))
    # The centers of voxels a fourth as large.
    fine = np.diag([0.25, 0.25, 0.25, 1.0])
    fine[:3, 3] = -0.375
    inside = module.find_inside(np.linalg.solve(grid, fine), (18, 24, 20), (120, 160, 144))
    assert found.of_target == pytest.approx(inside.mean(), abs=5e-4)
    part = inside.sum() / 64 / np.linalg.det(grid) / (18 * 24 * 20)
    assert found.of_image == pytest.approx(part, abs=1e-3)


def test_no_overlap_is_refused():
    with pytest.raises(ValueError, match="do not overlap in world coordinates; check"):
        resample(np.ones((5, 5)), np.eye(3), affine2(translate=(50, 0)), (5, 5))
    with pytest.raises(ValueError, match="move to a slice"):
        resample(np.ones((5, 5, 5)), np.eye(4), plane_of(3, 1, 2, at=5), (5, 5))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            (np.ones((5, 5)), np.eye(3), np.eye(3), (5, 5)),
            {"interpolation": "cubic"},
            "linear, near",
        ),
        ((np.ones((5, 5)), np.eye(4), np.eye(3), (5, 5)), {}, r"got \(4, 4\) and \(3, 3\)"),
        ((np.ones((5, 5, 2)), np.eye(3), np.eye(3), (5, 5)), {}, r"must have 2 axes"),
        ((np.ones((5, 5)), np.diag([1, 0, 1]), np.eye(3), (5, 5)), {}, "other than 0"),
    ],
)
def test_unusable_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        resample(*arguments, **options)


def test_sources_are_never_changed():
    image = RNG.random((6, 7))
    image.setflags(write=False)
    resample(image, np.eye(3), affine2(translate=(0.5, 0.5), angle=3), (6, 7))
