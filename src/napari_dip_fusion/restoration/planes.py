"""The planes of an image in which a network restores it, and how they are degraded."""

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration.noise import LEAST_NOISE, RestorationNoise
from napari_dip_fusion.restoration.turns import Turn, list_turns

Floats = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

# The first estimate may stray this far from the interpolated pixels.
_FREEDOM = 0.1
# Shares of the Gaussian blur that crops are blurred by. A network that knows one blur only makes
# echoes of edges where that was a wrong one, most of all a blur assumed too wide. Most shares are
# therefore below 1: with a blur 25 % too wide, this is worth 2.0 to 3.1 dB on two PETs and 2.4 dB
# on an MR over shares from 0.8 to 1.2. Where the blur is right, it changes -0.8 to +1.2 dB, on
# average of four images nothing.
_BLURS = tuple(np.exp(np.linspace(-0.3, 0.1, 7)).tolist())
# Fine pixels from which on a network has enough to learn from: of 64x64 it made less than its pilot
# on a CT (-0.1 dB) and hardly more on MR (+0.3), of 128x128 more (+0.7 on the CT).
_ENOUGH = 2**13
# Up to this distance in pixels a denoiser joins the planes of a volume. It removes more noise
# than a network that sees each by itself, even at the means of both: .2 dB at a distance of one
# pixel; at two, where the mean is as good, not worth its time.
_NEAR = 3.0

# The noise of a source is so many times what a pilot leaves of it: that has fitted some of it.
_FITTED = 1.3
# Pixels away from black and white that tell the noise.
_FEWEST = 100


def network_pays(degradation: Degradation, step: float = 1.0) -> bool:
    """Tell whether a network makes more of a source than a denoiser does, for its time.

    Parameters
    ----------
    degradation : Degradation
        Where it is the identity, nothing but noise is to be removed.
    step : float, optional
        Distance of neighboring planes of a volume's own pixels, in own pixels of a plane.
    """
    thin = len(degradation.shape) > 2 and degradation.shape[0] > 1 and step <= _NEAR
    if thin and degradation.is_identity:
        return False
    return math.prod(degradation.fine_shape) >= _ENOUGH


def choose_axes(degradation: Degradation) -> tuple[int, ...]:
    """Return the two axes that span the planes in which most of an image was lost.

    They are those of the largest factors, of the widest blur among equal factors, and the last
    ones among equals in both.
    """
    axes = range(len(degradation.shape))
    lost = sorted(axes, key=lambda a: (degradation.factors[a], degradation.sigmas[a], a))
    return tuple(sorted(lost[-2:]))


def cut_planes(image: NDArray[Scalar], axes: tuple[int, ...]) -> NDArray[Scalar]:
    """Return a view of an image as its planes along two axes, shape (planes, M, N)."""
    if image.ndim == len(axes):
        return image[None]
    (across,) = set(range(image.ndim)) - set(axes)
    return np.moveaxis(image, across, 0)


def join_planes(planes: Floats, axes: tuple[int, ...], count: int) -> Floats:
    """Return the image of so many axes whose planes along two of them these are."""
    if count == len(axes):
        joined: Floats = planes[0]
        return joined
    (across,) = set(range(count)) - set(axes)
    return np.ascontiguousarray(np.moveaxis(planes, 0, across))


def repeat_pixels(pixels: NDArray[Scalar], factors: tuple[int, ...]) -> NDArray[Scalar]:
    """Return each own pixel on all of the fine pixels that it covers."""
    for axis, factor in enumerate(factors):
        pixels = pixels.repeat(factor, axis)
    return pixels


def simplify(degradation: Degradation) -> Degradation:
    """Return a degradation of closed form in place of one with a mask or a measured kernel.

    A Gaussian as wide as the kernel along each axis stands for it.
    """
    if degradation.is_separable:
        return degradation
    widths = _measure_widths(degradation.kernel, len(degradation.shape))
    sigmas = tuple(math.hypot(*both) for both in zip(degradation.sigmas, widths, strict=True))
    return Degradation(degradation.shape, degradation.factors, sigmas)


def _measure_widths(kernel: Floats | None, axes: int) -> list[float]:
    """Return the standard deviation of a kernel along each axis."""
    if kernel is None:
        return [0.0] * axes
    widths = []
    for axis, size in enumerate(kernel.shape):
        profile = kernel.sum(axis=tuple(a for a in range(axes) if a != axis), dtype=float)
        places = np.arange(size) - profile @ np.arange(size)
        widths.append(math.sqrt(max(profile @ places**2, 0.0)))
    return widths


