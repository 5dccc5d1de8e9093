"""Which pixel of a layer is in the middle of the canvas."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion.plugin.layers.gaze import Gaze, find_middle


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(
        [np.zeros((6, 64, 80)), np.zeros((6, 32, 40))],
        multiscale=True,
        scale=(3, 500, 500),
        translate=(0, 0, 1000),
        units=("um", "nm", "nm"),
        name="volume",
    )
    return viewer


def test_the_middle_is_found_through_scale_units_and_levels(viewer):
    volume = viewer.layers["volume"]
    # napari's world has the smallest of the units: nanometers.
    viewer.dims.set_point(0, 6_000)
    viewer.scene.camera.center = (0, 10_000, 21_000)
    assert find_middle(viewer, volume) == (2, 20, 40)
    assert find_middle(viewer, volume, level=1) == (2, 10, 20)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.center = (12_000, 10_000, 21_000)
    assert find_middle(viewer, volume) == (4, 20, 40)
    viewer.dims.ndisplay = 2
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_point(2, 21_000)
    viewer.scene.camera.center = (0, 9_000, 5_000)
    assert find_middle(viewer, volume) == (3, 10, 40)


def test_a_gaze_follows_camera_and_sliders_until_it_is_closed(viewer):
    told = []
    gaze = Gaze(viewer, viewer.layers["volume"], 0, told.append)
    assert len(told) == 1
    viewer.scene.camera.center = (0, 500, 1_500)
    viewer.dims.set_point(0, 9_000)
    assert told[-1] == (3, 1, 1)
    gaze.close()
    viewer.scene.camera.center = (0, 0, 0)
    assert told[-1] == (3, 1, 1)
