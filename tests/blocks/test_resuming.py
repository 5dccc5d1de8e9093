"""A run that ends on its way, by whatever, is taken up: nothing finished is lost, or made again."""

import errno
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_dip_fusion import (
    FusionConfig,
    FusionError,
    Source,
    blocks,
    fuse_blocks,
    iter_fuse_blocks,
)
from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone, manifest, plan
from napari_dip_fusion.blocks.cutting import find_anywhere
from napari_dip_fusion.blocks.manifest import Manifest
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.errors import ImageFileError, StoppedError
from napari_dip_fusion.fusion import Control
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.io import read_image
from napari_dip_fusion.io.zarr.blocks import BlockWriter

RANDOM = np.random.default_rng(18)
SOURCES = [RANDOM.integers(0, 4000, (200, 300), np.uint16) for _ in range(2)]
OPTIONS = {"block": 64, "which": (), "config": FusionConfig(noise="none")}


class Lazy:
    """An image of which it is counted how much is read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.read: list[int] = []

    def __getitem__(self, index):
        part = self.data[index]
        self.read.append(part.size)
        return part


@pytest.fixture(autouse=True)
def _one_block_at_a_time(monkeypatch) -> None:
    """Let blocks be counted: those at work beside the last one would be finished, too."""
    monkeypatch.setattr(plan, "_SIDE_BY_SIDE", 1)


def run(output: Path, *, most: int = 100, **options) -> tuple[list[tuple[int, ...]], object]:
    """Fuse at most so many blocks; return which were made, and the result."""
    made, control = [], Control()
    options = {**OPTIONS, **options}
    for event in iter_fuse_blocks(SOURCES, output, control=control, **options):
        if isinstance(event, BlockDone):
            made.append(event.region.index)
            if len(made) == most:
                control.stop()
        if isinstance(event, BlocksDone):
            return made, event.result
    raise AssertionError("a run ends with BlocksDone")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> np.ndarray:
    result = fuse_blocks(SOURCES, tmp_path_factory.mktemp("whole") / "a.ome.zarr", **OPTIONS)
    return np.asarray(result.to_source().data)


def test_a_stopped_run_keeps_its_blocks_and_goes_on_with_the_others(tmp_path, whole):
    output = tmp_path / "fused.ome.zarr"
    first, stopped = run(output, most=7)
    assert (stopped.done, stopped.total, stopped.stop_reason) == (7, 20, "stopped")
    assert not stopped.is_complete
    assert not output.exists()
    # What is there can be looked at, and the rest is 0.
    there = np.asarray(stopped.to_source().data)
    np.testing.assert_array_equal(there[:64], whole[:64])
    assert not there[128:].any()
    second, result = run(output, resume=True)
    assert len(second) == 13
    assert not {*first} & {*second}
    assert result.path == output
    np.testing.assert_array_equal(np.asarray(result.to_source().data), whole)
    assert not Path(f"{output}.part").exists()
    with pytest.raises(FileExistsError, match="exists"):
        run(output, resume=True)


KILLED = """
import os, pickle, signal, sys
from napari_dip_fusion import iter_fuse_blocks
from napari_dip_fusion.blocks import BlockDone
sources, output, options, most = pickle.load(sys.stdin.buffer)
for event in iter_fuse_blocks(sources, output, **options):
    if isinstance(event, BlockDone) and event.done == most:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_is_taken_up(tmp_path, whole):
    import pickle

    output = tmp_path / "fused.ome.zarr"
    job = pickle.dumps((SOURCES, output, OPTIONS, 5))
    killed = subprocess.run([sys.executable, "-c", KILLED], input=job, check=False)
    assert killed.returncode == -signal.SIGKILL
    # The kill may have come in the middle of a line.
    done = Path(f"{output}.part", "done.jsonl")
    with done.open("a") as file:
        file.write('{"index": [3, 3], "sha')
    made, result = run(output, resume=True)
    assert len(made) == 15
    np.testing.assert_array_equal(np.asarray(result.to_source().data), whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": FusionConfig(noise="none", sharpness=3.0)}, "sharpness: 12.0 then, 3.0 now"),
        ({"block": 128}, "block 1: 64 then, 128 now"),
        ({"dtype": "uint16"}, "pixels: float32 then, uint16 now"),
    ],
)
def test_a_run_is_not_taken_up_with_other_settings(tmp_path, changes, message):
    output = tmp_path / "fused.ome.zarr"
    run(output, most=2)
    with pytest.raises(ValueError, match=message):
        run(output, resume=True, **changes)
    with pytest.raises(FileExistsError, match="was not finished; resume it, or remove"):
        run(output)
    assert run(output, resume=True)[1].is_complete


