"""Lazy images larger than memory are written part by part."""

import numpy as np
import pytest
import tifffile
import zarr

from napari_dip_fusion.io import read_image, streaming, write_image
from napari_dip_fusion.io.halving import halve
from napari_dip_fusion.io.tiff import ome, plain, tiles
from napari_dip_fusion.io.zarr import writing
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.views import View

PART = 4096


class Lazy:
    """An array that is sliced only, and notes how much is asked for at once."""

    def __init__(self, pixels):
        self.pixels, self.asked = pixels, []
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim

    def __getitem__(self, where):
        part = self.pixels[where]
        self.asked.append(part.size)
        return part

    def __array__(self, *_, **__):
        raise AssertionError("the whole is read")


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(streaming, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(streaming, "_PART_BYTES", PART)
    monkeypatch.setattr(tiles, "_LARGEST_PLAIN", 64)
    monkeypatch.setattr(tiles, "_COARSEST", 32)
    monkeypatch.setattr(tiles, "TILE", 16)
    monkeypatch.setattr(plain, "TILE", 16)
    monkeypatch.setattr(writing, "_CHUNK", 16)


def random_pixels(shape, dtype="u1"):
    values = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return (values > 99) if dtype == "?" else values.astype(dtype)


def halve_down(pixels, y=0, most=32):
    levels = [pixels]
    while max(levels[-1].shape[y : y + 2]) > most:
        levels.append(halve(levels[-1], (y, y + 1)))
    return levels


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((33, 61, 53), "u1", "zyx"),
        ((3, 5, 41, 31), "f4", "tzyx"),
        ((7, 47, 43), ">i2", "tyx"),
        ((3, 20, 30, 3), "u1", "zyx"),
        # Planes larger than a part.
        ((2, 100, 141), "u1", "zyx"),
        ((90, 130, 4), "u1", "yx"),
    ],
)
def test_a_part_after_the_other(tmp_path, ending, shape, dtype, axes):
    lazy = Lazy(random_pixels(shape, dtype))
    units = tuple("s" if axis == "t" else "um" for axis in axes)
    image = Source(lazy, tuple(axes), name="a", units=units)
    path = write_image(tmp_path / f"a{ending}", image)
    back = read_image(path)
    np.testing.assert_array_equal(back.to_numpy(), lazy.pixels)
    assert (back.axes, back.rgb, back.dtype) == (image.axes, image.rgb, np.dtype(dtype[-2:]))
    assert max(lazy.asked) <= max(PART // lazy.dtype.itemsize, 3 * 16 * 16)
    # Nothing is read twice.
    assert sum(lazy.asked) == lazy.pixels.size
    # Whether pixels are in memory makes no other file.
    if ending == ".nii":
        whole = write_image(tmp_path / "b.nii", image.replace(data=lazy.pixels))
        assert whole.read_bytes() == path.read_bytes()


def test_chunks_are_read_once_on_their_way(tmp_path, monkeypatch):
    """What is written plane by plane is not unpacked anew for each plane."""
    array = zarr.create_array({}, shape=(32, 60, 50), chunks=(8, 16, 16), dtype="u1")
    array[...] = random_pixels(array.shape)
    monkeypatch.setattr(streaming, "_PART_BYTES", 2**15)
    image = Source(View(array).transpose(0, 2, 1)[:, 5:])
    back = read_image(write_image(tmp_path / "a.zarr", image))
    np.testing.assert_array_equal(back.to_numpy(), array[...].transpose(0, 2, 1)[:, 5:])
    sizes = streaming.choose_part(View(array), (1, 60, 50))
    assert sizes == (10, 60, 50)


@pytest.mark.parametrize("dtype", ["u2", "?"])
def test_true_and_false_are_converted_on_their_way(tmp_path, dtype):
    image = Source(Lazy(random_pixels((9, 41, 53), dtype)))
    for ending in (".nii", ".ome.tif"):
        if dtype == "?":
            with pytest.warns(UserWarning, match="uint8"):
                path = write_image(tmp_path / f"a{ending}", image)
        else:
            path = write_image(tmp_path / f"a{ending}", image)
        np.testing.assert_array_equal(read_image(path).to_numpy(), image.data.pixels)


@pytest.mark.parametrize("shape", [(99, 150), (4, 65, 99), (131, 70, 3), (2, 3, 35, 80, 4)])
@pytest.mark.parametrize("lazy", [False, True])
def test_large_planes_have_tiles_and_a_pyramid(tmp_path, shape, lazy):
    rgb = shape[-1] < 5
    pixels = random_pixels(shape)
    axes = "tzyx"[-(len(shape) - rgb) :]
    image = Source(Lazy(pixels) if lazy else pixels, tuple(axes), rgb=rgb, name="a")
    path = write_image(tmp_path / "a.ome.tif", image)
    back = read_image(path)
    levels = halve_down(pixels, len(axes) - 2)
    assert len(levels) > 2
    for found, expected in zip((back.data, *back.pyramid), levels, strict=True):
        np.testing.assert_array_equal(found, expected)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert (page.tilewidth, page.tilelength) == (16, 16)
        # As the standard of OME wants them, so that other programs find them.
        assert len(page.subifds) == len(levels) - 1
        assert len(tif.pages) == np.prod(shape[: len(axes) - 2])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("shape", "dtype"), [((1, 99, 70), "u2"), ((70, 99, 3), "u1")])
def test_plain_tiff_has_tiles_if_it_does_not_fit_into_memory(tmp_path, shape, dtype):
    lazy = Lazy(random_pixels(shape, dtype))
    path = write_image(tmp_path / "a.tif", Source(lazy, rgb=shape[-1] == 3))
    np.testing.assert_array_equal(read_image(path).to_numpy(), np.squeeze(lazy.pixels))
    assert max(lazy.asked) <= PART
    assert sum(lazy.asked) == lazy.pixels.size


def test_resolutions_that_an_image_has_are_written(tmp_path):
    levels = [Lazy(level) for level in halve_down(random_pixels((70, 131)))]
    # By another rule, so that it is seen which are taken.
    levels[1].pixels[...] = 7
    image = Source(levels[0], pyramid=tuple(levels[1:2]))
    back = read_image(write_image(tmp_path / "a.ome.tif", image))
    assert [level.shape for level in back.pyramid] == [(35, 66), (18, 33), (9, 17)]
    assert all((np.asarray(level) == 7).all() for level in back.pyramid)
    # Those that lie elsewhere than their sizes put them are not.
    moved = np.array([[2, 0, 9.5], [0, 2, 0.5], [0, 0, 1]])
    image = image.replace(level_affines=(moved,))
    back = read_image(write_image(tmp_path / "b.ome.tif", image))
    np.testing.assert_array_equal(back.pyramid[0], halve(levels[0].pixels, (0, 1)))


def test_offsets_of_large_files_have_64_bits(tmp_path, monkeypatch):
    pixels = random_pixels((100, 100))
    for most, big in ((13_124, True), (13_125, False)):
        monkeypatch.setattr(ome, "BIGTIFF_BYTES", most)
        path = write_image(tmp_path / "a.ome.tif", pixels, overwrite=True)
        with tifffile.TiffFile(path) as tif:
            assert tif.is_bigtiff == big
