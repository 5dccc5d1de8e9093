"""Large pages are read lazily by parts, of the strips and tiles alone that these lie in."""

import pickle
import shutil

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.io.tiff import pages, segments


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pages, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(pages, "_COARSE_BYTES", 100)
    monkeypatch.setattr(segments, "_SIDE", 32)
    segments._open_page.cache_clear()


@pytest.fixture
def decoded(monkeypatch):
    """Return a list of the numbers of the strips and tiles that are decoded."""
    numbers, decode = [], segments._decode

    def note(page, number, *args):
        numbers.append(number)
        return decode(page, number, *args)

    monkeypatch.setattr(segments, "_decode", note)
    return numbers


def random_pixels(shape, dtype="u2"):
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


TILES = {"tile": (16, 16)}
CASES = {
    "tiles": ((75, 100), "u2", TILES),
    "packed tiles": ((75, 100), "f4", TILES | {"compression": "zlib", "predictor": True}),
    "packed strips": ((75, 100), "u1", {"rowsperstrip": 8, "compression": "lzw"}),
    "strips with predictor": (
        (75, 100),
        "u2",
        {"rowsperstrip": 8, "predictor": True, "compression": "zstd"},
    ),
    "as they are": ((75, 100), "u2", {}),
    "other byte order": ((75, 100), "u2", {"byteorder": ">"}),
    "packed in other byte order": ((75, 100), "u2", TILES | {"byteorder": ">", "compression": 8}),
    "colors": ((75, 100, 3), "u1", TILES | {"photometric": "rgb", "compression": "zlib"}),
    "planes of colors": (
        (3, 75, 100),
        "u1",
        TILES | {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
    ),
    "strips of planes of colors": (
        (4, 75, 100),
        "u1",
        {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 8, "compression": 8},
    ),
    "stack of tiles": ((3, 75, 100), "u2", TILES | {"compression": "zlib"}),
    "stack as it is": ((3, 75, 100), "u2", {}),
    "volume in one page": ((20, 75, 100), "u1", {"tile": (16, 16, 16), "volumetric": True}),
    "tiles of JPEG": ((80, 112, 3), "u1", TILES | {"photometric": "rgb", "compression": "jpeg"}),
    "inverted": ((75, 100), "u1", TILES | {"photometric": "miniswhite"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_part_is_that_of_the_whole(tmp_path, monkeypatch, case):
    shape, dtype, options = CASES[case]
    path, options = tmp_path / "a.tif", {"photometric": "minisblack", **options}
    tifffile.imwrite(path, random_pixels(shape, dtype), **options)
    with monkeypatch.context() as patch:
        patch.setattr(pages, "_PIECE_BYTES", 10**9)
        whole = read_image(path).data
    assert isinstance(whole, np.ndarray)
    lazy = read_image(path).data
    assert lazy.npartitions > 3
    np.testing.assert_array_equal(lazy, whole)
    # It is as well read in another process, in another folder.
    copy = pickle.loads(pickle.dumps(lazy))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    for _ in range(9):
        ends = [sorted(random.integers(0, size + 1, 2)) for size in whole.shape]
        where = tuple(slice(*pair, random.integers(1, 4)) for pair in ends)
        np.testing.assert_array_equal(copy[where], whole[where])
        backward = tuple(slice(one.stop, one.start, -one.step) for one in where)
        np.testing.assert_array_equal(lazy[backward], whole[backward])
        index = tuple(random.integers(0, whole.shape).tolist())
        assert lazy[index].compute() == whole[index]
        np.testing.assert_array_equal(
            lazy[(*index[:-2], where[-2])], whole[(*index[:-2], where[-2])]
        )


def test_only_the_tiles_of_a_part_are_decoded(tmp_path, decoded):
    path, pixels = tmp_path / "a.ome.tif", random_pixels((2, 100, 200))
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = {"tile": (16, 32), "compression": "zlib"}
        writer.write(pixels, subifds=2, metadata={"axes": "CYX"}, **options)
        for step in (2, 4):
            writer.write(pixels[:, ::step, ::step], subfiletype=1, **options)
    images = read_images(path)
    assert not decoded
    image = images[1]
    assert [level.shape for level in image.pyramid] == [(50, 100), (25, 50)]
    np.testing.assert_array_equal(image.data[10:20, 60:70], pixels[1, 10:20, 60:70])
    assert sorted(decoded) == [1, 2, 8, 9]
    decoded.clear()
    # Coarser resolutions are no more read at once than the finest one.
    np.testing.assert_array_equal(image.pyramid[1][20:, 40:], pixels[1, 80::4, 160::4])
    assert set(decoded) <= {1, 3}


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiles_that_are_not_stored_are_blank(tmp_path, compression):
    path, pixels = tmp_path / "a.tif", random_pixels((64, 64), "u1")
    tiles = [pixels[y : y + 16, x : x + 16] for y in range(0, 64, 16) for x in range(0, 64, 16)]
    tiles[5] = None
    tifffile.imwrite(
        path, iter(tiles), shape=(64, 64), dtype="u1", tile=(16, 16), compression=compression
    )
    with pytest.warns(UserWarning, match="1 of 16 pieces of the image are not stored"):
        lazy = read_image(path).data
    assert not lazy[16:32, 16:32].compute().any()
    np.testing.assert_array_equal(lazy[32:], pixels[32:])


@pytest.mark.parametrize("options", [TILES, {"rowsperstrip": 8, "compression": "zlib"}, {}])
def test_a_file_that_was_cut_or_replaced_since(tmp_path, options):
    path, pixels = tmp_path / "a.tif", random_pixels((64, 64))
    tifffile.imwrite(path, pixels, **options)
    lazy = read_image(path).data
    np.testing.assert_array_equal(lazy[-5:], pixels[-5:])
    other = tmp_path / "b.tif"
    tifffile.imwrite(other, pixels + 1, **options)
    shutil.copy(other, path)
    np.testing.assert_array_equal(lazy[-5:], pixels[-5:] + 1)
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    with pytest.raises(ImageFileError, match="cut short"):
        lazy[-5:].compute()


def test_a_page_of_one_strip_is_read_whole(tmp_path):
    path, pixels = tmp_path / "a.tif", random_pixels((64, 64))
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=64)
    assert isinstance(read_image(path).data, np.ndarray)
