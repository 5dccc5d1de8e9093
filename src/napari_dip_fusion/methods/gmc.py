"""Fuse by sparse wavelet regression under the sensor gains, with a non-convex or an L1 penalty.

The method is that of Anantrasirichai, Zheng, Selesnick and Achim 2020; the article's symbols stand
in the code. The image formation X_i = beta_i F + N_i is that of the Deep Image Prior; here the
wavelet coefficients theta of the image F = W* theta are what is sought.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.gains import gain_maps

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_LEVELS = 4  # of the Haar transform, as in the published script

# The iteration converges for 0 < mu < 2 / (max(1, gamma / (1 - gamma)) |A|^2), where A is theta ->
# (beta_i W* theta)_i. Unit-norm gains and an orthonormal transform give |A| = 1; the authors chose
# 1.9.
_STEP = 1.9


def gmc(
    sources: Floats,
    *,
    gamma: float = 0.8,
    penalty: float = 0.005,
    iterations: int = 25,
    rescale: bool = True,
) -> Floats:
    r"""Fuse by least squares with the generalized minimax concave (GMC) penalty.

    .. math::

        \hat\theta = \arg\min_\theta \tfrac12 \sum_i \| \beta_i W^* \theta - X_i \|^2
        + \lambda \psi_B(\theta), \qquad F = W^* \hat\theta

    where :math:`W^*` is the inverse of an orthonormal Haar transform of 4 levels and
    :math:`\psi_B` the GMC penalty, solved by forward-backward splitting: from
    :math:`\theta = v = 0`,

    .. math::

        w &= \theta - \mu \left[ W \sum_i \beta_i (\beta_i W^* \theta - X_i)
             + \gamma (v - \theta) \right], & u &= v - \mu \gamma (v - \theta), \\
        \theta &= \mathrm{soft}(w, \lambda \mu), & v &= \mathrm{soft}(u, \lambda \mu)

    with :math:`\mu = 1.9 / \max(1, \gamma / (1 - \gamma))`.

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]
    gamma : float
        Non-convexity, 0 <= gamma < 1; 0 is the L1 penalty.
    penalty : float
        Weight :math:`\lambda` of the penalty, 0 or more.
    iterations : int
        Number of iterations, 1 or more.
    rescale : bool
        Replace :math:`\theta`, after every iteration, by that of its image :math:`W^* \theta`
        rescaled to [0, 1] by minimum and maximum, as the published script does. Without it the
        iterates are those of the equations, and the result is clipped.

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]

    Raises
    ------
    ValueError
        If an option is outside its range.

    Notes
    -----
    This is the method of [1]_, with its defaults; the gains :math:`\beta_i` are those of
    non-overlapping 2x2 blocks, of unit norm. Sides that are no multiple of 16 are continued by
    reflection. Each iteration makes three transforms, two without `rescale`: a pair of
    256x256 takes about 0.15 s.

    References
    ----------
    .. [1] N. Anantrasirichai, R. Zheng, I. Selesnick, A. Achim, "Image Fusion via Sparse
       Regularization with Non-Convex Penalties", Pattern Recognition Letters 131 (2020),
       arXiv:1905.09645, doi:10.1016/j.patrec.2020.01.020.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must be at least 0 and below 1, got {gamma}")
    return _fuse(sources, gamma, penalty, iterations, rescale)


def l1(
    sources: Floats,
    *,
    penalty: float = 0.001,
    iterations: int = 25,
    rescale: bool = True,
) -> Floats:
    r"""Fuse by least squares with the L1 penalty on wavelet coefficients.

    .. math::

        \hat\theta = \arg\min_\theta \tfrac12 \sum_i \| \beta_i W^* \theta - X_i \|^2
        + \lambda \|\theta\|_1

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]
    penalty, iterations, rescale
        As for :func:`gmc`.

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]

    Raises
    ------
    ValueError
        If an option is outside its range.

    Notes
    -----
    This is the convex variant of [1]_: :func:`gmc` with gamma = 0, where :math:`\mu = 1.9` and v
    stays 0. It takes the same time.

    References
    ----------
    .. [1] N. Anantrasirichai, R. Zheng, I. Selesnick, A. Achim, "Image Fusion via Sparse
       Regularization with Non-Convex Penalties", Pattern Recognition Letters 131 (2020),
       arXiv:1905.09645, doi:10.1016/j.patrec.2020.01.020.
    """
    return _fuse(sources, 0.0, penalty, iterations, rescale)


