"""Remove noise at several scales, so that its long waves go as its short ones do."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_dip_fusion.interruption import checkpoint, take_share
from napari_dip_fusion.sensor.denoising import denoise, filter_wiener

Floats = NDArray[np.float32]

# Takes images at one scale, what is left of the deviation of white noise there, and the distance
# of planes in pixels there. Returns the filtered image.
Filter = Callable[[Sequence[Floats], float, float], Floats]

# Three scales gain .1 dB over two where noise is strong, a fourth nothing.
_SCALES = 3
# Of the frequencies of a halved image, those up to half of its largest come from there: filters
# blur what lies near that. With .8 of it, ringing beside bone costs .3 dB.
_KEPT = 0.5
# Halved images are not smaller than two patches of a filter.
_LEAST = 16


def denoise_at_scales(image: Floats, sigma: float, *, step: float = 1.0) -> Floats:
    """Remove white noise of a known level from a plane or a volume, at several scales.

    Parameters and result are those of :func:`.denoise`. A volume is denoised at one scale: its
    planes take long waves from each other.
    """
    if image.ndim > 2:
        return denoise(image, sigma, step=step)

    def apply(images: Sequence[Floats], level: float, step: float) -> Floats:
        return denoise(images[0], level * sigma, step=step)

    return _filter_scales(apply, [image], step)


def filter_wiener_at_scales(
    image: Floats, sigma: float | Floats, pilot: Floats, *, step: float = 1.0
) -> Floats:
    """Keep what a pilot says is structure in a plane or a volume, at several scales.

    Parameters and result are those of :func:`.filter_wiener`.
    """
    deviation = np.broadcast_to(np.asarray(sigma, dtype=np.float32), image.shape)

    def apply(images: Sequence[Floats], level: float, step: float) -> Floats:
        # Where noise ends at an edge, a halved image has ringing.
        deviation = np.float32(level) * images[1].clip(0)
        return filter_wiener(images[0], deviation, images[2], step=step)

    return _filter_scales(apply, [image, deviation, pilot], step)


def _filter_scales(apply: Filter, images: Sequence[Floats], step: float) -> Floats:
    """Filter images as they are, halved and halved again, and join the results.

    Filters of small patches leave noise whose waves are longer than a patch. In a halved
    image these are short, and of the result there the lowest quarter of frequencies along
    each axis takes the place of what was left (Facciolo, Pierazzo and Morel 2017,
    doi:10.1137/17M1111826). Volumes are halved within their planes.
    """
    smallest = min(images[0].shape[-2:])
    count = 1
    while count < _SCALES and smallest // 2**count >= _LEAST:
        count += 1
    return _filter(apply, images, 1.0, step, count, 1 / sum(0.25**n for n in range(count)))


def _filter(
    apply: Filter, images: Sequence[Floats], level: float, step: float, count: int, share: float
) -> Floats:
    """Filter images at so many scales; at the first, it is this share of the work."""
    with take_share(share):
        filtered = apply(images, level, step)
    if count == 1:
        return filtered
    halved = [_halve(image) for image in images]
    wide = _filter(apply, halved, level / 2, step / 2, count - 1, share / 4)
    return _join(filtered, wide)


def _halve(image: Floats) -> Floats:
    """Return the planes of an image with half as many pixels along each axis.

    Only its lower frequencies are kept: of white noise, half of the deviation is left.
    """
    rows, columns = (n // 2 for n in image.shape[-2:])
    halved = np.empty((*image.shape[:-2], rows, columns), np.float32)
    for index in np.ndindex(image.shape[:-2]):
        checkpoint()
        waves = _transform(image[index])[:rows, :columns]
        halved[index] = fft.idctn(waves * _scale(waves, image[index]), norm="ortho")
    return halved


def _join(fine: Floats, wide: Floats) -> Floats:
    """Return an image whose lowest frequencies are those of a halved one."""
    rows, columns = (int(_KEPT * n) for n in wide.shape[-2:])
    joined = np.empty_like(fine)
    for index in np.ndindex(fine.shape[:-2]):
        checkpoint()
        waves = _transform(fine[index])
        lowest = _transform(wide[index])[:rows, :columns]
        waves[:rows, :columns] = lowest * _scale(fine[index], wide[index])
        joined[index] = fft.idctn(waves, norm="ortho")
    return joined


def _transform(plane: Floats) -> Floats:
    waves: Floats = fft.dctn(plane, norm="ortho")
    return waves


def _scale(plane: Floats, other: Floats) -> np.float32:
    """Return what keeps the brightness where waves of one plane become those of another."""
    return np.float32(np.sqrt(plane.size / other.size))
