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
