"""Noise of a source that lies oblique to the reference, on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion import FusionConfig, cli
from napari_dip_fusion.fusion import fuse
from napari_dip_fusion.io import read_image
from napari_dip_fusion.sources.grid import resample_to_reference

QUICK = [
    *("--set", "width=4", "--set", "depth=2", "--set", "threads=1"),
    *("--set", "restore=never", "--device", "cpu", "--iterations", "2", "-q"),
    *("--intensity", "0:1000", "--intensity", "0:1000"),
]
NOISE = 60
"""6 % of the intensity window."""


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    assert ended.value.code == 0


def write(path: Path, affine: np.ndarray, planes: int, noise: float) -> Path:
    """Write smooth waves of the world, with noise, as a NIfTI file."""
    import nibabel

    index = np.indices((76, 72, planes))
    x, y, z = np.einsum("wn,nxyz->wxyz", affine[:3, :3], index) + affine[:3, 3, None, None, None]
    waves = 500 + 150 * np.sin(x / 7 + z / 9) * np.cos(y / 9)
    noisy = waves + np.random.default_rng(2).normal(0, noise, waves.shape)
    nibabel.save(nibabel.Nifti1Image(noisy.astype(np.float32), affine), path)
    return path


def make_pair(folder: Path, planes: int, *, noise: float = NOISE) -> tuple[Path, Path]:
    oblique, (c, s) = np.eye(4), (np.cos(0.35), np.sin(0.35))
    oblique[:2, :2] = [[c, -s], [s, c]]
    oblique[:3, 3] = 9, -9, 0 if planes == 1 else -0.5
    return (
        write(folder / "head_ct.nii", np.eye(4), planes, 0),
        write(folder / "head_mr.nii", oblique, planes, noise),
    )


def fuse_arrays(pair: tuple[Path, Path], config: FusionConfig) -> np.ndarray:
    """Fuse the resampled pixels alone, which do not tell what they were interpolated from."""
    grid = resample_to_reference([read_image(path) for path in pair], plane="z=0")
    return fuse(grid.arrays, config).image


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.square(image - clean))))


@pytest.mark.parametrize("planes", [1, 4])
def test_noise_is_that_of_the_file(tmp_path: Path, planes: int) -> None:
    import nibabel

    out = tmp_path / "fused.nii"
    fused = {}
    for noise in (0, NOISE):
        pair = make_pair(tmp_path, planes, noise=noise)
        run("fuse", *pair, "-o", out, "--slice", "z=0", "-f", *QUICK)
        record = json.loads((tmp_path / "fused.record.json").read_text())
        assert record["noise"] == [0, pytest.approx(noise / 1000, rel=0.15)]
        fused[noise] = nibabel.load(out).get_fdata().T.squeeze()
    before = fuse_arrays(pair, FusionConfig.from_dict(record["config"]))
    # Measured in dB: 31.8 before and 35.6 now in the plane, 35.3 and 40.8 in the volume.
    assert psnr(fused[NOISE], fused[0]) > psnr(before, fused[0]) + 3
    again = tmp_path / "again.nii"
    run("fuse", "--replay", tmp_path / "fused.record.json", "-o", again, "-q")
    np.testing.assert_array_equal(nibabel.load(again).get_fdata(), nibabel.load(out).get_fdata())


def test_a_comparison_finds_it_too(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, 1)
    out = tmp_path / "out"
    run("compare", *pair, "-o", out, "--methods", "dip-fast", "--figure", *QUICK)
    records = [json.loads(p.read_text()) for p in (out / "results").glob("*.json")]
    assert [r["record"]["noise"] for r in records] == [[0, pytest.approx(0.06, rel=0.15)]]
    assert len(list((out / "figures").glob("*.png"))) == 1
