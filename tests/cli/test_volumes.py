"""Volumes and series on the command line: fused whole, kept in their place, told in planes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console
from scipy import ndimage

from napari_dip_fusion import Source, cli
from napari_dip_fusion.cli import console, run_bar
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion import FrameDone, FrameFailed, PlanesDone, frames
from napari_dip_fusion.io import read_image, read_images, write_image

CLEAN = ("--method", "consensus", "--set", "noise=none")
SHAPE = (4, 24, 28)
PLACE = np.array([[3, 0, 0, 5], [0, 1, 0, -2], [0, 0, 1, 4], [0, 0, 0, 1.0]])


def make_volume(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return smooth blobs in [0, 1]."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.random(shape), 2, axes=(-2, -1))
    return ((blobs - blobs.min()) / np.ptp(blobs)).astype(np.float32)


def write(path: Path, data: np.ndarray, affine: np.ndarray = PLACE, **fields: object) -> Path:
    image = Source(data, affine=affine, **fields)
    units = tuple("s" if axis == "t" else "mm" for axis in image.axes)
    write_image(path, image.replace(units=units), overwrite=True)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Return files of two volumes on different grids."""
    coarse = PLACE @ np.diag([1, 1.25, 1.25, 1])
    return [
        write(tmp_path / "ct.nii.gz", make_volume(0)),
        write(tmp_path / "mr.nii.gz", make_volume(1), coarse),
    ]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return int(ended.value.code)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line of a call that has to end with exit code 2."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["fused.nii.gz", "fused.ome.tif", "fused.ome.zarr"])
def test_a_volume_is_fused_whole_in_its_place_and_told(pair, tmp_path, capsys, name) -> None:
    out, table = tmp_path / name, tmp_path / "planes.csv"
    assert run("fuse", *pair, "-o", out, "--planes-csv", table, *CLEAN) == 0
    fused = read_image(out)
    assert fused.axes == ("z", "y", "x")
    assert fused.shape == SHAPE
    np.testing.assert_allclose(fused.affine, PLACE, atol=1e-5)
    told = capsys.readouterr()
    assert "4 planes of 24x28 (z y x), 11 kB on disk before compression" in told.err
    assert "mean over 4 planes" in told.out
    record = json.loads((tmp_path / "fused.record.json").read_text())
    rows = read_rows(table)
    assert [row["z"] for row in rows] == ["0", "1", "2", "3"]
    mean = np.mean([float(row["petrovic"]) for row in rows])
    assert mean == pytest.approx(record["metrics"]["petrovic"])


def test_of_a_large_volume_both_times_are_told_before_it_is_looked_at(
    pair, tmp_path, capsys, monkeypatch
) -> None:
    call = ("fuse", *pair, "--iterations", "2", "--set", "width=4", "--set", "depth=2")
    for most, lines in ((10**6, 0), (1000, 1)):
        monkeypatch.setattr("napari_dip_fusion.cli.run._MANY_PIXELS", most)
        assert run(*call, "-o", tmp_path / f"{most}.nii.gz") == 0
        told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("about ")]
        assert [", or with noise " in line for line in told] == [True] * lines + [False]


def test_quiet_prints_nothing(pair, tmp_path, capsys) -> None:
    assert run("fuse", *pair, "-o", tmp_path / "f.nii.gz", "-q", *CLEAN) == 0
    assert capsys.readouterr() == ("", "")


