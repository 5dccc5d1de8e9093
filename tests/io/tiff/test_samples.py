"""Pixels of TIFF files mean what their tags say: compared with tifffile, SimpleITK and Pillow."""

import warnings

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.io.tiff import pages

RNG = np.random.default_rng(0)
FOUR = RNG.integers(0, 60000, (12, 16, 4)).astype(np.uint16)


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, **{"metadata": None, **options})
    return path


def read_pixels(path):
    """Return all images of a file: gray ones as planes, colors with their samples last."""
    return [(image.rgb, image.to_numpy()) for image in read_images(path)]


# What zero is, and the largest value: that of the bits in the file, not of the type in memory.
@pytest.mark.parametrize(
    ("dtype", "bits", "rule"),
    [
        ("u1", None, lambda x: 255 - x),
        ("u2", None, lambda x: 65535 - x),
        ("u4", None, lambda x: 2**32 - 1 - x),
        ("u1", 4, lambda x: 15 - x),
        ("u1", 2, lambda x: 3 - x),
        ("u2", 12, lambda x: 4095 - x),
        ("i1", None, lambda x: -1 - x),
        ("i2", None, lambda x: -1 - x),
        ("f4", None, lambda x: -x),
    ],
)
def test_where_zero_is_white_the_order_is_turned_round(tmp_path, dtype, bits, rule):
    stored = (np.arange(12).reshape(3, 4) % (2 ** (bits or 4))).astype(dtype)
    path = write(tmp_path / "a.tif", stored, photometric="miniswhite", bitspersample=bits)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = read_image(path).to_numpy()
    np.testing.assert_array_equal(found, rule(stored.astype(np.int64)).astype(dtype))
    assert found.dtype == stored.dtype
    assert bool(said) == (dtype[0] in "if")
    if dtype == "u1" and bits is None:
        np.testing.assert_array_equal(found, np.asarray(Image.open(path)))


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_bits_are_black_and_white(tmp_path, photometric):
    bits = np.eye(9, dtype=bool)
    path = write(tmp_path / "a.tif", bits, photometric=photometric)
    found = read_image(path).to_numpy()
    np.testing.assert_array_equal(found, np.asarray(Image.open(path)) * np.uint8(255))


def remove_tag(path, name):
    """Turn a tag into one that nobody knows."""
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages.first.tags[name]
    content = bytearray(path.read_bytes())
    content[tag.offset : tag.offset + 2] = (60000).to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("count", [1, 3])
def test_without_a_photometric_interpretation_zero_is_black_and_samples_are_channels(
    tmp_path, count
):
    stored = FOUR[..., :count] if count > 1 else FOUR[..., 0]
    path = write(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig="contig")
    remove_tag(path, "PhotometricInterpretation")
    images = read_images(path)
    for n, image in enumerate(images):
        np.testing.assert_array_equal(image.to_numpy(), FOUR[..., n])
    assert len(images) == count


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("photometric", "count", "extras", "color", "others"),
    [
        # Channels, none of them lost and none of them taken for color.
        ("minisblack", 2, [0], (), (0, 1)),
        ("minisblack", 3, [0, 0], (), (0, 1, 2)),
        ("minisblack", 4, [0, 0, 0], (), (0, 1, 2, 3)),
        ("minisblack", 7, [0] * 6, (), range(7)),
        ("rgb", 3, [], (0, 1, 2), ()),
        # Red, green and blue beside near infrared.
        ("rgb", 4, [0], (0, 1, 2), (3,)),
        ("rgb", 4, [2], (0, 1, 2, 3), ()),
        ("rgb", 4, [1], (0, 1, 2, 3), ()),
        ("rgb", 5, [2, 0], (0, 1, 2, 3), (4,)),
        ("rgb", 5, [0, 2], (0, 1, 2, 4), (3,)),
        ("rgb", 6, [0, 0, 0], (0, 1, 2), (3, 4, 5)),
        # Gray with alpha has no other form than color.
        ("minisblack", 2, [2], (0, 0, 0, 1), ()),
        ("minisblack", 3, [0, 2], (0, 0, 0, 2), (1,)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}])
