"""Views name a part of an image, and read it only when they are asked."""

import numpy as np
import pytest

from napari_dip_fusion.sources.views import View, find_view, make_lazy

DATA = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


class Sliced:
    """An array that tells what is read of it, and knows nothing but slicing."""

    def __init__(self) -> None:
        self.shape, self.dtype = DATA.shape, DATA.dtype
        self.read: list[tuple[int, ...]] = []

    def __getitem__(self, index):
        self.read.append(DATA[index].shape)
        return DATA[index]


@pytest.mark.parametrize(
    "index",
    [
        np.s_[1],
        np.s_[:, 2],
        np.s_[0, :, 3, 1:4],
        np.s_[-1, 1:, ::2, ::-1],
        np.s_[:, ::-2, 5:1],
        np.s_[1, 2, 3, 4],
    ],
)
def test_a_view_is_sliced_as_an_array_is(index):
    image = Sliced()
    view = View(image)[index]
    assert (view.shape, view.ndim, view.dtype) == (DATA[index].shape, DATA[index].ndim, DATA.dtype)
    assert image.read == []
    np.testing.assert_array_equal(np.asarray(view), DATA[index])
    assert image.read == [DATA[index].shape]


def test_a_view_is_sliced_and_transposed_in_any_order():
    expected = DATA.transpose(2, 0, 3, 1)[1:, 1].transpose(2, 1, 0)[:, ::-1][2]
    for image in (Sliced(), DATA):
        view = View(image).transpose(2, 0, 3, 1)[1:, 1].transpose([2, 1, 0])[:, ::-1][2]
        assert view.shape == expected.shape
        np.testing.assert_array_equal(np.asarray(view), expected)
        np.testing.assert_array_equal(np.transpose(view), expected.T)


def test_an_index_that_does_not_exist_is_refused():
    with pytest.raises(IndexError):
        View(DATA)[2]
    with pytest.raises(ValueError, match="zip"):
        View(DATA)[0, 0, 0, 0, 0]


def test_a_view_is_resolved_where_that_reads_nothing():
    assert View(DATA).resolve() is DATA
    assert np.shares_memory(View(DATA)[1].transpose(2, 1, 0).resolve(), DATA)
    image = Sliced()
    assert View(image).resolve() is image
    view = View(image)[1]
    assert view.resolve() is view
    assert image.read == []


class Chunked:
    """An image in chunks that counts how often it is read."""

    chunks = (2, 1, 4, 4)

    def __init__(self):
        self.pixels = np.arange(3 * 2 * 9 * 8).reshape(3, 2, 9, 8)
        self.shape, self.dtype, self.reads = self.pixels.shape, self.pixels.dtype, 0

    def __getitem__(self, index):
        self.reads += 1
        return self.pixels[index]


def test_what_a_dask_array_reads_is_found_again_and_read_at_once():
    image = Chunked()
    # A channel, with its columns first.
    lazy = make_lazy(View(image)[:, 1].transpose(2, 0, 1))
    assert lazy.chunks == ((4, 4), (2, 1), (4, 4, 1))
    expected = image.pixels[:, 1].transpose(2, 0, 1)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)
    assert image.reads == 2 * 2 * 3
    np.testing.assert_array_equal(find_view(lazy)[1:, :, 3:], expected[1:, :, 3:])
    assert image.reads == 13
    # Of a part, or of anything else, dask alone knows.
    assert find_view(lazy[1:]) is None
    assert find_view(image.pixels) is None
