"""Whole volumes and series are brought to one grid, and no more of them is read than is needed."""

from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.interruption import make_interruptible, make_observable
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import find_finest, resample_to_reference
from napari_dip_fusion.sources.own_pixels import (
    InterpolatedSeries,
    InterpolatedSource,
    ResampledSource,
)
from napari_dip_fusion.sources.resample import resample

RNG = np.random.default_rng(16)
MM3 = ("mm", "mm", "mm")


class Lazy:
    """An array that counts the planes that are read of it, and cannot be read as a whole."""

    def __init__(self, data: np.ndarray, *, most: int) -> None:
        self.data, self.shape, self.dtype, self.most = data, data.shape, data.dtype, most
        self.read: list[tuple[int, ...]] = []

    def __getitem__(self, index):
        part = self.data[index]
        self.read.append(part.shape)
        assert part.size <= self.most, "too much was read at once"
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


def make(axes, sizes, spacing, **changes) -> Source:
    """Return an image of random values in millimeters and seconds, from the origin on."""
    units = tuple("s" if axis == "t" else "pixel" if axis == "c" else "mm" for axis in axes)
    data = RNG.random(sizes, dtype=np.float32)
    fields = {"data": data, "affine": np.diag([*spacing, 1.0]), "units": units, "name": axes}
    return Source(axes=tuple(axes), **{**fields, **changes})


def turn(spacing: float, corner: tuple[float, float, float]) -> np.ndarray:
    """Return the affine of a volume that is turned about two axes."""
    c, s = np.cos(0.3), np.sin(0.3)
    first = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = first @ first[::-1, ::-1].T * spacing
    affine[:3, 3] = corner
    return affine


def test_volumes_on_oblique_grids_meet_where_the_world_says():
    ct = make("zyx", (9, 30, 32), (3.0, 1.0, 1.0), name="CT")
    affine = turn(1.2, (-3.0, -8.0, 2.0))
    mr = make("zyx", (24, 33, 35), (1.0,) * 3, affine=affine, name="MR")
    grid = resample_to_reference([ct, mr], reference=0)
    assert grid.resampled == [False, True]
    assert [image.shape for image in grid.images] == [ct.shape] * 2
    world = ct.affine @ [*np.indices(ct.shape).reshape(3, -1), np.ones(ct.data.size)]
    where = np.linalg.solve(affine, world)[:3].reshape(3, *ct.shape)
    expected = ndimage.map_coordinates(mr.data, where, order=1, mode="nearest")
    last = np.array(mr.shape)[:, None, None, None]
    inside = ((where >= -0.5) & (where <= last - 0.5)).all(axis=0)
    assert 0.3 < inside.mean() < 0.9
    np.testing.assert_allclose(grid.arrays[1][inside], expected[inside], atol=1e-5)
    np.testing.assert_array_equal(grid.arrays[1][~inside], grid.arrays[1][inside].min())
    assert grid.coverage[1].of_target == pytest.approx(inside.mean(), abs=0.02)
    own = grid.images[1].own_pixels
    np.testing.assert_array_equal(own.inside, inside)
    np.testing.assert_allclose(own.interpolate(own.plane)[inside], expected[inside], atol=1e-5)


def test_images_of_a_volume_lie_where_the_reference_does():
    ct = make("tzyx", (1, 5, 20, 22), (2.0, 3.0, 1.0, 1.0))
    mr = make("zyx", (6, 30, 30), (2.5, 0.7, 0.7))
    grid = resample_to_reference([ct, mr], reference=0)
    for image in grid.images:
        assert (image.axes, image.units) == (("z", "y", "x"), MM3)
        np.testing.assert_array_equal(image.affine, ct.affine[1:, 1:])
    assert isinstance(grid.images[1], InterpolatedSource)
    fused = grid.make_source(grid.arrays[1], flat=False, name="fused")
    assert fused.shape == (1, 5, 20, 22)
    np.testing.assert_array_equal(fused.affine, ct.affine)
    flat = grid.make_source(np.zeros((5, 20, 22, 3)), flat=True)
    assert (flat.shape, flat.rgb, flat.axes) == ((5, 20, 22), True, ("z", "y", "x"))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("colors", [(), (3,)])
