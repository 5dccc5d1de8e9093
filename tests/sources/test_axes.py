"""Axes of different kinds are never matched, and unknown units never count as 1."""

from itertools import permutations

import numpy as np
import pytest

from napari_dip_fusion.sources import GUESSED_PLACE, Source
from napari_dip_fusion.sources.axes import align_axes, find_counted_axes, share_space
from napari_dip_fusion.sources.axis_order import arrange_axes, limit_axes, list_kinds, turn_to_world
from napari_dip_fusion.sources.grid import find_finest, resample_to_reference
from napari_dip_fusion.sources.parts import choose_level
from napari_dip_fusion.sources.source import STAGE_POSITION
from napari_dip_fusion.sources.units import find_factor

RNG = np.random.default_rng(3)
SIZES = {"t": 4, "z": 5, "frame": 4, "echo": 2, "y": 12, "x": 14}


def make(axes, units, *, spacing=1.0, name="", **changes) -> Source:
    """Return an image of random values; each axis is named and has a unit."""
    shape = [SIZES.get(axis, 5) for axis in axes]
    affine = np.diag([*[spacing] * len(axes), 1.0])
    return Source(RNG.random(shape), axes, affine=affine, units=units, name=name, **changes)


MM = make("zyx", ("mm",) * 3, name="CT")


@pytest.mark.parametrize(
    ("axes", "units", "named"),
    [
        ("zyx", ("mm",) * 3, "zyx"),
        ("tyx", ("s", "mm", "mm"), "tyx"),
        (("frame", "y", "x"), ("pixel", "mm", "mm"), ("frame", "y", "x")),
        (("depth", "y", "x"), ("um", "um", "um"), "zyx"),
        (("depth", "row", "column"), ("um", "um", "um"), "zyx"),
        (("echo", "slice", "y", "x"), ("pixel", "mm", "mm", "mm"), ("echo", "z", "y", "x")),
        ("tzyx", ("s", "mm", "mm", "mm"), "tzyx"),
        (("phase", "y", "x"), ("ms", "mm", "mm"), ("phase", "y", "x")),
        # Two candidates: neither is more the height than the other.
        (("a", "b", "y", "x"), ("mm",) * 4, ("a", "b", "y", "x")),
    ],
)
def test_axes_take_the_name_of_what_they_mean(axes, units, named):
    assert align_axes(make(axes, units), MM).axes == tuple(named)


def test_axes_in_another_order_are_brought_into_one():
    affine = np.array([[3, 0, 0, 30], [0, 2, 0, 20], [0, 0, 1, 10], [0, 0, 0, 1.0]])
    data = RNG.random((12, 14, 5, 3))
    turned = Source(data, ("y", "x", "z"), affine=affine, units=("um", "mm", "cm"), rgb=True)
    image = align_axes(turned, MM)
    assert (image.axes, image.units) == (("z", "y", "x"), ("cm", "um", "mm"))
    np.testing.assert_array_equal(image.data[4, 2, 3], data[2, 3, 4])
    world = turned.affine @ (2, 3, 4, 1)
    np.testing.assert_allclose(image.affine @ (4, 2, 3, 1), world[[2, 0, 1, 3]])


def test_resolutions_go_along_into_another_order():
    level = np.array([[2, 0, 0, 0.5], [0, 4, 0, 1.5], [0, 0, 1, 0], [0, 0, 0, 1]])
    data = RNG.random((12, 16, 5))
    turned = make("yxz", ("mm",) * 3).replace(
        data=data, pyramid=(data[::2, ::4],), level_affines=(level,)
    )
    image = choose_level(align_axes(turned, MM), 1)
    np.testing.assert_array_equal(image.data, data[::2, ::4].transpose(2, 0, 1))
    np.testing.assert_array_equal(
        image.affine, [[1, 0, 0, 0], [0, 2, 0, 0.5], [0, 0, 4, 1.5], [0, 0, 0, 1]]
    )


@pytest.mark.parametrize(
    ("axes", "units", "arranged"),
    [
        ("tzyx", ("s", "mm", "mm", "mm"), "tzyx"),
        ("ztyx", ("mm", "s", "mm", "mm"), "tzyx"),
        ("yxz", ("mm",) * 3, "zyx"),
        (("echo", "t", "z", "y", "x"), ("pixel",) * 5, ("t", "echo", "z", "y", "x")),
        (("z", "rows", "columns"), ("mm",) * 3, ("z", "rows", "columns")),
        (("depth", "frame", "y", "x"), ("um", "pixel", "um", "um"), ("frame", "depth", "y", "x")),
    ],
)
def test_axes_are_arranged_as_files_hold_them(axes, units, arranged):
    assert arrange_axes(make(axes, units)).axes == tuple(arranged)


