"""The place of ImageJ's files: each axis in its own unit, as ImageJ itself reads them."""

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.io import read_image, read_images, read_plane
from napari_dip_fusion.sources.grid import resample_to_reference

STACK = np.random.default_rng(0).integers(0, 4000, (3, 5, 12, 16)).astype(np.uint16)


def write(path, fields, resolution=(10, 5), tag_unit=None, axes="ZYX"):
    """Write a stack with a description as ImageJ writes it."""
    tifffile.imwrite(
        path,
        STACK[0] if axes == "ZYX" else STACK,
        imagej=True,
        resolution=resolution,
        resolutionunit=tag_unit,
        metadata={"axes": axes, **fields},
    )
    return path


@pytest.mark.parametrize(
    ("fields", "resolution", "tag_unit", "steps", "units"),
    [
        ({"unit": "micron", "spacing": 0.3}, (10, 5), None, (0.3, 0.2, 0.1), "um um um"),
        ({"unit": "\\u00B5m", "spacing": 0.3}, (10, 5), None, (0.3, 0.2, 0.1), "um um um"),
        ({"unit": "microns", "spacing": 0.3}, (10, 5), None, (0.3, 0.2, 0.1), "um um um"),
        ({"unit": "um", "spacing": -0.3}, (10, 10), None, (0.3, 0.1, 0.1), "um um um"),
        (
            {"unit": "nm", "yunit": "micron", "zunit": "mm", "spacing": 2.0},
            (10, 10),
            None,
            (2, 0.1, 0.1),
            "mm um nm",
        ),
        ({"unit": "cm", "spacing": 1.5}, (2, 2), 3, (1.5, 0.5, 0.5), "cm cm cm"),
        ({"unit": "cm", "spacing": 1.5}, (2, 2), 1, (1.5, 0.5, 0.5), "cm cm cm"),
        # Without a unit of its own the description has that of the tags.
        ({"spacing": 1.5}, (2, 2), 3, (1.5, 0.5, 0.5), "cm cm cm"),
        # Micro-Manager's resolution is one of centimeters, beside sizes in micrometers.
        ({"unit": "um", "spacing": 0.3}, (100000, 50000), 3, (0.3, 0.2, 0.1), "um um um"),
        ({"unit": "\\u00B5m", "spacing": 0.3}, (100000, 50000), 3, (0.3, 0.2, 0.1), "um um um"),
        ({"unit": "inch", "spacing": 1.0}, (254, 254), 2, (1, 1 / 254, 1 / 254), "in in in"),
        # A habit of programs is no size, but slices may have one of their own.
        ({"unit": "inch", "spacing": 2.0}, (72, 72), 2, (2, 1, 1), "pixel pixel pixel"),
        (
            {"unit": "inch", "zunit": "um", "spacing": 2.0},
            (300, 300),
            2,
            (2, 1, 1),
            "um pixel pixel",
        ),
        ({"unit": "pixel", "spacing": 2.5}, (10, 10), 1, (2.5, 1, 1), "pixel pixel pixel"),
        ({"spacing": 2.5}, (1, 1), 1, (2.5, 1, 1), "pixel pixel pixel"),
        # A unit that no table knows is kept as it is.
        (
            {"unit": "furlong", "spacing": 2.5},
            (2, 4),
            1,
            (2.5, 0.25, 0.5),
            "furlong furlong furlong",
        ),
    ],
)
def test_each_axis_has_its_own_step_and_unit(tmp_path, fields, resolution, tag_unit, steps, units):
    path = write(tmp_path / "a.tif", fields, resolution, tag_unit)
    image = read_image(path)
    np.testing.assert_allclose(np.diag(image.affine)[:-1], steps)
    assert image.units == tuple(units.split())
    assert not image.guess
    np.testing.assert_array_equal(image.to_numpy(), tifffile.imread(path))


@pytest.mark.parametrize(
    ("fields", "resolution"),
    [
        ({"unit": "micron", "spacing": 0.3}, (10, 5)),
        ({"unit": "\\u00B5m", "spacing": 0.3}, (10, 5)),
        ({"unit": "nm", "spacing": 300}, (0.01, 0.005)),
        ({"unit": "mm", "yunit": "um", "zunit": "nm", "spacing": 300}, (10000, 5)),
    ],
)
@pytest.mark.parametrize("factor", [1, 1000])
def test_it_fuses_voxel_on_voxel_with_the_same_image_as_ome_tiff(
    tmp_path, fields, resolution, factor
):
    write(tmp_path / "a.tif", fields, resolution)
    sizes = {"X": 0.1, "Y": 0.2, "Z": 0.3}
    described = {f"PhysicalSize{axis}": size * factor for axis, size in sizes.items()}
    units = {f"PhysicalSize{axis}Unit": "nm" if factor > 1 else "µm" for axis in sizes}
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX", **described, **units}}
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK[0], **options)
    planes = [read_plane(tmp_path / name, plane=2) for name in ("a.tif", "b.ome.tif")]
    found = resample_to_reference(planes)
    assert found.resampled == [False, False]
    for plane in found.images:
        np.testing.assert_array_equal(plane.to_numpy(), STACK[0, 2])


@pytest.mark.parametrize(
    ("fields", "resolution", "guess"),
    [
        ({"unit": "um"}, (10, 5), "no spacing along z is given, for which ImageJ takes 1 um"),
        ({"unit": "um", "spacing": 0.0}, (10, 5), "along z"),
        ({"unit": "um", "spacing": 2.0}, (10, 0), "along y"),
    ],
)
def test_what_imagej_fills_in_is_called_a_guess(tmp_path, fields, resolution, guess):
    path = write(tmp_path / "a.tif", fields, resolution)
    image = read_image(path)
    assert guess in image.guess
    assert image.units == ("um",) * 3


