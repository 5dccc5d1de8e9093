"""Strips of rows with a halo."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.sensor.strips import cut_strips, map_tiles


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_a_window_of_the_halo_gives_the_same_from_strips(size: int) -> None:
    image = np.random.default_rng(0).random((23, 5))
    result = np.full_like(image, np.nan)
    for rows, around, inside in cut_strips(len(image), size, 2):
        result[rows] = ndimage.maximum_filter(image[around], (5, 1))[inside]
    np.testing.assert_array_equal(result, ndimage.maximum_filter(image, (5, 1)))


def test_every_row_is_in_one_strip() -> None:
    strips = [rows for rows, _, _ in cut_strips(23, 7, 3)]
    assert strips == [slice(0, 7), slice(7, 14), slice(14, 21), slice(21, 23)]


@pytest.mark.parametrize("sizes", [(1, 1), (4, 100), (100, 3), (7, 5)])
def test_a_window_of_the_halo_gives_the_same_from_tiles(sizes: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((23, 17))
    result = np.full_like(image, np.nan)

    def work(there, around, inside):
        result[there] = ndimage.maximum_filter(image[around], 5)[inside]
        return image[there].size

    assert sum(map_tiles(work, image.shape, sizes, (2, 2))) == image.size
    np.testing.assert_array_equal(result, ndimage.maximum_filter(image, 5))
