"""Fusions block by block from the command line: asked for, for lack of memory, and taken up."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from napari_dip_fusion import cli
from napari_dip_fusion.blocks import BlockDone, BlocksBegun, plan
from napari_dip_fusion.blocks import run as core
from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.blockwise import bar, way
from napari_dip_fusion.fusion import memory
from napari_dip_fusion.io import read_image, read_images, write_image, write_images
from napari_dip_fusion.sources import Source

SHAPE, COUNT = (200, 260), 6  # in blocks of 128x128


def write_pair(folder: Path, *, seed: int = 1) -> list[str]:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    images = [
        1000 + 900 * np.sin(rows / 9) * np.cos(columns / (7 + seed)),
        1000 + 900 * np.sin((rows + columns) / 5),
    ]
    paths = []
    for name, image in zip("ab", images, strict=True):
        source = Source(image.astype(np.uint16), axes="yx", units=("um", "um"))
        paths.append(str(folder / f"{name}.ome.zarr"))
        write_image(Path(paths[-1]), source, overwrite=True)
    return paths


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    return write_pair(tmp_path)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return int(ended.value.code)


def read(path: Path) -> np.ndarray:
    return read_image(path).to_numpy()


def test_blocks_are_those_of_the_whole_and_a_record_repeats_them(pair, tmp_path, capsys) -> None:
    whole, blocks, again, third = (tmp_path / f"{n}.ome.zarr" for n in ("w", "k", "l", "m"))
    assert run("fuse", *pair, "-o", whole, "-q", "--reference", "0") == 0
    assert run("fuse", *pair, "-o", blocks, "--block", "128", "--reference", "0") == 0
    printed = capsys.readouterr()
    assert printed.err == (
        "200x260 pixels in 6 blocks of 128x128, 208 kB on disk before compression\n"
    )
    assert "of a sample" in printed.out
    assert f"{blocks}; record in {tmp_path / 'k.record.json'}" in printed.out
    np.testing.assert_allclose(read(blocks), read(whole), atol=1e-5)
    record = json.loads((tmp_path / "k.record.json").read_text())
    assert record["blocks"]["block"] == [128, 128]
    assert record["choice"]["reference"] == 0
    assert record["grid"]["reference"] == "a.ome.zarr"
    assert [source["path"] for source in record["sources"]] == pair

    assert run("fuse", "--replay", tmp_path / "k.record.json", "-o", again, "-q") == 0
    assert not capsys.readouterr().err
    np.testing.assert_array_equal(read(again), read(blocks))
    assert json.loads((tmp_path / "l.record.json").read_text())["blocks"] == record["blocks"]
    write_pair(tmp_path, seed=2)
    assert run("fuse", "--replay", tmp_path / "k.record.json", "-o", third, "-q") == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" has changed")[0] for line in lines] == [f"{console.WARNING}{pair[0]}"]


def test_a_bundle_holds_the_sources_and_its_record_is_replayed(pair, tmp_path, capsys) -> None:
    bundle, again = tmp_path / "f.fusion.ome.tif", tmp_path / "g.ome.zarr"
    assert run("fuse", *pair, "-o", bundle, "--block", "128") == 0
    # The fused image of float32, and two sources of 16 bits.
    assert "6 blocks of 128x128, 416 kB on disk" in capsys.readouterr().err
    images = read_images(bundle)
    assert [image.name for image in images] == ["a.ome.zarr", "b.ome.zarr", "fused"]
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert images[-1].metadata["dip_fusion"]["record"] == record
    (tmp_path / "f.record.json").unlink()
    assert run("fuse", "--replay", bundle, "-o", again, "-q") == 0
    assert not capsys.readouterr().err
    np.testing.assert_array_equal(read(again), images[-1].to_numpy())
    assert json.loads((tmp_path / "g.record.json").read_text())["blocks"] == record["blocks"]
    write_images(bundle, images[:1], overwrite=True)
    assert run("fuse", "--replay", bundle, "-o", tmp_path / "h.ome.zarr") == 2
    assert "holds no run record; name the record of its run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("f.png", ["--block", "128"], "the output ends in one of .ome.zarr"),
        ("f.ome.zarr", ["--block", "128", "--gains-dir", "g"], "--gains-dir cannot be written"),
        ("f.ome.zarr", ["--workers", "2", "--restored-dir", "r"], "--restored-dir cannot be"),
        ("f.ome.zarr", ["--resume", "--planes-csv", "p.csv"], "--planes-csv cannot be written"),
        ("f.ome.zarr", ["--block", "128", "--method", "average"], "methods dip and consensus"),
        ("f.ome.zarr", ["--block", "1,2,3"], "along each of the last 2 axes"),
        ("f.ome.zarr", ["--block", "many"], "--block must be a number of pixels"),
        ("f.ome.zarr", ["--workers", "2", "--scheduler", "tcp://x:1"], "give one of them"),
    ],
)
def test_what_cannot_go_block_by_block_is_refused_before(
    pair, tmp_path, capsys, name, options, message
) -> None:
    before = sorted(tmp_path.iterdir())
    assert run("fuse", *pair, "-o", tmp_path / name, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(tmp_path.iterdir()) == before


def test_images_that_do_not_fit_go_block_by_block(pair, tmp_path, capsys, monkeypatch) -> None:
    for module in (way, memory):
        monkeypatch.setattr(module, "measure_free_memory", lambda device: 10**6)
    monkeypatch.setattr("napari_dip_fusion.cli.fuse.bring_to_grid", lambda *_, **__: 1 / 0)
    assert run("fuse", *pair, "-o", tmp_path / "f.ome.tif", "--dtype", "uint8") == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("200x260 pixels need about ")
    assert first.endswith(" are free: fused block by block")
    assert second.startswith("200x260 pixels in 1 block of 256x320, 52 kB")
    assert read(tmp_path / "f.ome.tif").dtype == np.uint8
    assert run("fuse", *pair, "-o", tmp_path / "g.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "GB free" in line
    assert "or write .ome.zarr, which is fused block by block" in line


def end_at(monkeypatch: pytest.MonkeyPatch, block: int, number: int) -> None:
    """Send a signal to this process when so many blocks are done."""
    show = bar.Watcher._show

    def show_and_end(self: bar.Watcher, event: object, *others: object) -> None:
        show(self, event, *others)
        if isinstance(event, BlockDone) and event.done == block:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(bar.Watcher, "_show", show_and_end)


def count_blocks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with each block that is fused from now on."""
    made: list[object] = []
    fuse_block = core.fuse_block

    def count(job: object, index: object) -> object:
        made.append(index)
        return fuse_block(job, index)

    monkeypatch.setattr(core, "fuse_block", count)
    return made


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
def test_an_interrupted_run_is_taken_up(pair, tmp_path, capsys) -> None:
    call = ("fuse", *pair, "-o", tmp_path / "f.ome.zarr", "--block", "128,128")
    folder = tmp_path / "f.ome.zarr.part"
    with pytest.MonkeyPatch.context() as patch:
        # A block at work beside the second one would be finished, too.
        patch.setattr(plan, "_SIDE_BY_SIDE", 1)
        end_at(patch, 2, signal.SIGINT)
        assert run(*call) == 130
    line = f"stopped: 2 of 6 blocks are kept in {folder}; go on with the same command and --resume"
    assert capsys.readouterr().err.splitlines()[-1] == f"dip-fusion: {line}"
    # Nothing is thrown away in passing.
    assert run(*call, "--force") == 2
    assert f"{folder} holds a run that was not finished; go on with --resume" in (
        capsys.readouterr().err
    )
    # The second time, the process is killed.
    script = (
        "import os, signal, sys\n"
        "from napari_dip_fusion.blocks import BlockDone\n"
        "from napari_dip_fusion.cli import main\n"
        "from napari_dip_fusion.cli.blockwise import bar\n"
        "def show(self, event, *others):\n"
        "    if isinstance(event, BlockDone) and event.done == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "bar.Watcher._show = show\n"
        "main(sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, *map(str, call), "--resume"])
    assert killed.returncode == -signal.SIGKILL
    with pytest.MonkeyPatch.context() as patch:
        made = count_blocks(patch)
        assert run(*call, "--resume") == 0
    assert len(made) == 2
    assert "4 of 6 blocks are done already" in capsys.readouterr().err
    assert not folder.exists()
    plain = tmp_path / "g.ome.zarr"
    assert run("fuse", *pair, "-o", plain, "--block", "128", "-q") == 0
    np.testing.assert_array_equal(read(tmp_path / "f.ome.zarr"), read(plain))


def test_workers_make_the_same_image_and_are_gone_afterward(pair, tmp_path, capsys) -> None:
    pytest.importorskip("distributed")
    one, two = tmp_path / "one.ome.zarr", tmp_path / "two.ome.zarr"
    assert run("fuse", *pair, "-o", one, "--block", "128", "-q") == 0
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    assert run("fuse", *pair, "-o", two, "--block", "128", "--workers", "2") == 0
    assert capsys.readouterr().err.splitlines()[1].startswith("2 workers")
    left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
    assert all("resource_tracker" in " ".join(child.cmdline()) for child in left)
    np.testing.assert_array_equal(read(one), read(two))


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_told_with_rate_and_time_left(monkeypatch, terminal) -> None:
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=terminal, width=120, color_system=None)
    monkeypatch.setattr(console, "err", screen)
    monkeypatch.setattr(bar, "_SECONDS_BETWEEN_LINES", 0.0)
    layout = Layout(SHAPE, (128, 128), (36, 36))
    region = layout.locate((1, 1))
    begun = BlocksBegun(Path("x"), layout, frozenset({(0, 0)}), 2, "http://127.0.0.1:8787/status")
    watcher = bar.Watcher(1000, cluster=True, quiet=False)
    with pytest.raises(AssertionError, match="ends with BlocksDone"):
        watcher.watch(iter([begun, BlockDone(region, 2, COUNT, 1.0, 2.34e6, 130.0)]))
    text = shown.getvalue()
    assert "1 of 6 blocks are done already" in text
    assert "2 workers; dashboard: http://127.0.0.1:8787/status" in text
    assert "2/6 blocks  2.3 Mpixel/s" in text
    assert "2 min left" in text
    assert ("fusing" in text) == terminal
