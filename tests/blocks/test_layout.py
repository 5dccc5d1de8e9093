"""Blocks cover an image once, with a halo around each of them."""

import numpy as np
import pytest

from napari_dip_fusion.blocks.layout import choose_layout
from napari_dip_fusion.blocks.samples import choose_samples


def test_blocks_cover_every_pixel_once_and_know_where_they_lie_in_what_is_read():
    layout = choose_layout((3, 200, 333), (1, 2), (30, 30), (64, 128))
    assert layout.block == (1, 64, 128)
    assert layout.halo == (0, 32, 32)
    image = np.arange(3 * 200 * 333).reshape(layout.shape)
    times = np.zeros(layout.shape, int)
    for index in layout:
        region = layout.locate(index)
        times[region.core] += 1
        np.testing.assert_array_equal(image[region.around][region.inside], image[region.core])
        # Beyond the image there is nothing; within it, the halo is whole.
        for around, core, size, halo in zip(
            region.around, region.core, layout.shape, layout.halo, strict=True
        ):
            assert around.start == max(core.start - halo, 0)
            assert around.stop == min(core.stop + halo, size)
    assert (times == 1).all()
    assert len(list(layout)) == layout.count == 3 * 4 * 3


def test_block_sizes_are_whole_multiples_and_patches_are_not_cut():
    layout = choose_layout((1000, 1000), (0, 1), (20, 20), 100, patch=(9, 9))
    assert [size % 9 for size in (*layout.block, *layout.halo)] == [0] * 4
    assert [size % 64 for size in layout.block] == [0, 0]
    # What is not cut needs no halo.
    assert choose_layout((50, 60), (0, 1), (20, 20), None).halo == (0, 0)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (64, "larger than its halo, 100 pixels along axis 0, got 64; use blocks of at least 128"),
        ((8, 8, 8), "a size of 1 or more along each of the last 2 axes"),
        (0, "a size of 1 or more"),
        (64.5, "as a whole number of pixels, or one for rows and columns, got 64.5"),
        ("64", "got '64'"),
        (np.int64(64), "larger than its halo, 100 pixels along axis 0, got 64"),
    ],
)
def test_blocks_that_cannot_be_are_refused(block, message):
    with pytest.raises(ValueError, match=message):
        choose_layout((1000, 1000), (0, 1), (100, 100), block)


def test_samples_are_spread_over_a_large_image_and_its_frames():
    samples = choose_samples((40, 9000, 12000), (1, 2))
    assert len(samples) == 32
    frames = {sample[0].start for sample in samples}
    assert len(frames) >= 20
    rows = sorted(sample[1].start for sample in samples)
    assert rows[0] < 600
    assert rows[-1] > 8000
    assert max(np.diff(rows)) < 900
    for _, y, x in samples:
        assert (y.stop - y.start, x.stop - x.start) == (256, 256)
        assert y.stop <= 9000
        assert x.stop <= 12000
    assert choose_samples((900, 1200), (0, 1)) == [(slice(0, 900), slice(0, 1200))]
    # Of few frames no pixel is looked at again and again.
    few = choose_samples((3, 200, 300), (1, 2))
    assert len(few) == 4
    assert {sample[0].start for sample in few} == {0, 1, 2}
