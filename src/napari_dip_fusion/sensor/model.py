"""Estimate the sensor model of sources, in one band or in two, and fuse the sources by it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.interruption import advance
from napari_dip_fusion.sensor.bands import Bands
from napari_dip_fusion.sensor.coherence import estimate_band_gains, measure_gain_reach
from napari_dip_fusion.sensor.consensus import fit_image, sum_loss
from napari_dip_fusion.sensor.gains import check_gain_options, compute_gains, scale_gains
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources
from napari_dip_fusion.sensor.strips import Slices, choose_sizes, count_planes, map_tiles
from napari_dip_fusion.sensor.undershoot import measure_undershoot, measure_undershoot_reach
from napari_dip_fusion.sensor.windows import blur_whole, measure_block

Floats = NDArray[np.float32]

# Moments of a tile of the image, K^2 at each pixel: its arrays stay near the processor then.
_TILE_MOMENTS = 2**21

# Standard deviation of the blur that leaves the details which tell their source, as a share of that
# of the base.
_FINE = 2 / 3


@dataclass(frozen=True, eq=False)
class SensorModel:
    """The gains of some sources, in one band or in two.

    In two bands, each source is a base (its Gaussian blur) and the details
    that remain, with gains of their own: X_i^b = beta_i^b X_0^b + N_i^b for
    both bands b, and T is the sum of the bands' least-squares images and of
    what undershoot took from it.

    Attributes
    ----------
    gains : ndarray of shape (K, ..., M, N), float32
        Gains of the details, or of the whole sources in one band.
    base_gains : ndarray of shape (K, ..., M, N), float32, or None
        Gains of the base; None in one band.
    undershoot : ndarray of shape (..., M, N), float32, or None
        What is given back to the details' least-squares image u; None in one
        band. The details X_i^d are taken for X_i^d + beta_i^d u, which leaves
        weight and floor of the loss as they are.
    band_sigma : float
        Standard deviation of the blur in pixels; 0 for one band.
    steps : tuple of float
        As for :func:`.gain_maps`; empty where all are 1.
    """

    gains: Floats
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    band_sigma: float = 0.0
    steps: tuple[float, ...] = ()

    def solve(self, sources: Floats) -> tuple[Floats, float]:
        """Return T of sources, and the loss that it leaves.

        Parameters
        ----------
        sources : ndarray of shape (K, ..., M, N), float32

        Returns
        -------
        ndarray of shape (..., M, N), float32
        float
            The mean over the pixels of sum_i (X_i - beta_i T)^2, summed over the bands.
        """
        image = np.empty_like(sources[0])
        base = blur_whole(sources, self.band_sigma, self.steps) if self.band_sigma else None

        def work(there: Slices, around: Slices, inside: Slices) -> float:
            tile = sources[:, *there]
            bands = None if base is None else Bands(base[:, *there], tile - base[:, *there])
            image[there], loss = self._solve_tile(tile, bands, there)
            return loss

        halos = (0,) * image.ndim
        losses = map_tiles(work, image.shape, _choose_sizes(sources.shape, halos), halos)
        return image, sum(losses) / image.size

    def _solve_tile(self, tile: Floats, bands: Bands | None, there: Slices) -> tuple[Floats, float]:
        """Return T of a tile, and the sum of the loss that it leaves."""
        gains = self.gains[:, *there]
        if bands is None or self.base_gains is None or self.undershoot is None:
            image = fit_image(tile, gains)
            return image, sum_loss(tile, gains, image)
        base_gains = self.base_gains[:, *there]
        base_image, details_image = (
            fit_image(bands.base, base_gains),
            fit_image(bands.details, gains),
        )
        loss = sum_loss(bands.base, base_gains, base_image)
        loss += sum_loss(bands.details, gains, details_image)
        return base_image + details_image + self.undershoot[there], loss


@dataclass(frozen=True, eq=False)
class SensorFit:
    """What a sensor model makes of the sources that it was estimated from.

    Attributes
    ----------
    model : SensorModel or None
        None where it was not to be kept.
    image : ndarray of shape (..., M, N), float32
        T, the least-squares image.
    floor : float
        The loss that it leaves; see :meth:`SensorModel.solve`.
    """

    model: SensorModel | None
    image: Floats
    floor: float


def fit_sensor_model(
    sources: Sequence[ArrayLike] | ArrayLike,
    *,
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
    band_sigma: float,
    steps: Sequence[float] = (),
    keep_model: bool = True,
) -> SensorFit:
    """Estimate the gains of sources in one band or in two, and fuse the sources by them.

    Parameters
    ----------
    sources : array of shape (K, ..., M, N), or K arrays of shape (..., M, N)
        K >= 2 aligned gray images, in two bands in [0, 1].
    patch_size, window, scale, sharpness, steps
        As for :func:`.gain_maps`. In two bands, `sharpness` applies to the gains
        of the details, which are drawn to those of the base; see
        :mod:`.coherence`.
    band_sigma : float
        Standard deviation of the blur that gives the base, in pixels; 0 for
        one band.
    keep_model : bool
        Whether the gains are kept, which take more memory than the sources.

    Raises
    ------
    ValueError
        As for :func:`.gain_maps`, or if `band_sigma` is below 0 or not finite.
    """
    stack = stack_sources(sources)
    check_gain_options(stack.shape, patch_size, window, scale, sharpness)
    if not 0 <= band_sigma < np.inf:
        raise ValueError(f"band_sigma must be 0 or more pixels, got {band_sigma}")
    check_finite(stack)
    steps = tuple(steps)
    if band_sigma == 0:
        gains = compute_gains(stack, patch_size, window, scale, sharpness, steps)
        model = SensorModel(gains, steps=steps)
        return SensorFit(model if keep_model else None, *model.solve(stack))
    fine_sigma = _FINE * band_sigma
    base, means = (blur_whole(stack, sigma, steps) for sigma in (band_sigma, fine_sigma))
    image, shape = np.empty_like(stack[0]), stack.shape[1:]
    # Gains, those of the base, and undershoot.
    kept = [np.empty_like(s) for s in (stack, stack, stack[0])] if keep_model else []

    def work(there: Slices, around: Slices, inside: Slices) -> float:
        tile, low, mean = (array[:, *around] for array in (stack, base, means))
        bands = Bands(low, tile - low)
        found = estimate_band_gains(
            tile,
            bands,
            tile - mean,
            patch_size=patch_size,
            window=window,
            sharpness=sharpness,
            steps=steps,
        )
        base_gains, gains = scale_gains(found.base, scale), scale_gains(found.details, scale)
        base_image, details_image = fit_image(low, base_gains), fit_image(bands.details, gains)
        fused = base_image + details_image
        undershoot = measure_undershoot(tile, bands, mean, gains, fused, fine_sigma, steps)
        image[there] = (fused + undershoot)[inside]
        for array, part in zip(kept, (gains, base_gains, undershoot), strict=False):
            array[..., *there] = part[..., *inside]
        advance(count_planes(there, shape))
        pairs = ((low, base_gains, base_image), (bands.details, gains, details_image))
        return sum(sum_loss(x[:, *inside], g[:, *inside], t[inside]) for x, g, t in pairs)

    each = steps or (1.0,) * len(shape)
    halos = [_measure_halo(patch_size, window, fine_sigma, step) for step in each]
    # Tiles begin at the first pixel of a block, with their halo, too.
    blocks = [measure_block(patch_size, s) if window == "block" else 1 for s in each]
    halos = [-(-halo // block) * block for halo, block in zip(halos, blocks, strict=True)]
    losses = map_tiles(work, shape, _choose_sizes(stack.shape, halos, blocks), halos)
    model = SensorModel(*kept, band_sigma=band_sigma, steps=steps) if keep_model else None
    return SensorFit(model, image, sum(losses) / image.size)


def _measure_halo(patch_size: int, window: str, sigma: float, step: float) -> int:
    """Return how many samples of the bands a pixel depends on, along an axis of a step."""
    return measure_undershoot_reach(sigma, 0, measure_gain_reach(patch_size, window, step), step)


def _choose_sizes(
    shape: tuple[int, ...], halos: Sequence[int], multiples: Sequence[int] = ()
) -> list[int]:
    """Return the sizes of tiles of sources of a shape (K, ..., M, N); see :func:`.choose_sizes`."""
    count, *image = shape
    return choose_sizes(image, halos, _TILE_MOMENTS // count**2, multiples or (1,) * len(image))
