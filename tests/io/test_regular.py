"""What is no plain file is refused before it is opened: each call here would wait for ever."""

import os
import socket
import struct
import threading
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.io.claimed import is_claimed
from napari_dip_fusion.io.dicom.files import find_dicom_files, holds_dicom
from napari_dip_fusion.io.record_images import find_source
from napari_dip_fusion.io.regular import require_inside
from napari_dip_fusion.io.zarr import writing
from napari_dip_fusion.record import read_record
from napari_dip_fusion.sources import Source

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")

ENDINGS = (".png", ".jpg", ".tif", ".ome.tif", ".fusion.ome.tif", ".nii", ".nii.gz", ".dcm", "")


def within_seconds(call, *arguments):
    """Return what a call gives, or the error that it raises; it may not wait."""
    found = []

    def keep():
        try:
            found.append(call(*arguments))
        except Exception as error:
            found.append(error)

    # A thread that waits for a pipe cannot be ended, but left behind.
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert found, "it waits"
    return found[0]


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pipe_of_any_name_is_refused(tmp_path, ending) -> None:
    path = make_pipe(tmp_path / f"pipe{ending}")
    error = within_seconds(read_images, path)
    assert isinstance(error, ImageFileError)
    assert f"pipe{ending} is a pipe, which is not read" in str(error)
    within_seconds(is_claimed, path)


def test_devices_and_sockets_are_refused(tmp_path) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s.png"))
    for name, kind in (("zero.png", "a device"), ("s.png", "a socket")):
        error = within_seconds(read_images, tmp_path / name)
        assert f"{name} is {kind}, which is not read" in str(error)
    listening.close()


def test_a_file_of_the_system_without_a_size_is_not_opened(tmp_path) -> None:
    (tmp_path / "kernel.png").symlink_to("/proc/kmsg")
    assert isinstance(within_seconds(read_images, tmp_path / "kernel.png"), ImageFileError)


def test_a_link_to_an_image_is_read(tmp_path) -> None:
    iio.imwrite(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").data, np.eye(9))


def test_a_folder_with_pipes_and_devices_is_searched_to_its_end(tmp_path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    make_pipe(folder / "a")
    make_pipe(folder / "b.dcm")
    (folder / "c.dcm").symlink_to("/dev/zero")
    assert within_seconds(holds_dicom, folder) is False
    assert within_seconds(is_claimed, folder) is False
    error = within_seconds(read_images, folder)
    assert "b.dcm is a pipe" in str(error)


def test_all_of_a_folder_is_counted_before_a_file_is_opened(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_dip_fusion.io.dicom.files._MOST_FILES", 8)
    monkeypatch.setattr("napari_dip_fusion.io.dicom.files.is_dicom", lambda path: 1 / 0)
    # Folders without files take time, too.
    for n in range(5):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / "file").touch()
    with pytest.raises(ImageFileError, match="more than 8 files and folders; name the folder"):
        find_dicom_files(tmp_path)


def test_a_record_that_is_a_pipe(tmp_path) -> None:
    error = within_seconds(read_record, make_pipe(tmp_path / "a.record.json"))
    assert isinstance(error, ValueError)
    assert "is not a run record: it is no file" in str(error)


@pytest.mark.parametrize("stored", [".", "..", "/", "", "a/..", "./.", "/usr", "sub", "/dev/zero"])
def test_what_a_record_may_not_name(tmp_path, stored) -> None:
    (tmp_path / "sub").mkdir()
    make_pipe(tmp_path / "sub" / "x.dcm")
    error = within_seconds(find_source, tmp_path / "f.record.json", stored)
    assert isinstance(error, ImageFileError)


def test_what_a_record_names_is_looked_for_beside_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir("/")
    record, image = tmp_path / "f.record.json", tmp_path / "a.png"
    image.touch()
    for stored in ("a.png", "./a.png", str(image), "/moved/away/a.png"):
        assert find_source(record, stored) == image
    (tmp_path / "s.zarr").mkdir()
    assert find_source(record, "s.zarr") == tmp_path / "s.zarr"
    with pytest.raises(ImageFileError, match=r"f.record.json: source b.png is not found"):
        find_source(record, "b.png")


def test_links_out_of_a_folder(tmp_path) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    (store / "inner").mkdir(parents=True)
    (store / "file").touch()
    outside.touch()
    (tmp_path / "link").symlink_to(store)
    (store / "inner" / "in").symlink_to("../file")
    (store / "out").symlink_to(outside)
    (store / "up").symlink_to("..")
    for name in ("file", "inner/in", "not there"):
        require_inside(store, store / name)
        require_inside(tmp_path / "link", tmp_path / "link" / name)
    for name in ("out", "up/outside", "../outside"):
        with pytest.raises(ImageFileError, match="is a link out of"):
            require_inside(store, store / name)


def name_other_file(path: Path, name: str) -> None:
    """Write an OME-TIFF of two planes, the first of which lies in another file."""
    uuid = f'<UUID FileName="{name}">urn:uuid:1</UUID>'
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="40" SizeY="32" SizeZ="2" SizeC="1" '
        f'SizeT="1" ID="Pixels:0"><TiffData IFD="0" PlaneCount="1" FirstZ="0">{uuid}</TiffData>'
        '<TiffData IFD="0" PlaneCount="1" FirstZ="1"/></Pixels></Image></OME>'
    )
    planes = np.ones((2, 32, 40), dtype=np.uint8)
    tifffile.imwrite(path, planes, description=xml, metadata=None)


@pytest.mark.parametrize("ending", [".ome.tif", ".tif"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe.tif", "pipe.tif is a pipe"),
        ("zero.tif", "zero.tif is a device"),
        ("/dev/zero", "points out of its folder"),
        ("../other.tif", "points out of its folder"),
    ],
)
def test_a_tiff_that_names_what_is_no_part_of_it(tmp_path, ending, name, message) -> None:
    make_pipe(tmp_path / "pipe.tif")
    (tmp_path / "zero.tif").symlink_to("/dev/zero")
    path = tmp_path / f"a{ending}"
    name_other_file(path, name)
    error = within_seconds(read_images, path)
    assert isinstance(error, ImageFileError)
    assert message in str(error)
    assert within_seconds(is_claimed, path) is False


def make_index(folder: Path, name: str) -> None:
    """Write an index of Micro-Manager in which one plane lies in a file of this name."""
    axes = b'{"z": 0}'
    parts = [struct.pack("<I", len(axes)), axes, struct.pack("<I", len(name)), name.encode()]
    (folder / "NDTiff.index").write_bytes(b"".join(parts) + struct.pack("<8I", *[0] * 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: make_pipe(folder / "b_MMStack_1.tif"), "b_MMStack_1.tif is a pipe"),
        (lambda folder: make_pipe(folder / "NDTiff.index"), "NDTiff.index is a pipe"),
        (lambda folder: make_index(folder, "../other.tif"), "points out of its folder"),
    ],
)
def test_a_stack_of_micro_manager_with_what_is_no_part_of_it(tmp_path, make, message) -> None:
    path, planes = tmp_path / "b_MMStack.tif", np.ones((2, 9, 9), dtype=np.uint8)
    tag = (51123, "s", 0, '{"a": 1}', True)
    tifffile.imwrite(path, planes, metadata=None, extratags=[tag])
    assert read_image(path).shape == (2, 9, 9)
    make(tmp_path)
    error = within_seconds(read_images, path)
    assert isinstance(error, ImageFileError)
    assert message in str(error)


