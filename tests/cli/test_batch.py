"""dip-fusion batch, in process and, for Ctrl-C and workers, as a process."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
import tifffile

from napari_dip_fusion import cli
from napari_dip_fusion.cli.batch import jobs
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.sources import Source

RNG = np.random.default_rng(15)
QUICK = [
    *("--set", "width=4", "--set", "depth=2", "--set", "restore=never"),
    *("--device", "cpu", "--iterations", "2"),
]

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("1_ct", "1_mr", "2_ct", "2_mr", "3_ct", "3_mr"):
        write(tmp_path / "scans" / f"{name}.png")
    return tmp_path / "scans"


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, RNG.integers(0, 256, (33, 47), dtype=np.uint8))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["batch", *map(str, arguments)])
    return int(ended.value.code)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line of a call that has to end with exit code 2."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "batch.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in read_rows(folder).values()]


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "batch.csv"}


def test_a_folder_is_fused_and_told(scans, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "fused"
    write(scans / "lonely.png")
    assert run(scans, "-o", out, *QUICK) == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "3 sets, matched by names that differ only after the last - or _:",
        *(f"  {i}: {scans}/{i}_ct.png, {scans}/{i}_mr.png" for i in (1, 2, 3)),
        f"dip-fusion: warning: left out: {scans}/lonely.png has no partner",
    ]
    assert told.out.splitlines() == [f"3 fused; metrics and reasons in {out / 'batch.csv'}"]
    assert read_image(out / "1.ome.tif").shape == (33, 47)
    record = json.loads((out / "1.record.json").read_text())
    row = read_rows(out)["1"]
    assert row["source2"] == str(scans / "1_mr.png")
    assert (row["method"], row["stop_reason"], row["iterations"]) == ("dip", "iterations", "2")
    assert row["preset"] == record["preset"]
    assert float(row["noise1"]) == record["noise"][0]
    assert float(row["petrovic"]) == record["metrics"]["petrovic"]
    assert read_rows(out)["lonely"]["status"] == "left out"


def test_the_same_call_again_fuses_only_what_is_missing(scans, tmp_path, capsys) -> None:
    out = tmp_path / "fused"
    call = (scans, "-o", out, "--method", "average", "--ending", "tif")
    assert run(*call) == 0
    (out / "2.tif").unlink()
    (out / "3.tif").write_bytes((out / "3.tif").read_bytes()[:300])
    before = times(out)
    write(scans / "4_ct.png")
    write(scans / "4_mr.png")
    capsys.readouterr()
    assert run(*call) == 0
    told = capsys.readouterr()
    assert "3 of 4 are there already" in told.err
    assert told.out.startswith("3 fused, 1 there already; ")
    rows = read_rows(out)
    assert [row["status"] for row in rows.values()] == ["there already", *["fused"] * 3]
    assert rows["1"]["petrovic"]
    after = times(out)
    assert after["1.tif"] == before["1.tif"]
    assert tifffile.imread(out / "3.tif").shape == (33, 47)
    # Another number of threads is no other setting: workers divide them.
    assert run(*call, "--set", "threads=1", "-q") == 0
    assert times(out) == after


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (["--iterations", 3], "iterations 2, now 3"),
        (["--dtype", "uint16"], "pixels dtype float32, now uint16"),
        (["--reference", 1], "choice reference 0, now 1"),
    ],
)
def test_other_settings_replace_nothing_without_force(scans, tmp_path, option, reason) -> None:
    out = tmp_path / "fused"
    for name in ("2_ct.png", "3_ct.png"):
        (scans / name).unlink()
    assert run(scans, "-o", out, "-q", *QUICK) == 0
    before = times(out)
    assert run(scans, "-o", out, "-q", *QUICK, *option) == 1
    assert reason in read_rows(out)["1"]["reason"]
    assert times(out) == before
    assert run(scans, "-o", out, "-q", *QUICK, *option, "--force") == 0
    assert times(out).keys() == before.keys()
    assert times(out) != before
    after = times(out)
    assert run(scans, "-o", out, "-q", *QUICK, *option, "--force") == 0
    assert times(out) == after


def test_another_version_or_an_unknown_setting_is_said(scans, tmp_path) -> None:
    out = tmp_path / "fused"
    assert run(scans, "-o", out, "-q", "--method", "average") == 0
    for name, change in (("1", {"versions": {}}), ("2", {"config": {"magic": 1}})):
        path = out / f"{name}.record.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert run(scans, "-o", out, "-q", "--method", "average") == 1
    reasons = [row["reason"] for row in read_rows(out).values()]
    assert "version None, now " in reasons[0]
    assert "settings that are not known here, now others" in reasons[1]


def test_images_that_have_changed_are_not_passed_over(scans, tmp_path, capsys) -> None:
    out = tmp_path / "fused"
    call = (scans, "-o", out, "-q", "--method", "average")
    assert run(*call) == 0
    write(scans / "2_mr.png")
    assert run(*call) == 1
    assert statuses(out) == ["there already", "failed", "there already"]
    assert "was made of other images (not of 2_mr.png)" in read_rows(out)["2"]["reason"]
    assert run(*call, "--force") == 0
    assert statuses(out) == ["there already", "fused", "there already"]


def test_a_foreign_file_is_not_replaced(scans, tmp_path, capsys) -> None:
    out = tmp_path / "fused"
    out.mkdir()
    (out / "1.ome.tif").write_text("precious")
    assert run(scans, "-o", out, "-q", "--method", "average") == 1
    assert (out / "1.ome.tif").read_text() == "precious"
    assert "1.ome.tif exists" in read_rows(out)["1"]["reason"]
    (out / "batch.csv").write_text("precious")
    capsys.readouterr()
    assert "is no table of a batch" in refused(capsys, scans, "-o", out, "-q")


def test_one_failure_does_not_stop_the_rest(scans, tmp_path, capsys) -> None:
    out = tmp_path / "fused"
    (scans / "1_ct.png").write_bytes(b"no image")
    assert run(scans, "-o", out, "-q", "--method", "average") == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"dip-fusion: warning: 1 failed: {scans / '1_ct.png'} does not start")
    assert last == f"dip-fusion: 1 of 3 sets failed; reasons in {out / 'batch.csv'}"
    assert statuses(out) == ["failed", "fused", "fused"]
    assert not (out / "1.ome.tif").exists()
    assert read_rows(out)["1"]["reason"] in first


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("strange\n  thing"), "strange thing"),
        (MemoryError(), "not enough memory; take one plane, a smaller image, or fewer --workers"),
    ],
)
def test_whatever_goes_wrong_is_a_reason(scans, tmp_path, monkeypatch, error, reason) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "prepare_files", fail)
    assert run(scans, "-o", tmp_path / "fused", "-q", "--method", "average") == 1
    reasons = {row["reason"] for row in read_rows(tmp_path / "fused").values()}
    assert reasons == {reason}


def test_a_table_of_sets_and_cells_that_are_no_formulas(scans, tmp_path) -> None:
    table = scans / "list.csv"
    table.write_text("name,source1,source2\n-1+2,1_ct.png,1_mr.png\nalone,2_ct.png,\n")
    out = tmp_path / "fused"
    assert run(table, "-o", out, "-q", "--method", "average", "--ending", ".png") == 1
    rows = read_rows(out)
    assert list(rows) == ["'-1+2", "alone"]
    assert (out / "-1+2.png").exists()
    assert "two or more source images, got 1" in rows["alone"]["reason"]
    # The table that a batch leaves is one that it takes.
    again = tmp_path / "again"
    assert run(out / "batch.csv", "-o", again, "-q", "--method", "average") == 1
    assert (again / "_-1+2.ome.tif").exists()


def test_messages_of_a_set_are_told_and_kept(tmp_path, capsys) -> None:
    import nibabel

    for name, shift in (("ct", 0.0), ("mr", 30.0)):
        affine = np.diag([1.0, 1, 2, 1])
        affine[0, 3] = shift
        data = RNG.random((40, 36, 1), dtype=np.float32)
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / name / "7.nii.gz")
    patterns = [f"{tmp_path}/{name}/*.nii.gz" for name in ("ct", "mr")]
    out = tmp_path / "fused"
    call = (*patterns, "-o", out, "--method", "average", "--ending", ".nii.gz")
    assert run(*call) == 0
    told = capsys.readouterr().err
    assert "7.nii.gz: brought to the grid of" in told
    assert "covers only 25% of the plane of" in told
    messages = read_rows(out)["7"]["messages"]
    assert "brought to the grid of" in messages
    assert "covers only 25%" in messages
    assert "dip-fusion: warning" not in messages


def test_dry_run_writes_nothing(scans, tmp_path, capsys) -> None:
    for i in range(4, 9):
        write(scans / f"{i}_ct.png")
        write(scans / f"{i}_mr.png")
    assert run(scans, "-o", tmp_path / "fused", "--dry-run") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 8
    assert run(scans, "-o", tmp_path / "two", "--method", "average") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        *("8 sets, matched by names that differ only after the last - or _", "  1", "  2", "  3"),
        *("  ... 4 more; --dry-run prints all", "  8"),
    ]
    assert not (tmp_path / "fused").exists()


def test_calls_that_are_refused_before_anything_is_fused(scans, tmp_path, capsys) -> None:
    out = ("-o", tmp_path / "fused", "-q")
    assert "must end in one of" in refused(capsys, scans, *out, "--ending", ".jpg")
    assert "--dtype must be one of" in refused(capsys, scans, *out, "--dtype", "int8")
    assert "unknown setting 'a'" in refused(capsys, scans, *out, "--set", "a=1")
    assert "method must be one of" in refused(capsys, scans, *out, "--method", "magic")
    assert "'--workers'" in refused(capsys, scans, *out, "--workers", 0)
    table = scans / "list.csv"
    table.write_text("ct,mr\n1_ct.png,1_mr.png\n")
    assert "is a source and lies in" in refused(capsys, table, "-o", scans, "-q")
    assert "is a file; choose a folder" in refused(capsys, scans, "-o", table, "-q")
    assert not (tmp_path / "fused").exists()


def test_interrupted_on_the_way(scans, tmp_path, capsys, monkeypatch) -> None:
    real, calls = jobs.prepare_files, []

    def interrupt(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(jobs, "prepare_files", interrupt)
    out = tmp_path / "fused"
    call = (scans, "-o", out, "--method", "average")
    handler = signal.getsignal(signal.SIGINT)
    assert run(*call) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert "stopped: 1 fused, 2 not run" in capsys.readouterr().err
    assert statuses(out) == ["fused", "not run", "not run"]
    assert {p.name for p in out.iterdir()} == {"1.ome.tif", "1.record.json", "batch.csv"}
    assert run(*call) == 0
    assert statuses(out) == ["there already", "fused", "fused"]
    assert len(calls) == 2 + 2


def test_no_image_is_left_without_its_record(scans, tmp_path, monkeypatch) -> None:
    real = jobs.Outputs.write

    def press(self, *arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        real(self, *arguments)

    monkeypatch.setattr(jobs.Outputs, "write", press)
    assert run(scans, "-o", tmp_path / "fused", "--method", "average") == 130
    assert statuses(tmp_path / "fused") == ["fused", "not run", "not run"]
    assert (tmp_path / "fused" / "1.record.json").exists()


def test_two_workers_fuse_as_one_does(scans, tmp_path) -> None:
    (scans / "2_ct.png").write_bytes(b"no image")
    call = (scans, "-q", "--method", "wavelet")
    assert run(*call, "-o", tmp_path / "two", "--workers", 2) == 1
    assert run(*call, "-o", tmp_path / "one") == 1
    assert statuses(tmp_path / "two") == statuses(tmp_path / "one") == ["fused", "failed", "fused"]
    images = [read_image(tmp_path / name / "1.ome.tif").to_numpy() for name in ("one", "two")]
    np.testing.assert_array_equal(*images)


@pytest.fixture
def batch(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Two workers in the midst of three sets that take them minutes."""
    for name in ("1_ct", "1_mr", "2_ct", "2_mr", "3_ct", "3_mr"):
        path = tmp_path / "scans" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        iio.imwrite(path, RNG.integers(0, 256, (1400, 1400), dtype=np.uint8))
    call = ["batch", tmp_path / "scans", "-o", tmp_path / "fused", "-q", "--method", "gmc"]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_dip_fusion.cli", *map(str, call), "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    for child in [*find_workers(process), process]:
        child.kill()
    process.communicate()