def test_a_slice_of_a_series_of_volumes_is_a_volume(tmp_path) -> None:
    names = [tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"]
    affine = np.diag([2.0, *np.diag(PLACE)[:3], 1])
    for seed, path in enumerate(names):
        data = np.stack([make_volume(seed + 2 * t) for t in range(3)])
        write(path, data, affine, axes=("t", "z", "y", "x"))
    out, whole = tmp_path / "f.ome.tif", tmp_path / "whole.ome.tif"
    assert run("fuse", *names, "-o", whole, "-q", *CLEAN) == 0
    assert read_image(whole).axes == ("t", "z", "y", "x")
    assert run("fuse", *names, "-o", out, "-q", "--slice", "t=1", *CLEAN) == 0
    part = read_image(out)
    assert part.to_numpy().shape[-3:] == SHAPE
    windows = ("--intensity", "0:1", "--intensity", "0:1")
    for path, choice in ((out, ("--slice", "t=1")), (whole, ())):
        assert run("fuse", *names, "-o", path, "-f", "-q", *choice, *windows, *CLEAN) == 0
    np.testing.assert_allclose(
        read_image(out).to_numpy().squeeze(), read_image(whole).to_numpy()[1], atol=1e-6
    )


def test_a_stack_of_colors_keeps_them(tmp_path) -> None:
    colors = np.stack([make_volume(n) for n in range(3)], axis=-1)
    rgb = write(tmp_path / "rgb.ome.tif", (colors * 255).astype(np.uint8), rgb=True)
    gray = write(tmp_path / "gray.ome.tif", make_volume(3))
    out = tmp_path / "fused.ome.tif"
    assert run("fuse", rgb, gray, "-o", out, "-q", "--dtype", "uint8", *CLEAN) == 0
    fused = read_image(out)
    assert fused.rgb
    assert fused.to_numpy().shape == (*SHAPE, 3)
    assert np.ptp(fused.to_numpy(), axis=-1).max() > 20


@pytest.mark.parametrize("name", ["fused.png", "fused.tif"])
def test_a_format_of_planes_is_refused_before_the_run(
    pair, tmp_path, capsys, monkeypatch, name
) -> None:
    monkeypatch.setattr("napari_dip_fusion.cli.fuse.run_fusion", None)
    out = tmp_path / name
    line = refused(capsys, "fuse", *pair, "-o", out, *CLEAN, "-q")
    assert f"{name} cannot hold the result, 4 planes" in line
    assert all(other in line for other in (".ome.tif", ".ome.zarr", ".nii.gz", "--slice"))


def test_gains_of_a_volume_lie_where_it_lies(pair, tmp_path, capsys) -> None:
    gains, out = tmp_path / "gains", tmp_path / "f.nii.gz"
    assert run("fuse", *pair, "-o", out, "-q", "--gains-dir", gains, *CLEAN) == 0
    names = ["gain_0_ct", "gain_0_ct_base", "gain_1_mr", "gain_1_mr_base"]
    assert sorted(p.name for p in gains.iterdir()) == [f"{n}.ome.tif" for n in names]
    gain = read_image(gains / "gain_0_ct.ome.tif")
    assert gain.shape == SHAPE
    np.testing.assert_allclose(gain.affine, PLACE, atol=1e-5)
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "g.nii.gz", "-q", "--gains-dir", gains)
    assert "gain_0_ct.ome.tif exists" in line


def test_a_bundle_of_a_volume_holds_everything(pair, tmp_path) -> None:
    out = tmp_path / "all.fusion.ome.tif"
    assert run("fuse", *pair, "-o", out, "-q", *CLEAN) == 0
    images = read_images(out)
    gains = [f"{n} gain ({b})" for n in ("ct.nii.gz", "mr.nii.gz") for b in ("base", "details")]
    assert [i.name for i in images] == ["ct.nii.gz", "mr.nii.gz", *gains, "consensus", "fused"]
    assert {image.shape for image in images} == {SHAPE}
    assert run("metrics", *pair, "--fused", out) == 0


def test_a_replay_gives_the_same_volume(pair, tmp_path, capsys) -> None:
    out, again, record = (tmp_path / n for n in ("a.nii.gz", "b.nii.gz", "a.record.json"))
    assert run("fuse", *pair, "-o", out, "-q", *CLEAN) == 0
    assert run("fuse", "--replay", record, "-o", again, "-q") == 0
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    assert not capsys.readouterr().err


