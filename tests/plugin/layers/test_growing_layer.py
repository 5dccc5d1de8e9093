"""The layer of an image that grows in a file."""

import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import write_image
from napari_dip_fusion.plugin.layers.growing_layer import GrowingLayer
from napari_dip_fusion.plugin.layers.placement import place_result


def test_a_run_has_ended_before_it_is_looked_at(viewer_without_window, tmp_path):
    viewer = viewer_without_window
    place = place_result(viewer.layers["CT"], viewer.dims)
    layer = GrowingLayer(viewer, "fused", place)
    layer.grow(tmp_path / "moved.ome.zarr.part" / "image.ome.zarr")
    assert layer.layer is None
    path = write_image(tmp_path / "moved.ome.zarr", np.ones(place.shape, np.float32))
    layer.complete(path, {}, {})
    assert viewer.layers["fused"].data.shape == place.shape
    broken = tmp_path / "broken.ome.zarr"
    broken.mkdir()
    with pytest.raises(ImageFileError, match=r"broken\.ome\.zarr"):
        layer.grow(broken)
