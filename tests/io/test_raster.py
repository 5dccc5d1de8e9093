import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.sources import Source


def random_pixels(shape, dtype, seed=0):
    values = np.random.default_rng(seed).random(shape)
    return (
        values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)
    )


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
@pytest.mark.parametrize(
    ("ending", "dtype"),
    [
        (".png", "uint8"),
        (".png", "uint16"),
        (".tif", "uint8"),
        (".tiff", "uint16"),
        (".tif", "float32"),
    ],
)
def test_round_trip_is_exact(tmp_path, shape, ending, dtype):
    pixels = random_pixels(shape, dtype)
    path = write_image(tmp_path / f"a{ending}", pixels)
    back = read_image(path)
    np.testing.assert_array_equal(back.data, pixels)
    assert back.dtype == pixels.dtype
    assert back.rgb == (len(shape) == 3)
    assert back.shape == (7, 9)
    assert back.name == "a"
    assert back.path == path


@pytest.mark.parametrize("ending", [".jpg", ".bmp"])
def test_jpeg_and_bmp_are_read(tmp_path, ending):
    pixels = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    Image.fromarray(pixels).save(tmp_path / f"a{ending}", quality=95)
    back = read_image(tmp_path / f"a{ending}")
    assert back.shape == (48, 64)
    assert np.abs(back.data.astype(int) - pixels).max() < 8


def test_palette_becomes_color(tmp_path):
    colors = np.zeros((6, 8, 3), np.uint8)
    colors[:, 4:] = (200, 10, 30)
    Image.fromarray(colors).quantize(4).save(tmp_path / "p.png")
    back = read_image(tmp_path / "p.png")
    assert back.rgb
    np.testing.assert_array_equal(back.data, colors)


def test_palette_with_transparency_and_gray_with_alpha_become_rgba(tmp_path):
    palette = Image.fromarray(np.zeros((6, 8, 3), np.uint8)).quantize(4)
    palette.save(tmp_path / "p.png", transparency=0)
    Image.fromarray(np.full((6, 8, 2), 77, np.uint8), mode=None).save(tmp_path / "la.png")
    assert read_image(tmp_path / "p.png").data.shape == (6, 8, 4)
    gray = read_image(tmp_path / "la.png").data
    assert gray.shape == (6, 8, 4)
    assert (gray == 77).all()


