"""Where each resolution lies: as declared, whatever its size and wherever it begins."""

import warnings

import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.sources.source import GUESSED_PLACE

LEFT_OUT = object()


def read(path, **choice):
    """Return an image, and its warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(path, **choice)
    return image, " ".join(str(w.message) for w in caught)


def ramp(shape, scale, shift):
    """Return pixels whose values tell the place in the world at which they lie."""
    y, x = (np.arange(n) * scale + shift for n in shape)
    return (1000 + 10 * x[None, :] + 7 * y[:, None]).astype("f4")


def dataset(path, scale, shift=None):
    steps = [] if scale is None else [{"type": "scale", "scale": [scale] * 2}]
    if shift is not None:
        steps.append({"type": "translation", "translation": [shift] * 2})
    return {"path": path, "coordinateTransformations": steps}


def check_places(image):
    """Compare the values of pixels with the places that the affine gives them."""
    data = np.asarray(image.data)
    for index in ((0, 0), (1, 2), (data.shape[0] - 1, data.shape[1] - 1)):
        y, x = (image.affine @ (*index, 1))[:2]
        np.testing.assert_allclose(data[index], 1000 + 10 * x + 7 * y, rtol=1e-5)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("levels", "said"),
    [
        # Size, scale and translation of each level: means, every second pixel, and odd sizes.
        ([(64, 1, None), (32, 2, 0.5)], ""),
        ([(64, 1, None), (32, 2, 0.0)], ""),
        ([(64, 1, None), (32, 2, None), (16, 4, None)], ""),
        ([(65, 1, None), (17, 4, 0.0)], ""),
        ([(65, 0.25, 3.0), (33, 0.5, 3.125), (17, 1.0, 3.375)], ""),
        # Levels that do not begin at the first pixel, or at 0.
        ([(64, 2, 100.0), (30, 4, 105.0)], ""),
        ([(64, 2, 100.0), (28, 4, 109.0)], "from where their sizes would put them: 1 (1.69)"),
        ([(64, 1, -40.0), (16, 4, -30.0)], "from where their sizes would put them: 1 (2.12)"),
        ([(64, -1, 10.0), (32, -2, 9.5)], ""),
    ],
)
def test_a_level_lies_where_it_is_declared(make_zarr, describe, zarr_format, levels, said):
    arrays = {str(n): ramp((size, size), s, t or 0) for n, (size, s, t) in enumerate(levels)}
    datasets = [dataset(str(n), s, t) for n, (_, s, t) in enumerate(levels)]
    path = make_zarr(arrays, describe(names="yx", datasets=datasets), zarr_format=zarr_format)
    for n, (size, scale, shift) in enumerate(levels):
        image, warned = read(path, level=n)
        check_places(image)
        np.testing.assert_allclose(
            image.affine, [[scale, 0, shift or 0], [0, scale, shift or 0], [0, 0, 1]]
        )
        assert image.shape == (size, size)
        assert said in warned if said else not warned
        assert not image.guess


def test_what_holds_for_all_levels_follows_what_holds_for_each(make_zarr, describe):
    arrays = {
        str(n): ramp((size, size), 2 * s, 2 * t + 5)
        for n, (size, s, t) in enumerate(((8, 3, 1), (4, 6, 2.5)))
    }
    shared = [
        {"type": "scale", "scale": [2.0, 2.0]},
        {"type": "translation", "translation": [5.0, 5.0]},
    ]
    datasets = [dataset("0", 3, 1), dataset("1", 6, 2.5)]
    path = make_zarr(
        arrays, describe(names="yx", datasets=datasets, coordinateTransformations=shared)
    )
    for level in (0, 1):
        check_places(read(path, level=level)[0])


def test_levels_of_any_name_and_order(make_zarr, describe):
    sizes = {"low/2": (16, 4, 1.5), "full": (64, 1, 0), "low/1": (32, 2, 0.5)}
    arrays = {name: ramp((size, size), s, t) for name, (size, s, t) in sizes.items()}
    datasets = [dataset(name, s, t) for name, (_, s, t) in sizes.items()]
    path = make_zarr(arrays, describe(names="yx", datasets=datasets))
    for level, size in enumerate((64, 32, 16)):
        image, warned = read(path, level=level)
        assert (
            "lists its levels as low/2, full, low/1; by their sizes the order is full, low/1"
            in warned
        )
        assert image.shape == (size, size)
        check_places(image)


@pytest.mark.parametrize("steps", [None, []])
def test_a_place_that_is_not_declared_is_called_a_guess(make_zarr, describe, steps):
    arrays = {"0": ramp((8, 8), 1, 0), "1": ramp((4, 4), 2, 0.5)}
    datasets = [{"path": name, "coordinateTransformations": steps} for name in "01"]
    path = make_zarr(arrays, describe(names="yx", datasets=datasets))
    for level in (None, 1):
        image, warned = read(path, level=level)
        assert image.guess == (
            "no coordinateTransformations are declared for level 0, 1, its pixels are counted"
        )
        assert not warned
    check_places(image)
    # Only the coarse one is placed by its size.
    datasets[0] = dataset("0", 1.0)
    image, _ = read(make_zarr(arrays, describe(names="yx", datasets=datasets)), level=1)
    assert image.guess == (
        "no coordinateTransformations are declared for level 1, it is placed by its size"
    )
    check_places(image)


def test_numbers_that_mean_nothing_are_said(make_zarr, describe):
    data = np.ones((3, 4, 5), np.uint8)
    steps = [
        {"type": "scale", "scale": [0, 2, float("nan")]},
        {"type": "translation", "translation": [1, float("inf"), 3]},
    ]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    image, _ = read(make_zarr({"0": data}, describe(datasets=datasets)))
    np.testing.assert_array_equal(image.affine[:3], [[1, 0, 0, 1], [0, 2, 0, 0], [0, 0, 1, 3]])
    assert image.guess == (
        "the scale of axis z is 0, 1 is taken; the scale of axis x is nan, 1 is taken; "
        "the translation of axis y is inf, 0 is taken"
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"type": "identity"}], np.eye(3)),
        (
            [
                {
                    "type": "sequence",
                    "transformations": [
                        {"type": "scale", "scale": [2, 3]},
                        {"type": "translation", "translation": [5, 7]},
                    ],
                }
            ],
            [[2, 0, 5], [0, 3, 7], [0, 0, 1]],
        ),
        ([{"type": "rotation", "rotation": [[0, -1], [1, 0]]}], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
        (
            [{"type": "affine", "affine": [[1, 0.5, 4], [0, 2, 3]]}],
            [[1, 0.5, 4], [0, 2, 3], [0, 0, 1]],
        ),
    ],
)
def test_transformations_that_are_a_matrix(make_zarr, describe, steps, expected):
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    image, warned = read(
        make_zarr({"0": ramp((8, 8), 1, 0)}, describe(names="yx", datasets=datasets))
    )
    np.testing.assert_allclose(image.affine, expected)
    assert (image.guess, warned) == ("", "")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "displacements", "path": "d"}, "type 'displacements', which is not read"),
        ({"type": "mapAxis", "mapAxis": [1, 0]}, "type 'mapAxis', which is not read"),
        ({"type": None}, "type None, which is not read"),
        ({"type": "scale", "path": "s"}, r"keeps the scale of its place in an array .*\('s'\)"),
        ({"type": "scale", "scale": [1, 2, 3]}, r"needs a scale of shape \(2,\) .* got \(3,\)"),
        ({"type": "rotation", "rotation": [1, 2]}, r"needs a rotation of shape \(2, 2\)"),
        ({"type": "affine", "affine": [[1, 0, float("nan")]] * 2}, "by a matrix that cannot be"),
        ({"type": "affine", "affine": [[1, 0, 3], [2, 0, 4]]}, "by a matrix that cannot be inv"),
        ({"type": "scale", "scale": "big"}, "cannot be read as OME-Zarr"),
    ],
)
def test_other_transformations_are_refused(make_zarr, describe, step, message):
    datasets = [{"path": "0", "coordinateTransformations": [step]}]
    path = make_zarr({"0": ramp((8, 8), 1, 0)}, describe(names="yx", datasets=datasets))
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


@pytest.mark.parametrize("lacking", ["folder", "metadata", "chunks"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_that_is_missing_is_left_out(make_zarr, describe, lacking, level):
    sizes = ((64, 1, 0), (32, 2, 0.5), (16, 4, 1.5))
    arrays = {str(n): ramp((size, size), s, t) for n, (size, s, t) in enumerate(sizes)}
    if lacking == "folder":
        arrays.pop(str(level))
    datasets = [dataset(str(n), s, t) for n, (_, s, t) in enumerate(sizes)]
    path = make_zarr(arrays, describe(names="yx", datasets=datasets))
    if lacking == "metadata":
        (path / str(level) / ".zarray").unlink()
    elif lacking == "chunks":
        (path / str(level) / "0" / "0").unlink()
    image, warned = read(path)
    if lacking == "chunks":
        assert f"no chunks of level {level} are stored" in warned
        assert "what holds none is left out" in warned
    else:
        assert f"lists the levels {level}, which are missing; the others are read" in warned
    kept = [sizes[n] for n in range(3) if n != level]
    assert [image.shape[0], *(p.shape[0] for p in image.pyramid)] == [size for size, _, _ in kept]
    for n in range(2):
        check_places(read(path, level=n)[0])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_places_are_written_as_they_were_read(make_zarr, describe, tmp_path, zarr_format):
    arrays = {"0": ramp((65, 65), 1, 3), "1": ramp((17, 17), 4, 3)}
    datasets = [dataset("0", 1, 3), dataset("1", 4, 3)]
    path = make_zarr(arrays, describe(names="yx", datasets=datasets), zarr_format=zarr_format)
    written = write_image(tmp_path / "b.ome.zarr", read_image(path))
    for level in (0, 1):
        image, warned = read(written, level=level)
        check_places(image)
        assert GUESSED_PLACE not in image.metadata
        assert not warned


def test_channels_keep_the_places_of_levels(make_zarr, describe):
    coarse = ramp((17, 17), 4, 0)
    arrays = {"0": np.stack([ramp((65, 65), 1, 0)] * 2), "1": np.stack([coarse] * 2)}
    steps = [[{"type": "scale", "scale": [1, s, s]}] for s in (1, 4)]
    datasets = [{"path": str(n), "coordinateTransformations": s} for n, s in enumerate(steps)]
    path = make_zarr(arrays, describe(names="cyx", datasets=datasets))
    image, _ = read(path, channel=1, level=1)
    check_places(image)
    np.testing.assert_array_equal(image.to_numpy(), coarse)
