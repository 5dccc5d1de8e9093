"""The command line, in process and, for Ctrl-C, as a process."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_dip_fusion import FusionConfig, cli, fuse
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.methods import METHODS, fuse_with
from napari_dip_fusion.sources import Source

RNG = np.random.default_rng(4)
QUICK = [
    *("--set", "width=4", "--set", "depth=2", "--set", "threads=1"),
    *("--set", "restore=never", "--device", "cpu", "--iterations", "3"),
]


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    paths = [tmp_path / "ct.png", tmp_path / "mr.png"]
    for path in paths:
        shape = getattr(request, "param", (33, 47))
        iio.imwrite(path, RNG.integers(0, 256, shape, dtype=np.uint8))
    return [str(p) for p in paths]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return int(ended.value.code)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line of a call that has to end with exit code 2."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_fuse_writes_image_record_and_gains(pair, tmp_path, capsys) -> None:
    out = tmp_path / "fused.tif"
    assert run("fuse", *pair, "-o", out, "--gains-dir", tmp_path / "gains", *QUICK) == 0
    image = tifffile.imread(out)
    assert image.dtype == np.float32
    assert image.shape == (33, 47)
    record = json.loads((tmp_path / "fused.record.json").read_text())
    assert record["iterations"] == 3
    assert record["sources"][0]["path"] == pair[0]
    gains = sorted((tmp_path / "gains").iterdir())
    assert [g.name for g in gains] == [
        *("gain_0_ct.tif", "gain_0_ct_base.tif", "gain_1_mr.tif", "gain_1_mr_base.tif")
    ]
    assert [tifffile.imread(g).shape for g in gains] == [(33, 47)] * 4
    assert tifffile.imread(gains[0]).max() == 1
    assert (tifffile.imread(gains[0]) != tifffile.imread(gains[1])).any()
    printed = capsys.readouterr()
    assert "Pe" in printed.out
    assert re.fullmatch(r"about .* at most, .*B\n", printed.err)


def test_gains_in_one_band_are_one_file_a_source(pair, tmp_path) -> None:
    options = ("--gains-dir", tmp_path / "gains", "--set", "band_sigma=0", "-q", *QUICK)
    assert run("fuse", *pair, "-o", tmp_path / "f.png", *options) == 0
    gains = sorted(g.name for g in (tmp_path / "gains").iterdir())
    assert gains == ["gain_0_ct.tif", "gain_1_mr.tif"]


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [
        ("a.png", [], "uint8"),
        ("b.png", ["--dtype", "uint16"], "uint16"),
        ("c.tif", ["--dtype", "uint16"], "uint16"),
        ("d.tif", [], "float32"),
        ("e.tif", ["--like", "0"], "uint8"),
    ],
)
def test_output_types(pair, tmp_path, name: str, options: list[str], dtype: str) -> None:
    assert run("fuse", *pair, "-o", tmp_path / name, "-q", *QUICK, *options) == 0
    assert iio.imread(tmp_path / name).dtype == np.dtype(dtype)


def test_quiet_prints_nothing(pair, tmp_path, capsys) -> None:
    assert run("fuse", *pair, "-o", tmp_path / "f.png", "-q", *QUICK) == 0
    assert capsys.readouterr() == ("", "")


def test_color_and_16_bit_sources(tmp_path) -> None:
    rgb, deep = tmp_path / "pet.png", tmp_path / "mr.tif"
    iio.imwrite(rgb, RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    tifffile.imwrite(deep, RNG.integers(0, 4096, (24, 24), dtype=np.uint16))
    out = tmp_path / "f.png"
    assert run("fuse", rgb, deep, "-o", out, "-q", *QUICK) == 0
    image = read_image(out).data  # Pillow would reduce 16-bit color to 8 bits
    assert image.shape == (24, 24, 3)
    assert image.dtype == np.uint16
    assert len(np.unique(image)) > 256


def test_nothing_is_overwritten_without_force(pair, tmp_path, capsys) -> None:
    out = tmp_path / "f.png"
    out.write_text("precious")
    line = refused(capsys, "fuse", *pair, "-o", out, *QUICK)
    assert "exists; choose another name or add --force" in line
    assert out.read_text() == "precious"
    assert run("fuse", *pair, "-o", out, "-q", "--force", *QUICK) == 0
    assert iio.imread(out).shape == (33, 47)
    line = refused(capsys, "fuse", *pair, "-o", pair[0], "--force", *QUICK)
    assert "is a source" in line


def test_replay_gives_the_same_image_and_warns_of_changes(pair, tmp_path, capsys) -> None:
    first, second, third = (tmp_path / f"{n}.tif" for n in "abc")
    assert run("fuse", *pair, "-o", first, "-q", *QUICK, "--intensity", "minmax") == 0
    record = tmp_path / "a.record.json"
    assert run("fuse", "--replay", record, "-o", second, "-q") == 0
    np.testing.assert_array_equal(tifffile.imread(first), tifffile.imread(second))
    assert not capsys.readouterr().err
    iio.imwrite(pair[0], np.zeros((33, 47), np.uint8) + np.arange(47, dtype=np.uint8))
    assert run("fuse", "--replay", record, "-o", third, "-q") == 0
    assert "has changed since the record was written" in capsys.readouterr().err
    line = refused(capsys, "fuse", pair[0], "--replay", record, "-o", tmp_path / "d.tif")
    assert "give only -o" in line
    for option in (["--preset", "paper"], ["--iterations", "0"]):
        line = refused(capsys, "fuse", "--replay", record, "-o", tmp_path / "d.tif", *option)
        assert "give only -o" in line
    line = refused(capsys, "fuse", "--replay", pair[0], "-o", tmp_path / "d.tif")
    assert "is not a run record" in line


def replay(record: Path, output: Path) -> np.ndarray:
    assert run("fuse", "--replay", record, "-o", output, "-q") == 0
    return tifffile.imread(output)


@pytest.mark.parametrize("method", [m.name for m in METHODS.values() if not m.needs_weights])
def test_replay_repeats_a_method_without_iterations(pair, tmp_path, method) -> None:
    first = tmp_path / "a.tif"
    assert run("fuse", *pair, "-o", first, "-q", "--method", method) == 0
    again = replay(tmp_path / "a.record.json", tmp_path / "b.tif")
    np.testing.assert_array_equal(again, tifffile.imread(first))


def test_replay_repeats_the_runs_of_a_comparison(pair, tmp_path) -> None:
    settings = ("--set", "width=4", "--set", "depth=2", "--iterations", "3", "-q")
    methods = "maximum,gmc,densefuse,dip-fast,dip-paper"
    assert run("compare", *pair, "-o", tmp_path / "c", "--methods", methods, *settings) == 0
    results = sorted((tmp_path / "c" / "results").glob("*.json"))
    assert len(results) == 5
    for result in results:
        again = replay(result, tmp_path / f"{result.stem}.tif")
        np.testing.assert_array_equal(again, tifffile.imread(result.with_suffix(".tif")))


@pytest.mark.parametrize("method", ["dip", "average"])
def test_replay_repeats_a_run_of_the_library(pair, tmp_path, method) -> None:
    config = FusionConfig(method=method, width=4, depth=2, iterations=3, stop="iterations")
    images = [iio.imread(path) for path in pair]
    result = fuse(images, config, names=["CT", "MR"], paths=pair)
    record = tmp_path / "a.json"
    record.write_text(json.dumps(result.record))
    np.testing.assert_array_equal(replay(record, tmp_path / "b.tif"), result.image)
    record.write_text(json.dumps(fuse(images, config).record))
    assert run("fuse", "--replay", record, "-o", tmp_path / "c.tif") == 2


def test_replay_of_no_iterations_keeps_the_settings(pair, tmp_path) -> None:
    assert run("fuse", *pair, "-o", tmp_path / "a.tif", "-q", *QUICK) == 0
    record = tmp_path / "a.record.json"
    # As of a pair so clean that the closed form was the result.
    changed = {**json.loads(record.read_text()), "iterations": 0, "losses": []}
    record.write_text(json.dumps({**changed, "stop_reason": "exact"}))
    again = replay(record, tmp_path / "b.tif")
    np.testing.assert_array_equal(again, tifffile.imread(tmp_path / "a.tif"))
    assert json.loads((tmp_path / "b.record.json").read_text())["config"] == changed["config"]


def test_replay_takes_as_many_iterations_as_a_time_budget_allowed(pair, tmp_path) -> None:
    budget = ("--time-budget", "1e-6")
    assert run("fuse", *pair, "-o", tmp_path / "a.tif", "-q", *QUICK, *budget) == 0
    record = json.loads((tmp_path / "a.record.json").read_text())
    assert record["stop_reason"] == "time"
    # As on a slower machine: what was possible within the budget there is not possible here.
    (tmp_path / "a.record.json").write_text(json.dumps({**record, "iterations": 3}))
    assert run("fuse", "--replay", tmp_path / "a.record.json", "-o", tmp_path / "b.tif", "-q") == 0
    assert json.loads((tmp_path / "b.record.json").read_text())["iterations"] == 3


@pytest.mark.parametrize(
    "damage",
    [
        {"iterations": None},
        {"sources": ["ct.png"]},
        {"sources": [{"path": "ct.png"}, {"path": "mr.png"}]},
        {"config": {"percentiles": ["a", "b"]}},
        {"choice": {"axis": 3}},
    ],
)
def test_a_damaged_record_is_told_in_one_line(pair, tmp_path, capsys, damage) -> None:
    assert run("fuse", *pair, "-o", tmp_path / "a.tif", "-q", *QUICK) == 0
    record = tmp_path / "a.record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **damage}))
    line = refused(capsys, "fuse", "--replay", record, "-o", tmp_path / "b.tif")
    assert "a.record.json" in line or "iterations" in line


# All metrics need 41x41 pixels.
@pytest.mark.parametrize("pair", [(41, 47)], indirect=True)
def test_metrics_equal_those_of_the_run(pair, tmp_path, capsys) -> None:
    out = tmp_path / "f.tif"
    assert run("fuse", *pair, "-o", out, "-q", *QUICK) == 0
    assert run("metrics", *pair, "--fused", out, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    recorded = json.loads((tmp_path / "f.record.json").read_text())["metrics"]
    assert printed == pytest.approx(recorded, rel=1e-6)
    assert run("metrics", *pair, "--fused", out, "--which", "all", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) > 6
    assert run("metrics", *pair, "--fused", out) == 0
    assert "higher is better" in capsys.readouterr().out
    assert run("metrics", *pair, "--fused", out, "--which", "all") == 0
    shown = capsys.readouterr().out
    assert all(label in shown for label in ("SSIM", "VIF", "SD (levels)", "AG (", "SF ("))
    odd = out.rename(tmp_path / "[red] f.tif")  # looks like mark-up
    assert run("metrics", *pair, "--fused", odd) == 0
    assert "[red] f.tif" in capsys.readouterr().out


def test_info(capsys) -> None:
    assert run("info") == 0
    printed = capsys.readouterr().out
    for word in ("torch", "cpu", "threads", "GB free"):
        assert word in printed


def test_help_without_arguments(capsys) -> None:
    assert run() == 0
    assert "metrics" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--iterations", "-1"], "iterations must lie between 0 and"),
        (["--preset", "slow"], "preset must be one of fast, paper, got 'slow'"),
        (["--device", "abacus"], "device must be auto or one of cpu"),
        (["--intensity", "1:x"], "must be LOW:HIGH"),
        (["--intensity", "0:9", "--intensity", "auto", "--intensity", "auto"], "got 3"),
        (["--set", "width"], "--set takes NAME=VALUE, got 'width'"),
        (["--set", "color=1"], "unknown setting 'color'"),
        (["--set", "width=wide"], "width must be a number like its default, got 'wide'"),
        (["--set", "give_back=1"], "give_back must be true or false"),
        (["--set", "fit.width=8"], "unknown setting 'fit.width'; the settings are preset_name"),
        (["--dtype", "float32"], "--dtype must be one of uint8, uint16"),
        (["--like", "2"], "like must be a source from 0 to 1, got 2"),
        (["--frobnicate"], "No such option: --frobnicate"),
        (["-o", "f.gif"], "the output must end in one of"),
    ],
)
def test_bad_options(pair, tmp_path, capsys, options: list[str], message: str) -> None:
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "f.png", *QUICK, *options)
    assert message in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.png", "mr.png"]


def test_a_folder_that_is_not_there_is_found_before_the_run(pair, tmp_path, capsys) -> None:
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "none" / "f.png", *QUICK)
    assert "does not exist; make it first" in line


def test_what_cannot_be_written_is_found_before_the_run(
    pair, tmp_path, capsys, monkeypatch
) -> None:
    def run_in_vain(*arguments: object, **options: object) -> None:
        raise AssertionError("the run was started")

    monkeypatch.setattr("napari_dip_fusion.cli.fuse.run_fusion", run_in_vain)
    monkeypatch.setattr("napari_dip_fusion.cli.demo.run_fusion", run_in_vain)
    floats, color, half = (tmp_path / n for n in ("float.tif", "pet.png", "half.tif"))
    tifffile.imwrite(floats, RNG.random((33, 47), dtype=np.float32))
    tifffile.imwrite(half, RNG.random((33, 47)).astype(np.float16))
    iio.imwrite(color, RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8))
    out, taken = tmp_path / "f.png", tmp_path / "taken"
    taken.write_text("a file")
    (tmp_path / "folder.png").mkdir()
    for arguments, message in (
        ([*pair, "-o", out, "--like", "2"], "like must be a source from 0 to 1, got 2"),
        ([floats, pair[0], "-o", out, "--like", "0"], "f.png cannot hold the result: PNG holds"),
        ([color, pair[0], "-o", tmp_path / "f.nii"], "NIfTI holds colors of uint8"),
        ([half, pair[0], "-o", tmp_path / "f.fusion.ome.tif"], "OME-TIFF holds"),
        ([*pair, "-o", out, "--record", out], "is to hold two results"),
        ([*pair, "-o", out, "--gains-dir", taken], "taken is a file"),
        ([*pair, "-o", tmp_path / "folder.png", "--force"], "is a folder"),
    ):
        assert message in refused(capsys, "fuse", *arguments, *QUICK)
    assert not out.exists()
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "figure.png").touch()
    assert "figure.png exists" in refused(capsys, "demo", "-o", tmp_path / "demo", *QUICK)


def test_bad_sources(pair, tmp_path, capsys) -> None:
    out = ("-o", tmp_path / "f.png")
    assert "two or more source images, got 1" in refused(capsys, "fuse", pair[0], *out)
    assert "none.png" in refused(capsys, "fuse", pair[0], tmp_path / "none.png", *out)
    small = tmp_path / "small.png"
    iio.imwrite(small, np.eye(20, dtype=np.uint8))
    assert "share one shape" in refused(capsys, "fuse", pair[0], small, *out)
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(pair[0]).read_bytes()[:60])
    assert "broken.png" in refused(capsys, "fuse", pair[0], broken, *out)
    signed = tmp_path / "signed.ome.tif"
    write_image(signed, np.ones((33, 47), np.int16))
    assert "has no known range" in refused(capsys, "metrics", *pair, "--fused", signed)
    line = refused(capsys, "metrics", *pair, "--fused", small)
    assert "size of the sources, 33x47, got 20x20" in line


def test_a_failed_run_writes_its_best_and_exits_1(pair, tmp_path, capsys, monkeypatch) -> None:
    from napari_dip_fusion.prior import fit

    whole, calls = fit.Fit._step, []

    def failing(self: fit.Fit) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return whole(self)

    monkeypatch.setattr(fit.Fit, "_step", failing)
    out = tmp_path / "f.png"
    assert run("fuse", *pair, "-o", out, *QUICK) == 1
    assert "the best image so far is in" in capsys.readouterr().err
    assert iio.imread(out).shape == (33, 47)

    def hopeless(self: fit.Fit) -> float:
        raise FusionError("no luck; try again")

    monkeypatch.setattr(fit.Fit, "_step", hopeless)
    assert run("fuse", *pair, "-o", tmp_path / "g.png", *QUICK) == 1
    assert not (tmp_path / "g.png").exists()


SAYS_WHEN_IT_RUNS = """
import sys
from napari_dip_fusion import cli
from napari_dip_fusion.prior import fit
build = fit.Fit._build_network
def told(self, *arguments):
    print("first step", flush=True)
    return build(self, *arguments)
