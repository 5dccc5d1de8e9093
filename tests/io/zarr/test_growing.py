"""Images that several processes write block by block."""

import errno
import os
import pickle
import subprocess
import sys
import warnings
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image
from napari_dip_fusion.io.halving import halve, plan_factors
from napari_dip_fusion.io.zarr import layout
from napari_dip_fusion.io.zarr.growing import GrowingImage
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.views import find_view

# What a process does that gets a writer and blocks of its own, and is killed within one of them.
WORK = """
import os, pathlib, pickle, signal, sys
writer, blocks, killed = pickle.load(sys.stdin.buffer)
replace, replaced = pathlib.Path.replace, []

def replace_or_die(*args):
    replaced.append(args)
    return replace(*args) if len(replaced) < 3 else os.kill(os.getpid(), signal.SIGKILL)

for start, pixels in blocks:
    if start == killed:
        pathlib.Path.replace = replace_or_die
    pickle.dump((start, writer.write(start, pixels)), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Let images of a few hundred pixels have many chunks and levels."""
    monkeypatch.setattr(layout, "_PLANE_CHUNK", (1, 16, 16))
    monkeypatch.setattr(layout, "_VOLUME_CHUNK", (4, 8, 8))
    monkeypatch.setattr(layout, "_FEWEST_PIXELS", 64)
    monkeypatch.setattr("napari_dip_fusion.io.halving._COARSEST", 16)


def random_image(shape, dtype="u2", **fields):
    values = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
    return Source(
        (values / 65536).astype(dtype) if np.dtype(dtype).kind == "f" else values.astype(dtype),
        **fields,
    )


def blank(image):
    return image.replace(data=np.broadcast_to(np.zeros((), image.dtype), image.data.shape))


def list_starts(image, block):
    """Return where blocks begin, in an order of chance."""
    sizes = zip(image.shape, block, strict=True)
    starts = list(product(*(range(0, whole, size) for whole, size in sizes)))
    return [starts[n] for n in np.random.default_rng(1).permutation(len(starts))]


def cut(image, start, block):
    return image.data[tuple(slice(n, n + size) for n, size in zip(start, block, strict=True))]


def compute_pyramid(image):
    """Return all levels as they are computed from the whole image."""
    levels, planned = [image.to_numpy()], plan_factors(image)
    for fine, coarse in pairwise(planned):
        levels.append(halve(levels[-1], [n for n in range(image.ndim) if fine[n] != coarse[n]]))
    return levels


def read_silently(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path)