def test_a_tiff_over_several_files_is_read(tmp_path) -> None:
    other = tmp_path / "second.ome.tif"
    tifffile.imwrite(other, np.full((32, 40), 7, dtype=np.uint8), metadata=None)
    name_other_file(tmp_path / "a.ome.tif", other.name)
    assert read_image(tmp_path / "a.ome.tif").to_numpy()[:, 0, 0].tolist() == [7, 1]


def make_store(path: Path, version: str) -> Path:
    pixels = np.random.default_rng(0).random((9, 9), dtype=np.float32)
    writing.write(path, Source(pixels), version=version)
    return path


def find_part(store: Path, kind: str) -> Path:
    """Return the file or folder of a store that holds its metadata, its array or its pixels."""
    if kind == "array":
        return store / "0"
    files = sorted(p for p in store.rglob("*") if p.is_file())
    if kind == "metadata":
        return next(p for p in files if p.name in ("zarr.json", ".zattrs") and p.parent == store)
    if kind == "array metadata":
        return next(p for p in files if p.name in ("zarr.json", ".zarray") and p.parent != store)
    return next(p for p in files if not p.name.startswith((".z", "zarr.")))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["metadata", "array metadata", "array", "chunk"])
def test_a_link_out_of_an_ome_zarr_is_not_followed(tmp_path, kind, version) -> None:
    store = make_store(tmp_path / "a.ome.zarr", version)
    part = find_part(store, kind)
    part.rename(tmp_path / "outside")
    part.symlink_to(tmp_path / "outside")
    with pytest.raises(ImageFileError, match=r"is a link out of .*a\.ome\.zarr, to .*outside"):
        read_image(store).to_numpy()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_link_within_an_ome_zarr_is_followed(tmp_path, version) -> None:
    store = make_store(tmp_path / "a.ome.zarr", version)
    expected = read_image(store).to_numpy()
    chunk = find_part(store, "chunk")
    chunk.rename(store / "moved")
    chunk.symlink_to(store / "moved")
    (tmp_path / "b.ome.zarr").symlink_to(store)
    np.testing.assert_array_equal(read_image(tmp_path / "b.ome.zarr").to_numpy(), expected)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["metadata", "array metadata", "chunk"])
def test_a_pipe_in_an_ome_zarr_is_not_opened(tmp_path, kind, version) -> None:
    store = make_store(tmp_path / "a.ome.zarr", version)
    part = find_part(store, kind)
    part.unlink()
    make_pipe(part)
    error = within_seconds(lambda: read_image(store).to_numpy())
    assert isinstance(error, ImageFileError)


def test_an_endless_chunk_is_not_opened(tmp_path) -> None:
    store = make_store(tmp_path / "a.ome.zarr", "0.5")
    part = find_part(store, "chunk")
    part.unlink()
    part.symlink_to("/dev/zero")
    error = within_seconds(lambda: read_image(store).to_numpy())
    assert "is a link out of" in str(error)