def test_a_volume_whose_slices_run_along_another_axis_is_turned_bit_for_bit(order, colors):
    data = RNG.integers(0, 9999, (5, 6, 7, *colors), dtype=np.uint16)
    place = np.diag([3.0, 1.0, 2.0, 1.0])
    place[:3, 3] = (7, -8, 9)
    volume = Source(data, ("z", "y", "x"), affine=place, units=MM3, rgb=bool(colors))
    turned = Source(
        np.transpose(data, [*order, *range(3, data.ndim)]),
        ("z", "y", "x"),
        affine=place[:, [*order, 3]],
        units=MM3,
        rgb=bool(colors),
    )
    grid = resample_to_reference([volume, turned], reference=0)
    assert grid.resampled == [False, False]
    assert grid.images[1].rgb == bool(colors)
    np.testing.assert_array_equal(grid.arrays[1], data)


def test_a_smaller_volume_is_cut_out_of_a_larger_one_bit_for_bit():
    large = make("zyx", (9, 20, 22), (3.0, 1.0, 1.0))
    affine = large.affine.copy()
    affine[:3, 3] = (6, 4, 5)
    small = make("zyx", (4, 10, 8), (3.0, 1.0, 1.0), affine=affine)
    grid = resample_to_reference([small, large], reference=0)
    np.testing.assert_array_equal(grid.arrays[1], large.data[2:6, 4:14, 5:13])
    assert grid.coverage[1].of_target == 1
    assert grid.coverage[1].of_image == pytest.approx(4 * 10 * 8 / (9 * 20 * 22), rel=1e-3)


def test_units_of_volumes_are_brought_together():
    fine = make("zyx", (4, 20, 20), (3000.0, 500.0, 500.0), units=("um",) * 3)
    coarse = make("zyx", (4, 20, 20), (3.0, 0.5, 0.5))
    assert resample_to_reference([coarse, fine]).resampled == [False, False]


@pytest.mark.parametrize("axes", ["tyx", "tzyx", "ctyx", "zctyx"])
def test_a_series_goes_frame_by_frame(axes):
    sizes = {"t": 3, "z": 4, "c": 2, "y": 20, "x": 21}
    spacing = {"t": 2.0, "z": 3.0, "c": 1.0, "y": 1.0, "x": 1.0}
    first = make(axes, tuple(sizes[a] for a in axes), tuple(spacing[a] for a in axes))
    affine = first.affine.copy()
    affine[-3:-1, -1] = 0.5, 1.25
    # A clock of its own is nothing that frames could be found by.
    affine[axes.index("t"), axes.index("t")] = 7.0
    second = make(axes, first.shape, (1.0,) * first.ndim, affine=affine)
    grid = resample_to_reference([first, second], reference=0)
    assert grid.resampled == [False, True]
    assert grid.images[1].axes == tuple(axes)
    assert isinstance(grid.images[1], ResampledSource)
    assert isinstance(grid.images[1], InterpolatedSeries) == (axes != "zctyx")
    outside = np.zeros((20, 21), dtype=bool)
    outside[:, 0] = True
    np.testing.assert_array_equal(~grid.images[1].inside, np.broadcast_to(outside, first.shape))
    lowest = min(
        resample(plane, np.eye(3), np.array([[1, 0, -0.5], [0, 1, -1.25], [0, 0, 1]]), (20, 21))[
            0
        ].min()
        for plane in second.data.reshape(-1, 20, 21)
    )
    for index in np.ndindex(*first.shape[:-2]):
        plane = second.data[index]
        found = grid.arrays[1][index]
        mean = 0.5 * (plane[:-1] + plane[1:])
        mixed = 0.25 * mean[:, :-1] + 0.75 * mean[:, 1:]
        np.testing.assert_allclose(found[1:, 2:], mixed[:, :-1], atol=1e-6)
        np.testing.assert_array_equal(found[:, 0], lowest)


@pytest.mark.parametrize("between", [0.0, 0.5])
def test_each_frame_of_a_series_has_what_it_was_made_from(between):
    place = make("ctzyx", (2, 3, 1, 20, 21), (1.0, 2.0, 3.0, 1.0, 1.0))
    affine = np.eye(6)
    affine[2:5, 5] = -3 + between, 0.5, -0.25
    data = RNG.random((2, 3, 6, 22, 24), dtype=np.float32)
    other = make("ctzyx", data.shape, (1.0,) * 5, data=data, affine=affine)
    image = resample_to_reference([place, other], reference=0).images[1]
    assert isinstance(image, InterpolatedSeries)
    assert image.frame_axes == 2
    for number in np.ndindex(2, 3):
        own = image.find_own_pixels(number)
        assert own.planes.shape[0] == (1 if between == 0 else 2)
        assert np.isin(own.planes, data[number]).all()
        again = own.interpolate(own.plane)
        inside = image.inside[number]
        np.testing.assert_array_equal(own.inside, inside)
        np.testing.assert_allclose(again[inside], image.data[number][inside], atol=1e-6)


