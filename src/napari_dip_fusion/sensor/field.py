"""Let each source count only where it saw something: within its field of view.

What lies outside is not 0 but unknown. Bands that took it for black would have a bright halo beyond
the end of the field and dark details within, and gains that end with it would leave a seam.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sensor.consensus import fit_image
from napari_dip_fusion.sensor.gains import scale_gains
from napari_dip_fusion.sensor.strips import Slices
from napari_dip_fusion.sensor.windows import blur, blur_whole

Floats = NDArray[np.float32]
Field = NDArray[np.bool_] | None
"""Which pixels a source saw, of the shape of an image; None for a source that saw all."""

# Weight of known pixels in a window below which nothing is continued: less is rounding.
_LEAST = np.float32(1e-4)

# Share of a window within a field from which on the source counts fully.
_FULL = np.float32(0.999)


def continue_sources(
    sources: Sequence[Floats] | Floats,
    fields: Sequence[Field],
    sigma: float,
    steps: Sequence[float] = (),
) -> list[Floats]:
    """Return sources that go on smoothly beyond their field of view.

    Parameters
    ----------
    sources : K ndarrays of one shape, float32
    fields : sequence of K fields, or none
        Pixels that no source saw stay as they are.
    sigma : float
        Standard deviation in pixels of the Gaussian that weighs the known pixels.
    steps : sequence of float, optional
        As for :func:`.blur`.

    Returns
    -------
    list of K ndarrays of the shape of a source, float32
        Sources that saw everything are those given.
    """
    seen = _find_seen(fields)
    continued = list(sources)
    for number, field in enumerate(fields):
        if field is None:
            continue
        known = field.astype(np.float32)
        mean = blur_whole((continued[number] * known)[None], sigma, steps)[0]
        mean /= np.maximum(blur_whole(known[None], sigma, steps)[0], _LEAST)
        np.copyto(mean, continued[number], where=field if seen is None else field | ~seen)
        continued[number] = mean
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
            depth = (2 * blur(part[None].astype(np.float32), sigma, steps)[0] - 1).clip(0, 1)
            # Without a kink at either end, and full where rounding alone is missing.
            ramp[...] = part * np.where(depth > _FULL, 1, depth * depth * (3 - 2 * depth))
    return ramps


def mask_gains(gains: Floats, kept: NDArray[np.bool_] | None, scale: str) -> Floats:
    """Return gains of those sources alone that are kept.

    Parameters
    ----------
    gains : ndarray of shape (K, ...), float32
    kept : ndarray of shape (K, ...), bool, or None
        None for all. Where none is, all are; where all that are kept are black, they share alike.
    scale : {"unit-max", "unit-norm"}
        As for :func:`.gain_maps`.
    """
    if kept is None:
        return scale_gains(gains, scale)
    masked = np.where(kept.any(axis=0), gains * kept, gains)
    masked = np.where(masked.any(axis=0), masked, kept.astype(np.float32))
    return scale_gains(masked / masked.max(axis=0), scale)


def fit_within(sources: Floats, gains: Floats, ramps: Floats | None, scale: str) -> Floats:
    """Return T of sources of which some end.

    It goes over from T of all sources that see a pixel to T of those that see it fully, as those
    that end there count less and less.

    Parameters
    ----------
    sources, gains : ndarray of shape (K, ...), float32
    ramps : ndarray of shape (K, ...), float32, or None
        From :func:`measure_ramps`.
    scale : {"unit-max", "unit-norm"}
        Of the gains.

    Returns
    -------
    ndarray of the shape of a source, float32
    """
    if ramps is None:
        return fit_image(sources, gains)
    full = fit_image(sources, mask_gains(gains, ramps >= 1, scale))
    some = fit_image(sources, mask_gains(gains, ramps > 0, scale))
    ending = np.where(ramps > 0, ramps, 1).min(axis=0)
    image: Floats = full + ending * (some - full)
    return image


def _find_seen(fields: Sequence[Field]) -> NDArray[np.bool_] | None:
    """Return which pixels any source saw; None for all."""
    known = [field for field in fields if field is not None]
    return None if len(known) < len(fields) else np.logical_or.reduce(known)
