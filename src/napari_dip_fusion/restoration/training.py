"""What a network learns from: crops of an image, degraded as the source was."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_dip_fusion.restoration.planes import PlaneModel, repeat_pixels

Floats = NDArray[np.float32]

# Fractions of its size at which an image shows the network what small structures look like.
_SCALES = (1, 0.875, 0.75, 0.625, 0.5, 0.4375)
# Cells of the network in a crop along each axis, if they are square, and in the crops of a batch.
_SIDE_CELLS = 24
_BATCH_CELLS = 6 * _SIDE_CELLS**2
_MOST_CROPS = 24
# Crops of small images are not smaller than so many cells along an axis, if the image is not.
_LEAST_CELLS = 8
# Shares of the crops that get a steep tone curve, and that are inverted.
_STEEP, _INVERTED = 0.3, 0.1
# A crop is drawn anew, at most so often, until this share of it was seen.
_TRIES, _LEAST_SEEN = 10, 0.75
# Planes of a volume in which values differ by less than this share of the most have no crops.
_LEAST_RANGE = 0.1
# Of a cycle of learning rates: the share of the iterations that lead up to its peak, and the rate
# at the start in units of that.
_WARM_UP, _START = 0.15, 0.04


def choose_cell(factors: tuple[int, ...]) -> tuple[int, int]:
    """Return how many fine pixels go into one cell of the network along each axis of a plane.

    A source's own pixel is one cell. Where it holds one fine pixel along an axis, two of them are
    taken: the time of the network grows with the number of cells.
    """
    rows, columns = (max(factor, 2) for factor in factors)
    return rows, columns


def pad_to_cells(planes: Floats, cell: tuple[int, int]) -> Floats:
    """Return planes, (..., M, N), extended to whole cells by reflection at their lower right."""
    margins = [(0, -size % side) for size, side in zip(planes.shape[-2:], cell, strict=True)]
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + margins, mode="symmetric")


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops of planes: what the network sees of them, and what they are.

    Attributes
    ----------
    measured, estimate, truth : Tensor of shape (B, 1, M, N)
        The degraded crops, with each pixel repeated on the fine ones that it covers; the first
        estimate from these; and the crops themselves.
    """

    measured: Tensor
    estimate: Tensor
    truth: Tensor