def test_a_series_on_the_grid_is_not_read():
    data = RNG.random((6, 20, 22), dtype=np.float32)
    first = make("tyx", (6, 20, 22), (1.0, 1.0, 1.0))
    lazy = first.replace(data=Lazy(data, most=0))
    grid = resample_to_reference([first, lazy], reference=0)
    assert grid.images[1].data is lazy.data
    assert lazy.data.read == []


def test_series_of_dask_are_cut_without_being_computed():
    array = pytest.importorskip("dask.array")
    first = make("tzyx", (2, 3, 8, 9), (1.0, 3.0, 1.0, 1.0))
    affine = first.affine.copy()
    affine[2, 4] = -4.0
    data = RNG.random((2, 3, 20, 9))
    other = first.replace(data=array.from_array(data, chunks=(1, 1, 20, 9)), affine=affine)
    grid = resample_to_reference([first, other], reference=0)
    assert isinstance(grid.images[1].data, array.Array)
    np.testing.assert_array_equal(grid.arrays[1], data[:, :, 4:12])


@pytest.mark.parametrize(("height", "most"), [(4, 1), (4.25, 2)])
def test_of_one_plane_only_the_neighborhood_is_read(height, most):
    reference = make("zyx", (9, 20, 22), (1.0, 1.0, 1.0))
    affine = np.eye(5)
    affine[1, 4] = 4 - height
    data = RNG.random((3, 50, 20, 22), dtype=np.float32)
    lazy = Lazy(data, most=most * 20 * 22)
    series = make("tzyx", data.shape, (1.0,) * 4, data=lazy, affine=affine, name="series")
    own = Lazy(reference.data, most=20 * 22)
    grid = resample_to_reference(
        [reference.replace(data=own), series], reference=0, plane="z=4,t=1"
    )
    assert own.read == [(20, 22)]
    assert lazy.read == [(20, 22) if most == 1 else (2, 20, 22)]
    np.testing.assert_array_equal(grid.arrays[0], reference.data[4])
    if most == 1:
        np.testing.assert_array_equal(grid.arrays[1], data[1, 4])
    # The same plane in each of the frames.
    affine = np.eye(5)
    affine[1, 4] = 4
    data = RNG.random((3, 1, 20, 22), dtype=np.float32)
    planes = make("tzyx", data.shape, (1.0,) * 4, data=data, affine=affine)
    lazy.read.clear()
    lazy.most = 3 * most * 20 * 22
    grid = resample_to_reference([planes, series], reference=0)
    assert grid.images[1].shape == (3, 20, 22)
    assert lazy.read == ([] if most == 1 else [(2, 20, 22)] * 3)
    if most == 1:
        np.testing.assert_array_equal(grid.arrays[1], lazy.data[:, 4])
        assert lazy.read == [(3, 20, 22)]


def test_a_part_of_a_series_is_a_volume_or_a_series_of_planes():
    first, second = (make("tzyx", (3, 4, 20, 21), (2.0, 3.0, 1.0, 1.0)) for _ in range(2))
    for plane, index in (
        ("t=1", np.s_[1]),
        ("z=2", np.s_[:, 2]),
        ("t=2,z=3", np.s_[2, 3]),
        (None, np.s_[:]),
    ):
        grid = resample_to_reference([first, second], plane=plane)
        for array, source in zip(grid.arrays, (first, second), strict=True):
            np.testing.assert_array_equal(array, source.data[index])
        assert grid.place.ndim == 4
    volume = second.take("t", 0)
    grid = resample_to_reference([first, volume], plane="t=1")
    np.testing.assert_array_equal(grid.arrays[1], volume.data)


def test_stacks_without_a_place_lie_pixel_on_pixel():
    first, second = (Source(RNG.random((5, 9, 8)), ("z", "y", "x")) for _ in range(2))
    grid = resample_to_reference([first, second])
    for array, source in zip(grid.arrays, (first, second), strict=True):
        np.testing.assert_array_equal(array, source.data)
    assert grid.remarks == []
    placed = make("zyx", (5, 9, 8), (3.0, 1.0, 1.0))
    grid = resample_to_reference([placed, first])
    np.testing.assert_array_equal(grid.arrays[1], first.data)
    assert len(grid.remarks) == 1


def test_color_of_a_stack_stays_color():
    rgb = Source(
        RNG.integers(0, 255, (4, 20, 21, 3), dtype=np.uint8),
        ("z", "y", "x"),
        affine=np.diag([3.0, 1, 1, 1]),
        units=MM3,
        rgb=True,
    )
    place = make("zyx", (4, 18, 17), (3.0, 1.1, 1.2))
    grid = resample_to_reference([rgb, place], reference=1)
    image = grid.images[0]
    assert (image.shape, image.rgb, image.dtype) == ((4, 18, 17), True, np.uint8)
    for color in range(3):
        alone = rgb.replace(data=rgb.data[..., color], rgb=False)
        expected = resample_to_reference([alone, place], reference=1).arrays[0]
        np.testing.assert_array_equal(image.data[..., color], expected)