def find_workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    if process.poll() is not None:
        return []
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def wait_for_workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while len(found := find_workers(process)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == 2
    return found


@needs_signals
def test_a_worker_dies_alone_and_ctrl_c_ends_all(batch, tmp_path) -> None:
    victim, _ = wait_for_workers(batch)
    victim.kill()
    line = batch.stderr.readline()
    assert "failed: its process was ended from outside, perhaps for lack of memory" in line
    workers = wait_for_workers(batch)
    batch.send_signal(signal.SIGINT)
    _, printed = batch.communicate(timeout=120)
    assert batch.returncode == 130
    assert "stopped: 1 failed, 2 not run" in printed
    assert "Traceback" not in printed
    assert sorted(statuses(tmp_path / "fused")) == ["failed", "not run", "not run"]
    assert [p.name for p in (tmp_path / "fused").iterdir()] == ["batch.csv"]
    assert not psutil.wait_procs(workers, timeout=60)[1]


@needs_signals
def test_a_second_ctrl_c_does_not_wait(batch, tmp_path) -> None:
    workers = wait_for_workers(batch)
    for worker in workers:
        worker.suspend()
    batch.send_signal(signal.SIGINT)
    assert "Ctrl-C again does not wait" in batch.stderr.readline()
    batch.send_signal(signal.SIGINT)
    batch.communicate(timeout=60)
    assert batch.returncode == 130
    assert statuses(tmp_path / "fused") == ["not run"] * 3
    assert not psutil.wait_procs(workers, timeout=60)[1]


@needs_signals
def test_no_worker_outlives_the_batch(batch) -> None:
    workers = wait_for_workers(batch)
    batch.kill()
    assert not psutil.wait_procs(workers, timeout=120)[1]


def test_threads_are_divided_among_workers(monkeypatch) -> None:
    from napari_dip_fusion.cli.batch.command import _divide_threads
    from napari_dip_fusion.config import FusionConfig

    monkeypatch.setattr("napari_dip_fusion.cli.batch.command.count_cores", lambda: 8)
    config = FusionConfig()
    counts = [_divide_threads(config, n).compute.threads for n in (1, 3, 8, 20)]
    assert counts == [0, 2, 1, 1]
    assert _divide_threads(FusionConfig(threads=5), 3).compute.threads == 5


def test_each_set_is_fused_on_its_finest_grid_and_found_again(tmp_path, capsys) -> None:
    # The finest is the first of one set and the second of the other.
    for name, steps in (("a", (1.0, 2.0)), ("b", (2.0, 1.0))):
        for kind, step in zip(("ct", "mr"), steps, strict=True):
            size = int(32 / step)
            image = Source(
                RNG.random((size, size), dtype=np.float32),
                affine=np.diag([step, step, 1]),
                units=("mm", "mm"),
            )
            write_image(tmp_path / f"{name}_{kind}.nii.gz", image)
    out = tmp_path / "fused"
    call = (tmp_path, "-o", out, "--method", "average", "--ending", ".nii.gz")
    assert run(*call) == 0
    for name, reference in (("a", 0), ("b", 1)):
        assert read_image(out / f"{name}.nii.gz").to_numpy().size == 32 * 32
        record = json.loads((out / f"{name}.record.json").read_text())
        assert record["choice"]["reference"] == reference
    assert run(*call) == 0
    assert statuses(out) == ["there already", "there already"]
    assert run(*call, "--reference", 0) != 0
    assert statuses(out) == ["there already", "failed"]
    assert "choice reference 1, now 0" in read_rows(out)["b"]["reason"]
