"""The noise of a source that is restored: how much there is, and fresh noise like it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Noise below two of 255 gray levels is not told from that of rounding.
LEAST_NOISE = 2 / 255
"""Standard deviation of noise that every source is taken to have."""


@dataclass(frozen=True)
class RestorationNoise:
    """What the noise of a source is like, in its pixels scaled to [0, 1].

    Attributes
    ----------
    white : float
        Standard deviation of white noise.
    speckle : float
        Standard deviation of noise in proportion to the signal, in units of the signal.
    clipped : bool
        Whether values were clipped at 0 and 1 after the noise had come to them.
    above : bool or None
        Whether the noise was cut off above white, too; None where it is looked for in the pixels.
    level : float or None
        The standard deviation of all noise as one number, where it is known of a larger image that
        the pixels are a part of: then nothing of the noise is estimated from the pixels.
    """

    white: float
    speckle: float = 0.0
    clipped: bool = True
    above: bool | None = None
    level: float | None = None

    def add_to(self, signal: Floats, random: np.random.Generator) -> Floats:
        """Return an image with fresh noise."""
        deviation = np.sqrt(np.float32(self.white**2) + np.float32(self.speckle**2) * signal**2)
        noisy: Floats = signal + deviation * random.standard_normal(signal.shape, np.float32)
        return noisy.clip(0, 1) if self.clipped else noisy

    def measure(self, pixels: Floats) -> float:
        """Return the standard deviation of the noise of an image as one number.

        It is not below two of 255 gray levels.
        """
        if self.level is not None:
            return self.level
        power = float(np.square(pixels, dtype=np.float64).mean())
        return max(math.sqrt(self.white**2 + self.speckle**2 * power), LEAST_NOISE)
