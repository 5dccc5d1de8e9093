"""Return the consensus image T, to which the Deep Image Prior is fitted, as a method by itself."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.analysis import analyze, find_noise

Floats = NDArray[np.float32]

_DEFAULT = FusionConfig()


def consensus_image(
    sources: Floats,
    steps: Sequence[float] = (),
    *,
    patch_size: int = _DEFAULT.gains.patch_size,
    band_sigma: float = _DEFAULT.gains.band_sigma,
    window: str = _DEFAULT.gains.window,
    scale: str = _DEFAULT.gains.scale,
    sharpness: float = _DEFAULT.gains.sharpness,
    noise: str = _DEFAULT.denoising.noise,
) -> Floats:
    r"""Return T, the least-squares image of the sources under their gain maps.

    .. math:: T = \frac{\sum_i \beta_i X_i}{\sum_i \beta_i^2}

    with gains :math:`\beta_i` by local principal component analysis.

    Parameters
    ----------
    sources : ndarray of shape (K, ..., M, N), float32 in [0, 1]
        Planes, volumes, which are fused whole, or series, of which each frame is fused by itself.
    steps : sequence of float, optional
        Distance between neighbors along each axis, in pixels of a plane; by default 1. Infinite
        along those that frames are counted by.
    band_sigma : float
        Standard deviation of the blur that gives the base, whose gains are its own; 0 for one
        band.
    patch_size, window, scale, sharpness
        As for :func:`napari_dip_fusion.sensor.model.fit_sensor_model`.
    noise : {"auto", "none"}
        Whether the noise of the sources is estimated and removed, or taken as it is.

    Returns
    -------
    ndarray of shape (..., M, N), float32 in [0, 1]
        Clipped: ``unit-norm`` gains take it up to :math:`\sqrt K`.

    Raises
    ------
    ValueError
        If an option is outside its range.

    Notes
    -----
    The network of the Deep Image Prior [1]_ is fitted to this image, and adds regularization to
    it where there is noise. It is the image of a run with the same settings and the method
    ``consensus``. Images smaller than a patch are continued by reflection. A clean pair of 256x256
    takes about 60 ms.

    References
    ----------
    .. [1] X. Ma, P. Hill, N. Anantrasirichai, A. Achim, "Unsupervised Image Fusion Using Deep
       Image Priors", ICIP 2022, arXiv:2110.09490.
    """
    config = FusionConfig(
        patch_size=patch_size,
        band_sigma=band_sigma,
        window=window,
        scale=scale,
        sharpness=sharpness,
        noise=noise,
    )
    rows, columns = sources.shape[-2:]
    missing = ((0, max(patch_size - rows, 0)), (0, max(patch_size - columns, 0)))
    padded = np.pad(sources, (*[(0, 0)] * (sources.ndim - 2), *missing), mode="symmetric")
    # One estimate for all frames, whose brightness would go up and down with it.
    found = find_noise(list(padded), config)
    series = sum(math.isinf(step) for step in steps)
    fused = np.empty(sources.shape[1:], dtype=np.float32)
    for index in np.ndindex(sources.shape[1 : 1 + series]):
        checkpoint()
        frame = padded[:, *index]
        analysis = analyze(frame, config, found, steps=steps[series:], keep_model=False)
        np.clip(analysis.consensus[..., :rows, :columns], 0, 1, out=fused[index])
    return fused