@pytest.mark.parametrize(
    ("axes", "units", "kinds"),
    [
        ("tzyx", ("pixel",) * 4, ["time", "space", "space", "space"]),
        (("depth", "y", "x"), ("um",) * 3, ["space"] * 3),
        (("echo", "y", "x"), ("pixel",) * 3, ["echo", "space", "space"]),
        # Nothing says what these are.
        (("-3", "-2", "-1"), ("pixel",) * 3, ["space"] * 3),
        (("q", "q2", "y", "x"), ("pixel",) * 4, ["time", "space", "space", "space"]),
        (("q", "q2", "q3", "y", "x"), ("pixel",) * 5, ["", "time", *["space"] * 3]),
        (("axis 0", "t", "z", "y", "x"), ("pixel",) * 5, ["", "time", *["space"] * 3]),
        (("t", "q", "y", "x"), ("pixel",) * 4, ["time", "space", "space", "space"]),
        (("q", "t", "y", "x"), ("pixel",) * 4, ["", "time", "space", "space"]),
        (("-3", "-2", "-1"), ("s", "um", "um"), ["time", "space", "space"]),
        (("rows", "columns"), ("pixel",) * 2, ["space", "space"]),
    ],
)
def test_kinds_of_axes(axes, units, kinds):
    assert list_kinds(tuple(axes), units) == kinds


def test_axes_of_one_pixel_make_room():
    image = Source(RNG.random((1, 2, 1, 4, 5)), ("t", "echo", "z", "y", "x"))
    assert limit_axes(image, 1, beside=("space",)).axes == ("echo", "z", "y", "x")
    assert limit_axes(image, 1, beside=("space", "time")) is image
    two = Source(RNG.random((1, 1, 4, 5)), ("b", "echo", "y", "x"))
    assert limit_axes(two, 1, beside=("space",)).axes == ("echo", "y", "x")
    assert limit_axes(two, 0, beside=("space",)).axes == ("y", "x")
    long = Source(RNG.random((2, 2, 4, 5)), ("b", "echo", "y", "x"))
    assert limit_axes(long, 1, beside=("space",)) is long


@pytest.mark.parametrize(
    ("own", "other", "factor"),
    [
        ("um", "mm", 1e-3),
        ("s", "ms", 1e3),
        ("mm", "mm", 1),
        ("pixel", "pixel", 1),
        ("furlong", "furlong", 1),
        ("pixel", "mm", None),
        ("furlong", "mm", None),
        ("furlong", "pixel", None),
        ("s", "mm", None),
    ],
)
def test_units_that_do_not_measure_the_same_have_no_factor(own, other, factor):
    assert find_factor(own, other) == (factor if factor is None else pytest.approx(factor))


@pytest.mark.parametrize(
    ("units", "shared", "counted"),
    [
        (("mm", "mm", "mm"), True, []),
        (("pixel", "um", "um"), True, ["z"]),
        (("um", "furlong", "furlong"), False, ["z"]),
        (("pixel",) * 3, False, ["z"]),
    ],
)
def test_what_can_be_compared_only_by_index(units, shared, counted):
    image = make("zyx", units, spacing=2.0)
    assert share_space(image, MM) is shared
    assert find_counted_axes(image, MM) == counted


def test_a_frame_number_is_no_height():
    frames = make(("frame", "y", "x"), ("pixel", "mm", "mm"), name="NM")
    for first, images in ((0, [MM, frames]), (1, [frames, MM])):
        with pytest.raises(ValueError, match=r"choose one of (frame|z)"):
            resample_to_reference(images, plane="z=3" if first == 0 else "frame=2")
        grid = resample_to_reference(images, plane="frame=2,z=3", reference=first)
        np.testing.assert_array_equal(grid.arrays[first], MM.data[3])
        np.testing.assert_array_equal(grid.arrays[1 - first], frames.data[2])


def test_times_in_seconds_meet_and_times_that_only_count_go_by_index():
    slow = make("tyx", ("s", "mm", "mm"), name="slow")
    fast = slow.replace(affine=np.diag([500.0, 1, 1, 1]), units=("ms", "mm", "mm"), name="fast")
    grid = resample_to_reference([slow, fast], plane="t=1", reference=0)
    np.testing.assert_array_equal(grid.arrays[1], fast.data[2])
    counted = slow.replace(units=("pixel", "mm", "mm"))
    grid = resample_to_reference([slow, counted], plane="t=1", reference=0)
    np.testing.assert_array_equal(grid.arrays[1], counted.data[1])


@pytest.mark.parametrize("unit", ["pixel", "furlong"])
def test_an_unknown_unit_is_said_and_never_one_of_a_known(unit):
    known = make("yx", ("mm", "mm"), spacing=0.5, name="CT")
    other = make("yx", (unit,) * 2, spacing=2.0, name="scan")
    grid = resample_to_reference([known, other])
    np.testing.assert_array_equal(grid.arrays[1], other.data)
    assert grid.remarks == [
        f"scan is measured in {unit} and CT in mm, which cannot be compared: "
        "they are laid pixel on pixel"
    ]
    assert find_finest([known, other.replace(affine=np.diag([1e-3, 1e-3, 1]))]) == 0
    smaller = other.replace(data=other.data[1:])
    with pytest.raises(ValueError, match=rf"scan has 11 x 14 pixels in {unit}, CT has 12 x 14 in"):
        resample_to_reference([known, smaller])