class CropDrawer:
    """Random crops of an image at several scales, flipped and turned, in other tones, degraded.

    Parameters
    ----------
    planes : ndarray of shape (planes, M, N)
        The image that is taken for the truth, in [0, 1].
    model : PlaneModel
        How its planes are degraded.
    random : numpy.random.Generator
    seen : ndarray of the shape of the planes, bool, optional
        Where the image was seen: crops come from there.

    Attributes
    ----------
    planes : ndarray
        As above; another image of the same shape may take its place.
    """

    def __init__(
        self,
        planes: Floats,
        model: PlaneModel,
        random: np.random.Generator,
        seen: NDArray[np.bool_] | None = None,
    ) -> None:
        self.planes = planes
        self._model, self._random, self._seen = model, random, seen
        self._cell = choose_cell(model.factors)
        self._crop = self._choose_crop()
        cells = math.prod(self._crop) / math.prod(self._cell)
        self._count = min(max(round(_BATCH_CELLS / cells), 1), _MOST_CROPS)
        # The scales at which the image holds a whole crop.
        least = max(c / n for c, n in zip(self._crop, planes.shape[1:], strict=True))
        self._scales = [scale for scale in _SCALES if scale >= least]
        square = self._crop[0] == self._crop[1]
        self._turns = [turn for turn in model.turns if square or not turn.exchanged]
        self._filled = _find_content(planes)

    def draw(self) -> Batch:
        """Return a fresh batch."""
        truth = [self._change(self._cut()) for _ in range(self._count)]
        pixels = [self._model.degrade(crop, self._random) for crop in truth]
        estimate = [self._model.estimate(own) for own in pixels]
        measured = [repeat_pixels(own, self._model.factors) for own in pixels]
        return Batch(*(self._stack(crops) for crops in (measured, estimate, truth)))

    def _stack(self, crops: list[Floats]) -> Tensor:
        """Return crops as one tensor, padded where an image is smaller than a cell."""
        return torch.from_numpy(pad_to_cells(np.stack(crops), self._cell)[:, None])

    def _choose_crop(self) -> tuple[int, ...]:
        """Return how many fine pixels a crop has along each axis: whole cells, and whole pixels."""
        wanted = _SIDE_CELLS * math.sqrt(math.prod(self._cell))
        sides = zip(self.planes.shape[1:], self._model.factors, self._cell, strict=True)
        crop = []
        for size, factor, cell in sides:
            unit = math.lcm(factor, cell)
            # At the smallest scale, too, an image should hold a crop.
            largest = max(_SCALES[-1] * size, min(size, _LEAST_CELLS * unit))
            # Of an image smaller than that, all is taken.
            crop.append(math.floor(min(wanted, largest) / unit) * unit or size)
        return tuple(crop)

    def _cut(self) -> Floats:
        """Return a part of a plane, reduced to the size of a crop."""
        plane, window = self._place()
        if self._seen is not None:
            for _ in range(_TRIES):
                if self._seen[plane][window].mean() >= _LEAST_SEEN:
                    break
                plane, window = self._place()
        return _reduce(self.planes[plane][window], self._crop)

    def _place(self) -> tuple[int, tuple[slice, ...]]:
        """Return a plane and a window of it, which is a crop at one of the scales."""
        random = self._random
        scale = self._scales[random.integers(len(self._scales))]
        window = []
        for size, crop in zip(self.planes.shape[1:], self._crop, strict=True):
            side = min(round(crop / scale), size)
            start = int(random.integers(size - side + 1))
            window.append(slice(start, start + side))
        return int(random.choice(self._filled)), tuple(window)

    def _change(self, crop: Floats) -> Floats:
        """Return a crop flipped or turned, often in steep tones, now and then inverted."""
        random = self._random
        crop = self._turns[random.integers(len(self._turns))].apply(crop)
        if random.random() < _STEEP:
            crop = _steepen(crop, random)
        if random.random() < _INVERTED:
            crop = 1 - crop
        return np.ascontiguousarray(crop)


def follow_cycle(part: float) -> float:
    """Return the learning rate, in units of its peak, after a part of the iterations.

    It rises along a cosine, and falls along a longer one to nothing.
    """
    if part < _WARM_UP:
        return _START + (1 - _START) * (1 - math.cos(math.pi * part / _WARM_UP)) / 2
    return (1 + math.cos(math.pi * (part - _WARM_UP) / (1 - _WARM_UP))) / 2


def _find_content(planes: Floats) -> NDArray[np.intp]:
    """Return the planes that hold more than next to nothing; all, if none does."""
    ranges = np.array([np.ptp(plane) for plane in planes])
    return np.flatnonzero(ranges >= _LEAST_RANGE * ranges.max())


def _reduce(part: Floats, shape: tuple[int, ...]) -> Floats:
    """Return a part of an image reduced to a shape."""
    if part.shape == shape:
        return part
    planes = torch.from_numpy(np.ascontiguousarray(part))[None, None]
    reduced = functional.interpolate(planes, size=shape, mode="bicubic", antialias=True)
    return reduced[0, 0].clamp(0, 1).numpy()


def _steepen(crop: Floats, random: np.random.Generator) -> Floats:
    """Return a crop in steep tones, with edges as strong as any.

    A network that has seen the edges of one image only does not restore stronger ones.
    """
    least = crop.min()
    values = (crop - least) / max(crop.max() - least, 0.05)
    slope = math.exp(random.uniform(math.log(1.5), math.log(12)))
    steep: Floats = (values - random.uniform(0, 0.8)) * slope + random.uniform(0, 0.5)
    return steep.clip(0, 1).astype(np.float32)
