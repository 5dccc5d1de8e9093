"""Images are compared by samples of them where they are too large to be read whole."""

import numpy as np
import pytest

from napari_dip_fusion.plugin.running.samples import holds_samples, lie_alike
from napari_dip_fusion.sources import Source


class Read:
    """An array that counts the pixels that are read of it."""

    def __init__(self, pixels):
        self._pixels, self.read = pixels, 0
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, index):
        part = self._pixels[index]
        self.read += part.size
        return part


def test_samples_are_a_few_tiles_from_edge_to_edge():
    pixels = np.arange(4 * 2000 * 3000, dtype=np.float32).reshape(4, 2000, 3000)
    image = Read(pixels)
    assert holds_samples(image, pixels, 3)
    assert image.read == 9 * 256**2
    for where in ((0, 0, 0), (3, 1999, 0), (3, 1000, 1500)):
        other = pixels.copy()
        other[where] = -1
        assert not holds_samples(Read(pixels), other, 3)
    assert not holds_samples(image, pixels.astype(np.float64), 3)
    assert not holds_samples(image, pixels[:, :-1], 3)


@pytest.mark.parametrize(("moved", "alike"), [(0.0, True), (0.5, False)])
def test_places_are_compared_whatever_the_units(moved, alike):
    image = np.zeros((64, 64), np.uint8)
    shifted = np.array([[1, 0, 3.0], [0, 1, 5.0], [0, 0, 1]])
    far = np.diag([1000, 1000, 1.0]) @ shifted
    far[0, 2] += 1000 * moved
    one = [Source(image, units=("um", "um")), Source(image, affine=shifted, units=("um", "um"))]
    scaled = np.diag([1000, 1000, 1.0])
    other = [
        Source(image, affine=scaled, units=("nm", "nm")),
        Source(image, affine=far, units=("nm", "nm")),
    ]
    assert lie_alike(one, other, 0) == [True, alike]
