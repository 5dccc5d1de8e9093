"""What a network's image tells of the noise of a source whose sensor lost nothing else."""

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sensor.denoising import filter_wiener
from napari_dip_fusion.sensor.noise import undo_clipped_mean
from napari_dip_fusion.sensor.scales import filter_wiener_at_scales

Floats = NDArray[np.float32]


def filter_noise(
    pixels: Floats, estimate: Floats, noise: RestorationNoise, *, step: float = 1.0
) -> Floats:
    """Keep of a noisy image what an estimate of it says is structure.

    It is the empirical Wiener filter, of noise that was not clipped at several scales. What
    clipping did to the mean of white noise is taken back before.

    Parameters
    ----------
    pixels, estimate : ndarray of shape (M, N) or (Z, M, N), float32 in [0, 1]
        The image with its noise, and an estimate of it without.
    noise : RestorationNoise
    step : float, optional
        Distance of neighboring planes of a volume, in pixels of a plane.

    Returns
    -------
    ndarray of the shape of the image, float32 in [0, 1]
    """
    deviation = np.sqrt(noise.white**2 + np.square(noise.speckle * estimate), dtype=np.float32)
    if noise.clipped:
        # At one scale, what is black in the estimate stays black. Long waves would not let it.
        unbiased = undo_clipped_mean(pixels, estimate, noise.white, above=noise.above)
        return filter_wiener(unbiased, deviation, estimate, step=step).clip(0, 1)
    return filter_wiener_at_scales(pixels, deviation, estimate, step=step).clip(0, 1)
