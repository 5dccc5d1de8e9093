"""File > IO Utilities > Open images in their place: any format, as it lies in the world."""

import numpy as np
import pydicom
import pytest
import tifffile
from napari.components import ViewerModel
from pydicom.data import get_testdata_file

from napari_dip_fusion.plugin import opening

VOLUME = np.random.default_rng(0).integers(0, 4000, (2, 3, 12, 14)).astype(np.uint16)


@pytest.fixture
def cells(tmp_path):
    """Write two channels of a stack whose voxels have a size."""
    path = tmp_path / "cells.ome.tif"
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (0.5, 0.2, 0.1), strict=True)}
    tifffile.imwrite(path, VOLUME, ome=True, metadata={"axes": "CZYX", **sizes})
    return path


def test_an_ome_tiff_is_opened_with_its_channels_spacing_and_units(cells):
    viewer = ViewerModel()
    opening.add_files(viewer, [cells])
    assert len(viewer.layers) == 2
    for channel, layer in enumerate(viewer.layers):
        np.testing.assert_array_equal(layer.data, VOLUME[channel])
        np.testing.assert_allclose(layer.scale, (0.5, 0.2, 0.1))
        assert {str(unit) for unit in layer.units} == {"micrometer"}
        assert (layer.source.path, layer.source.reader_plugin) == (str(cells), "napari-dip-fusion")


def test_what_cannot_be_read_is_said_and_the_rest_is_added(cells, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(opening, "show_error", said.append)
    broken = tmp_path / "empty.tif"
    broken.touch()
    viewer = ViewerModel()
    opening.add_files(viewer, [broken, cells])
    assert len(viewer.layers) == 2
    assert said == [f"{broken} is empty (0 bytes); copy it again"]


def test_files_of_a_series_are_one_volume(tmp_path):
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    first = header.pixel_array
    paths = []
    for number in range(3):
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        header.ImagePositionPatient = [-158, -179, -75 + 5 * number]
        paths.append(tmp_path / f"{9 - number}.dcm")
        header.save_as(paths[-1])
    viewer = ViewerModel()
    opening.add_files(viewer, paths)
    (layer,) = viewer.layers
    assert layer.data.shape == (3, *first.shape)
