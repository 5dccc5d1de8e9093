"""The command, as a process, where torch is not installed or does not load."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import napari_dip_fusion
from napari_dip_fusion.methods import METHODS

# Neither the module nor its metadata are found, as in an environment that has none.
MISSING = """
import importlib.machinery
import importlib.metadata

finder = importlib.machinery.PathFinder
find_spec, find_distributions = finder.find_spec, finder.find_distributions


def find_other_spec(name, *arguments):
    return None if name.partition(".")[0] == "torch" else find_spec(name, *arguments)


def find_other_distributions(*arguments):
    return (d for d in find_distributions(*arguments) if d.metadata["Name"] != "torch")


finder.find_spec, finder.find_distributions = find_other_spec, find_other_distributions
"""
BROKEN = "raise OSError('cannot load libtorch_cpu.so')\n"
CLOSED_FORMS = [m.name for m in METHODS.values() if not m.needs_torch]


# Each call's end is marked where it writes its own lines, on standard error.
CALLS = """
import json, sys, traceback
from napari_dip_fusion.cli import main

for arguments in json.loads(sys.argv[1]):
    code = 1
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
    except Exception:
        traceback.print_exc()
    print(f"== {code}", file=sys.stderr)
"""


def write_pair(folder: Path) -> list[str]:
    rng = np.random.default_rng(2)
    paths = [folder / "ct.png", folder / "mr.png"]
    for path in paths:
        iio.imwrite(path, rng.integers(0, 256, (32, 40), dtype=np.uint8))
    return [str(p) for p in paths]


def run_python(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder, with what its folder `site` does at the start of a process."""
    source = str(Path(napari_dip_fusion.__file__).parents[1])
    path = os.pathsep.join([str(folder / "site"), source])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def take_torch_away(folder: Path) -> None:
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(MISSING)


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    return write_pair(tmp_path)


@pytest.fixture
def run(tmp_path):
    """Run the command in a process without torch; return its exit code and what it printed."""
    take_torch_away(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        done = run_python(tmp_path, "-m", "napari_dip_fusion.cli", *arguments)
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture(scope="module")
def closed_forms(tmp_path_factory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """Return a folder with each closed form's result, and the exit codes and lines of all calls.

    One process makes them all: most of the time of a call goes into its imports.
    """
    folder = tmp_path_factory.mktemp("closed_forms")
    take_torch_away(folder)
    pair = write_pair(folder)
    calls = {m: ["fuse", *pair, "-o", f"{m}.tif", "--method", m] for m in CLOSED_FORMS}
    calls["metrics"] = ["metrics", *pair, "--fused", "average.tif"]
    calls["replay"] = ["fuse", "--replay", "average.record.json", "-o", "again.tif"]
    done = run_python(folder, "-c", CALLS, json.dumps(list(calls.values())))
    ended = re.findall(r"(.*?)^== (\w+)\n", done.stderr, re.DOTALL | re.MULTILINE)
    return folder, {name: (int(code), err) for name, (err, code) in zip(calls, ended, strict=True)}


def is_advice(line: str) -> bool:
    """Tell whether a line says how to get torch, and not in a way that fetches gigabytes."""
    words = ("PyTorch cannot be imported", "pytorch.org/get-started/locally", "CPU")
    return all(word in line for word in words) and "pip install" not in line


def test_info_says_that_torch_is_missing(run) -> None:
    code, out, err = run("info")
    assert code == 0
    assert "torch                not installed" in out
    assert "GB free" in out
    assert len(err.splitlines()) == 1
    assert is_advice(err)


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_a_closed_form_needs_no_torch(closed_forms, method) -> None:
    folder, ended = closed_forms
    code, err = ended[method]
    assert code == 0, err
    assert "PyTorch" not in err
    record = json.loads((folder / f"{method}.record.json").read_text())
    assert record["versions"]["torch"] is None


@pytest.mark.parametrize("call", ["metrics", "replay"])
def test_what_is_done_with_a_result_needs_no_torch(closed_forms, call) -> None:
    assert closed_forms[1][call][0] == 0


def test_a_comparison_leaves_out_what_needs_torch(run, pair) -> None:
    methods = "average,laplacian,base-detail,densefuse"
    code, out, err = run("compare", *pair, "-o", "c", "--methods", methods)
    assert code == 0
    assert "laplacian" in out
    lines = err.splitlines()
    assert lines.pop() == "results in c"
    assert len(lines) == 2
    assert all(is_advice(line) for line in lines)


@pytest.mark.parametrize("method", ["densefuse", "base-detail"])
def test_a_network_without_torch_is_one_line_of_advice(run, pair, method) -> None:
    code, out, err = run("fuse", *pair, "-o", "f.tif", "--method", method)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert is_advice(err)
    assert "Install it" in err


def test_a_prior_without_torch_is_one_line_of_advice(run, tmp_path) -> None:
    # Noisy, so that a network has something to do.
    rng = np.random.default_rng(2)
    for name in ("a.tif", "b.tif"):
        iio.imwrite(tmp_path / name, rng.normal(0.5, 0.1, (96, 100)).astype(np.float32))
    code, out, err = run("fuse", "a.tif", "b.tif", "-o", "f.tif")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert is_advice(err)


def test_a_pair_without_noise_needs_no_torch(run, tmp_path) -> None:
    rows, columns = np.mgrid[:64, :80] / 80
    for name, image in (("a.tif", rows * columns), ("b.tif", np.hypot(rows, columns) / 2)):
        iio.imwrite(tmp_path / name, image.astype(np.float32))
    code, _, err = run("fuse", "a.tif", "b.tif", "-o", "f.tif")
    assert code == 0, err
    again, _, err = run("fuse", "--replay", "f.record.json", "-o", "g.tif")
    assert again == 0, err
    first, second = (iio.imread(tmp_path / name) for name in ("f.tif", "g.tif"))
    np.testing.assert_array_equal(first, second)
    assert json.loads((tmp_path / "g.record.json").read_text())["iterations"] == 0


def test_a_torch_that_does_not_load_is_to_be_installed_anew(run, pair, tmp_path) -> None:
    (tmp_path / "site" / "sitecustomize.py").unlink()
    broken = tmp_path / "site" / "torch"
    broken.mkdir()
    (broken / "__init__.py").write_text(BROKEN)
    code, _, err = run("fuse", *pair, "-o", "f.tif", "--method", "densefuse")
    assert (code, len(err.splitlines())) == (1, 1)
    assert is_advice(err)
    assert "cannot load libtorch_cpu.so). Uninstall torch with pip, then install it" in err