def test_a_run_is_not_taken_up_with_other_sources(tmp_path):
    output = tmp_path / "fused.ome.zarr"
    run(output, most=2)
    other = [SOURCES[0], SOURCES[1].copy()]
    # One pixel, of a block that is done.
    other[1][3, 5] ^= 1
    with pytest.raises(ValueError, match="the sources have changed since"):
        fuse_blocks(other, output, resume=True, **OPTIONS)
    assert run(output, resume=True)[1].is_complete


def test_a_disk_that_is_full_in_the_middle_keeps_what_is_done(tmp_path, monkeypatch, whole):
    output, write, times = tmp_path / "fused.ome.zarr", BlockWriter.write, []

    def fail(writer, start, pixels):
        times.append(start)
        if len(times) > 4:
            raise ImageFileError("no space left")
        return write(writer, start, pixels)

    monkeypatch.setattr(BlockWriter, "write", fail)
    with pytest.raises(FusionError, match="no space left; 4 of 20 blocks are done and kept in"):
        run(output)
    monkeypatch.undo()
    made, result = run(output, resume=True)
    assert len(made) == 16
    np.testing.assert_array_equal(np.asarray(result.to_source().data), whole)


def test_a_finished_image_that_could_not_be_moved_is_moved_later(tmp_path, monkeypatch, whole):
    path = tmp_path / "fused.ome.zarr"

    def fail(*_, **__):
        raise PermissionError("no")

    with monkeypatch.context() as context:
        context.setattr(blocks.output, "move_into_place", fail)
        with pytest.raises(PermissionError):
            run(path)
    made, result = run(path, resume=True)
    assert not made
    np.testing.assert_array_equal(result.to_source().to_numpy(), whole)


def test_two_runs_do_not_write_one_output(tmp_path):
    output = tmp_path / "fused.ome.zarr"
    events = iter_fuse_blocks(SOURCES, output, **OPTIONS)
    while not isinstance(next(events), BlocksBegun):
        pass
    with pytest.raises(ValueError, match="another run is at work"):
        run(output, resume=True)
    events.close()
    assert run(output, resume=True)[1].is_complete


def test_a_run_that_is_stopped_before_any_block_can_be_taken_up(tmp_path):
    output, control = tmp_path / "fused.ome.zarr", Control()
    events = iter_fuse_blocks(SOURCES, output, control=control, **OPTIONS)
    while not isinstance(next(events), BlocksBegun):
        pass
    control.stop()
    with pytest.raises(StoppedError, match="before a block was done"):
        list(events)
    assert run(output, resume=True)[1].is_complete


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("statistics.json", json.dumps({"windows": 3}), r"statistics\.json is damaged"),
        ("statistics.json", DEEP, r"statistics\.json is damaged"),
        ("statistics.json", None, r"statistics\.json is missing, by which blocks were made"),
        ("plan.json", None, "holds no run that could be resumed; remove it"),
        ("plan.json", "[[1, 2]]", "part is damaged .*; remove it"),
        ("plan.json", '"abc"', "part is damaged .*; remove it"),
        ("plan.json", DEEP, "part is damaged .*; remove it"),
        ("done.jsonl", '{"index": ["x", 0], "sha256": []}\n', "part is damaged .*; remove it"),
        ("done.jsonl", '{"index": [9, 9], "sha256": ["a", "b"]}\n', r"lists block \[9, 9\]"),
        ("done.jsonl", '{"index": [-1, 0], "sha256": ["a", "b"]}\n', r"lists block \[-1, 0\]"),
        ("done.jsonl", '{"index": [0], "sha256": ["a", "b"]}\n', r"lists block \[0\]"),
        ("done.jsonl", '{"index": [0, 0], "sha256": ["a"]}\n', "of 1 sources, and has"),
        ("image.ome.zarr", None, "lists 2 blocks, but their image is gone"),
    ],
)
def test_damaged_folders_are_refused_and_kept(tmp_path, name, text, message):
    output = tmp_path / "fused.ome.zarr"
    run(output, most=2)
    path = Path(f"{output}.part", name)
    path.rename(tmp_path / "before")
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        run(output, resume=True)
    # What was done is there as it was, and nobody keeps it locked.
    path.unlink(missing_ok=True)
    (tmp_path / "before").rename(path)
    assert run(output, resume=True)[1].is_complete, caught


def test_weights_are_those_that_were_written(tmp_path, monkeypatch):
    written = Manifest.create(tmp_path / "a.part", {})
    known = Statistics(((0.0, 1.0),), decision=Decision(fits=True)).with_fit(b"weights", [], 0.5)
    written.write_statistics(known)
    assert written.read_statistics() == known
    (tmp_path / "a.part" / "fit.pt").write_bytes(b"Weights")
    with pytest.raises(ValueError, match=r"is damaged \(fit\.pt is not what it was\); start"):
        written.read_statistics()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ImageFileError, match=r"could not write .* No space left on device"):
        written.write_statistics(known)
    written.remove()


