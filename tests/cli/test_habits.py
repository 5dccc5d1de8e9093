"""What people try without reading: --version, -h, -m, the tab key, and a pattern too wide."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import napari_dip_fusion
from napari_dip_fusion import cli
from napari_dip_fusion.io import read_image

COMMANDS = ("fuse", "batch", "compare", "metrics", "demo", "info")
PROGRAM = [sys.executable, "-m", "napari_dip_fusion"]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return int(ended.value.code)


def make_environment(**changes: str) -> dict[str, str]:
    path = str(Path(napari_dip_fusion.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": path, **changes}


def call_program(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=make_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.fixture
def scene(tmp_path: Path) -> list[str]:
    """Nine files, as of a pattern like *.png."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(9)]
    for path in paths:
        iio.imwrite(path, rng.integers(0, 256, (12, 16), dtype=np.uint8))
    return [str(p) for p in paths]


def test_the_version(capsys) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"dip-fusion {version('napari-dip-fusion')}\n"


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS)])
def test_a_short_option_for_help(capsys, command) -> None:
    assert run(*command, "-h") == 0
    short = capsys.readouterr().out
    assert run(*command, "--help") == 0
    assert capsys.readouterr().out == short
    assert f"Usage: {' '.join(['dip-fusion', *command])}" in short


def test_the_package_is_a_program() -> None:
    assert call_program("--version") == f"dip-fusion {version('napari-dip-fusion')}\n"


def test_the_tab_key_completes_commands_and_options(capsys) -> None:
    assert run("-h") == 0
    assert "--install-completion" in capsys.readouterr().out
    script = call_program(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "_DIP_FUSION_COMPLETE=complete_bash" in script
    for words, number, found in (
        ("dip-fusion co", "1", "compare"),
        ("dip-fusion fuse --repl", "2", "--replay"),
    ):
        asked = {"COMP_WORDS": words, "COMP_CWORD": number}
        answer = call_program(_DIP_FUSION_COMPLETE="complete_bash", **asked)
        assert answer.split() == [found]


@pytest.mark.parametrize("command", ["fuse", "compare"])
def test_more_than_eight_sources_want_a_yes(scene, tmp_path, capsys, command) -> None:
    out = tmp_path / ("f.tif" if command == "fuse" else "out")
    method = ("--method" if command == "fuse" else "--methods", "average")
    assert run(command, *scene, "-o", out, *method) == 2
    line = capsys.readouterr().err
    assert line == (
        "dip-fusion: 9 files, 0.png to 8.png, would be taken as images of one scene; "
        "add --yes if they are\n"
    )
    assert not out.exists()
    assert run(command, *scene[:8], "-o", tmp_path / f"8{out.name}", *method) == 0
    assert run(command, *scene, "-o", out, *method, "--yes") == 0


def test_a_record_of_many_sources_is_replayed_unasked(scene, tmp_path) -> None:
    out = tmp_path / "f.tif"
    assert run("fuse", *scene, "-o", out, "--method", "maximum", "-y", "-q") == 0
    assert run("fuse", "--replay", tmp_path / "f.record.json", "-o", tmp_path / "g.tif", "-q") == 0
    np.testing.assert_array_equal(read_image(out).data, read_image(tmp_path / "g.tif").data)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130), ("", 130)])
def test_on_a_terminal_it_is_asked(scene, tmp_path, answer, code) -> None:
    import pty  # not on Windows

    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [*PROGRAM, "fuse", *scene, "-o", str(tmp_path / "f.tif"), "--method", "average"],
        env=make_environment(),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        timeout=60,
    )
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "9 files, 0.png to 8.png, are to be images of one scene. Go on? [y/N]" in shown
    assert done.returncode == code
    assert (tmp_path / "f.tif").exists() == (code == 0)