def _fuse(sources: Floats, gamma: float, penalty: float, iterations: int, rescale: bool) -> Floats:
    if penalty < 0:
        raise ValueError(f"penalty must be 0 or more, got {penalty}")
    if iterations < 1:
        raise ValueError(f"iterations must be 1 or more, got {iterations}")
    rows, columns = sources.shape[1:]
    side = 2**_LEVELS  # each level halves the image
    padded = np.pad(sources, ((0, 0), (0, -rows % side), (0, -columns % side)), mode="symmetric")
    iteration = ForwardBackward.start(padded, gamma, penalty, rescale)
    for _ in range(iterations):
        checkpoint()
        iteration.step()
    return iteration.image[:rows, :columns].clip(0, 1).astype(np.float32)


@dataclass
class ForwardBackward:
    """The forward-backward iteration of :func:`gmc`, on images whose sides are multiples of 16.

    For any number of sources, the gradient of the data term needs only two images:
    sum_i beta_i (beta_i W* theta - X_i) = weight * image - data.
    """

    data: Doubles
    """sum_i beta_i X_i, shape (M, N)."""
    weight: Doubles
    """sum_i beta_i^2, shape (M, N)."""
    gamma: float
    step_size: float
    """mu."""
    threshold: float
    """lambda mu."""
    rescale: bool
    theta: Doubles
    v: Doubles
    image: Doubles
    """W* theta."""

    @classmethod
    def start(
        cls, sources: Floats, gamma: float, penalty: float, rescale: bool
    ) -> "ForwardBackward":
        """Return the iteration at theta = v = 0, with the gains of the sources."""
        gains = gain_maps(sources, patch_size=2, window="block", scale="unit-norm")
        beta, x = gains.astype(np.float64), sources.astype(np.float64)
        step_size = _STEP / max(1, gamma / (1 - gamma))
        return cls(
            data=np.einsum("kmn,kmn->mn", beta, x),
            weight=np.einsum("kmn,kmn->mn", beta, beta),
            gamma=gamma,
            step_size=step_size,
            threshold=penalty * step_size,
            rescale=rescale,
            theta=np.zeros(sources.shape[1:]),
            v=np.zeros(sources.shape[1:]),
            image=np.zeros(sources.shape[1:]),
        )

    def step(self) -> None:
        """Make one iteration: the two lines of equations in :func:`gmc`."""
        gradient = _transform(self.weight * self.image - self.data)
        difference = self.gamma * (self.v - self.theta)
        w = self.theta - self.step_size * (gradient + difference)
        u = self.v - self.step_size * difference
        self.theta, self.v = _shrink(w, self.threshold), _shrink(u, self.threshold)
        self.image = _invert(self.theta)
        if self.rescale:
            # The iterate itself, not the image alone: only so does the method score the row that
            # the Deep Image Prior paper prints for it.
            self.image = _stretch(self.image)
            self.theta = _transform(self.image)


def _shrink(values: Doubles, threshold: float) -> Doubles:
    """Return soft(values, threshold): each value moved towards 0 by the threshold, at most to 0."""
    shrunk: Doubles = np.sign(values) * np.maximum(np.abs(values) - threshold, 0)
    return shrunk


def _stretch(image: Doubles) -> Doubles:
    """Return an image whose minimum is 0 and whose maximum is 1; a flat one as it is."""
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image


def _transform(image: Doubles) -> Doubles:
    """Return W image: orthonormal Haar coefficients in one array of the image's shape."""
    coefficients = pywt.wavedec2(image, "haar", mode="periodization", level=_LEVELS)
    return np.asarray(pywt.coeffs_to_array(coefficients)[0])


def _invert(theta: Doubles) -> Doubles:
    """Return W* theta: the image that has these Haar coefficients."""
    slices = _find_slices(*theta.shape)
    coefficients = pywt.array_to_coeffs(theta, slices, output_format="wavedec2")
    return np.asarray(pywt.waverec2(coefficients, "haar", mode="periodization"))


@lru_cache(maxsize=4)
def _find_slices(rows: int, columns: int) -> list[Any]:
    """Return where the coefficients of an image of this shape lie in their array."""
    # Every iteration needs them; they depend on the shape alone, hence the cache.
    coefficients = pywt.wavedec2(
        np.zeros((rows, columns)), "haar", mode="periodization", level=_LEVELS
    )
    return list(pywt.coeffs_to_array(coefficients)[1])
