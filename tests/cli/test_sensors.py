"""What sensors lost, on the command line: blur, masks, and restored sources."""

import csv
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_dip_fusion import cli
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.restoration import planes
from napari_dip_fusion.sources import Source

RNG = np.random.default_rng(17)
QUICK = ["--network", "never", "-q"]


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """A plane of 2 mm, and one of 1 mm."""
    return [write(tmp_path / "pet.nii", 2.0), write(tmp_path / "mr.nii", 1.0)]


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "seen.png"
    iio.imwrite(path, np.tri(24, 32, 4, dtype=np.uint8))
    return path


def write(path: Path, step: float) -> Path:
    size = int(48 / step), int(64 / step)
    pixels = RNG.integers(0, 256, size, dtype=np.uint8)
    affine = np.diag([step, step, 1.0])
    return write_image(path, Source(pixels, affine=affine, units=("mm", "mm")))


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


def read_choice(record: Path) -> dict:
    return json.loads(record.read_text())["choice"]


def test_a_record_has_blur_and_masks_and_repeats_them(pair, mask, tmp_path, capsys) -> None:
    out, again = tmp_path / "f.nii", tmp_path / "sub" / "g.nii"
    again.parent.mkdir()
    # A mask on the grid of the reference covers pixels of which a hash is taken.
    other = tmp_path / "other.png"
    iio.imwrite(other, np.tri(48, 64, 32, dtype=np.uint8))
    sensors = ("--fwhm", "4.5mm", "--fwhm", "0", "--mask", mask, "--mask", other)
    assert run("fuse", *pair, "-o", out, *sensors, *QUICK) == 0
    record = tmp_path / "f.record.json"
    choice = read_choice(record)
    assert choice["fwhm"] == ["4.5mm", "0"]
    assert choice["mask"] == [str(mask.resolve()), str(other.resolve())]
    assert run("fuse", "--replay", record, "-o", again, "-q") == 0
    assert read_choice(again.with_name("g.record.json")) == choice
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    assert not capsys.readouterr().err
    iio.imwrite(mask, np.ones((24, 32), np.uint8))
    assert run("fuse", "--replay", record, "-o", again, "-q", "--force") == 0
    assert capsys.readouterr().err == (
        f"dip-fusion: warning: {mask} has changed since the record was written; the result will "
        "differ\n"
    )
    mask.unlink()
    line = refused(capsys, "fuse", "--replay", record, "-o", again, "-q", "--force")
    assert f"mask {mask} is not found; put it beside the record" in line


def test_a_mask_is_found_beside_a_record_that_moved(pair, mask, tmp_path) -> None:
    out = tmp_path / "f.nii"
    assert run("fuse", *pair, "-o", out, "--mask", mask, "--mask", "-", *QUICK) == 0
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (mask, tmp_path / "f.record.json"):
        path.rename(moved / path.name)
    assert run("fuse", "--replay", moved / "f.record.json", "-o", moved / "g.nii", "-q") == 0
    assert read_choice(moved / "g.record.json")["mask"] == [str(moved / mask.name), "-"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fwhm", "-4mm"], "--fwhm must be 0 or more, got '-4mm'"),
        (["--fwhm", "4"], "--fwhm needs a unit"),
        (["--fwhm", "4mm", "--fwhm", "0", "--fwhm", "0"], "once for each of the 2 sources (0"),
        (["--fwhm", "4mm"], "--fwhm must be given once for each of the 2 sources (0"),
        (
            ["--fwhm", "4km", "--fwhm", "0"],
            "pet.nii: fwhm along y must not be wider than the image, 48 mm, got 4e+06",
        ),
        (["--mask", "-"], "--mask must be given once for each of the 2 sources"),
        (["--mask", "none.png", "--mask", "-"], "there is no mask none.png; check the name"),
        (["--restore", "perhaps"], "restore must be one of auto, always, never, got 'perhaps'"),
        (["--restored-dir", "x", "--restore", "never"], "--restored-dir needs --restore auto"),
        (["--restored-dir", "x", "--method", "average"], "--restored-dir is for the methods dip"),
        (
            ["--fwhm", "3px", "--fwhm", "0", "--method", "average"],
            "--fwhm is for the methods dip and consensus",
        ),
    ],
)
def test_what_is_refused(pair, tmp_path, capsys, options, message) -> None:
    out = tmp_path / "f.nii"
    assert message in refused(capsys, "fuse", *pair, "-o", out, *options, "-q")
    assert not out.exists()
    if "--restored-dir" not in options:
        # Of a batch, what fits no set alone is a line of that set.
        (tmp_path / "sets.csv").write_text(f"source1,source2\n{pair[0]},{pair[1]}\n")
        code = run("batch", tmp_path / "sets.csv", "-o", tmp_path / "out", *options, "-q")
        assert code in (1, 2)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--restore", "never"), ("--preset", "paper")])