def test_a_stack_that_counts_its_slices_goes_by_index_beside_one_in_millimeters():
    stack = make("zyx", ("pixel",) * 3, name="stack")
    for reference in (0, 1):
        grid = resample_to_reference([MM, stack], plane="z=3", reference=reference)
        np.testing.assert_array_equal(grid.arrays[0], MM.data[3])
        np.testing.assert_array_equal(grid.arrays[1], stack.data[3])
    single = MM.take("z", 2, keep=True)
    with pytest.raises(ValueError, match=r"^stack holds more than one plane, choose one of z: 0"):
        resample_to_reference([single, stack])
    grid = resample_to_reference([single, stack], plane="z=4")
    np.testing.assert_array_equal(grid.arrays[0], MM.data[2])
    np.testing.assert_array_equal(grid.arrays[1], stack.data[4])


def test_a_guessed_place_is_called_a_guess():
    guessed = make("yx", ("mm", "mm"), name="old", metadata={GUESSED_PLACE: "no codes are set"})
    sure = make("yx", ("mm", "mm"), name="new")
    assert resample_to_reference([sure, guessed]).remarks == [
        "the place of old is a guess: no codes are set"
    ]
    assert resample_to_reference([sure, sure]).remarks == []
    affine = np.eye(3)
    affine[0, 2] = 1e4
    with pytest.raises(
        ValueError, match=r"do not overlap.*; the place of old is a guess: no codes are"
    ):
        resample_to_reference([sure, guessed.replace(affine=affine)])


def test_a_stage_position_of_one_source_alone_is_told_where_they_do_not_overlap():
    affine = np.eye(3)
    affine[:2, 2] = 5000
    on_stage = make("yx", ("um", "um"), name="tile", metadata={STAGE_POSITION: {"x": "5000 um"}})
    on_stage = on_stage.replace(affine=affine)
    derived = make("yx", ("um", "um"), name="denoised")
    with pytest.raises(ValueError, match=r"do not overlap.*; tile lies where the stage was, the"):
        resample_to_reference([derived, on_stage])


def test_what_is_made_at_a_guessed_place_has_a_guessed_place():
    guessed = make("yx", ("mm", "mm"), metadata={GUESSED_PLACE: "no codes are set", "kept": 1})
    grid = resample_to_reference([guessed, make("yx", ("mm", "mm"))])
    fused = grid.make_source(grid.arrays[0], flat=True, metadata={"record": {}})
    assert fused.metadata == {"record": {}, GUESSED_PLACE: "no codes are set"}


def make_turned(order, signs, tilt=0.0) -> Source:
    """Return a volume whose axes run along those of the world in another order, or tilted."""
    steps = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        steps[row, column] = sign * (3.0, 2.0, 1.0)[column]
    c, s = np.cos(tilt), np.sin(tilt)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ steps
    affine[:3, 3] = (7, -8, 9)
    data = RNG.random((4, 5, 6))
    levels = (data[:, ::2, ::2],)
    place = np.diag([1.0, 2, 2, 1])
    return Source(
        data, affine=affine, units=("mm",) * 3, pyramid=levels, level_affines=(place,), name="a"
    )


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a_volume_of_any_orientation_is_turned_to_the_world_and_stays_where_it_is(
    order, signs, tilt
):
    image = make_turned(order, signs, tilt)
    turned = turn_to_world(image)
    assert (turned is image) == (order == (0, 1, 2))
    assert turned.axes == image.axes
    # Every two axes of the array are seen as an area over the same two of the world.
    for pair in ([0, 1], [0, 2], [1, 2]):
        block = turned.affine[np.ix_(pair, pair)] / turned.spacing[pair]
        assert abs(np.linalg.det(block)) > 0.5
    for level in (0, 1):
        own, other = (choose_level(i, level) for i in (image, turned))
        for index in ((0, 0, 0), (1, 2, 1), (3, 1, 2)):
            where = np.linalg.solve(other.affine, own.affine @ (*index, 1))
            found = np.rint(where[:3]).astype(int)
            np.testing.assert_allclose(where[:3], found, atol=1e-9)
            assert other.data[tuple(found)] == own.data[index]


def test_what_is_no_volume_or_hardly_turned_is_left_as_it_is():
    for image in (make("yx", ("mm", "mm")), make("tyx", ("s", "mm", "mm"))):
        assert turn_to_world(image) is image
    slanted = make_turned((0, 1, 2), (1, 1, 1), tilt=0.7)
    assert turn_to_world(slanted) is slanted
    series = make("tzyx", ("s", "mm", "mm", "mm"), rgb=False)
    affine = np.eye(5)
    affine[1:4, 1:4] = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    turned = turn_to_world(series.replace(affine=affine))
    assert turned.shape == (4, 12, 14, 5)
    np.testing.assert_array_equal(turned.affine, np.eye(5))