def test_only_rgb_is_color_and_only_extrasamples_make_alpha(
    tmp_path, photometric, count, extras, color, others, planar, options
):
    stored = RNG.integers(0, 60000, (12, 18, count)).astype(np.uint16)
    pixels = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    path = write(
        tmp_path / "a.tif",
        pixels,
        photometric=photometric,
        planarconfig=planar,
        extrasamples=extras,
        **options,
    )
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    found = read_pixels(path)
    expected = [(True, stored[..., list(color)])] if color else []
    expected += [(False, stored[..., n]) for n in others]
    assert [rgb for rgb, _ in found] == [rgb for rgb, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fourth_sample_that_no_tag_calls_alpha_is_a_channel(tmp_path):
    path = write(tmp_path / "a.tif", FOUR, photometric="rgb", extrasamples=[0])
    remove_tag(path, "ExtraSamples")
    color, infrared = read_images(path)
    assert (color.rgb, infrared.rgb) == (True, False)
    assert infrared.name == "a extra"
    np.testing.assert_array_equal(infrared.to_numpy(), FOUR[..., 3])


def test_an_alpha_by_which_colors_are_multiplied_is_said(tmp_path):
    for extra, note in ((1, "associated"), (2, None)):
        path = write(tmp_path / "a.tif", FOUR, photometric="rgb", extrasamples=[extra])
        image = read_image(path)
        np.testing.assert_array_equal(image.to_numpy(), FOUR)
        assert image.metadata.get("alpha", "None").startswith(str(note))


@pytest.mark.parametrize(
    ("dtype", "bits", "scale"),
    [("u1", None, 256), ("u1", None, 257), ("u1", None, 1), ("u2", 16, 257)],
)
def test_palettes(tmp_path, dtype, bits, scale):
    size = 2 ** (bits or 8)
    table = (RNG.integers(0, 256, (3, size)) * scale).astype(np.uint16)
    index = RNG.integers(0, size, (9, 11)).astype(dtype)
    path = write(
        tmp_path / "a.tif", index, photometric="palette", colormap=table, bitspersample=bits
    )
    found = read_image(path)
    assert found.rgb
    # libtiff's rule: a table without a value over 255 has 8 bits.
    expected = np.moveaxis((table >> 8 if scale > 1 else table)[:, index], 0, -1)
    np.testing.assert_array_equal(found.to_numpy(), expected)
    if bits is None:
        simple = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
        shift = 8 if simple.dtype == np.uint16 else 0
        np.testing.assert_array_equal(found.to_numpy(), simple[..., :3] >> shift)


def test_a_palette_for_each_page_is_refused_and_one_for_all_read(tmp_path):
    index = RNG.integers(0, 256, (3, 9, 11)).astype(np.uint8)
    tables = (RNG.integers(0, 256, (3, 3, 256)) * 257).astype(np.uint16)
    for name, shown in (("own", tables), ("one", [tables[0]] * 3)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            for page, table in zip(index, shown, strict=True):
                writer.write(
                    page, photometric="palette", colormap=table, contiguous=False, metadata=None
                )
    with tifffile.TiffFile(tmp_path / "own.tif") as tif:
        assert not np.array_equal(tif.pages[0].colormap, tif.pages[1].colormap)
    with pytest.raises(ImageFileError, match="a palette of its own in page 1, so one value means"):
        read_images(tmp_path / "own.tif")
    images = read_images(tmp_path / "one.tif")
    expected = np.moveaxis(tables[0][:, index] >> 8, 0, -1)
    np.testing.assert_array_equal(np.stack([i.to_numpy() for i in images]).squeeze(), expected)


def test_a_display_of_imagej_is_no_color(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    values = RNG.integers(0, 256, (9, 11)).astype(np.uint8)
    options = {"photometric": "palette", "colormap": table}
    gray = b"ImageJ=1.54f\nunit=um\nmin=0.0\nmax=255.0\n"
    write(tmp_path / "a.tif", values, description=gray, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").to_numpy(), values)
    write(tmp_path / "b.tif", values, description=gray + b"8bitcolor=true\n", **options)
    assert read_image(tmp_path / "b.tif").rgb


def test_ycbcr_is_turned_into_rgb(tmp_path):
    stored = RNG.integers(40, 200, (16, 16, 3)).astype(np.uint8)
    path = write(tmp_path / "a.tif", stored, photometric="ycbcr", subsampling=(1, 1))
    found = read_image(path).to_numpy()
    simple = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[..., :3]
    assert np.abs(found.astype(int) - simple).max() <= 1
    smooth = 100 + np.stack(np.mgrid[:32, :32], -1)[..., [0, 1, 1]].astype(np.uint8)
    options = {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 2)}
    path = write(tmp_path / "b.tif", smooth, **options)
    np.testing.assert_array_equal(read_image(path).to_numpy(), tifffile.imread(path))
    simple = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[..., :3]
    assert np.abs(read_image(path).to_numpy().astype(int) - simple).max() < 9


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("u2", {"bitspersample": 12}),
        ("u2", {"bitspersample": 10}),
        ("u4", {"bitspersample": 24}),
        ("u8", {}),
        ("i8", {}),
        ("f2", {}),
        ("u2", {"predictor": True, "compression": "lzw"}),
        ("f4", {"predictor": True, "compression": "zlib"}),
        ("u2", {"byteorder": ">"}),
        ("u2", {"bigtiff": True}),
        ("i2", {"extratags": [(339, "H", 1, 4, True)]}),
    ],
)
def test_types_are_those_of_tifffile(tmp_path, dtype, options):
    stored = RNG.integers(0, 255, (9, 12)).astype(dtype)
    path = write(tmp_path / "a.tif", stored, photometric="minisblack", **options)
    found = read_image(path).to_numpy()
    np.testing.assert_array_equal(found, tifffile.imread(path))
    assert found.dtype == tifffile.imread(path).dtype


@pytest.mark.parametrize(
    ("dtype", "photometric", "word"),
    [
        ("c8", "minisblack", "holds complex64 pixels; convert"),
        ("u1", "separated", "amounts of ink"),
        ("u1", "cielab", r"CIE L\*a\*b\* colors; convert"),
        ("u2", "cfa", "raw mosaic of a color filter; develop"),
        ("u2", "logluv", "LogLuv colors; convert"),
    ],
)
def test_what_is_refused_is_not_called_damaged(tmp_path, dtype, photometric, word):
    count = {"separated": 4, "cielab": 3, "logluv": 3}.get(photometric, 1)
    path = write(tmp_path / "a.tif", np.ones((8, 8), dtype))
    with tifffile.TiffFile(path, mode="r+") as tif:
        value = int(tifffile.PHOTOMETRIC[photometric.upper()])
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(value)
    assert count
    with pytest.raises(ImageFileError, match=word) as caught:
        read_images(path)
    assert "damaged" not in str(caught.value)


def test_shared_chroma_and_odd_formats_are_refused_with_a_true_word(tmp_path):
    path = write(
        tmp_path / "a.tif", np.ones((16, 16, 3), np.uint8), photometric="ycbcr", subsampling=(1, 1)
    )
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["YCbCrSubSampling"].overwrite((2, 2))
    with pytest.raises(ImageFileError, match="several pixels share one, without JPEG; convert"):
        read_images(path)
    write(path, np.ones((8, 8), np.int8))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["SampleFormat"].overwrite(3)
    with pytest.raises(ImageFileError, match=r"8 bits in the sample format \(3,\), which are not"):
        read_images(path)
    write(path, np.ones((8, 8), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["Compression"].overwrite(34888)
    with pytest.raises(ImageFileError, match="compressed in a way that is not read"):
        read_images(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_and_columns_are_turned_as_the_orientation_says(tmp_path, orientation):
    for pixels in (np.arange(6, dtype=np.uint8).reshape(2, 3), RNG.integers(0, 9, (2, 3, 3), "u1")):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        options = {"extratags": [(274, "H", 1, orientation, True)], "compression": "zlib"}
        path = write(tmp_path / "a.tif", pixels, photometric=photometric, **options)
        found = read_image(path).to_numpy()
        with Image.open(path) as picture:
            picture.load()
            np.testing.assert_array_equal(found, np.asarray(picture))
        if orientation == 4:
            simple = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
            np.testing.assert_array_equal(found, simple)


def edit_tag(path, name, value, page=0):
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[page].tags[name].overwrite(value)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(
    ("offset", "word"),
    [
        (2, r"places pixels in its header \(byte 2\)"),
        (0, r"stores no pixels for one of its pages"),
        (10**6, "places pixels up to byte .* but ends at byte .*; it is cut short or damaged"),
        ("directory", "where its own directory lies; it is damaged"),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_offsets_that_point_elsewhere_are_refused(tmp_path, offset, word, bigtiff, compression):
    pixels = RNG.integers(0, 255, (2, 30, 40)).astype(np.uint8)
    options = {"bigtiff": bigtiff, "compression": compression, "rowsperstrip": 30}
    path = write(tmp_path / "a.tif", pixels, photometric="minisblack", **options)
    # Bytes behind the last page.
    path.write_bytes(path.read_bytes() + bytes(2000))
    if offset == "directory":
        # Pixels up to the directory's last bytes are within the file.
        with tifffile.TiffFile(path) as tif:
            offset = tif.pages[1].offset - 4
    edit_tag(path, "StripOffsets", offset, page=1)
    with pytest.raises(ImageFileError, match=word):
        read_images(path)


def test_tiles_that_are_not_stored_are_said(tmp_path):
    pixels = RNG.integers(1, 255, (32, 32)).astype(np.uint8)
    path = write(tmp_path / "a.tif", pixels, tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offsets, counts = tif.pages.first.dataoffsets, tif.pages.first.databytecounts
    edit_tag(path, "TileOffsets", (0, *offsets[1:]))
    edit_tag(path, "TileByteCounts", (0, *counts[1:]))
    with pytest.warns(UserWarning, match=r"a.tif: 1 of 4 pieces of the image are not stored"):
        found = read_image(path).to_numpy()
    np.testing.assert_array_equal(found[16:], pixels[16:])
    assert not found[:16, :16].any()


@pytest.mark.parametrize("cut", [1000, 30])
def test_a_file_cut_within_its_last_page_is_refused(tmp_path, cut):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in RNG.integers(0, 255, (3, 40, 40)).astype(np.uint8):
            writer.write(plane, contiguous=False, photometric="minisblack", metadata=None)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ImageFileError, match="cut short or damaged"):
        read_images(path)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_large_stacks_are_read_lazily_whatever_their_samples(tmp_path, monkeypatch, byteorder):
    monkeypatch.setattr(pages, "_PIECE_BYTES", 2000)
    stack = RNG.integers(0, 60000, (6, 2, 12, 16)).astype(np.uint16)
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, stack, imagej=True, byteorder=">", metadata={"axes": "ZCYX"})
    found = read_images(path)
    assert all(hasattr(image.data, "chunks") for image in found)
    np.testing.assert_array_equal(np.stack([i.to_numpy() for i in found], axis=1), stack)
    options = {"photometric": "rgb", "extrasamples": [0], "byteorder": byteorder}
    path = write(tmp_path / "a.tif", np.stack([FOUR] * 3), **options)
    color, infrared = read_images(path)
    assert hasattr(infrared.data, "chunks")
    np.testing.assert_array_equal(color.to_numpy(), np.stack([FOUR[..., :3]] * 3))
    np.testing.assert_array_equal(infrared.to_numpy(), np.stack([FOUR[..., 3]] * 3))


def test_what_tifffile_says_of_the_data_is_passed_on(tmp_path):
    stack = RNG.integers(0, 255, (3, 9, 9)).astype(np.uint8)
    path = write(tmp_path / "a.tif", stack, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        last = tif.pages[2].offset
    content = path.read_bytes()
    # The pages end where the chain that leads from one to the next is broken.
    path.write_bytes(content.replace(last.to_bytes(4, "little"), (10**7).to_bytes(4, "little")))
    with pytest.warns(UserWarning, match=r"a.tif: .*invalid page offset.*said by tifffile"):
        assert read_image(path).shape == (2, 9, 9)