def test_a_blur_that_means_nothing_is_said_to(pair, tmp_path, capsys, options) -> None:
    table = tmp_path / "sets.csv"
    table.write_text(f"source1,source2\n{pair[0]},{pair[1]}\n")
    sensors = ("--fwhm", "3mm", "--fwhm", "0", *options, *QUICK)
    assert run("fuse", *pair, "-o", tmp_path / "f.nii", *sensors) == 0
    assert run("batch", table, "-o", tmp_path / "out", *sensors) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("--fwhm means nothing where sources are not restored" in line for line in said)


def test_a_mask_of_another_shape_is_refused(pair, mask, tmp_path, capsys) -> None:
    options = ("--mask", "-", "--mask", mask, "-q")
    line = refused(capsys, "fuse", *pair, "-o", tmp_path / "f.nii", *options)
    assert f"the mask {mask} does not fit {pair[1]}" in line
    assert "24 x 32" in line


def test_a_mask_is_not_written_over(pair, mask, tmp_path, capsys) -> None:
    options = ("--mask", mask, "--mask", "-", "--force", "-q")
    assert "is a source" in refused(capsys, "fuse", *pair, "-o", mask, *options)


def test_a_batch_takes_blur_and_masks_for_all_sets_or_from_its_table(
    pair, mask, tmp_path, capsys
) -> None:
    table = tmp_path / "sets.csv"
    header = "name,source1,source2,fwhm1,fwhm2,mask1,mask2\n"
    own = f"own,{pair[0].name},{pair[1].name},4mm,,{mask.name},\n"
    table.write_text(f"{header}{own}all,{pair[0].name},{pair[1].name},,,,\n")
    out = tmp_path / "out"
    call = ("batch", table, "-o", out, "--ending", ".nii", *("--fwhm", "1px") * 2, *QUICK)
    assert run(*call) == 0
    lines = (out / "batch.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["name"]: row for row in csv.DictReader(lines)}
    assert [rows["own"][name] for name in ("fwhm1", "fwhm2", "mask1", "mask2")] == [
        *("4mm", "0", str(mask.resolve()), "")
    ]
    assert [rows["all"][name] for name in ("fwhm1", "fwhm2", "mask1")] == ["1px", "1px", ""]
    assert read_choice(out / "own.record.json")["fwhm"] == ["4mm", "0"]
    told = "pet.nii: pixels of 2 x 2 mm, restored to 1 x 1 mm; blur of 4 mm"
    assert told in rows["own"]["messages"]
    assert told not in rows["all"]["messages"]
    # The table of a batch is one for a batch.
    assert run("batch", out / "batch.csv", "-o", tmp_path / "b", "--ending", ".nii", *QUICK) == 0
    assert read_choice(tmp_path / "b" / "own.record.json")["mask"] == [str(mask.resolve()), "-"]
    # With the same masks it is there already, and with others it is not.
    assert run(*call) == 0
    iio.imwrite(mask, np.ones((24, 32), np.uint8))
    assert run(*call) == 1
    assert f"own.nii was made of other images (not of {mask.name})" in capsys.readouterr().err


def test_it_is_said_that_nothing_was_restored(tmp_path, capsys) -> None:
    ramp = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, (ramp, ramp[::-1]), strict=True):
        iio.imwrite(path, image)
    folder = tmp_path / "restored"
    assert run("fuse", *paths, "-o", tmp_path / "f.png", "--restored-dir", folder, "-q") == 0
    assert capsys.readouterr().err == (
        f"dip-fusion: warning: nothing was restored, and nothing is written into {folder}\n"
    )
    assert not folder.exists()