def test_a_replay_fits_each_frame_as_often(tmp_path) -> None:
    names = make_series(tmp_path, 3)
    out, again, record = (tmp_path / n for n in ("a.ome.tif", "b.ome.tif", "a.record.json"))
    quick = ("--set", "width=4", "--set", "depth=2", "--iterations", "8", "--network", "always")
    assert (
        run("fuse", *names, "-o", out, "-q", "--set", "threads=1", "--device", "cpu", *quick) == 0
    )
    assert json.loads(record.read_text())["iterations"] > 8
    assert run("fuse", "--replay", record, "-o", again, "-q") == 0
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())


def test_a_record_of_a_plane_is_no_record_of_the_whole(pair, tmp_path, capsys) -> None:
    out, again, record = (tmp_path / n for n in ("a.nii.gz", "b.nii.gz", "a.record.json"))
    assert run("fuse", *pair, "-o", out, "-q", "--slice", "2", *CLEAN) == 0
    content = json.loads(record.read_text())
    # As of a version that fused planes alone.
    content = {n: v for n, v in content.items() if n not in ("axes", "planes")}
    record.write_text(json.dumps(content))
    assert run("fuse", "--replay", record, "-o", again, "-q") == 0
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    del content["choice"]
    record.write_text(json.dumps(content))
    line = refused(capsys, "fuse", "--replay", record, "-o", again, "-q", "-f")
    assert "record is of a plane, and its sources are read as a volume" in line


