"""The fit of one network to all planes of a volume, by crops."""

import copy
import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.interruption import advance, checkpoint
from napari_dip_fusion.prior.applied import list_neighbors
from napari_dip_fusion.prior.fit import NOTHING_TO_SHOW, Batch, Fit, pad_planes
from napari_dip_fusion.prior.memory import NEIGHBORS, STATISTICS, choose_crops
from napari_dip_fusion.prior.network import SkipNetwork, draw_input, fix_normalization
from napari_dip_fusion.prior.weights import pack_weights

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Part = tuple[int, Indices, Indices]
"""A plane, and the rows and columns of it."""

# Iterations of which the excess is averaged at most: over more of them it falls too far.
_MOST_SMOOTHING = 20


def make_fit(target: Floats, weight: Floats, guides: Floats, config: FusionConfig) -> Fit:
    """Return the fit for a plane or for a volume.

    Parameters
    ----------
    target, weight, guides, config
        As for :class:`.Fit` and :class:`CropFit`. A volume of one plane is fitted as that plane;
        planes of a series, too, since there crops of one plane make a worse image than all of it.
    """
    kind = CropFit if math.prod(target.shape[:-2]) > 1 else Fit
    return kind(target, weight, guides, config)


class CropFit(Fit):
    """A network being fitted to random crops of all planes of a volume.

    The loss is that of :class:`.Fit`, over a batch of crops at each iteration. The network sees
    each plane with the two that lie beside it. What is kept is the running mean of the network's
    weights, as the mean of outputs is for a plane, or with ``config.denoising.averaging`` 0 the
    latest weights. Made into an image, this network normalizes by statistics that are taken over
    crops of many planes and then fixed, and is applied to whole planes: there are no seams, and
    equal planes have equal images.

    Parameters
    ----------
    target : ndarray of shape (Z, M, N)
        The consensus image T.
    weight : ndarray of the shape of the target
        w = sum_i beta_i^2.
    guides : ndarray of shape (C, Z, M, N)
        As for :class:`.Fit`.
    config : FusionConfig

    Notes
    -----
    The volumes stay where they are, as NumPy arrays, and are not copied: only crops, and one plane
    at a time to make an image, go to the device. The crops come from a generator of this object,
    seeded with ``config.fit.seed``.
    """

    def _count_channels(self, guides: int) -> int:
        return super()._count_channels(guides) * len(NEIGHBORS)

    def _draw_input(self, generator: torch.Generator) -> None:
        if not self._sees_sources:
            shape = (self.config.network.channels, *self._shape)
            self._guides = draw_input(shape, generator)[0].numpy()

    def _load(self, target: Floats, weight: Floats, guides: Floats) -> None:
        if self._sees_sources:
            self._guides = guides
        self._targets, self._weights = target, weight
        self._fitted = self._find_content()
        self._count, *self._crop = choose_crops(
            (len(self._fitted), *self._shape[1:]), self.config.network.depth
        )
        self._parts = self._draw_parts(np.random.default_rng(self.config.fit.seed))
        self._mean: SkipNetwork | None = None
        self._image: Floats | None = None
        self._start = self.iteration

    def _find_content(self) -> Indices:
        """Return the planes that there is something to fit on; all, if there is no such plane."""
        filled = [
            bool(weight.any()) and float(np.ptp(target)) > 0
            for target, weight in zip(self._targets, self._weights, strict=True)
        ]
        found = np.flatnonzero(filled)
        return found if len(found) else np.arange(len(filled))

    def _draw_parts(self, random: np.random.Generator) -> Iterator[Part]:
        """Yield one crop after the other, without end: every plane once before any comes again."""
        sides = list(zip(self._targets.shape[1:], self._crop, strict=True))
        while True:
            for plane in random.permutation(self._fitted):
                rows, columns = (_draw_side(side, crop, random) for side, crop in sides)
                yield int(plane), rows, columns

    def _draw_batch(self) -> Batch:
        parts = list(islice(self._parts, self._count))
        target, weight = (
            torch.from_numpy(np.stack([v[z][np.ix_(y, x)] for z, y, x in parts])[:, None])
            for v in (self._targets, self._weights)
        )
        target, weight = target.to(self.device), weight.to(self.device)
        return Batch(self._make_input(parts), target, weight)

    def _make_input(self, parts: list[Part]) -> Tensor:
        """Return what the network sees of parts of planes, padded to a size that it can halve."""
        stacks = []
        for plane, rows, columns in parts:
            cut = [
                self._guides[:, z][:, rows[:, None], columns] for z in self._find_neighbors(plane)
            ]
            images = np.stack(cut, axis=1).reshape(-1, len(rows), len(columns))
            stacks.append(pad_planes(images, self._pad_shape(images.shape[1:])))
        return self._place(torch.from_numpy(np.stack(stacks)))

    def _find_neighbors(self, plane: int) -> list[int]:
        """Return the planes that the network sees together with one."""
        return list_neighbors(plane, len(self._targets))

    def _train(self) -> tuple[Tensor, Tensor]:
        loss, output = super()._train()
        # On planes without content nothing is missed.
        return loss * (len(self._fitted) / len(self._targets)), output

    def _keep(self, output: Tensor, excess: float) -> None:
        """Take the weights into their running mean."""
        self._image = None
        if self._mean is None:
            self._mean = copy.deepcopy(self._network).requires_grad_(False)
            return
        share = 1 - min(self.config.denoising.averaging, self._limit_decay())
        pairs = zip(self._mean.parameters(), self._network.parameters(), strict=True)
        for kept, latest in pairs:
            kept.lerp_(latest.detach(), share)

    @property
    def smoothing(self) -> int:
        """How many iterations the excess is to be averaged over, to tell of the whole volume."""
        seen = self._count * math.prod(self._crop)
        pixels = len(self._fitted) * math.prod(self._shape[-2:])
        return min(math.ceil(pixels / seen), _MOST_SMOOTHING)

    @property
    def image(self) -> Floats | None:
        """What is kept, in the shape of the target; None before the first iteration.

        It takes a while after an iteration: it is made plane by plane, and may be interrupted.
        """
        if self._mean is None:
            return None
        if self._image is None:
            with self._compute():
                self._image = self._apply(self._mean)
        return self._image.copy()

    def show_plane(self, index: int) -> Floats:
        """Return one plane of what is kept, shape (M, N), for a look while the fit goes on.

        Parameters
        ----------
        index : int
            Of the plane along the first axis. It is normalized by its own statistics, which are at
            hand at once: its gray values are near those of :attr:`image`, but not the same.

        Raises
        ------
        ValueError
            Before the first iteration.
        """
        if self._mean is None:
            raise ValueError(NOTHING_TO_SHOW)
        with self._compute(), torch.no_grad():
            return self._apply_to_plane(self._mean.train(), index)

    def save(self) -> bytes:
        """Return the weights of what is kept, with its statistics fixed; see :class:`.Applied`.

        Raises
        ------
        ValueError
            Before the first iteration.
        """
        if self._mean is None:
            raise ValueError(NOTHING_TO_SHOW)
        with self._compute(), torch.no_grad():
            self._fix_statistics(self._mean)
        return pack_weights(self._mean)

    def _fix_statistics(self, network: SkipNetwork) -> None:
        """Let a network normalize by statistics over crops of many planes."""
        # A generator of its own, begun anew: the image depends on the weights alone, and making it
        # changes no iteration.
        parts = self._draw_parts(np.random.default_rng(self.config.fit.seed + 1))
        with fix_normalization(network):
            for _ in range(STATISTICS):
                checkpoint()
                self._call(network, self._make_input(list(islice(parts, self._count))))

    @torch.no_grad()
    def _apply(self, network: SkipNetwork) -> Floats:
        """Return the image that a network makes of all planes, with its statistics fixed."""
        self._fix_statistics(network)
        image = np.empty(self._targets.shape, np.float32)
        for index in range(len(image)):
            checkpoint()
            image[index] = self._apply_to_plane(network, index)
            advance(1)
        return image

    def _apply_to_plane(self, network: SkipNetwork, index: int) -> Floats:
        rows, columns = self._shape[-2:]
        net_input = self._make_input([(index, np.arange(rows), np.arange(columns))])
        output = self._call(network, net_input)[0, :, :rows, :columns]
        return output.mean(dim=0).cpu().numpy()


class SampleFit(CropFit):
    """A network being fitted to planes that are samples of an image: none is another's neighbor."""

    def _find_neighbors(self, plane: int) -> list[int]:
        return [plane] * len(NEIGHBORS)


def _draw_side(side: int, crop: int, random: np.random.Generator) -> Indices:
    """Return the rows, or columns, of a random crop of an image with so many of them.

    Crops reach over the edge by up to half of them, where the image goes on as its reflection.
    So all pixels are drawn equally often: crops that stay inside hardly ever hold a corner.
    """
    if crop == side:
        return np.arange(side)
    indices = np.arange(crop) + random.integers(-(crop // 2), side - crop // 2)
    indices = np.where(indices < 0, -1 - indices, indices)
    return np.where(indices < side, indices, 2 * side - 1 - indices)
