"""Let each source count only where it saw something: within its field of view.

What lies outside is not 0 but unknown. Bands that took it for black would have a bright halo beyond
the end of the field and dark details within, and gains that end with it would leave a seam.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.strips import Slices
from napari_dip_fusion.sensor.windows import blur, blur_whole

Floats = NDArray[np.float32]
Field = NDArray[np.bool_] | None
"""Which pixels a source saw, of the shape of an image; None for a source that saw all."""

# Weight of known pixels in a window below which nothing is continued: less is rounding.
_LEAST = np.float32(1e-4)


def continue_sources(
    sources: Floats, fields: Sequence[Field], sigma: float, steps: Sequence[float] = ()
) -> Floats:
    """Return sources that go on smoothly beyond their field of view.

    Parameters
    ----------
    sources : ndarray of shape (K, ...), float32
    fields : sequence of K fields, or none
        Pixels that no source saw stay as they are.
    sigma : float
        Standard deviation in pixels of the Gaussian that weighs the known pixels.
    steps : sequence of float, optional
        As for :func:`.blur`.

    Returns
    -------
    ndarray of the shape of `sources`, float32
        The array itself where all sources saw everything.
    """
    if all(field is None for field in fields):
        return sources
    seen = _find_seen(fields)
    continued = sources.copy()
    for image, field in zip(continued, fields, strict=True):
        if field is not None:
            known = field.astype(np.float32)
            mean = blur_whole((image * known)[None], sigma, steps)[0]
            mean /= np.maximum(blur_whole(known[None], sigma, steps)[0], _LEAST)
            np.copyto(image, mean, where=~field if seen is None else ~field & seen)
    return continued


def measure_ramps(
    fields: Sequence[Field], around: Slices, sigma: float, steps: Sequence[float] = ()
) -> Floats | None:
    """Return how much each source counts: 0 outside its field, and from its end on up to 1.

    Parameters
    ----------
    fields, sigma, steps
        As for :func:`continue_sources`.
    around : tuple of slice
        The part of the image that is meant.

    Returns
    -------
    ndarray of shape (K, ...), float32, or None
        In [0, 1]; None where all sources saw all of the part.
    """
    parts = [None if field is None else field[around] for field in fields]
    if all(part is None or part.all() for part in parts):
        return None
    shape = next(part.shape for part in parts if part is not None)
    ramps = np.ones((len(parts), *shape), dtype=np.float32)
    for ramp, part in zip(ramps, parts, strict=True):
        if part is not None:
            # At a straight end, half of the window's weight lies within.
            ramp[...] = (2 * blur(part[None].astype(np.float32), sigma, steps)[0] - 1).clip(0, 1)
    return ramps


def weigh_gains(gains: Floats, ramps: Floats | None) -> Floats:
    """Return gains under the weights of :func:`measure_ramps`; the largest of a pixel is 1.

    Parameters
    ----------
    gains : ndarray of shape (K, ...), float32
        The largest of a pixel is 1.
    ramps : ndarray of shape (K, ...), float32, or None
    """
    if ramps is None:
        return gains
    weighed = gains * ramps
    largest = weighed.max(axis=0)
    # Where no source saw anything, all are as dark.
    scaled: Floats = np.where(largest > 0, weighed / np.where(largest > 0, largest, 1), gains)
    return scaled


def _find_seen(fields: Sequence[Field]) -> NDArray[np.bool_] | None:
    """Return which pixels any source saw; None for all."""
    known = [field for field in fields if field is not None]
    return None if len(known) < len(fields) else np.logical_or.reduce(known)