def test_the_pixels_of_planes_say_which_volume_is_the_finest():
    thin = make("zyx", (9, 8, 8), (0.5, 2.0, 2.0))
    thick = make("zyx", (3, 16, 16), (5.0, 1.0, 1.0))
    assert find_finest([thin, thick]) == 1
    assert find_finest([thick, thick]) == 0


VOLUME = make("zyx", (5, 12, 14), (3.0, 1.0, 1.0), name="CT")
SERIES = make("tzyx", (4, 5, 12, 14), (2.0, 3.0, 1.0, 1.0), name="fMRI")
FAR = VOLUME.replace(affine=VOLUME.affine + 1e4 * np.eye(4, 4, 3), name="far")
BARE = Source(RNG.random((5, 12, 14)), ("z", "y", "x"), name="bare")


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            [SERIES, SERIES.replace(data=SERIES.data[:3], name="short")],
            r"^short has 3 frames along t, fMRI \(the reference\) has 4, and nothing but their "
            "number says which belong together; cut both alike$",
        ),
        (
            [
                Source(np.ones((4, 9, 8)), "tyx", name="a"),
                Source(np.ones((3, 9, 8)), "tyx", name="b"),
            ],
            r"^b has 3 frames along t, a \(the reference\) has 4, and nothing but their number",
        ),
        (
            [VOLUME, SERIES],
            r"^fMRI has 4 frames along t, CT \(the reference\) has 1; choose one of t: 0 to 3, "
            'with --slice t=N or plane="t=N"$',
        ),
        (
            [SERIES, VOLUME],
            r"^CT has 1 frame along t, fMRI \(the reference\) has 4; choose one of t: 0 to 3, with",
        ),
        (
            [VOLUME, VOLUME.take("z", 2).replace(name="plane")],
            r"^plane has 1 plane along z, CT \(the reference\) has 5; choose one of z: 0 to 4",
        ),
        (
            [VOLUME, VOLUME.take("z", 2, keep=True).replace(units=("pixel", "mm", "mm"), name="p")],
            r"^p has 1 plane along z, CT \(the reference\) has 5; choose one of z: 0 to 4, with ",
        ),
        (
            [
                BARE.replace(data=RNG.random((100, 12, 14)), name="deep"),
                BARE.take("z", 0, keep=True),
            ],
            "^bare has 12 x 14 pixels in pixel, deep has 100 x 12 x 14 in pixel: nothing says how "
            "they lie on each other; give both .* or choose one plane with --slice z=N or plane=",
        ),
        (
            [BARE, BARE.replace(data=BARE.data[:, 1:], name="cut")],
            "^cut has 5 x 11 x 14 pixels in pixel, bare has 5 x 12 x 14 in pixel: nothing says how",
        ),
        (
            [VOLUME, BARE.replace(data=BARE.data[1:])],
            "^bare has 4 x 12 x 14 pixels in pixel, CT has 5 x 12 x 14 in mm: nothing says how",
        ),
        (
            [VOLUME, FAR],
            "^far: the image and the target do not overlap in world coordinates; check",
        ),
    ],
)
def test_what_does_not_go_together_ends_in_one_clear_line(sources, message):
    with pytest.raises(ValueError, match=message) as error:
        resample_to_reference(sources, reference=0)
    assert "\n" not in str(error.value)


def test_progress_is_told_in_planes_and_a_run_can_be_left():
    told: list[tuple[str, float, float]] = []
    place = make("zyx", (6, 20, 22), (3.0, 1.0, 1.0))
    other = make("zyx", (30, 30, 30), (1.0,) * 3, affine=turn(1.0, (0.0, 0.0, 0.0)))
    with make_observable(lambda *each: told.append(each)):
        resample_to_reference([place, other, place], reference=0)
    assert told[0] == ("resampling", 0, 6)
    assert told[-1] == ("resampling", 6, 6)
    assert len(told) == 7
    told.clear()
    with make_observable(lambda *each: told.append(each)):
        resample_to_reference([place, other], reference=0, plane="z=2")
        resample_to_reference([place, place])
    assert told == []

    class LeftError(Exception):
        """What ends a run."""

    def leave() -> None:
        raise LeftError

    with make_interruptible(leave), pytest.raises(LeftError):
        resample_to_reference([place, other], reference=0)