fit.Fit._build_network = told
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_keeps_and_writes_the_best_so_far(pair, tmp_path) -> None:
    out = tmp_path / "f.png"
    options = [*QUICK, "--iterations", "100000", "--set", "stop=iterations"]
    process = subprocess.Popen(
        [sys.executable, "-c", SAYS_WHEN_IT_RUNS, "fuse", *pair, "-q", "-o", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"first step\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert b"the best image so far is kept" in stderr
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert record["stop_reason"] == "stopped"
    assert iio.imread(out).shape == (33, 47)


def test_lack_of_memory_is_told_in_one_line(pair, tmp_path, capsys, monkeypatch) -> None:
    def too_large(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_dip_fusion.cli.fuse.bring_to_grid", too_large)
    assert run("fuse", *pair, "-o", tmp_path / "f.png") == 1
    assert capsys.readouterr().err == (
        "dip-fusion: not enough memory; choose one plane, or a smaller image\n"
    )


def test_planes_of_volumes_on_different_grids(tmp_path, capsys) -> None:
    import nibabel

    rng = np.random.default_rng(5)
    for name, spacing, shift in (("ct", 1.0, 0.0), ("mr", 1.25, 2.0)):
        affine = np.diag([spacing, spacing, 2, 1.0])
        affine[0, 3] = shift
        data = rng.random((40, 36, 6), dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / f"{name}.nii.gz")
    ct, mr = tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz"
    out = tmp_path / "fused.nii.gz"
    assert run("fuse", ct, mr, "-o", out, "--slice", "3", *QUICK) == 0
    assert "mr.nii.gz: brought to the grid of" in capsys.readouterr().err
    fused = nibabel.load(out)
    assert fused.shape[:2] == (40, 36)
    np.testing.assert_allclose(fused.affine[:3, 3], [0, 0, 6], atol=1e-4)
    again = tmp_path / "again.nii.gz"
    assert run("fuse", "--replay", tmp_path / "fused.record.json", "-o", again, "-q") == 0
    np.testing.assert_array_equal(nibabel.load(again).get_fdata(), fused.get_fdata())
    assert not capsys.readouterr().err
    other = tmp_path / "other.nii.gz"
    assert run("fuse", ct, mr, "-o", other, "--slice", "3", "--reference", "1", "-q", *QUICK) == 0
    np.testing.assert_allclose(nibabel.load(other).header.get_zooms()[:2], [1.25, 1.25], atol=1e-5)


def test_a_bundle_holds_everything(pair, tmp_path) -> None:
    out = tmp_path / "all.fusion.ome.tif"
    assert run("fuse", *pair, "-o", out, "-q", *QUICK) == 0
    assert (tmp_path / "all.record.json").exists()
    names = [image.name for image in read_images(out)]
    gains = [f"{n} gain ({band})" for n in ("ct.png", "mr.png") for band in ("base", "details")]
    assert names == ["ct.png", "mr.png", *gains, "consensus", "fused"]
    assert run("metrics", *pair, "--fused", out) == 0


def test_channels_are_given_once_or_once_each(pair, tmp_path, capsys) -> None:
    options = ["--channel", "0", "--channel", "0", "--channel", "0"]
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "f.png", *QUICK, *options)
    assert "--channel must be given once, or once for each of the 2 sources, got 3" in line
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "f.png", *QUICK, "--channel", "7")
    assert "has no channel '7'" in line


def test_warnings_are_one_line_each(capsys) -> None:
    import warnings

    from napari_dip_fusion.cli.console import print_warnings_in_one_line

    with print_warnings_in_one_line():
        for name in ("ct", "mr"):
            warnings.warn(f"{name}: the shear\nis dropped", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "dip-fusion: warning: ct: the shear is dropped",
        "dip-fusion: warning: something else",
    ]


def test_another_method_and_a_time_budget(pair, tmp_path) -> None:
    out = tmp_path / "fused.tif"
    assert run("fuse", *pair, "-o", out, "--method", "wavelet") == 0
    record = json.loads((tmp_path / "fused.record.json").read_text())
    assert record["config"]["method"] == "wavelet"
    expected = fuse_with("wavelet", [iio.imread(p) for p in pair])
    np.testing.assert_allclose(tifffile.imread(out), expected, atol=1e-6)
    assert run("fuse", *pair, "-o", out, "-f", *QUICK[:-1], 90000, "--time-budget", 1) == 0
    record = json.loads((tmp_path / "fused.record.json").read_text())
    assert record["config"]["fit"]["time_budget"] == 1
    assert record["stop_reason"] in ("time", "noise", "plateau")
    assert record["seconds"]["total"] < 3


def test_help_names_every_method(capsys) -> None:
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in METHODS)


