"""The demonstration on the command line."""

from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest

from napari_dip_fusion import FusionConfig, cli, fuse, samples
from napari_dip_fusion.cli import demo
from napari_dip_fusion.errors import TorchMissingError

QUICK = [
    *("--set", "width=4", "--set", "depth=2", "--set", "threads=1"),
    *("--device", "cpu", "--iterations", "3"),
]
FILES = {"comparison.png", "figure.png", "fused.png", "fused.record.json"}
GAINS = {f"gain_{name}.tif" for name in ("MR", "MR_base", "PET", "PET_base")}


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """Let the demonstration fuse few pixels; its own pair takes half a minute."""
    small = partial(samples.head_pet, shape=(64, 64))
    monkeypatch.setattr(samples, "SAMPLES", {"head-pet": small})
    return small()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", *(str(a) for a in arguments), *QUICK])
    return int(ended.value.code)


def read_table(printed: str) -> dict[str, list[float]]:
    """Return the scores of each row by its name."""
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    return {name.strip(): [float(v.strip(" *")) for v in values] for name, *values in rows}


def find_psnr(image, truth):
    return -10 * np.log10(np.mean((np.asarray(image, float) - truth) ** 2))


def test_shows_interpolation_denoiser_and_result_beside_the_truth(tmp_path, capsys, small_sample):
    folder = tmp_path / "demo"
    assert run("-o", folder) == 0
    assert {path.name for path in folder.iterdir()} == FILES | GAINS
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    rows = read_table(printed.out)
    assert list(rows) == ["linear interpolation", "denoiser", "result"]
    config = FusionConfig(restore="never", network="never")
    fused = fuse(small_sample.sources, config)
    true = fuse(small_sample.undegraded, config)
    expected = find_psnr(fused.image, true.image)
    assert rows["linear interpolation"][2] == pytest.approx(expected, abs=1e-3)
    of_pet = find_psnr(fused.sources.images[1], true.sources.images[1])
    assert rows["linear interpolation"][0] == pytest.approx(of_pet, abs=1e-3)
    assert rows["denoiser"][0] > of_pet + 0.5
    assert rows["result"][0] > of_pet + 0.5
    kept = iio.imread(folder / "fused.png")
    assert rows["result"][2] == pytest.approx(find_psnr(kept / 255, true.image), abs=0.05)


def test_results_are_not_written_over(tmp_path, capsys):
    (tmp_path / "fused.png").touch()
    assert run("-o", tmp_path) == 2
    assert "fused.png exists; choose another name or add --force" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_without_restoration_there_is_no_denoiser_to_compare_with(tmp_path, capsys):
    assert run("-o", tmp_path, "--set", "restore=never", "--set", "network=never") == 0
    rows = read_table(capsys.readouterr().out)
    assert list(rows) == ["linear interpolation", "result"]
    assert rows["result"] == rows["linear interpolation"]


def miss_torch(monkeypatch):
    def run_without_torch(sources, names, config, *, quiet):
        if config.fit.network != "never":
            raise TorchMissingError("PyTorch cannot be imported")
        return original(sources, names, config, quiet=quiet)

    original = demo.run_fusion
    monkeypatch.setattr(demo, "run_fusion", run_without_torch)


def test_without_torch_the_result_is_that_of_the_denoiser(tmp_path, capsys, monkeypatch):
    miss_torch(monkeypatch)
    assert run("-o", tmp_path) == 0
    printed = capsys.readouterr()
    assert "warning: PyTorch cannot be imported" in printed.err
    assert list(read_table(printed.out)) == ["linear interpolation", "result"]


def test_without_torch_a_network_that_was_asked_for_is_an_error(tmp_path, capsys, monkeypatch):
    miss_torch(monkeypatch)
    assert run("-o", tmp_path, "--set", "network=always") == 1
    assert capsys.readouterr().err.strip() == "dip-fusion: PyTorch cannot be imported"


@pytest.mark.parametrize(
    ("options", "seconds"),
    [((), 75), (("--set", "time_budget=9"), 9), (("--iterations", "3"), 0)],
)
def test_networks_have_a_time_unless_somebody_says_how_long(
    tmp_path, monkeypatch, options, seconds
):
    def note(sources, names, config, *, quiet):
        budgets.append(config.fit.time_budget)
        raise ValueError("enough is known")

    budgets = []
    monkeypatch.setattr(demo, "run_fusion", note)
    with pytest.raises(SystemExit):
        cli.main(["demo", "-o", str(tmp_path), *options])
    assert budgets == [seconds]
