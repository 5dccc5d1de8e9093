"""The consensus image T, on its own."""

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import GainSettings
from napari_dip_fusion.sensor.gains import sensor_model, split_bands

Floats = NDArray[np.float32]

_DEFAULT = GainSettings()


def consensus_image(
    sources: Floats,
    *,
    patch_size: int = _DEFAULT.patch_size,
    band_sigma: float = _DEFAULT.band_sigma,
    window: str = _DEFAULT.window,
    scale: str = _DEFAULT.scale,
    sharpness: float = _DEFAULT.sharpness,
) -> Floats:
    r"""Return T, the least-squares image of the sources under their gain maps.

    .. math:: T = \frac{\sum_i \beta_i X_i}{\sum_i \beta_i^2}

    with gains :math:`\beta_i` by local principal component analysis.

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]
    band_sigma : float
        Standard deviation of the blur that gives the base, whose gains are its own; 0 for one
        band.
    patch_size, window, scale, sharpness
        As for :func:`napari_dip_fusion.sensor.gains.sensor_model`.

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]
        Clipped: ``unit-norm`` gains take it up to :math:`\sqrt K`.

    Notes
    -----
    What the Deep Image Prior of [1]_ is fitted to, without the network: what the network adds to
    it is regularisation. Noise is not looked for. Images smaller than a patch are continued by
    reflection. About 40 ms for a pair of 256x256.

    References
    ----------
    .. [1] X. Ma, P. Hill, N. Anantrasirichai, A. Achim, "Unsupervised Image Fusion Using Deep
       Image Priors", ICIP 2022, arXiv:2110.09490.
    """
    rows, columns = sources.shape[1:]
    missing = (max(patch_size - rows, 0), max(patch_size - columns, 0))
    padded = np.pad(sources, ((0, 0), (0, missing[0]), (0, missing[1])), mode="symmetric")
    bands = split_bands(padded, band_sigma)
    model = sensor_model(
        bands,
        patch_size=patch_size,
        window=window,
        scale=scale,
        sharpness=sharpness,
    )
    fused: Floats = np.clip(model.consensus(bands)[:rows, :columns], 0, 1)
    return fused
