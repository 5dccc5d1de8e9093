"""The blur of a measured point spread function, by the fast Fourier transform, and its adjoint."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

from napari_dip_fusion.operators.separable import Floats, fold, multiply


class Convolution:
    """The convolution of images of one shape with a kernel of odd sizes.

    Beyond its ends, an image is continued by its mirror image (d c b | a b c d | c b a).

    Parameters
    ----------
    kernel : ndarray of as many axes as the images
        How a single bright pixel looks.
    shape : tuple of int
        Shape of the images.
    """

    def __init__(self, kernel: NDArray[np.floating], shape: tuple[int, ...]) -> None:
        margins = [size // 2 for size in kernel.shape]
        padded = [n + 2 * m for n, m in zip(shape, margins, strict=True)]
        # What goes around the ends of the transform meets only the margins.
        self._sizes = [fft.next_fast_len(size, real=True) for size in padded]
        self._transform = fft.rfftn(kernel.astype(np.float32), self._sizes)
        self._padded = tuple(slice(size) for size in padded)
        self._valid = tuple(slice(2 * m, 2 * m + n) for n, m in zip(shape, margins, strict=True))
        self._mirrors = [_make_mirror(n, m) for n, m in zip(shape, margins, strict=True)]

    def apply(self, image: Floats) -> Floats:
        """Return an image blurred."""
        return self._filter(multiply(image, self._mirrors), self._transform)[self._valid]

    def adjoint(self, image: Floats) -> Floats:
        """Return the adjoint of :meth:`apply` of an image."""
        wide = np.zeros([s.stop for s in self._padded], dtype=np.float32)
        wide[self._valid] = image
        filtered = self._filter(wide, self._transform.conj())[self._padded]
        return multiply(filtered, [m.T for m in self._mirrors])

    def _filter(self, image: Floats, transform: NDArray[np.complexfloating]) -> Floats:
        filtered: Floats = fft.irfftn(fft.rfftn(image, self._sizes) * transform, self._sizes)
        return filtered


def _make_mirror(length: int, margin: int) -> sparse.csr_array:
    """Return the matrix that continues an axis by a margin at both of its ends."""
    places = fold(np.arange(-margin, length + margin), length)
    entries = (np.ones(len(places)), (np.arange(len(places)), places))
    return sparse.csr_array(entries, shape=(len(places), length), dtype=np.float32)
