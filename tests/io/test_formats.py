from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import check_image, read_image, write_image
from napari_dip_fusion.io.formats import FORMATS, strip_ending
from napari_dip_fusion.sources import Source

ENDINGS = (".png", ".tif", ".jpg", ".bmp")


@pytest.mark.parametrize("ending", ENDINGS)
def test_empty_and_wrong_files(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.touch()
    with pytest.raises(ImageFileError, match=r"is empty \(0 bytes\); copy it again"):
        read_image(path)
    path.write_bytes(b"not an image, but long enough to have a start")
    with pytest.raises(ImageFileError, match=r"does not start as .* does .*: it is something else"):
        read_image(path)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b\x08", "data packed by gzip"),
        (b"<!DOCTYPE html>", "text in XML or HTML"),
        (b"GIF89a", "a GIF"),
    ],
)
def test_another_kind_of_file_is_named_and_not_called_damaged(tmp_path, start, kind):
    path = tmp_path / "a.PNG"
    path.write_bytes(start + bytes(200))
    with pytest.raises(ImageFileError, match=f"is named PNG but holds {kind}; unpack or convert"):
        read_image(path)


def test_missing_unknown_folder(tmp_path):
    with pytest.raises(ImageFileError, match=r"none.png does not exist; check the name"):
        read_image(tmp_path / "none.png")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(ImageFileError, match=r"of no known kind; known are \.nii.* or \.bmp"):
        read_image(tmp_path / "a.docx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImageFileError, match=r"folder holds no DICOM files"):
        read_image(tmp_path / "folder")
    with pytest.raises(ImageFileError, match=r"no ending that can be written; use .*\.png"):
        write_image(tmp_path / "a.jpg", np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("start", "packer"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\3\4", "zip"),
        (b"BZh9", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
    ],
)
def test_a_packed_file_is_called_one(tmp_path, start, packer):
    (tmp_path / "a.ozx").write_bytes(start + bytes(200))
    held = "a ZIP archive" if packer == "zip" else f"data packed by {packer}"
    with pytest.raises(ImageFileError, match=f"holds {held}; unpack or convert it"):
        read_image(tmp_path / "a.ozx")


def test_wrong_ending_names_the_right_kind(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    path.rename(tmp_path / "a.tif")
    with pytest.raises(ImageFileError, match=r"named TIFF but holds PNG; give it that ending"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("form", [form for form in FORMATS if form.writer], ids=lambda f: f.name)
def test_a_format_refuses_before_it_writes_what_it_cannot_hold(form) -> None:
    cube = np.broadcast_to(np.zeros((), np.complex64), (2, 3, 4, 5, 6, 7))
    with pytest.raises(ImageFileError, match="axes"):
        check_image(f"result{form.endings[0]}", Source(cube))
    plane = Source(np.broadcast_to(np.zeros((), np.complex64), (8, 9)))
    with pytest.raises(ImageFileError, match="complex64"):
        check_image(f"result{form.endings[0]}", plane)
    check_image(f"result{form.endings[0]}", plane.replace(data=np.zeros((8, 9), np.uint16)))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("scan.nii.gz", "scan"),
        ("scan_1.5T.NII.GZ", "scan_1.5T"),
        ("a.v2.Ome.Tiff", "a.v2"),
        ("run.FUSION.ome.tif", "run"),
        ("plate.1.OME.ZARR", "plate.1"),
        ("IM0001", "IM0001"),
        ("series.3", "series.3"),
        (".tif", ".tif"),
    ],
)
def test_endings_are_stripped_whatever_their_case(file, name):
    assert strip_ending(Path("folder.tif") / file) == name