@pytest.mark.parametrize(
    ("fields", "step", "unit"),
    [
        ({"finterval": 12.5, "tunit": "sec"}, 12.5, "s"),
        ({"finterval": 12.5}, 12.5, "s"),
        ({"finterval": 2, "tunit": "min"}, 2, "min"),
        ({"finterval": 40, "tunit": "msec"}, 40, "ms"),
        ({"finterval": 0.0}, 1, "pixel"),
        # The speed at which a stack is played is not the one at which it was taken.
        ({"fps": 7.0}, 1, "pixel"),
    ],
)
def test_time_has_its_own_unit(tmp_path, fields, step, unit):
    path = write(tmp_path / "a.tif", {"unit": "um", "spacing": 0.3, **fields}, axes="TZYX")
    image = read_image(path)
    assert (image.affine[0, 0], image.units[0]) == (step, unit)
    assert image.axes == ("t", "z", "y", "x")
    assert image.metadata.get("imagej", {}) == {k: v for k, v in fields.items() if k == "fps"}


@pytest.mark.parametrize(
    ("fields", "corners"),
    [
        # ImageJ: x = (column - xorigin) * width, and so on.
        ({"xorigin": 3.0, "yorigin": 2.0, "zorigin": 1.0}, [(-0.3, -0.4, -0.3), (0.9, 1.8, 1.2)]),
        ({"xorigin": 3.0}, [(0, 0, -0.3), (1.2, 2.2, 1.2)]),
        ({"inverty": True}, [(0, 2.2, 0), (1.2, 0, 1.5)]),
        ({"inverty": True, "yorigin": 4.0}, [(0, 0.8, 0), (1.2, -1.4, 1.5)]),
    ],
)
def test_the_origin_is_where_the_file_says(tmp_path, fields, corners):
    path = write(tmp_path / "a.tif", {"unit": "um", "spacing": 0.3, **fields})
    image = read_image(path)
    indices = np.array([(0, 0, 0, 1), (4, 11, 15, 1)])
    np.testing.assert_allclose((indices @ image.affine.T)[:, :-1], corners, atol=1e-12)


@pytest.mark.parametrize("order", ["czt", "ctz", "zct", "ztc", "tcz", "tzc"])
def test_axes_are_in_one_order_whatever_that_of_the_file(tmp_path, order):
    sizes = {"t": 3, "z": 5, "c": 2}
    truth = np.random.default_rng(0).integers(0, 255, (3, 5, 2, 6, 7)).astype(np.uint8)
    stored = np.transpose(truth, [*("tzc".index(axis) for axis in reversed(order)), 3, 4])
    lines = (
        f"images=30\nchannels=2\nslices=5\nframes=3\nhyperstack=true\norder={order}\nspacing=2\n"
    )
    description = f"ImageJ=1.54f\n{lines}unit=um\nfinterval=4\n"
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored.reshape(-1, 6, 7),
        photometric="minisblack",
        description=description,
        metadata=None,
        resolution=(1, 1),
        resolutionunit=1,
    )
    images = read_images(tmp_path / "a.tif")
    assert len(images) == sizes["c"]
    for n, image in enumerate(images):
        assert image.axes == ("t", "z", "y", "x")
        np.testing.assert_array_equal(image.to_numpy(), truth[:, :, n])
        np.testing.assert_allclose(image.spacing, (4, 2, 1, 1))


def test_colors_and_channels_of_imagej(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (4, 6, 7, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colors, imagej=True, metadata={"axes": "ZYXS"})
    assert read_image(tmp_path / "a.tif").rgb
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").to_numpy(), colors)
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.moveaxis(colors, -1, 1),
        imagej=True,
        metadata={"axes": "ZCYX", "mode": "composite"},
    )
    images = read_images(tmp_path / "b.tif")
    assert [image.rgb for image in images] == [False] * 3
    np.testing.assert_array_equal(images[2].to_numpy(), colors[..., 2])


def test_a_resolution_of_plain_tiff_is_kept_as_a_word_only(tmp_path):
    options = {"photometric": "minisblack", "metadata": None}
    for resolution, unit, word in (
        ((300, 300), "INCH", "300 x 300 pixels/in (not taken for a size)"),
        ((1e4, 2e4), "CENTIMETER", "10000 x 20000 pixels/cm (not taken for a size)"),
        ((0, 0), "INCH", None),
    ):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK[0, 0], resolution=resolution, resolutionunit=unit, **options)
        image = read_image(path)
        assert image.metadata.get("resolution") == word
        np.testing.assert_array_equal(image.affine, np.eye(3))


@pytest.mark.parametrize("kept", [1, 3])
def test_images_that_are_declared_and_not_there_are_counted(tmp_path, kept):
    description = "ImageJ=1.54f\nimages=5\nslices=5\nunit=um\nspacing=2\n"
    options = {"photometric": "minisblack", "metadata": None, "description": description}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, :kept], resolution=(1, 1), resolutionunit=1, **options)
    with pytest.warns(UserWarning, match=f"declares 5 images, {kept} found; the file is cut short"):
        image = read_image(path)
    np.testing.assert_array_equal(image.to_numpy().squeeze(), STACK[0, :kept].squeeze())