def check(path, image):
    back = read_silently(path)
    levels = compute_pyramid(image)
    assert len(back.pyramid) == len(levels) - 1
    for found, expected in zip((back.data, *back.pyramid), levels, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    # Blocks read it at once, whatever its axes were turned into.
    assert find_view(back.data) is not None
    return back


CASES = {
    # What is written, the block, and how many of how many levels belong to blocks.
    "odd plane": (random_image((137, 251), axes="yx"), (32, 64), (3, 5)),
    "one odd factor": (random_image((99, 251), "f4", axes="yx"), (28, 44), (2, 5)),
    "all in one": (random_image((63, 70), axes="yx"), (63, 70), (4, 4)),
    "strips": (random_image((99, 75), "i1", axes="yx"), (16, 75), (3, 4)),
    "colors": (random_image((67, 90, 3), "u1", rgb=True), (32, 32), (3, 4)),
    "cube": (random_image((21, 45, 67), axes="zyx"), (8, 16, 16), (2, 4)),
    "thick slices": (
        random_image((9, 45, 67), "f4", axes="zyx", affine=np.diag([4, 1.0, 1, 1])),
        (2, 16, 16),
        (2, 4),
    ),
    "series of colors": (
        random_image(
            (2, 3, 33, 40, 4), "u1", axes="tzyx", rgb=True, affine=np.diag([1, 9, 1, 1, 1.0])
        ),
        (1, 1, 16, 16),
        (2, 3),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_make_the_pyramid_of_the_whole(tmp_path, case):
    image, block, owned = CASES[case]
    path = tmp_path / "a.ome.zarr"
    growing = GrowingImage.create(path, blank(image), block)
    assert (growing.writer.layout.owned, len(growing.writer.layout.levels)) == owned
    for start in list_starts(image, block):
        # Blocks are made again after a crash.
        for _ in range(2):
            growing.take(start, growing.writer.write(start, cut(image, start, block)))
    growing.finish({"record": 1})
    back = check(path, image)
    assert back.metadata == {"record": 1}
    for level in range(1, owned[1]):
        # Programs go by the shapes, but the pixels of odd sizes lie where they are declared.
        assert back.measure_level_shift(level) < 1
        place, factor = back.find_level_affine(level), 2**level
        np.testing.assert_allclose((place[-2, -2], place[-2, -1]), (factor, (factor - 1) / 2))


def start_process(writer, blocks, killed=None):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdin.write(pickle.dumps((writer, blocks, killed)))
    process.stdin.close()
    return process


def receive(process):
    """Return the coarse pieces that a process made until its end."""
    pieces = {}
    with process, process.stdout:
        while True:
            try:
                start, piece = pickle.load(process.stdout)
            except EOFError:
                return pieces
            pieces[start] = piece


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_eight_processes_one_of_which_is_killed(tmp_path):
    image, block, path = random_image((253, 301), axes="yx"), (32, 32), tmp_path / "a.zarr"
    starts = list_starts(image, block)
    blocks = [(start, cut(image, start, block)) for start in starts]
    growing = GrowingImage.create(path, blank(image), block)
    # Neighbors are written by different processes.
    killed = starts[24]
    processes = [start_process(growing.writer, blocks[n::8], killed) for n in range(8)]
    pieces = {start: piece for process in processes for start, piece in receive(process).items()}
    left = [one for one in blocks if one[0] not in pieces]
    assert left == blocks[24::8]
    for start, piece in pieces.items():
        growing.take(start, piece)
    # Nothing of what is there is damaged, and what is not there is 0.
    found = read_silently(path).to_numpy()
    for start, pixels in blocks:
        part = cut(Source(found), start, block)
        assert start in (one[0] for one in left) or np.array_equal(part, pixels)
        assert np.isin(part, [0, *pixels.flat]).all()
    assert list(path.rglob("*.partial"))
    growing = GrowingImage.open(path, blank(image), block)
    for start, pixels in left:
        growing.take(start, growing.writer.write(start, pixels))
    growing.finish({})
    check(path, image)
    assert not list(path.rglob("*.partial"))
    # Whoever was killed before it was given its name finishes it once more.
    GrowingImage.open(path, blank(image), block).finish({"seed": 3})
    assert read_image(path).metadata == {"seed": 3}
    with pytest.raises(ImageFileError, match="is not the array of"):
        GrowingImage.open(path, blank(image), (64, 64))


def test_an_empty_image_is_what_it_will_be(tmp_path):
    fields = {"axes": ("y", "b", "x"), "units": ("um", "s/mm2", "um"), "name": "fused"}
    affine = np.diag([0.5, 100, 0.25, 1])
    affine[:-1, -1] = (3, 0, 4)
    fields |= {"display": {"colormap": "magma"}, "affine": affine, "metadata": {"seed": 3}}
    image = random_image((40, 2, 60), **fields)
    path = tmp_path / "a.zarr"
    GrowingImage.create(path, blank(image), (16, 1, 32))
    with pytest.raises(FileExistsError, match="choose another name"):
        GrowingImage.create(path, image, (16, 1, 32))
    growing = GrowingImage.open(path, blank(image), (16, 1, 32))
    back = read_silently(path)
    assert back.axes == ("b", "y", "x")
    assert not back.to_numpy().any()
    assert (back.name, back.units, back.metadata, back.display) == (
        "fused",
        ("s/mm2", "um", "um"),
        {"seed": 3},
        {"colormap": "magma"},
    )
    np.testing.assert_array_equal(back.affine, image.transpose((1, 0, 2)).affine)
    growing.writer.write((16, 1, 32), cut(image, (16, 1, 32), (16, 1, 32)))
    np.testing.assert_array_equal(
        read_silently(path).data[1, 16:32, 32:], image.data[16:32, 1, 32:]
    )
    # Half of its chunks are not there, which is said once it is finished.
    growing.finish({"record": 1})
    with pytest.warns(UserWarning, match="are not stored and read as 0"):
        assert read_image(path).metadata == {"seed": 3, "record": 1}


def test_blocks_that_do_not_fit(tmp_path):
    image = random_image((64, 80), axes="yx")
    for block, message in (
        ((16,), "needs a size of 1 or more along each axis of y, x"),
        ((0, 16), "needs a size of 1 or more"),
        ((31, 32), "multiples of 64"),
        ((33, 32), "multiples of 64"),
    ):
        with pytest.raises(ValueError, match=message):
            GrowingImage.create(tmp_path / "a.zarr", image, block)
    with pytest.raises(ValueError, match="1 along those that are none of space"):
        GrowingImage.create(tmp_path / "a.zarr", random_image((2, 64, 80), axes="tyx"), (2, 16, 16))
    writer = GrowingImage.create(tmp_path / "a.zarr", image, (32, 32)).writer
    for start in ((0, 33), (64, 0), (-32, 0)):
        with pytest.raises(ValueError, match="begin at multiples of their sizes"):
            writer.write(start, np.zeros((32, 32), np.uint16))
    for pixels in (np.zeros((32, 32), np.uint16), np.zeros((32, 16), np.float32)):
        with pytest.raises(ValueError, match=r"has the shape \(32, 16\) of uint16"):
            writer.write((32, 64), pixels)


def test_a_disk_that_refuses(tmp_path, monkeypatch):
    image, path = random_image((64, 80), axes="yx"), tmp_path / "a.zarr"
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageFileError, match="does not exist; make it first"):
        GrowingImage.create(tmp_path / "file" / "a.zarr", image, (32, 32))
    growing = GrowingImage.create(path, image, (32, 32))
    first = cut(image, (0, 0), (32, 32))
    piece = growing.writer.write((0, 0), first)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        for action in (
            lambda: growing.writer.write((32, 0), cut(image, (32, 0), (32, 32))),
            lambda: growing.take((0, 0), piece),
            lambda: growing.finish({}),
        ):
            with pytest.raises(ImageFileError, match="No space left on device; what is finished"):
                action()
    np.testing.assert_array_equal(read_silently(path).data[:32, :32], first)
    assert not read_silently(path).data[32:].any()


def test_folders_that_cannot_be_gone_on_with(tmp_path):
    image, path = random_image((64, 80), axes="yx"), tmp_path / "a.zarr"
    with pytest.raises(ImageFileError, match="holds no image that could be gone on with"):
        GrowingImage.open(path, image, (32, 32))
    GrowingImage.create(path, image, (32, 32))
    with pytest.raises(ImageFileError, match="is not the array of"):
        GrowingImage.open(path, image.replace(data=image.data.astype(float)), (32, 32))
    (path / "0" / "c").symlink_to(tmp_path)
    with pytest.raises(ImageFileError, match="is a link out of"):
        GrowingImage.open(path, image, (32, 32)).writer.write((0, 0), cut(image, (0, 0), (32, 32)))
    zarr.open_group(path, mode="r+").create_array("1", data=image.data, overwrite=True)
    with pytest.raises(ImageFileError, match="is not the array of"):
        GrowingImage.open(path, image, (32, 32))


def test_blocks_of_zeros_are_stored_so_that_none_is_missed(tmp_path):
    image = random_image((40, 40)).replace(data=np.zeros((40, 40), np.uint16))
    grown = GrowingImage.create(tmp_path / "a.ome.zarr", blank(image), (32, 32))
    for start in product((0, 32), (0, 32)):
        shape = grown.writer.layout.measure_block(start)
        grown.take(start, grown.writer.write(start, np.zeros(shape, np.uint16)))
    grown.finish({})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.ome.zarr").shape == (40, 40)
