"""Sparse wavelet regression on the sensor gains, with a non-convex or an L1 penalty."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from napari_dip_fusion.sensor.gains import gain_maps

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_LEVELS = 4
_STEP = 1.9  # of the forward-backward iteration: below 2 over the operator's squared norm


def gmc(
    sources: Floats,
    *,
    gamma: float = 0.8,
    penalty: float = 0.005,
    iterations: int = 25,
    rescale: bool = True,
) -> Floats:
    r"""Fuse by least squares with the generalised minimax concave (GMC) penalty.

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
        1 or more.
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
    The method of [1]_, with its defaults; the gains :math:`\beta_i` are those of non-overlapping
    2x2 blocks, of unit norm. Sizes that are no multiple of 16 are continued by reflection. Two
    transforms an iteration: about 0.15 s for a pair of 256x256.

    References
    ----------
    .. [1] N. Anantrasirichai, R. Zheng, I. Selesnick, A. Achim, "Image Fusion via Sparse
       Regularization with Non-Convex Penalties", Pattern Recognition Letters 131 (2020),
       arXiv:1905.09645, doi:10.1016/j.patrec.2020.01.020.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must be at least 0 and below 1, got {gamma}")
    return _fused(sources, gamma, penalty, iterations, rescale)


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
    The convex variant of [1]_: :func:`gmc` with gamma = 0, where :math:`\mu = 1.9` and v stays 0.
    Of the same cost.

    References
    ----------
    .. [1] N. Anantrasirichai, R. Zheng, I. Selesnick, A. Achim, "Image Fusion via Sparse
       Regularization with Non-Convex Penalties", Pattern Recognition Letters 131 (2020),
       arXiv:1905.09645, doi:10.1016/j.patrec.2020.01.020.
    """
    return _fused(sources, 0.0, penalty, iterations, rescale)


def _fused(sources: Floats, gamma: float, penalty: float, iterations: int, rescale: bool) -> Floats:
    if penalty < 0:
        raise ValueError(f"penalty must be 0 or more, got {penalty}")
    if iterations < 1:
        raise ValueError(f"iterations must be 1 or more, got {iterations}")
    rows, columns = sources.shape[1:]
    side = 2**_LEVELS
    padded = np.pad(sources, ((0, 0), (0, -rows % side), (0, -columns % side)), mode="symmetric")
    iteration = ForwardBackward.start(padded, gamma, penalty, rescale)
    for _ in range(iterations):
        iteration.step()
    return iteration.image[:rows, :columns].clip(0, 1).astype(np.float32)


@dataclass
class ForwardBackward:
    """The iterates of :func:`gmc` on images whose sides are multiples of 16."""

    data: Doubles  # sum_i beta_i X_i
    weight: Doubles  # sum_i beta_i^2
    gamma: float
    step_size: float  # mu
    threshold: float  # lambda mu
    rescale: bool
    theta: Doubles
    v: Doubles
    image: Doubles  # W* theta

    @classmethod
    def start(
        cls, sources: Floats, gamma: float, penalty: float, rescale: bool
    ) -> "ForwardBackward":
        """Return theta = v = 0, with the gains of the sources."""
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
        """Make one iteration."""
        gradient = _analysis(self.weight * self.image - self.data)
        difference = self.gamma * (self.v - self.theta)
        w = self.theta - self.step_size * (gradient + difference)
        u = self.v - self.step_size * difference
        self.theta, self.v = _soft(w, self.threshold), _soft(u, self.threshold)
        self.image = _synthesis(self.theta)
        if self.rescale:
            self.image = _unit_range(self.image)
            self.theta = _analysis(self.image)


def _soft(values: Doubles, threshold: float) -> Doubles:
    shrunk: Doubles = np.sign(values) * np.maximum(np.abs(values) - threshold, 0)
    return shrunk


def _unit_range(image: Doubles) -> Doubles:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image


def _analysis(image: Doubles) -> Doubles:
    """W: orthonormal Haar coefficients, laid out as one array of the image's size."""
    coefficients = pywt.wavedec2(image, "haar", mode="periodization", level=_LEVELS)
    return np.asarray(pywt.coeffs_to_array(coefficients)[0])


def _synthesis(theta: Doubles) -> Doubles:
    """W*, the inverse of W."""
    slices = _layout(*theta.shape)
    coefficients = pywt.array_to_coeffs(theta, slices, output_format="wavedec2")
    return np.asarray(pywt.waverec2(coefficients, "haar", mode="periodization"))


@lru_cache(maxsize=4)
def _layout(rows: int, columns: int) -> list[Any]:
    """Return where the coefficients of an image of this size lie in their array."""
    coefficients = pywt.wavedec2(
        np.zeros((rows, columns)), "haar", mode="periodization", level=_LEVELS
    )
    return list(pywt.coeffs_to_array(coefficients)[1])
