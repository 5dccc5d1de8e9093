import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import choose_level
from napari_dip_fusion.sources.source import make_source

TURN = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])


def test_defaults():
    image = Source(np.zeros((4, 5, 6, 3)), rgb=True)
    assert image.axes == ("z", "y", "x")
    assert image.units == ("pixel",) * 3
    assert image.shape == (4, 5, 6)
    np.testing.assert_array_equal(image.affine, np.eye(4))
    assert Source(np.zeros((1,) * 5)).axes == ("axis 0", "t", "z", "y", "x")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rgb": True}, r"must end in 3 or 4, got shape \(4, 5\)"),
        ({"axes": ("x",)}, "2 axes need 2 names"),
        ({"units": ("mm",) * 3}, "2 axes need 2 names and units"),
        ({"affine": np.eye(4)}, r"shape \(3, 3\), got \(4, 4\)"),
        ({"affine": np.full((3, 3), np.nan)}, "must be finite"),
        ({"affine": np.diag([0.0, 1, 1])}, "is singular: .* give every axis a distance"),
        ({"affine": np.array([[1.0, 2, 0], [2, 4, 0], [0, 0, 1]])}, "is singular"),
        ({"axes": "yy"}, "a name of its own"),
        ({"axes": "tzyx"}, 'name them as in axes="zyx"'),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Source(np.zeros((4, 5)), **fields)


def test_transposed_axes_keep_place_colors_and_resolutions():
    affine = np.eye(4)
    affine[:3, :3] = TURN @ np.diag([3, 2, 1])
    affine[:3, 3] = (7, 8, 9)
    level = np.array([[1.0, 0, 0, 0], [0, 2, 0, 0.5], [0, 0, 2, 0.25], [0, 0, 0, 1]])
    data = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    image = Source(
        data,
        affine=affine,
        units=("mm", "um", "nm"),
        rgb=True,
        pyramid=(data[:, ::2, ::2],),
        level_affines=(level,),
    )
    turned = image.transpose([2, 0, 1])
    assert (turned.axes, turned.units) == (("x", "z", "y"), ("nm", "mm", "um"))
    np.testing.assert_array_equal(turned.data[5, 1, 3], data[1, 3, 5])
    np.testing.assert_allclose(turned.affine @ (5, 1, 3, 1), (affine @ (1, 3, 5, 1))[[2, 0, 1, 3]])
    np.testing.assert_array_equal(turned.pyramid[0][2, 1, 1], data[1, 2, 4])
    np.testing.assert_allclose(
        turned.find_level_affine(1) @ (2, 1, 1, 1), (level @ (1, 1, 2, 1))[[2, 0, 1, 3]]
    )
    assert image.transpose([0, 1, 2]) is image


def test_take_keeps_the_place():
    affine = np.eye(4)
    affine[:3, :3] = TURN @ np.diag([3, 2, 1])
    affine[:3, 3] = (7, 8, 9)
    image = Source(np.arange(24).reshape(2, 3, 4), affine=affine)
    kept = image.take("y", 1, keep=True)
    np.testing.assert_array_equal(kept.data, image.data[:, 1:2])
    np.testing.assert_allclose(kept.affine @ (1, 0, 3, 1), affine @ (1, 1, 3, 1))


def test_take_drops_an_axis_that_stands_alone_exactly():
    affine = np.eye(4)
    affine[:3, :3] = TURN @ np.diag([3, 2, 1])
    affine[:3, 3] = (7, 8, 9)
    plane = Source(np.zeros((2, 3, 4)), affine=affine).take("z", 1)
    assert plane.axes == ("y", "x")
    np.testing.assert_allclose(plane.affine, affine[1:, 1:])


def test_take_of_an_oblique_plane_keeps_lengths_and_angles():
    affine = np.eye(4)
    affine[:3, :3] = TURN.T[::-1, ::-1] @ np.array([[3, 0, 0], [0, 2, 0.5], [0.1, 0, 1]])
    image = Source(np.zeros((2, 3, 4)), affine=affine)
    steps = np.delete(affine[:3, :3], 1, axis=1)
    plane = image.take("y", 2)
    np.testing.assert_allclose(plane.affine[:2, :2].T @ plane.affine[:2, :2], steps.T @ steps)


def test_take_names_what_there_is():
    image = Source(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="axis must be one of y, x, got 'z'"):
        image.take("z", 0)
    with pytest.raises(ValueError, match="index on axis y must be 0 to 1, got 2"):
        image.take("y", 2)


def test_level_lies_where_the_full_image_does():
    image = Source(np.zeros((8, 6)), affine=np.diag([2.0, 3, 1]), pyramid=(np.zeros((4, 3)),))
    half = choose_level(image, 1)
    np.testing.assert_allclose(half.affine, [[4, 0, 1], [0, 6, 1.5], [0, 0, 1]])
    assert half.shape == (4, 3)


DECLARED = np.array([[2.0, 0, 0], [0, 2, 0.25], [0, 0, 1]])


def test_level_lies_where_it_is_declared():
    image = Source(
        np.zeros((9, 6)),
        affine=np.array([[0.0, 3, 10], [2, 0, 20], [0, 0, 1]]),
        pyramid=(np.zeros((4, 3)),),
        level_affines=(DECLARED,),
    )
    half = choose_level(image, 1)
    np.testing.assert_allclose(half.affine, [[0, 6, 10.75], [4, 0, 20], [0, 0, 1]])
    assert (half.pyramid, half.level_affines) == ((), ())
    # By their shapes, pixels would be 9 / 4 apart along y, the last one at 7.375 in place of 6.
    np.testing.assert_allclose(image.measure_level_shift(1), (7.375 - 6) / (9 / 4))
    assert image.measure_level_shift(0) == 0
    assert choose_level(image, 0).affine.tolist() == image.affine.tolist()
    # What has no resolutions any more has no places of them.
    assert image.take("y", 0, keep=True).level_affines == ()


@pytest.mark.parametrize("affines", [(DECLARED, DECLARED), (np.eye(4),)])
def test_each_coarser_level_has_one_affine(affines):
    with pytest.raises(ValueError, match=r"1 coarser resolutions need as many affines of shape"):
        Source(np.zeros((8, 6)), pyramid=(np.zeros((4, 3)),), level_affines=affines)


def test_letters_name_axes_and_colors_need_no_name():
    volume = Source(np.zeros((5, 6, 7)), axes="zyx")
    assert (volume.axes, volume.rgb) == (("z", "y", "x"), False)
    stack = Source(np.zeros((5, 6, 7, 3)), axes="zyx")
    assert (stack.shape, stack.rgb) == ((5, 6, 7), True)
    assert Source([[1, 2], [3, 4]]).shape == (2, 2)


@pytest.mark.parametrize(
    ("shape", "axes", "rgb"),
    [
        ((5, 6), ("y", "x"), False),
        ((5, 6, 3), ("y", "x"), True),
        ((5, 6, 4), ("y", "x"), True),
        ((3, 5, 6), ("z", "y", "x"), False),
    ],
)
def test_a_plain_array_is_a_plane_or_a_volume(shape, axes, rgb):
    source = make_source(np.zeros(shape), name="CT")
    assert (source.axes, source.rgb, source.name) == (axes, rgb, "CT")


@pytest.mark.parametrize("shape", [(5,), (2, 5, 6, 7), (5, 6, 7, 3)])
def test_other_arrays_need_names_of_their_axes(shape):
    with pytest.raises(ValueError, match=r'CT has \d axes.*axes="tzyx"'):
        make_source(np.zeros(shape), name="CT")