def make_png(path, size, depth, color_type, row, *chunks):
    """Write a PNG of one row by hand: encoders choose its type themselves."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", size, 1, depth, color_type, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(b"\0" + bytes(row))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in parts:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + checksum
    path.write_bytes(content)
    return path


COLORS = (b"PLTE", bytes(range(12)))


@pytest.mark.parametrize(
    ("size", "depth", "kind", "row", "chunks", "expected"),
    [
        # Gray of few bits is spread over all values.
        (4, 1, 0, [0b10110000], [], [255, 0, 255, 255]),
        (4, 2, 0, [0b00011011], [], [0, 85, 170, 255]),
        (4, 4, 0, [0x0F, 0x38], [], [0, 255, 51, 136]),
        (2, 16, 0, [1, 0, 2, 5], [], [256, 517]),
        # One transparent gray is no reason for colors; one transparent color is one for alpha.
        (3, 8, 0, [0, 1, 2], [(b"tRNS", b"\0\1")], [0, 1, 2]),
        (2, 16, 0, [1, 0, 2, 5], [(b"tRNS", b"\1\0")], [256, 517]),
        (2, 8, 2, [1, 2, 3, 4, 5, 6], [], [[1, 2, 3], [4, 5, 6]]),
        (
            2,
            8,
            2,
            [1, 2, 3, 4, 5, 6],
            [(b"tRNS", b"\0\1\0\2\0\3")],
            [[1, 2, 3, 0], [4, 5, 6, 255]],
        ),
        (1, 16, 2, [0, 1, 0, 2, 0, 3], [(b"tRNS", b"\0\1\0\2\0\3")], [[1, 2, 3, 0]]),
        (2, 8, 4, [7, 200, 9, 5], [], [[7, 7, 7, 200], [9, 9, 9, 5]]),
        (1, 16, 4, [1, 0, 2, 5], [], [[256, 256, 256, 517]]),
        (2, 2, 3, [0b01110000], [COLORS], [[3, 4, 5], [9, 10, 11]]),
        (2, 2, 3, [0b00010000], [COLORS, (b"tRNS", b"\0")], [[0, 1, 2, 0], [3, 4, 5, 255]]),
        # What a display would make of the values is not applied.
        (2, 8, 0, [10, 200], [(b"gAMA", struct.pack(">I", 100_000))], [10, 200]),
    ],
)
def test_png_of_every_kind(tmp_path, size, depth, kind, row, chunks, expected):
    image = read_image(make_png(tmp_path / "a.PNG", size, depth, kind, row, *chunks))
    np.testing.assert_array_equal(image.to_numpy()[0], expected)
    assert image.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert image.rgb == (np.ndim(expected) == 2)
    assert image.name == "a"


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (lambda x: imagecodecs.jpeg_encode(x * 16, bitspersample=12), "JPEG .* of 12 bits"),
        (lambda x: imagecodecs.jpegls_encode(x.astype(np.uint8)), "JPEG-LS of 8 bits"),
    ],
)
def test_a_jpeg_of_another_kind_is_not_called_damaged(tmp_path, encode, said):
    (tmp_path / "a.jpg").write_bytes(encode(np.arange(256, dtype=np.uint16).reshape(16, 16)))
    with pytest.raises(ImageFileError, match=f"{said}, which is not read; convert") as caught:
        read_image(tmp_path / "a.jpg")
    assert "damaged" not in str(caught.value)


def test_a_bmp_of_another_kind_is_not_called_damaged(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[30] = 5  # PNG within BMP
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"is of a kind that is not read .*convert") as caught:
        read_image(tmp_path / "a.bmp")
    assert "damaged" not in str(caught.value)


def test_inks_of_a_jpeg_become_rgb(tmp_path):
    inks = np.full((16, 16, 4), (0, 255, 255, 0), np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100)
    found = read_image(tmp_path / "a.jpg").to_numpy()
    assert np.abs(found.astype(int) - (255, 0, 0)).max() < 6


def test_of_several_pictures_the_first_is_read_and_the_others_are_said(tmp_path):
    first, *others = (Image.fromarray(np.full((5, 6), n, np.uint8)) for n in range(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    with pytest.warns(UserWarning, match="a.png holds 3 pictures, of which the first is read"):
        assert (read_image(tmp_path / "a.png").to_numpy() == 0).all()


def test_what_pillow_says_of_the_data_is_passed_on(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    # The orientation is said to stand in a field that is longer than the data.
    broken = content.replace(bytes.fromhex("0112000300000001"), bytes.fromhex("0112000300000f01"))
    assert broken != content
    (tmp_path / "a.jpg").write_bytes(broken)
    with pytest.warns(UserWarning, match=r"a.jpg: .*tag 274 \(said by Pillow"):
        read_image(tmp_path / "a.jpg")


def test_one_bit_becomes_black_and_white(tmp_path):
    mask = np.eye(9, dtype=bool)
    Image.fromarray(mask).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_image(tmp_path / "m.png").data, mask * np.uint8(255))


def test_upright_camera_picture_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 10)


def test_png_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(ImageFileError, match=r"uint8 or uint16, got float64; convert"):
        write_image(tmp_path / "a.png", np.zeros((5, 5)))
    with pytest.raises(ImageFileError, match=r"one plane, got axes z, y, x"):
        write_image(tmp_path / "a.png", np.zeros((5, 5, 6), np.uint8))
    assert not list(tmp_path.iterdir())


def test_png_of_absurd_declared_size_is_refused(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = (2**30).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=r"declares 1 EB|declares .* TB of image"):
        read_image(path)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_truncated_pictures_are_clean_errors(tmp_path, ending, kept):
    path = tmp_path / f"a{ending}"
    Image.fromarray(random_pixels((40, 50, 3), "uint8")).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match=r"cut short or damaged|ends before"):
        read_image(path)


def test_a_picture_too_large_for_the_decoder_is_not_called_damaged(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.png", random_pixels((30, 40), "uint8"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ImageFileError, match="more pixels than are read") as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_place_is_not_dropped_in_silence(tmp_path, ending):
    image = Source(
        random_pixels((5, 6), "uint8"), affine=np.diag([0.5, 0.5, 1]), units=("mm", "mm")
    )
    with pytest.warns(UserWarning, match=r"the spacing \(0.5 mm, 0.5 mm\) and the position are"):
        write_image(tmp_path / f"a{ending}", image)