def test_what_is_restored_is_told_and_written_in_its_own_units(pair, tmp_path, capsys) -> None:
    folder, out = tmp_path / "restored", tmp_path / "f.nii"
    call = ("fuse", *pair, "-o", out, "--network", "never", "--fwhm", "3mm", "--fwhm", "0")
    assert run(*call, "--restored-dir", folder) == 0
    assert "pet.nii: pixels of 2 x 2 mm, restored to 1 x 1 mm; blur of 3 mm" in (
        capsys.readouterr().err
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        *("restored_0_pet.nii", "restored_1_mr.nii")
    ]
    placed = read_image(folder / "restored_0_pet.nii")
    # It lies where the fused image lies.
    np.testing.assert_array_equal(placed.affine, read_image(out).affine)
    assert placed.units == ("mm", "mm")
    restored = placed.to_numpy()
    assert restored.shape == (48, 64)
    assert restored.dtype == np.float32
    blocks = restored.reshape(24, 2, 32, 2).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), read_image(pair[0]).to_numpy().ravel())[0, 1] > 0.5
    assert restored.max() > 200
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert record["restoration"][0]["factors"] == [2, 2]


@pytest.mark.parametrize(
    ("output", "ending"),
    [
        *[("f.png", ".tif"), ("f.tiff", ".tif"), ("f.OME.TIF", ".OME.TIF")],
        *[("f.nii.gz", ".nii.gz"), ("f.fusion.ome.tif", ".ome.tif"), ("f.ome.zarr", ".ome.zarr")],
    ],
)
def test_restored_sources_have_the_format_of_the_output(pair, tmp_path, output, ending) -> None:
    folder = tmp_path / "restored"
    call = ("fuse", *pair, "-o", tmp_path / output, "--restored-dir", folder, *QUICK)
    assert run(*call) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"restored_0_pet{ending}", f"restored_1_mr{ending}"]
    assert read_image(folder / names[0]).dtype == np.float32


def test_restored_volumes_lie_in_the_world(tmp_path) -> None:
    folder, paths = tmp_path / "restored", []
    for name, step in (("ct", 4.0), ("mr", 2.0)):
        pixels = RNG.integers(0, 256, (int(24 / step), 16, 20), dtype=np.uint8)
        affine = np.diag([step, 1.0, 1.0, 1.0])
        image = Source(pixels, affine=affine, units=("mm",) * 3)
        paths.append(write_image(tmp_path / f"{name}.nii", image))
    out = tmp_path / "f.nii"
    options = ("--reference", "1", "--restored-dir", folder)
    assert run("fuse", *paths, "-o", out, *options, *QUICK) == 0
    restored = read_image(folder / "restored_0_ct.nii")
    assert restored.shape == (12, 16, 20)
    np.testing.assert_allclose(restored.spacing, [2, 1, 1])


def test_it_is_said_that_a_continued_restoration_is_repeated_at_once(pair, tmp_path, capsys):
    record = tmp_path / "f.record.json"
    assert run("fuse", *pair, "-o", tmp_path / "f.nii", *QUICK) == 0
    for continued, lines in ((False, 0), (True, 1)):
        record.write_text(json.dumps({**json.loads(record.read_text()), "continued": continued}))
        assert run("fuse", "--replay", record, "-o", tmp_path / f"{lines}.nii", "-q") == 0
        said = capsys.readouterr().err.splitlines()
        assert len(said) == lines
        assert all("was continued; all its iterations are made at once" in line for line in said)


def test_a_restoration_that_was_stopped_is_repeated_to_there(pair, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(planes, "_ENOUGH", 1)
    out, again = tmp_path / "f.nii", tmp_path / "g.nii"
    settings = ("--device", "cpu", "--set", "threads=1", "--iterations", "40", "-q")
    assert run("fuse", *pair, "-o", out, *settings, "--time-budget", "0.001") == 0
    record = json.loads((tmp_path / "f.record.json").read_text())
    assert (record["stop_reason"], record["iterations"]) == ("time", 1)
    assert run("fuse", "--replay", tmp_path / "f.record.json", "-o", again, "-q") == 0
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(out).to_numpy())
    repeated = json.loads((tmp_path / "g.record.json").read_text())
    assert repeated["iterations"] == 1
    assert repeated["config"]["fit"]["iterations"] == 40
