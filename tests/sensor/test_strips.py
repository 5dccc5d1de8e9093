"""Strips of rows with a halo."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.sensor.strips import choose_sizes, count_planes, cut_strips, map_tiles


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


@pytest.mark.parametrize(
    ("shape", "halos", "most", "multiples", "sizes"),
    [
        ((2048, 2048), (18, 18), 10**7, (1, 1), [2048, 2048]),
        # Strips, of even sizes.
        ((2048, 2048), (18, 18), 1_000_000, (1, 1), [410, 2048]),
        # Tiles, where less of them is computed twice than of thin strips.
        ((1688, 1688), (38, 38), 262_144, (2, 2), [422, 422]),
        ((64, 256, 256), (18, 18, 18), 2**21, (1, 1, 1), [64, 86, 256]),
        ((9, 100), (0, 0), 100, (1, 1), [1, 100]),
        # Not below two halos.
        ((100, 100), (18, 18), 1, (1, 1), [50, 50]),
        # Whole blocks.
        ((10, 100), (0, 0), 350, (4, 4), [4, 52]),
    ],
)
def test_sizes_of_tiles(shape, halos, most, multiples, sizes) -> None:
    assert choose_sizes(shape, halos, most, multiples) == sizes


def test_parts_of_planes_add_up_to_all() -> None:
    done = []
    map_tiles(
        lambda *cut: done.append(count_planes(cut[0], (5, 23, 17))),
        (5, 23, 17),
        (2, 9, 17),
        (0,) * 3,
    )
    assert sum(done) == pytest.approx(5)
