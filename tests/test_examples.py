import csv
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.samples import head_phantom

EXAMPLES = Path(__file__).parents[1] / "examples"
needs_display = pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"),
    reason="the viewer needs a display, such as that of xvfb-run",
)


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    ct, mr = head_phantom(shape=(32, 40)).sources
    folder = tmp_path / "scans"
    folder.mkdir()
    write_image(folder / "one_ct.png", ct)
    write_image(folder / "one_mr.png", mr)
    # A pair on two grids: steps of 1 mm and of half a millimeter, as ImageJ writes them.
    fine = np.kron(mr, np.ones((2, 2), np.uint8))
    for name, image, dots in (("ct", ct, 1), ("mr", fine, 2)):
        place = {"resolution": (dots, dots), "metadata": {"unit": "mm"}}
        tifffile.imwrite(folder / f"two_{name}.tif", image, imagej=True, **place)
    write_image(folder / "alone_ct.png", ct)
    return folder


def test_batch(folder, tmp_path, capsys):
    output = tmp_path / "fused"
    batch = example("batch_folder")
    options = ["--suffixes", "_ct", "_mr", "--iterations", "2"]
    assert batch.main([str(folder), str(output), *options]) == 0
    names = sorted(path.name for path in output.iterdir())
    assert names == [
        "metrics.csv",
        "one_fused.ome.tif",
        "one_fused.record.json",
        "two_fused.ome.tif",
        "two_fused.record.json",
    ]
    with (output / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["one", "two"]
    assert 0 < float(rows[0]["petrovic"]) < 1
    fused = read_image(output / "two_fused.ome.tif")
    assert (fused.shape, fused.dtype) == ((32, 40), np.uint8)
    assert fused.units == ("mm", "mm")
    record = json.loads((output / "one_fused.record.json").read_text())
    assert [source["name"] for source in record["sources"]] == ["one_ct", "one_mr"]


def test_one_bad_pair_does_not_end_the_batch(folder, tmp_path, capsys):
    (folder / "bad_ct.png").write_bytes(b"not an image")
    write_image(folder / "bad_mr.png", np.zeros((32, 40), np.uint8))
    output = tmp_path / "fused"
    options = ["--suffixes", "_ct", "_mr", "--iterations", "1"]
    assert example("batch_folder").main([str(folder), str(output), *options]) == 1
    assert "bad: " in capsys.readouterr().err
    assert (output / "one_fused.ome.tif").exists()


def test_a_folder_without_pairs(folder, tmp_path, capsys):
    assert example("batch_folder").main([str(folder), str(tmp_path / "fused")]) == 1
    assert "no pairs NAME_a.* and NAME_b.*" in capsys.readouterr().err


@needs_display
@pytest.mark.parametrize("files", [(), ("one_ct.png", "one_mr.png")])
def test_scripted_session(files, folder, tmp_path, monkeypatch, make_napari_viewer):
    import napari

    viewers = []

    def viewer(**options):
        viewers.append(make_napari_viewer())
        return viewers[-1]

    monkeypatch.setattr(napari, "Viewer", viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    output, screenshot = tmp_path / "fused.tif", tmp_path / "session.png"
    arguments = ["--output", str(output), "--screenshot", str(screenshot), "--iterations", "1"]
    example("scripted_session").main([*(str(folder / name) for name in files), *arguments])
    assert len(viewers[0].layers) == 7
    assert viewers[0].layers[-1].name.startswith("fused ")
    np.testing.assert_array_equal(read_image(output).shape, viewers[0].layers[0].data.shape)
    assert read_image(screenshot).rgb


def test_a_scripted_session_wants_two_images_or_none(capsys):
    pytest.importorskip("qtpy")
    with pytest.raises(SystemExit):
        example("scripted_session").main(["one.png"])
    assert "give two images or none, got 1" in capsys.readouterr().err
