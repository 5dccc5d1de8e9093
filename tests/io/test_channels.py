import numpy as np

from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.sources import Source


def test_channels_keep_the_place_of_their_levels():
    level = np.diag([2.0, 1, 4, 1])
    level[:-1, -1] = (0.25, 0, 1.5)
    data = np.arange(8 * 2 * 8).reshape(8, 2, 8)
    image = Source(data, ("y", "c", "x"), pyramid=(data[::2, :, ::4],), level_affines=(level,))
    for n, channel in enumerate(split_channels(image)):
        np.testing.assert_array_equal(
            channel.level_affines, [[[2, 0, 0.25], [0, 4, 1.5], [0, 0, 1]]]
        )
        np.testing.assert_array_equal(channel.pyramid[0], data[::2, n, ::4])