@pytest.mark.parametrize("name", ["fused.ome.zarr", "fused.ome.tif"])
def test_a_run_that_ends_before_its_image_has_its_name_is_taken_up(
    tmp_path, name, monkeypatch, whole
):
    from napari_dip_fusion.blocks import output as module

    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    monkeypatch.setattr(module, "move_into_place", die)
    monkeypatch.setattr(module, "write_image", die)
    with pytest.raises(Killed):
        run(tmp_path / name)
    monkeypatch.undo()
    made, result = run(tmp_path / name, resume=True)
    assert made == []
    np.testing.assert_array_equal(np.asarray(result.to_source().data), whole)


def test_what_a_finished_run_leaves_behind_does_not_blank_its_image(tmp_path, monkeypatch, whole):
    output = tmp_path / "fused.ome.zarr"
    monkeypatch.setattr(Manifest, "remove", Manifest.unlock)
    run(output)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="their image is gone: it became the output"):
        run(output, resume=True, overwrite=True)
    np.testing.assert_array_equal(read_image(output).to_numpy(), whole)


def test_a_run_that_is_refused_or_closed_elsewhere_is_not_locked(tmp_path):
    output = tmp_path / "fused.ome.zarr"
    run(output, most=2)
    with pytest.raises(ValueError, match="was begun with another block") as caught:
        run(output, resume=True, block=128)
    events = iter_fuse_blocks(SOURCES, output, resume=True, **OPTIONS)
    # A thread that goes on, as those of a pool.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(next, events).result()
        with pytest.raises(ValueError, match="another run is at work"):
            run(output, resume=True)
        events.close()
        assert run(output, resume=True)[1].is_complete, (caught, events)


def test_a_folder_that_cannot_be_written_is_not_left_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ImageFileError("no space left")

    monkeypatch.setattr(manifest, "write_text", fail)
    with pytest.raises(ImageFileError, match="no space left"):
        run(tmp_path / "fused.ome.zarr")
    assert not any(tmp_path.iterdir())


def test_blocks_too_small_for_what_is_found_leave_nothing(tmp_path):
    # Noise has a halo of its own, which is known once it is found.
    noisy = [image + RANDOM.normal(0, 400, image.shape) for image in SOURCES]
    options = {**OPTIONS, "config": FusionConfig(patch_size=27, method="consensus")}
    with pytest.raises(ValueError, match="a block must be larger than its halo"):
        fuse_blocks(noisy, tmp_path / "fused.ome.zarr", **options)
    assert not any(tmp_path.iterdir())


def test_lack_of_memory_without_a_word_is_named(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(BlockWriter, "write", fail)
    with pytest.raises(FusionError, match=r"^MemoryError; 0 of 20 blocks are done"):
        run(tmp_path / "fused.ome.zarr")


def test_a_run_that_is_stopped_while_its_sources_are_looked_at_leaves_nothing(tmp_path):
    output, control = tmp_path / "fused.ome.zarr", Control()
    events = iter_fuse_blocks(SOURCES, output, control=control, **OPTIONS)
    next(events)
    control.stop()
    with pytest.raises(StoppedError):
        list(events)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FusionError, match="no dask scheduler can be reached"):
        fuse_blocks(SOURCES, output, scheduler="nowhere", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_arrays_that_were_opened_by_a_relative_path_are_found_from_any_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(SOURCES):
        zarr.create_array(f"{number}.zarr", data=image)
    found = [find_anywhere(Source(zarr.open(f"{n}.zarr", mode="r"))) for n in range(2)]
    monkeypatch.chdir("/")
    for source, image in zip(found, SOURCES, strict=True):
        np.testing.assert_array_equal(source.to_numpy(), image)
    assert find_anywhere(found[0]) is found[0]


def test_what_exists_stays_until_all_is_done(tmp_path):
    output = tmp_path / "fused.ome.zarr"
    run(output)
    with pytest.raises(FileExistsError):
        run(output)
    before = sorted(output.rglob("*"))
    run(output, most=3, overwrite=True)
    assert sorted(output.rglob("*")) == before
    assert run(output, resume=True, overwrite=True)[1].is_complete


def test_lazy_sources_are_read_block_by_block(tmp_path):
    lazy = [Source(Lazy(image)) for image in SOURCES]
    fuse_blocks(lazy, tmp_path / "fused.ome.zarr", **{**OPTIONS, "block": 64})
    # A block of 64 pixels with a halo of 36 on both sides; the samples are the whole of so small
    # an image.
    most = max(size for size in lazy[0].data.read if size < SOURCES[0].size)
    assert most <= 136 * 136
