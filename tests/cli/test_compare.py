"""dip-fusion compare."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_dip_fusion import cli
from napari_dip_fusion.cli import source_sets
from napari_dip_fusion.cli.source_sets import find_sets
from napari_dip_fusion.fusion import result as completion
from napari_dip_fusion.io import write_image
from napari_dip_fusion.sources import Source

RNG = np.random.default_rng(14)
QUICK = [
    *("--set", "width=4", "--set", "depth=2", "--set", "threads=1"),
    *("--set", "restore=never", "--device", "cpu", "--iterations", "3"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ct_mr/11_ct", "ct_mr/11_mr", "ct_mr/15_ct", "ct_mr/15_mr", "focus/01-A"):
        write(tmp_path / "data" / f"{name}.png")
    for name in ("focus/01-B", "focus/01-C", "focus/alone_1"):
        write(tmp_path / "data" / f"{name}.png")
    (tmp_path / "data" / "focus" / "01-notes.txt").write_text("no image")
    return tmp_path / "data"


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, RNG.integers(0, 256, (33, 47), dtype=np.uint8))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *map(str, arguments)])
    return int(ended.value.code)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line of a call that has to end with exit code 2."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_one_pair_with_all_outputs(folder, tmp_path, capsys) -> None:
    sources = [folder / "ct_mr" / "11_ct.png", folder / "ct_mr" / "11_mr.png"]
    out = tmp_path / "out"
    files = ("--csv", "--markdown", "--figure")
    methods = ("--methods", "average,gmc", "--methods", "dip-fast", "--seeds", 2)
    assert run(*sources, "-o", out, *files, *methods, *QUICK) == 0
    assert len((out / "comparison.csv").read_text().splitlines()) == 1 + 4
    assert "Deep Image Prior, fast" in (out / "comparison.md").read_text()
    assert iio.imread(out / "figures" / "ct_mr-11_ct-11_mr.png").shape[2] == 4
    names = {p.name for p in (out / "results").glob("*.tif")}
    assert "ct_mr--11_ct-11_mr--dip-fast--seed1.tif" in names
    printed = capsys.readouterr().out
    assert "±" in printed
    assert "*" in printed
    assert "comparison.csv exists; choose another folder or add --force" in refused(
        capsys, *sources, "-o", out, "--csv"
    )
    before = {p: p.stat().st_mtime_ns for p in (out / "results").iterdir()}
    assert run(*sources, "-o", out, *files, *methods, *QUICK, "--force", "-q") == 0
    assert before == {p: p.stat().st_mtime_ns for p in (out / "results").iterdir()}
    assert not capsys.readouterr().out


def test_sets_from_a_folder(folder, tmp_path, capsys) -> None:
    assert {k: len(v) for k, v in find_sets(folder / "focus").items()} == {"01": 3}
    out = tmp_path / "out"
    options = ("--methods", "average,maximum", "--markdown")
    assert run("--pairs-from", folder, "-o", out, *options) == 0
    text = (out / "comparison.md").read_text()
    assert "### ct_mr: 2 sets of sources" in text
    assert "### focus: 1 set of sources" in text
    assert "2 sets of sources" in capsys.readouterr().out
    assert run("--pairs-from", folder / "focus", "-o", tmp_path / "b", "--methods", "average") == 0


@pytest.mark.parametrize("inner", ["", "comparison"])
def test_results_of_an_earlier_comparison_are_no_sources(folder, inner: str) -> None:
    out = folder / inner
    call = ("--pairs-from", folder, "-o", out, "--methods", "average,maximum", "--figure")
    for _ in range(2):
        assert run(*call, "--force", "-q") == 0
        assert len(list((out / "results").glob("*.json"))) == 6


def test_methods_that_cannot_run_are_left_out(folder, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    call = ("--pairs-from", folder, "-o", tmp_path / "out")
    assert run(*call, "--methods", "average,base-detail") == 0
    lines = capsys.readouterr().err.splitlines()
    assert sum("base-detail left out for ct_mr 11 and 2 more: the Image" in x for x in lines) == 1
    assert "ImageNet weights" in refused(capsys, *call, "--methods", "base-detail")
    assert "no file of weights" in refused(
        capsys, *call, "--methods", "base-detail", "--weights", f"base-detail={tmp_path}/no.pth"
    )


def test_bad_calls_end_with_one_line(folder, tmp_path, capsys) -> None:
    sources = [folder / "ct_mr" / "11_ct.png", folder / "ct_mr" / "11_mr.png"]
    out = ("-o", tmp_path / "out")
    assert "two or more source images, got 1" in refused(capsys, sources[0], *out)
    assert "unknown method 'magic'" in refused(capsys, *sources, *out, "--methods", "magic")
    assert "unknown metric 'magic'" in refused(capsys, *sources, *out, "--which", "magic")
    assert "unknown setting 'a'" in refused(capsys, *sources, *out, "--set", "a=1")
    assert "use --seeds" in refused(capsys, *sources, *out, "--set", "seed=3")
    assert "not both" in refused(capsys, *sources, "--pairs-from", folder, *out)
    assert "takes a folder" in refused(capsys, "--pairs-from", sources[0], *out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no sets of sources" in refused(capsys, "--pairs-from", empty, *out)
    assert "METHOD=FILE" in refused(capsys, *sources, *out, "--weights", "gmc=x")
    assert "does not exist" in refused(capsys, sources[0], tmp_path / "missing.png", *out)


def test_interrupted_by_the_user(folder, tmp_path, capsys, monkeypatch) -> None:
    real, calls = completion.evaluate_planes, []

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(completion, "evaluate_planes", interrupted)
    call = ("--pairs-from", folder, "-o", tmp_path / "out", "--methods", "average,maximum")
    assert run(*call) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert len(list((tmp_path / "out" / "results").glob("*.json"))) == 2
    assert run(*call) == 0
    assert len(calls) == 3 + 4


def test_contact_sheets_read_no_source_again(folder, tmp_path, monkeypatch) -> None:
    read, calls = source_sets.read_sources, []

    def count(paths, *arguments, **options):
        calls.append(paths)
        return read(paths, *arguments, **options)

    monkeypatch.setattr(source_sets, "read_sources", count)
    call = ("--pairs-from", folder, "-o", tmp_path / "out", "--methods", "average", "-q")
    assert run(*call, "--figure") == 0
    sheets = list((tmp_path / "out" / "figures").glob("*.png"))
    assert len(calls) == len(set(calls)) == len(sheets) > 2


def test_another_blur_or_mask_is_another_result(tmp_path) -> None:
    step = np.diag([2.0, 2, 1])
    for name, affine in (("pet", step), ("mr", np.eye(3))):
        pixels = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
        image = Source(pixels, affine=affine, units=("mm", "mm"))
        write_image(tmp_path / f"{name}.nii", image)
    iio.imwrite(tmp_path / "seen.png", np.tri(20, 24, -2, dtype=np.uint8))
    out = tmp_path / "out"
    pair = (tmp_path / "pet.nii", tmp_path / "mr.nii")
    call = (*pair, "-o", out, "--methods", "average", "-q")

    def take_fingerprint(*options: object) -> str:
        assert run(*call, *options) == 0
        (stored,) = (out / "results").glob("*.json")
        return str(json.loads(stored.read_text())["fingerprint"])

    blur, mask = ("--fwhm", "3mm", "--fwhm", "0"), ("--mask", tmp_path / "seen.png", "--mask", "-")
    calls: list[tuple[object, ...]] = [(), blur, mask, (*blur, *mask)]
    prints = [take_fingerprint(*options) for options in calls]
    assert len(set(prints)) == len(calls)
    assert take_fingerprint() == prints[0]
