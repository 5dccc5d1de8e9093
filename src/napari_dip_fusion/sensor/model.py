"""Estimate the sensor model of sources, in one band or in two, and fuse the sources by it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.interruption import advance
from napari_dip_fusion.sensor.bands import Bands, split_off
from napari_dip_fusion.sensor.coherence import estimate_band_gains, measure_gain_reach
from napari_dip_fusion.sensor.consensus import sum_loss
from napari_dip_fusion.sensor.field import (
    Field,
    continue_sources,
    fit_within,
    mask_gains,
    measure_ramps,
)
from napari_dip_fusion.sensor.gains import check_gain_options, compute_gains
from napari_dip_fusion.sensor.stacks import check_finite, stack_sources
from napari_dip_fusion.sensor.strips import Slices, choose_sizes, count_planes, map_tiles
from napari_dip_fusion.sensor.undershoot import measure_undershoot, measure_undershoot_reach
from napari_dip_fusion.sensor.windows import blur_whole, measure_block, measure_reach

Floats = NDArray[np.float32]

# Moments of a tile of the image with its halo, K^2 at each pixel: the arrays of a tile stay near
# the processor then. Of a volume, which is cut along three axes, the halo is most of a tile: there
# are more in a tile, this share of all, from twice to four times as many as of planes.
_TILE_MOMENTS, _TILE_SHARE = 2**21, 1 / 26

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
    scale : str
        As for :func:`.gain_maps`.
    """

    gains: Floats
    base_gains: Floats | None = None
    undershoot: Floats | None = None
    band_sigma: float = 0.0
    steps: tuple[float, ...] = ()
    scale: str = "unit-max"

    def solve(
        self, sources: Sequence[Floats] | Floats, fields: Sequence[Field] = ()
    ) -> tuple[Floats, float]:
        """Return T of sources, and the loss that it leaves.

        Parameters
        ----------
        sources : K ndarrays of shape (..., M, N), float32, or one of all
        fields : sequence of K fields, optional
            As for :func:`fit_sensor_model`.

        Returns
        -------
        ndarray of shape (..., M, N), float32
        float
            The mean over the pixels of sum_i (X_i - beta_i T)^2, summed over the bands.
        """
        image, base = np.empty_like(sources[0]), None
        # In one band gains end with what they are estimated from.
        fields = fields if self.band_sigma else ()
        whole = continue_sources(sources, fields, self.band_sigma, self.steps)
        if self.band_sigma:
            base = blur_whole(whole, self.band_sigma, self.steps)

        def work(there: Slices, around: Slices, inside: Slices) -> float:
            tile = np.stack([source[there] for source in whole])
            bands = None if base is None else split_off(tile, base[:, *there])
            ramps = measure_ramps(fields, around, _FINE * self.band_sigma, self.steps)
            seen = None if ramps is None else ramps[:, *inside]
            image[there], loss = self._solve_tile(tile, bands, seen, there)
            return loss

        halos = [0] * image.ndim
        if any(field is not None for field in fields):
            each = self.steps or (1.0,) * image.ndim
            halos = [measure_reach(_FINE * self.band_sigma, step) for step in each]
        sizes = _choose_sizes((len(sources), *image.shape), halos)
        losses = map_tiles(work, image.shape, sizes, halos)
        return image, sum(losses) / image.size

    def put(self, there: Slices, gains: Floats, base_gains: Floats) -> None:
        """Write the gains of a tile, in two bands."""
        assert self.base_gains is not None
        self.gains[:, *there], self.base_gains[:, *there] = gains, base_gains

    def _solve_tile(
        self, tile: Floats, bands: Bands | None, ramps: Floats | None, there: Slices
    ) -> tuple[Floats, float]:
        """Return T of a tile, and the sum of the loss that it leaves."""
        gains = self.gains[:, *there]
        if bands is None or self.base_gains is None or self.undershoot is None:
            image = fit_within(tile, gains, ramps, self.scale)
            return image, sum_loss(tile, gains, image)
        base_gains = self.base_gains[:, *there]
        base_image = fit_within(bands.base, base_gains, ramps, self.scale)
        details_image = fit_within(bands.details, gains, ramps, self.scale)
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
        T, the least-squares image, as far as it was wanted.
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
    fields: Sequence[Field] = (),
    keep_model: bool = True,
    wanted: Slices | None = None,
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
    fields : sequence of K ndarrays of shape (..., M, N), bool, or None, optional
        Which pixels each source saw; None for one that saw all. In two bands, gains are 0 beyond
        them, and rise from their end on.
    keep_model : bool
        Whether the gains are kept, which take more memory than the sources.
    wanted : tuple of slice, optional
        The part of the image that is wanted of sources of which a part alone is known: the rest is
        what bears on it. It begins with a whole patch. By default all.

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
        model = SensorModel(gains, steps=steps, scale=scale)
        image, floor = model.solve(stack)
        return SensorFit(model if keep_model else None, image[wanted or ...], floor)
    windows = _Windows(patch_size, window, band_sigma, steps or (1.0,) * (stack.ndim - 1))
    estimate = _Estimate(stack, windows, scale, sharpness, fields, keep_model)
    shape = stack.shape[1:]
    part = wanted or tuple(slice(0, size) for size in shape)
    sizes = _choose_sizes(
        (len(stack), *(s.stop - s.start for s in part)), windows.halos, windows.blocks
    )
    losses = map_tiles(estimate.work, shape, sizes, windows.halos, part)
    image = estimate.image[part]
    return SensorFit(estimate.model, image, sum(losses) / image.size)


