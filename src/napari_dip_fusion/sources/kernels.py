"""Measured point spread functions on pixels of other sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import find_factor

__all__ = ["measure_psf_steps", "measure_widths", "resample_kernel"]

Floats = NDArray[np.float32]

# What is darker than this share of the brightest pixel makes a kernel larger and nothing sharper.
_TAIL = 1e-4


def measure_psf_steps(psf: Source, image: Source) -> NDArray[np.float64]:
    """Return the distance of the samples of a point spread function, in pixels of its image."""
    steps = psf.spacing.copy()
    for number, axis in enumerate(image.space):
        factor = find_factor(psf.units[number], image.units[axis])
        # One that counts pixels where its image has lengths counts those of the image.
        if factor is not None:
            steps[number] *= factor / image.spacing[axis]
    return steps


def measure_widths(psf: NDArray[Any], steps: Sequence[float]) -> tuple[float, ...]:
    """Return the standard deviation of a point spread function along each axis.

    Parameters
    ----------
    psf : ndarray
        What is negative in it, which only noise is, counts as 0.
    steps : sequence of float
        Distance of its samples along each axis.
    """
    weights = np.maximum(np.asarray(psf, np.float64), 0)
    return tuple(
        float(np.sqrt(np.cov(np.arange(size) * step, aweights=line, ddof=0))) if size > 1 else 0.0
        for size, step, line in zip(psf.shape, steps, _list_profiles(weights), strict=True)
    )


def resample_kernel(psf: NDArray[Any], steps: Sequence[float]) -> Floats:
    """Return a point spread function on pixels of size 1.

    Parameters
    ----------
    psf : ndarray
        An image of a point; its brightest pixel is its middle, or the middle of several.
    steps : sequence of float
        Distance of its samples along each axis, in pixels of the kernel.

    Returns
    -------
    ndarray of as many axes and odd sizes, float32
        Of sum 1. Each sample is shared by the two nearest pixels where samples lie closer than
        pixels, and each pixel lies on the line between two samples where they lie further apart.
    """
    kernel = np.asarray(psf, np.float64)
    middle = np.argwhere(kernel == kernel.max()).mean(axis=0)
    for axis, (center, step) in enumerate(zip(middle, steps, strict=True)):
        places = (np.arange(kernel.shape[axis]) - center) * step
        reach = int(np.ceil(np.abs(places).max()))
        apart = np.abs(np.arange(-reach, reach + 1)[:, None] - places)
        weights = np.maximum(1 - apart / max(step, 1.0), 0)
        kernel = np.moveaxis(np.tensordot(weights, kernel, (1, axis)), 0, axis)
    kernel = _trim(kernel)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _trim(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a kernel without the borders in which next to nothing is left."""
    parts = []
    for axis in range(kernel.ndim):
        others = tuple(n for n in range(kernel.ndim) if n != axis)
        middle = kernel.shape[axis] // 2
        peaks = np.abs(kernel).max(axis=others)
        reach = int(np.abs(np.flatnonzero(peaks >= _TAIL * peaks.max()) - middle).max())
        parts.append(slice(middle - reach, middle + reach + 1))
    return kernel[tuple(parts)]


def _list_profiles(weights: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the sum over all other axes along each axis."""
    axes = range(weights.ndim)
    return [weights.sum(axis=tuple(n for n in axes if n != axis)) for axis in axes]
