"""Estimate the sensor model of sources, in one band or in two, and fuse the sources by it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sensor.bands import split_bands
from napari_dip_fusion.sensor.coherence import estimate_band_gains, measure_gain_reach
from napari_dip_fusion.sensor.consensus import fit_image, sum_loss
from napari_dip_fusion.sensor.gains import check_gain_options, compute_gains, scale_gains
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources
from napari_dip_fusion.sensor.strips import Slices, map_tiles
from napari_dip_fusion.sensor.threads import Result
from napari_dip_fusion.sensor.undershoot import measure_undershoot, measure_undershoot_reach
from napari_dip_fusion.sensor.windows import blur, measure_reach

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
    gains : ndarray of shape (K, M, N), float32
        Gains of the details, or of the whole sources in one band.
    base_gains : ndarray of shape (K, M, N), float32, or None
        Gains of the base; None in one band.
    undershoot : ndarray of shape (M, N), float32, or None
        What is given back to the details' least-squares image u; None in one
        band. The details X_i^d are taken for X_i^d + beta_i^d u, which leaves
        weight and floor of the loss as they are.
    band_sigma : float
        Standard deviation of the blur in pixels; 0 for one band.
    """

    gains: Floats
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    band_sigma: float = 0.0

    def solve(self, sources: Floats) -> tuple[Floats, float]:
        """Return T of sources, and the loss that it leaves.

        Parameters
        ----------
        sources : ndarray of shape (K, M, N), float32

        Returns
        -------
        ndarray of shape (M, N), float32
        float
            The mean over the pixels of sum_i (X_i - beta_i T)^2, summed over the bands.
        """
        image = np.empty_like(sources[0])

        def work(there: Slices, around: Slices, inside: Slices) -> float:
            image[there], loss = self._solve_tile(sources[:, *around], there, inside)
            return loss

        losses = _map(work, sources.shape, measure_reach(self.band_sigma))
        return image, sum(losses) / image.size

    def _solve_tile(self, tile: Floats, there: Slices, inside: Slices) -> tuple[Floats, float]:
        """Return T of a tile, and the sum of the loss that it leaves."""
        gains = self.gains[:, *there]
        if self.base_gains is None or self.undershoot is None:
            image = fit_image(tile, gains)
            return image, sum_loss(tile, gains, image)
        bands, base_gains = split_bands(tile, self.band_sigma), self.base_gains[:, *there]
        base, details = bands.base[:, *inside], bands.details[:, *inside]
        base_image, details_image = fit_image(base, base_gains), fit_image(details, gains)
        loss = sum_loss(base, base_gains, base_image) + sum_loss(details, gains, details_image)
        return base_image + details_image + self.undershoot[there], loss


def estimate_sensor_model(
    sources: Sequence[ArrayLike] | ArrayLike,
    *,
    patch_size: int,
    window: str,
    scale: str,
    sharpness: float,
    band_sigma: float,
) -> SensorModel:
    """Estimate the gains of sources in one band or in two.

    Parameters
    ----------
    sources : array of shape (K, M, N), or K arrays of shape (M, N)
        K >= 2 aligned gray images, in two bands in [0, 1].
    patch_size, window, scale, sharpness
        As for :func:`.gain_maps`. In two bands, `sharpness` applies to the gains
        of the details, which are drawn to those of the base; see
        :mod:`.coherence`.
    band_sigma : float
        Standard deviation of the blur that gives the base, in pixels; 0 for
        one band.

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
    if band_sigma == 0:
        return SensorModel(compute_gains(stack, patch_size, window, scale, sharpness))
    gains, base_gains, undershoot = (np.empty_like(s) for s in (stack, stack, stack[0]))
    options = (patch_size, window, scale, sharpness, band_sigma)

    def work(there: Slices, around: Slices, inside: Slices) -> None:
        parts = _estimate_tile(stack[:, *around], *options)
        gains[:, *there], base_gains[:, *there] = (p[:, *inside] for p in parts[:2])
        undershoot[there] = parts[2][inside]

    # Tiles begin at the first pixel of a block.
    halo = _measure_halo(patch_size, window, band_sigma)
    _map(work, stack.shape, halo, patch_size if window == "block" else 1)
    return SensorModel(gains, base_gains, undershoot, band_sigma)


def _estimate_tile(
    tile: Floats, patch_size: int, window: str, scale: str, sharpness: float, sigma: float
) -> tuple[Floats, Floats, Floats]:
    """Return gains, base gains and undershoot of a part of the sources."""
    bands, means = split_bands(tile, sigma), blur(tile, _FINE * sigma)
    found = estimate_band_gains(
        tile, bands, tile - means, patch_size=patch_size, window=window, sharpness=sharpness
    )
    base_gains, gains = scale_gains(found.base, scale), scale_gains(found.details, scale)
    fused = fit_image(bands.base, base_gains) + fit_image(bands.details, gains)
    undershoot = measure_undershoot(tile, bands, means, gains, fused, _FINE * sigma)
    return gains, base_gains, undershoot


def _measure_halo(patch_size: int, window: str, sigma: float) -> int:
    """Return how many pixels around a pixel its sensor model depends on, in two bands."""
    band_reach = measure_reach(sigma)
    gain_reach = band_reach + measure_gain_reach(patch_size, window)
    return measure_undershoot_reach(_FINE * sigma, band_reach, gain_reach)


def _map(
    work: Callable[[Slices, Slices, Slices], Result],
    shape: tuple[int, ...],
    halo: int,
    multiple: int = 1,
) -> list[Result]:
    """Work on the tiles of images of a shape (K, M, N); see :func:`.map_tiles`."""
    count, height, width = shape
    moments = _TILE_MOMENTS // count**2
    # The halo is computed twice: tiles are at least four times as wide, and strips where they can.
    rows = min(max(moments // width, 4 * halo, 1), height)
    columns = max(moments // rows, 4 * halo)
    rows, columns, halo = (-(-n // multiple) * multiple for n in (rows, columns, halo))
    return map_tiles(work, (height, width), (rows, columns), halo)
