import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, read_plane, write_image
from napari_dip_fusion.io.tiff import pages


def test_imagej_stack_has_spacing_and_channels(tmp_path):
    data = np.arange(2 * 3 * 5 * 7, dtype=np.uint16).reshape(3, 2, 5, 7)
    described = {"axes": "ZCYX", "spacing": 2.5, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "a.tif", data, imagej=True, resolution=(4.0, 2.0), metadata=described
    )
    images = read_images(tmp_path / "a.tif")
    assert [image.axes for image in images] == [("z", "y", "x")] * 2
    np.testing.assert_array_equal(images[1].data, data[:, 1])
    np.testing.assert_allclose(images[0].spacing, (2.5, 0.5, 0.25))
    assert images[0].units == ("um",) * 3


def test_ambiguous_file_lists_what_it_holds(tmp_path):
    data = np.arange(2 * 3 * 5 * 7, dtype=np.uint16).reshape(3, 2, 5, 7)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(ImageFileError, match=r"holds 2 images, choose a channel of 0: a 0 \(z:3"):
        read_plane(path)
    with pytest.raises(ImageFileError, match=r"choose one of z: 0 to 2"):
        read_plane(path, channel=1)
    with pytest.raises(ImageFileError, match=r"index on axis z must be 0 to 2, got 3"):
        read_plane(path, channel=1, plane="z=3")
    with pytest.raises(ImageFileError, match=r"choose as in z=12"):
        read_plane(path, channel=1, plane="z=two")
    with pytest.raises(ImageFileError, match=r"no level 1"):
        read_plane(path, channel=1, level=1)
    np.testing.assert_array_equal(read_plane(path, channel="a 1", plane=2).data, data[2, 1])


def test_each_unknown_axis_has_a_name_to_choose_on(tmp_path):
    data = np.arange(2 * 3 * 2 * 20 * 30, dtype=np.uint16).reshape(2, 3, 2, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", data)
    assert read_image(tmp_path / "a.tif").axes == ("q", "q2", "q3", "y", "x")
    plane = read_plane(tmp_path / "a.tif", plane="q=1,q2=2,q3=0")
    np.testing.assert_array_equal(plane.data, data[1, 2, 0])


def test_large_stack_is_read_by_pages(tmp_path, monkeypatch):
    data = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": "ZYX"}, compression="deflate")
    monkeypatch.setattr(pages, "_PIECE_BYTES", 2500)
    image = read_image(tmp_path / "a.tif")
    assert image.data.chunks[0] == (2, 2, 2)
    np.testing.assert_array_equal(image.to_numpy(), data)
    np.testing.assert_array_equal(read_plane(tmp_path / "a.tif", plane=5).data, data[5])


def test_large_stack_that_was_cut_since_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "_PIECE_BYTES", 1000)
    path = tmp_path / "a.tif"
    described = {"axes": "ZYX"}
    tifffile.imwrite(path, np.zeros((20, 30, 40), np.uint8), imagej=True, metadata=described)
    image = read_image(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ImageFileError, match="cut short or damaged"):
        image.take("z", 19).to_numpy()


@pytest.mark.parametrize("piece", [2**20, 10])
def test_palette_and_inverted_gray(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(pages, "_PIECE_BYTES", piece)
    index = np.array([[[0, 1], [2, 3]]] * 2, np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[0, 1], table[1, 2] = 65535, 257
    tifffile.imwrite(tmp_path / "p.tif", index, photometric="palette", colormap=table)
    painted = read_image(tmp_path / "p.tif")
    assert painted.rgb
    assert painted.to_numpy()[0].tolist() == [[[0, 0, 0], [255, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    tifffile.imwrite(tmp_path / "w.tif", index, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif").to_numpy(), 255 - index)


def test_separate_planes_of_color_and_lzw(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (3, 8, 9), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", colors, photometric="rgb", planarconfig="separate", compression="lzw"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, np.moveaxis(colors, 0, -1))


def test_resolution_in_dots_an_inch_is_no_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 4), np.uint8), resolution=(72, 72), resolutionunit="INCH"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").affine, np.eye(3))


def test_absurd_declared_size_is_refused(tmp_path):
    path = write_image(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag in ("ImageWidth", "ImageLength"):
            tif.pages.first.tags[tag].overwrite(2_000_000_000, dtype="I")
    with pytest.raises(ImageFileError, match=r"declares 4000000 TB of image"):
        read_image(path)


def test_pages_that_lead_back_to_the_first_end(tmp_path):
    path = write_image(tmp_path / "a.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(content[start : start + 2], "little")
    content[end : end + 4] = start.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_image(path).shape == (8, 8)


def test_writing_refuses_other_types(tmp_path):
    with pytest.raises(ImageFileError, match=r"float32, got float64; convert it, or write OME"):
        write_image(tmp_path / "a.tif", np.zeros((4, 4)))
    with pytest.raises(ImageFileError, match=r"one plane, got axes z, y, x"):
        write_image(tmp_path / "a.tif", np.zeros((4, 4, 5), np.uint8))