def estimate_first(pixels: Floats, degradation: Degradation, level: float) -> Floats:
    """Return what the network starts from: an image near the interpolated and the own pixels.

    Parameters
    ----------
    pixels : ndarray of shape ``degradation.shape``
    degradation : Degradation
        As :func:`simplify` returns it, so that the estimate has a closed form.
    level : float
        Standard deviation of the noise.
    """
    if degradation.is_identity:
        return pixels
    interpolated = degradation.interpolate(pixels)
    return degradation.solve(pixels, interpolated, (level / _FREEDOM) ** 2)


def reconsider_noise(
    noise: RestorationNoise, pixels: Floats, pilot: Floats, degradation: Degradation
) -> RestorationNoise:
    """Return the noise of a degraded source, not more than its pilot leaves room for.

    What estimates noise from coarse pixels takes structure as small as these for noise, twice the
    true one on a CT and an MR, or finds none for all the structure. Of noise that is there, a
    pilot made for as much explains a quarter; where more is explained, it was structure.

    Parameters
    ----------
    noise : RestorationNoise
        As it was estimated. Speckle is left as it is, and so is noise of a known level.
    pixels, pilot, degradation
        As for :class:`.Restorer`.
    """
    if noise.speckle or degradation.is_identity or noise.level is not None:
        return noise
    most = max(noise.white, LEAST_NOISE)
    signal = degradation.apply(pilot)
    # Near black and white, noise may have been clipped.
    telling = (signal > 2 * most) & (signal < 1 - 2 * most)
    if degradation.seen is not None:
        telling &= degradation.seen
    left = (pixels - signal)[telling]
    if left.size >= _FEWEST:
        most = min(most, max(_FITTED * float(left.std()), LEAST_NOISE))
    return replace(noise, white=most)


def fill_unseen(pixels: Floats, degradation: Degradation) -> Floats:
    """Return own pixels with the nearest seen one where nothing was seen."""
    if degradation.seen is None:
        return pixels
    nearest = ndimage.distance_transform_edt(
        ~degradation.seen, return_distances=False, return_indices=True
    )
    filled: Floats = pixels[tuple(nearest)]
    return filled


class PlaneModel:
    """What becomes of crops of planes, of any size, when they are degraded as an image was.

    Parameters
    ----------
    degradation : Degradation
        Of the image.
    axes : tuple of int
        Those of the image that span its planes.
    noise : RestorationNoise
    level : float
        The standard deviation of all noise, as :meth:`.RestorationNoise.measure` returns it.

    Attributes
    ----------
    factors : tuple of int
        Fine pixels in one of the source's own, along each axis of a plane.
    turns : tuple of Turn
        The flips and turns of planes that change nothing about how they are degraded.
    """

    def __init__(
        self,
        degradation: Degradation,
        axes: tuple[int, ...],
        noise: RestorationNoise,
        level: float,
    ) -> None:
        self.factors = tuple(degradation.factors[a] for a in axes)
        self._sigmas = tuple(degradation.sigmas[a] for a in axes)
        kernel = degradation.kernel
        # Of one that reaches over several planes, what a plane without change across shows.
        self._kernel = None if kernel is None else cut_planes(kernel, axes).sum(axis=0)
        self._noise, self._level = noise, level
        self._made: dict[tuple[int, ...], tuple[Degradation, ...]] = {}
        self._estimators: dict[tuple[int, ...], Degradation] = {}
        self.turns = self._list_turns()

    def degrade(self, crop: Floats, random: np.random.Generator) -> Floats:
        """Return what the source's sensor would see of a crop, with fresh noise.

        By chance it is blurred more or, mostly, less than the image.
        """
        if crop.shape not in self._made:
            self._made[crop.shape] = tuple(self._make(crop.shape, share) for share in _BLURS)
        choices = self._made[crop.shape]
        seen = choices[random.integers(len(choices))].apply(crop)
        return self._noise.add_to(seen, random)

    def estimate(self, pixels: Floats) -> Floats:
        """Return a first estimate on the fine pixels of what was seen as these pixels."""
        shape = tuple(n * f for n, f in zip(pixels.shape, self.factors, strict=True))
        if shape not in self._estimators:
            self._estimators[shape] = simplify(self._make(shape, 1.0))
        return estimate_first(pixels, self._estimators[shape], self._level)

    def _make(self, shape: tuple[int, ...], share: float) -> Degradation:
        """Return the degradation of crops of a shape, with this share of the Gaussian blur."""
        own = tuple(n // f for n, f in zip(shape, self.factors, strict=True))
        sigmas = tuple(share * sigma for sigma in self._sigmas)
        return Degradation(own, self.factors, sigmas, self._kernel)

    def _list_turns(self) -> tuple[Turn, ...]:
        alike = len(set(self.factors)) == 1 and len(set(self._sigmas)) == 1
        return list_turns(self._kernel, exchangeable=alike)
