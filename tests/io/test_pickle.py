"""Lazy images go to other processes, which read their parts from the files."""

import pickle
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.io.nifti import pixels as nifti_pixels
from napari_dip_fusion.io.tiff import pages, segments
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.views import View

READ = """
import pickle, sys
import numpy as np
images = pickle.load(sys.stdin.buffer)
parts = [np.asarray(image.data[1:3, 5:30, 7:40]) for image in images]
pickle.dump(parts, sys.stdout.buffer)
"""


@pytest.fixture
def volume(monkeypatch):
    monkeypatch.setattr(nifti_pixels, "_EAGER_BYTES", 4000)
    monkeypatch.setattr(pages, "_PIECE_BYTES", 4000)
    monkeypatch.setattr(segments, "_SIDE", 32)
    return np.random.default_rng(0).integers(0, 999, (4, 60, 70), np.uint16)


def test_parts_are_read_in_another_process_and_folder(tmp_path, monkeypatch, volume):
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    images = []
    for ending in (".ome.tif", ".nii", ".nii.gz", ".ome.zarr"):
        path = write_image(Path(f"a{ending}"), Source(volume, units=("um",) * 3))
        images.append(read_image(path))
        assert isinstance(images[-1].data, da.Array)
    # As a layer that is an array of zarr becomes a source.
    array = zarr.create_array(tmp_path / "b.zarr", data=volume, chunks=(1, 32, 32))
    images.append(Source(View(array).transpose(0, 1, 2)))
    found = subprocess.run(
        [sys.executable, "-c", READ],
        input=pickle.dumps(images),
        stdout=subprocess.PIPE,
        cwd="elsewhere",
        check=True,
    )
    for part in pickle.loads(found.stdout):
        np.testing.assert_array_equal(part, volume[1:3, 5:30, 7:40])
