"""Split sources into bands, a base and its details, and estimate the sensor model of each band."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sensor.consensus import consensus, loss_floor
from napari_dip_fusion.sensor.gains import check_gain_options, compute_gains
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources

Floats = NDArray[np.float32]

# Variance of a source in [0, 1] below which the guided filter takes it for flat; its standard
# deviation is 0.01 then, 2.5 of 255 gray levels.
_FLAT = 1e-4


@dataclass(frozen=True, eq=False)
class Bands:
    """Sources as base and details, each of shape (K, M, N), which add up to the sources.

    In one band the base is None and the details are the sources.
    """

    base: NDArray[Any] | None
    details: NDArray[Any]


@dataclass(frozen=True, eq=False)
class SensorModel:
    """The gains of some sources, in one band or in two.

    In two bands, each source is a base (its Gaussian blur) and the details
    that remain, with gains of their own: X_i^b = beta_i^b X_0^b + N_i^b for
    both bands b, and T is the sum of the bands' least-squares images.

    Attributes
    ----------
    gains : ndarray of shape (K, M, N), float32
        Gains of the details, or of the whole sources in one band.
    base_gains : ndarray of shape (K, M, N), float32, or None
        Gains of the base; None in one band.
    """

    gains: Floats
    base_gains: Floats | None

    def consensus(self, bands: Bands) -> Floats:
        """Return T of sources in bands, shape (M, N); see :func:`.consensus.consensus`."""
        if self.base_gains is None:
            return consensus(bands.details, self.gains)
        assert bands.base is not None
        total: Floats = consensus(bands.base, self.base_gains)
        total += consensus(bands.details, self.gains)
        return total

    def loss_floor(self, bands: Bands) -> float:
        """Return the loss that T leaves, summed over the bands; see :func:`.loss_floor`."""
        floor = loss_floor(bands.details, self.gains)
        if self.base_gains is None:
            return floor
        assert bands.base is not None
        return floor + loss_floor(bands.base, self.base_gains)


def split_bands(sources: Sequence[ArrayLike] | ArrayLike, sigma: float) -> Bands:
    """Split sources into their Gaussian blur and the details that remain.

    Parameters
    ----------
    sources : array of shape (K, M, N), or K arrays of shape (M, N)
    sigma : float
        Standard deviation of the blur in pixels; 0 for one band.

    Raises
    ------
    ValueError
        If the sources do not fit together.
    """
    stack = stack_sources(sources)
    if sigma == 0:
        return Bands(None, stack)
    base = np.stack([_blur(source, sigma) for source in stack])
    return Bands(base, stack - base)


def _blur(source: NDArray[Any], sigma: float) -> NDArray[Any]:
    checkpoint()
    return np.asarray(ndimage.gaussian_filter(source, sigma, mode="reflect"))


def estimate_sensor_model(
    bands: Bands,
    *,
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
) -> SensorModel:
    """Estimate the gains of sources in one band or in two.

    Parameters
    ----------
    bands : Bands
        From :func:`split_bands`.
    patch_size, window, scale, sharpness
        As for :func:`.gain_maps`. In two bands, `sharpness` applies to the gains
        of the details, which are then smoothed between, not across, edges of
        their source (a guided filter [1]_ of 3x3 pixels); those of the base
        come, with sharpness 1, from the sum of both bands' moments: a source
        bears on the base by its brightness and by the structure that it has
        there.

    Raises
    ------
    ValueError
        As for :func:`.gain_maps`.

    References
    ----------
    .. [1] K. He, J. Sun, X. Tang, "Guided Image Filtering", IEEE PAMI 35(6), 2013,
       doi:10.1109/TPAMI.2012.213.
    """
    check_gain_options(bands.details.shape, patch_size, window, scale, sharpness)
    check_finite(bands.details)
    options = (patch_size, window, scale)
    if bands.base is None:
        return SensorModel(compute_gains([bands.details], *options, sharpness), None)
    # NumPy and SciPy let go of Python's lock while they compute, so that both bands are worked on
    # at the same time where a second core is idle.
    with ThreadPoolExecutor(max_workers=1) as beside:
        both = partial(compute_gains, [bands.base, bands.details], *options, 1.0)
        # In a copy of this context, so that stopping the run ends the other thread as well.
        base_gains = beside.submit(copy_context().run, both)
        gains = compute_gains([bands.details], *options, sharpness)
        guides = bands.base + bands.details
        gains = np.stack([_smooth(g, x) for g, x in zip(gains, guides, strict=True)]).clip(0, 1)
        # Smoothing takes the gains off their scale.
        gains /= gains.max(axis=0) if scale == "unit-max" else np.linalg.norm(gains, axis=0)
        return SensorModel(gains, base_gains.result())


def _smooth(image: Floats, guide: Floats) -> Floats:
    """Smooth an image where its guide is flat, by a guided filter.

    In each 3x3 window, the result is the straight line a guide + b that fits the image best; each
    pixel gets the mean of the lines of the nine windows it lies in (He, Sun and Tang 2013,
    eqs. (5), (6) and (8)).
    """

    def mean(values: Floats) -> Floats:
        return np.asarray(ndimage.uniform_filter(values, 3, mode="reflect"))

    mean_image, mean_guide = mean(image), mean(guide)
    variance = mean(guide * guide) - mean_guide**2
    covariance = mean(guide * image) - mean_guide * mean_image
    slope = covariance / (variance + np.float32(_FLAT))
    smooth: Floats = mean(slope) * guide + mean(mean_image - slope * mean_guide)
    return smooth
