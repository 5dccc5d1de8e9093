import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, write_atomically, write_image, write_text


def test_existing_file_is_refused_and_untouched(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(FileExistsError, match=r"a.txt exists; choose another name or allow"):
        write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new", overwrite=True)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_a_failed_write(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with write_atomically(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folder_replaces_folder_but_not_file(tmp_path):
    folder = tmp_path / "a.zarr"
    for content in ("first", "second"):
        with write_atomically(folder, overwrite=True) as temporary:
            temporary.mkdir()
            (temporary / "zarr.json").write_text(content)
    assert (folder / "zarr.json").read_text() == "second"
    with (
        pytest.raises(ImageFileError, match=r"a folder of that name exists"),
        write_atomically(folder, overwrite=True) as temporary,
    ):
        temporary.write_text("file")
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_link_is_followed(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new", overwrite=True)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ImageFileError, match=r"none does not exist; make it first"):
        write_text(tmp_path / "none" / "a.txt", "text")


def test_full_disk_leaves_the_old_files(tmp_path):
    """A limit on the size of files stands for a full disk: both fail in write()."""
    pytest.importorskip("resource")
    endings = (".png", ".tif", ".ome.tif", ".fusion.ome.tif", ".nii", ".nii.gz", ".ome.zarr")
    paths = [write_image(tmp_path / f"a{n}", np.zeros((4, 4), np.uint8)) for n in endings]
    code = f"""
import resource, signal, numpy as np
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import write_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
for path in {[str(path) for path in paths]}:
    try:
        write_image(path, noise, overwrite=True)
    except ImageFileError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert len(told) == len(paths)
    for path, line in zip(paths, told, strict=True):
        assert line.startswith(f"could not write {path}: ")
        assert "nothing was changed" in line
        assert not read_image(path).to_numpy().any()
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in paths)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = f"""
import sys
from napari_dip_fusion.io.atomic import write_atomically
with write_atomically({str(path)!r}, overwrite=True) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