def test_metrics_of_a_volume_are_those_of_its_run(pair, tmp_path, capsys) -> None:
    out, table = tmp_path / "f.nii.gz", tmp_path / "planes.csv"
    assert run("fuse", *pair, "-o", out, "-q", *CLEAN) == 0
    recorded = json.loads((tmp_path / "f.record.json").read_text())["metrics"]
    capsys.readouterr()
    assert run("metrics", *pair, "--fused", out, "--planes-csv", table, "--json") == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(recorded, rel=1e-5)
    rows = read_rows(table)
    assert run("metrics", *pair, "--fused", out) == 0
    assert "mean over 4 planes" in capsys.readouterr().out
    assert "planes.csv exists" in refused(
        capsys, "metrics", *pair, "--fused", out, "--planes-csv", table
    )
    # One plane of both, on the windows of the whole.
    windows = ("--intensity", "0:1", "--intensity", "0:1")
    assert run("metrics", *pair, "--fused", out, "--slice", "2", *windows, "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert run("metrics", *pair, "--fused", out, *windows, "--planes-csv", table, "-f") == 0
    rows = read_rows(table)
    assert float(rows[2]["petrovic"]) == pytest.approx(one["petrovic"], abs=1e-3)
    plane = tmp_path / "p.nii.gz"
    assert run("fuse", *pair, "-o", plane, "-q", "--slice", "2", *CLEAN) == 0
    assert run("metrics", *pair, "--fused", plane) == 2
    assert "the size of the sources, 4x24x28, got 24x28" in capsys.readouterr().err


def make_series(folder: Path, frames: int, *, stem: str = "s") -> list[Path]:
    names = [folder / f"{stem}_{channel}.ome.tif" for channel in "ab"]
    for seed, path in enumerate(names):
        write(path, make_volume(seed, (frames, *SHAPE[1:])), np.eye(4), axes=("t", "y", "x"))
    return names


def test_what_does_not_fit_is_one_line(pair, tmp_path, capsys) -> None:
    (ct, mr), out = pair, ("-o", tmp_path / "f.nii.gz", "-q", *CLEAN)
    away = PLACE.copy()
    away[0, 3] = 900
    far = write(tmp_path / "far.nii.gz", make_volume(2), away)
    four = tmp_path / "four.nii.gz"
    write(four, make_volume(5, (3, *SHAPE)), np.eye(5), axes=("t", "z", "y", "x"))
    short, long = (make_series(tmp_path, n, stem=f"t{n}")[0] for n in (3, 5))
    flat, deep = tmp_path / "flat.tif", tmp_path / "deep.tif"
    tifffile.imwrite(flat, make_volume(6, SHAPE[1:]))
    tifffile.imwrite(deep, make_volume(7, (100, *SHAPE[1:])))
    for arguments, message in (
        ((ct, far), "far.nii.gz: the image and the target do not overlap"),
        ((ct, mr, "--slice", "z=9"), "z must be 0 to 3, got 9"),
        ((short, long), "t5_a.ome.tif has 5 frames along t, "),
        ((ct, four), "four.nii.gz has 3 frames along t, "),
        ((deep, flat), "flat.tif has 1 frame along q, "),
        ((flat, deep), "deep.tif holds more than one plane, choose one of q: 0 to 99"),
    ):
        assert message in refused(capsys, "fuse", *arguments, *out)


def test_frames_that_fail_are_told_and_lose_no_others(tmp_path, capsys, monkeypatch) -> None:
    names, out, calls = make_series(tmp_path, 3), tmp_path / "f.ome.tif", []

    def analyze(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) in bad:
            raise FusionError("no luck")
        return whole(*arguments, **options)

    whole, bad = frames.analyze, {2}
    monkeypatch.setattr(frames, "analyze", analyze)
    table = tmp_path / "planes.csv"
    assert run("fuse", *names, "-o", out, "-q", "--planes-csv", table, *CLEAN) == 0
    assert capsys.readouterr().err.splitlines() == [
        "dip-fusion: warning: frame t=1 failed: no luck",
        "dip-fusion: warning: 1 of 3 frames failed; they are 0 in the image",
    ]
    assert [frame.any() for frame in read_image(out).to_numpy()] == [True, False, True]
    # What was not fused is not scored, and is no part of the mean.
    assert [row["petrovic"] > "0" for row in read_rows(table)] == [True, False, True]
    planes = json.loads((tmp_path / "f.record.json").read_text())["planes"]
    assert planes["metrics_are"] == "mean over 2 of 3 planes"
    bad |= {4, 5, 6}
    assert run("fuse", *names, "-o", tmp_path / "g.ome.tif", "-q", *CLEAN) == 1
    assert "no frame could be fused: no luck" in capsys.readouterr().err
    assert not (tmp_path / "g.ome.tif").exists()


SAYS_WHEN_A_FRAME_IS_DONE = """
import sys
from napari_dip_fusion import cli
from napari_dip_fusion.cli import run_bar
from napari_dip_fusion.fusion import FrameDone
show = run_bar.RunBar.show
def told(self, event):
    show(self, event)
    if isinstance(event, FrameDone):
        print("frame", *event.index, flush=True)
        if event.index == (1,):
            sys.stdin.readline()
run_bar.RunBar.show = told
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_keeps_the_frames_that_are_complete(tmp_path) -> None:
    names, out = make_series(tmp_path, 6), tmp_path / "f.ome.tif"
    process = subprocess.Popen(
        [sys.executable, "-c", SAYS_WHEN_A_FRAME_IS_DONE, "fuse", *names, "-o", out, *CLEAN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert [process.stdout.readline() for _ in range(2)] == ["frame 0\n", "frame 1\n"]
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate("go on\n", timeout=60)
    assert process.returncode == 0, stderr
    fused = read_image(out).to_numpy()
    assert fused.shape == (6, 24, 28)
    complete = fused.any(axis=(1, 2))
    assert complete[:2].all()
    assert not complete[-1]
    assert "complete frames are kept" in stderr
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert record["stop_reason"] == "stopped"


def test_the_bar_tells_stages_in_planes_and_frames(monkeypatch) -> None:
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(console, "err", screen)
    with run_bar.make_progress(False) as progress:
        bar = run_bar.RunBar(progress, frames=3)
        bar.show(PlanesDone("gains", 34, 128))
        progress.refresh()
        bar.show(FrameDone((0,), np.zeros((2, 2), np.float32)))
        bar.show(FrameFailed((1,), "no luck"))
        bar.show(PlanesDone("denoising", 2.5, 128))
        progress.refresh()
    lines = shown.getvalue()
    assert "34/128 planes" in lines
    assert "2/128 planes" in lines
    assert "2/3" in lines
    assert "left" in lines
    # One bar a stage: that of the stage before is gone.
    assert "gains" not in lines.rpartition("denoising")[2]


def make_sets(folder: Path) -> Path:
    for n in (1, 2):
        for seed, kind in enumerate(("ct", "mr")):
            folder.mkdir(exist_ok=True)
            write(folder / f"{n}_{kind}.nii.gz", make_volume(10 * n + seed))
    return folder


def test_a_batch_fuses_volumes_and_foretells_their_time(tmp_path, capsys) -> None:
    scans, out = make_sets(tmp_path / "scans"), tmp_path / "out"
    assert run("batch", scans, "-o", out, "--ending", ".nii.gz", *CLEAN) == 0
    said = capsys.readouterr().err
    assert "1: 4 planes of 24x28 (z y x), about" in said
    assert said.count("if they are alike") == 1
    assert read_image(out / "1.nii.gz").shape == SHAPE
    rows = read_rows(out / "batch.csv")
    record = json.loads((out / "1.record.json").read_text())
    assert float(rows[0]["petrovic"]) == record["metrics"]["petrovic"]
    assert run("batch", scans, "-o", out, "--ending", ".nii.gz", *CLEAN) == 0
    assert {row["status"] for row in read_rows(out / "batch.csv")} == {"there already"}
    assert run("batch", scans, "-o", tmp_path / "png", "--ending", "png", *CLEAN) == 1
    assert (
        "cannot hold the result, 4 planes" in read_rows(tmp_path / "png" / "batch.csv")[0]["reason"]
    )
    one = tmp_path / "one"
    assert run("batch", scans, "-o", one, "--ending", "png", "--slice", "2", "-q", *CLEAN) == 0
    assert read_image(one / "1.png").shape == SHAPE[1:]


def test_a_comparison_of_volumes(pair, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    call = ("compare", *pair, "-o", out, "--methods", "average,maximum,consensus")
    assert run(*call, "--figure", "--csv") == 0
    kept = sorted((out / "results").glob("*.ome.tif"))
    assert len(kept) == 3
    for path in kept:
        fused = read_image(path)
        assert fused.shape == SHAPE
        np.testing.assert_allclose(fused.affine, PLACE, atol=1e-5)
    assert len(list((out / "figures").iterdir())) == 1
    assert "mean over 4 planes" in capsys.readouterr().out
    planes = read_rows(out / "comparison-planes.csv")
    assert len(planes) == 3 * SHAPE[0]
    row = next(r for r in read_rows(out / "comparison.csv") if r["method"] == "maximum")
    mean = np.mean([float(p["piella"]) for p in planes if p["method"] == "maximum"])
    assert float(row["piella"]) == pytest.approx(mean)
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert run(*call, "-q") == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert run("compare", *pair, "-o", tmp_path / "p", "--methods", "average", "--slice", "1") == 0
    assert len(list((tmp_path / "p" / "results").glob("*average.tif"))) == 1


def test_no_bar_is_drawn_within_another_one(pair, tmp_path, monkeypatch) -> None:
    # Older releases of rich refuse it.
    shown = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=shown, force_terminal=True, width=200))
    assert run("compare", *pair, "-o", tmp_path / "c", "--methods", "average") == 0
    scans = tmp_path / "scans"
    scans.mkdir()
    for path in pair:
        path.rename(scans / f"1_{path.name}")
    assert run("batch", scans, "-o", tmp_path / "b", "--method", "average") == 0
    assert "brought to the grid of" in shown.getvalue()
    assert "resampling" not in shown.getvalue()
    sources = sorted(scans.iterdir())
    assert run("fuse", *sources, "-o", tmp_path / "f.nii.gz", "--method", "average") == 0
    assert "resampling" in shown.getvalue()