@dataclass(frozen=True)
class _Windows:
    """The windows of a sensor model in two bands, and what they reach."""

    patch_size: int
    window: str
    band_sigma: float
    steps: tuple[float, ...]

    @property
    def fine_sigma(self) -> float:
        """Standard deviation of the blur that leaves details of a finer band, in pixels."""
        return _FINE * self.band_sigma

    @property
    def blocks(self) -> list[int]:
        """Samples along each axis that share their gains."""
        blocked = self.window == "block"
        return [measure_block(self.patch_size, s) if blocked else 1 for s in self.steps]

    @property
    def halos(self) -> list[int]:
        """Samples of the bands that a pixel depends on, along each axis, in whole blocks."""
        return self.measure_reaches([0] * len(self.steps))

    def measure_reaches(self, band_reaches: Sequence[int]) -> list[int]:
        """Return how many samples a pixel depends on, along each axis, in whole blocks.

        Parameters
        ----------
        band_reaches : sequence of int
            How many the bands depend on.
        """
        reaches = []
        for step, band in zip(self.steps, band_reaches, strict=True):
            gain = band + measure_gain_reach(self.patch_size, self.window, step)
            reaches.append(measure_undershoot_reach(self.fine_sigma, band, gain, step))
        return [-(-n // block) * block for n, block in zip(reaches, self.blocks, strict=True)]


def measure_model_reach(
    patch_size: int, window: str, band_sigma: float, steps: Sequence[float], *, ends: bool
) -> list[int]:
    """Return how far from a pixel, in samples along each axis, sources bear on its gains and image.

    An image that is cut into parts has the same T as the whole, if each part is estimated with so
    many samples around it. Where patches do not overlap, they are whole patches.

    Parameters
    ----------
    patch_size, window, band_sigma
        As for :func:`fit_sensor_model`.
    steps : sequence of float
        As for :func:`.gain_maps`, one for each axis.
    ends : bool
        Whether sources end within the image.
    """
    if band_sigma == 0:
        return [measure_gain_reach(patch_size, window, step) for step in steps]
    windows = _Windows(patch_size, window, band_sigma, tuple(steps))
    blurred = [measure_reach(band_sigma, step) for step in steps]
    reaches = windows.measure_reaches(blurred)
    if not ends:
        return reaches
    # A source beyond the end of its field is blurred before all else.
    longer = [sum(pair) for pair in zip(reaches, blurred, strict=True)]
    return [-(-n // block) * block for n, block in zip(longer, windows.blocks, strict=True)]


class _Estimate:
    """The sensor model of sources in two bands, tile by tile, and the image that it gives.

    The bands are made for the whole image beforehand: tiles need half the halo then, which in three
    dimensions is most of a tile.
    """

    def __init__(
        self,
        sources: Floats,
        windows: _Windows,
        scale: str,
        sharpness: float,
        fields: Sequence[Field],
        keep_model: bool,
    ) -> None:
        self._windows, self._scale, self._sharpness = windows, scale, sharpness
        self._fields = fields
        self._sources = continue_sources(sources, fields, windows.band_sigma, windows.steps)
        self._base = blur_whole(self._sources, windows.band_sigma, windows.steps)
        self._means = blur_whole(self._sources, windows.fine_sigma, windows.steps)
        self.image = np.empty_like(sources[0])
        self.model = None
        if keep_model:
            self.model = SensorModel(
                np.empty_like(sources),
                np.empty_like(sources),
                np.empty_like(sources[0]),
                windows.band_sigma,
                windows.steps,
                scale,
            )

    def work(self, there: Slices, around: Slices, inside: Slices) -> float:
        """Estimate gains and image of a tile; return the loss that the image leaves, as a sum."""
        tile = np.stack([source[around] for source in self._sources])
        base, means = self._base[:, *around], self._means[:, *around]
        bands, sigma = split_off(tile, base), self._windows.fine_sigma
        ramps = measure_ramps(self._fields, around, sigma, self._windows.steps)
        base_gains, gains = self._estimate_gains(tile, bands, means, ramps)
        fused, loss = self._fit_bands(bands, base_gains, gains, ramps, inside)
        if self.model is not None:
            self.model.put(there, gains[:, *inside], base_gains[:, *inside])
        del base_gains
        undershoot = measure_undershoot(
            tile, bands, means, gains, fused, sigma, self._windows.steps
        )
        if ramps is not None:
            # Beyond the end of a field nothing is known that a bright structure could have taken.
            undershoot *= ramps.min(axis=0)
        self.image[there] = (fused + undershoot)[inside]
        if self.model is not None and self.model.undershoot is not None:
            self.model.undershoot[there] = undershoot[inside]
        advance(count_planes(there, self.image.shape))
        return loss

    def _fit_bands(
        self,
        bands: Bands,
        base_gains: Floats,
        gains: Floats,
        ramps: Floats | None,
        inside: Slices,
    ) -> tuple[Floats, float]:
        """Return the sum of the images of both bands, and the loss within the tile."""
        fused, loss = np.zeros_like(bands.base[0]), 0.0
        for band, beta in ((bands.base, base_gains), (bands.details, gains)):
            image = fit_within(band, beta, ramps, self._scale)
            loss += sum_loss(band[:, *inside], beta[:, *inside], image[inside])
            fused += image
        return fused, loss

    def _estimate_gains(
        self, tile: Floats, bands: Bands, means: Floats, ramps: Floats | None
    ) -> tuple[Floats, ...]:
        """Return the gains of the base and those of the details."""
        found = estimate_band_gains(
            tile,
            bands,
            means,
            patch_size=self._windows.patch_size,
            window=self._windows.window,
            sharpness=self._sharpness,
            steps=self._windows.steps,
        )
        seen = None if ramps is None else ramps > 0
        return tuple(mask_gains(gains, seen, self._scale) for gains in (found.base, found.details))


def _choose_sizes(
    shape: tuple[int, ...], halos: Sequence[int], multiples: Sequence[int] = ()
) -> list[int]:
    """Return the sizes of tiles of sources of a shape (K, ..., M, N); see :func:`.choose_sizes`."""
    count, *image = shape
    moments: float = _TILE_MOMENTS
    if len(image) > 2:
        share = math.prod(image) * count**2 * _TILE_SHARE
        moments = min(max(share, 2 * moments), 4 * moments)
    most = int(moments / count**2)
    return choose_sizes(image, halos, most, multiples or (1,) * len(image))