def test_a_record_with_options_is_not_replayed_without_them(pair, tmp_path, capsys) -> None:
    call = ("fuse", *pair, "-o", tmp_path / "a.tif", "-q", "--method", "wavelet")
    assert run(*call) == 0
    record = tmp_path / "a.record.json"
    content = json.loads(record.read_text())
    assert content["options"] == {}
    record.write_text(json.dumps({**content, "options": {"levels": "2"}}))
    line = refused(capsys, "fuse", "--replay", record, "-o", tmp_path / "b.tif")
    assert "made with options of its method (levels)" in line
    line = refused(capsys, "fuse", "--replay", tmp_path / "none.json", "-o", tmp_path / "b.tif")
    assert "there is no run record" in line


@pytest.mark.parametrize("folder", ["locked", "locked/new"])
def test_gains_that_cannot_be_written_are_found_before_the_run(
    pair, tmp_path, capsys, monkeypatch, folder
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    # Whoever runs the tests may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK or Path(path) != locked)
    out = tmp_path / "f.tif"
    line = refused(capsys, "fuse", *pair, "-o", out, *QUICK, "--gains-dir", tmp_path / folder)
    assert "locked cannot be written to" in line
    assert not out.exists()


@pytest.fixture
def coarse_and_fine(tmp_path) -> list[Path]:
    """Return files of a coarse image and of one with pixels of half the width."""
    paths = [tmp_path / "coarse.nii.gz", tmp_path / "fine.nii.gz"]
    for path, size in zip(paths, (16, 32), strict=True):
        affine = np.diag([32 / size, 32 / size, 1])
        data = RNG.random((size, size), dtype=np.float32)
        write_image(path, Source(data, affine=affine, units=("mm", "mm")))
    return paths


def test_the_finest_grid_is_taken_said_and_recorded(coarse_and_fine, tmp_path, capsys) -> None:
    coarse, fine = coarse_and_fine
    out = tmp_path / "f.tif"
    assert run("fuse", coarse, fine, "-o", out, "--method", "average") == 0
    assert tifffile.imread(out).shape == (32, 32)
    said = capsys.readouterr().err
    assert f"{fine}: its grid is taken, the finest; --reference chooses that of another" in said
    assert f"{coarse}: brought to the grid of {fine}, which it covers to 97%" in said
    assert "97% of it lies there" in said
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert record["choice"]["reference"] == 1
    assert record["grid"]["reference"] == "fine.nii.gz"
    assert record["grid"]["chosen"] == "as the finest"
    assert record["grid"]["coverage"][0] == {
        "of_reference": pytest.approx(0.97, abs=0.01),
        "of_source": pytest.approx(0.97, abs=0.01),
    }
    arguments = ("-o", out, "-f", "--method", "average", "--reference", "0")
    assert run("fuse", coarse, fine, *arguments) == 0
    assert tifffile.imread(out).shape == (16, 16)
    assert "its grid is taken" not in capsys.readouterr().err
    assert run("metrics", coarse, fine, "--fused", out) == 2
    assert run("metrics", coarse, fine, "--fused", out, "--reference", "0") == 0


def test_old_records_are_replayed_on_the_grid_of_the_first_source(
    coarse_and_fine, tmp_path
) -> None:
    out, record = tmp_path / "f.tif", tmp_path / "f.record.json"
    assert run("fuse", *coarse_and_fine, "-o", out, "-q", "--reference", "0", *QUICK) == 0
    content = json.loads(record.read_text())
    # Of a run on plain files there was no choice at all in records of other doors.
    for choice in ({"choice": {**content["choice"], "reference": 0}}, {}):
        content.pop("choice", None)
        record.write_text(json.dumps({**content, **choice}))
        again = tmp_path / "again.tif"
        assert run("fuse", "--replay", record, "-o", again, "-q", "-f") == 0
        np.testing.assert_array_equal(tifffile.imread(again), tifffile.imread(out))


def test_a_new_record_is_replayed_on_the_grid_that_was_the_finest(
    coarse_and_fine, tmp_path, capsys
) -> None:
    out, again = tmp_path / "f.nii.gz", tmp_path / "again.nii.gz"
    assert run("fuse", *coarse_and_fine, "-o", out, "-q", *QUICK) == 0
    assert run("fuse", "--replay", tmp_path / "f.record.json", "-o", again, "-q") == 0
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    assert not capsys.readouterr().err


def test_a_volume_and_a_series_of_volumes(tmp_path, capsys) -> None:
    import nibabel

    for name, shape in (("ct", (16, 18, 5)), ("fmri", (16, 18, 5, 4))):
        data = RNG.random(shape, dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / f"{name}.nii.gz")
    ct, fmri, out = tmp_path / "ct.nii.gz", tmp_path / "fmri.nii.gz", tmp_path / "f.nii.gz"
    line = refused(capsys, "fuse", ct, fmri, "-o", out, "--slice", "z=3", *QUICK)
    assert "fmri.nii.gz holds more than one plane, choose one of t: 0 to 3" in line
    for order in ((ct, fmri), (fmri, ct)):
        arguments = ("-o", out, "-f", "-q", "--slice", "t=2,z=3", *QUICK)
        assert run("fuse", *order, *arguments) == 0
        again = tmp_path / "again.nii.gz"
        assert run("fuse", "--replay", tmp_path / "f.record.json", "-o", again, "-q", "-f") == 0
        np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    assert not capsys.readouterr().err


def test_a_source_of_which_nothing_is_seen_is_a_warning_before_the_run(tmp_path, capsys) -> None:
    # Micrometers that were written as millimeters.
    scales = {"ct": 0.5, "mr": 500.0}
    for name, scale in scales.items():
        data = RNG.random((32, 32), dtype=np.float32)
        image = Source(data, affine=np.diag([scale, scale, 1]), units=("mm", "mm"))
        write_image(tmp_path / f"{name}.nii.gz", image)
    ct, mr, out = tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz", tmp_path / "f.tif"
    assert run("fuse", ct, mr, "-o", out, "--method", "average") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"warning: next to nothing is seen of {mr}: 0.001 of its pixels (<1%)" in said
    assert "<1% of it lies there" in said
    options = ("--intensity", "0:1", "--intensity", "0:500")
    assert run("fuse", ct, ct, "-o", out, "-f", "--method", "average", *options) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: ct.nii.gz is nearly constant here" in said
